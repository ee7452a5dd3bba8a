"""Started by torchrun: train with the frozen prefix on two processes and write down the weights of each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import torch  # noqa: E402
from prefix_case import model_of, trainer_of  # noqa: E402
from transformers import set_seed  # noqa: E402

from hf_fft.strategies import FeatureBased, GradualUnfreezing  # noqa: E402


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    cases = (("head", FeatureBased()), ("gradual", GradualUnfreezing()), ("one cannot", FeatureBased()))
    for kind, strategy in cases:
        for prefix in (True, False):
            set_seed(5)
            options = {"per_device_train_batch_size": 2, "eval_strategy": "epoch", "learning_rate": 1e-3}
            trainer, callback = trainer_of(
                model_of("Bert"), folder / "out", strategy=strategy, prefix=prefix, num_train_epochs=4, **options
            )
            if prefix and kind == "one cannot" and torch.distributed.get_rank() == 1:
                callback.why_not = "here it does not fit"
            trainer.train()
            rank, name = torch.distributed.get_rank(), f"{kind}-{prefix}"
            weights = torch.cat([value.detach().flatten() for value in trainer.model.parameters()])
            torch.save(weights, folder / f"{name}-{rank}.pt")
            (folder / f"{name}-{rank}.json").write_text(json.dumps(trainer.speed.frozen_prefix))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
