"""Started by torchrun: unfreeze gradually on two processes and write down the weights of each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import torch  # noqa: E402
from architectures import classifier  # noqa: E402
from test_gradual_unfreezing import trainer_of  # noqa: E402
from transformers import set_seed  # noqa: E402

from hf_fft.recipe import GradualUnfreezingRecipe  # noqa: E402
from hf_fft.strategies import layer_groups  # noqa: E402


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for kind in ("plain", "checkpointing"):
        set_seed(5)
        model = classifier("Bert")
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        options = {"max_steps": 8, "activation_checkpointing": kind == "checkpointing"}
        trainer_of(model, folder / "out", GradualUnfreezingRecipe(), **options).train()
        rank = torch.distributed.get_rank()
        after = dict(model.named_parameters())
        moved = [
            group.name
            for group in reversed(layer_groups(model))
            if all(not torch.equal(after[name], before[name]) for name in group.parameters)
        ]
        torch.save(torch.cat([value.detach().flatten() for value in model.parameters()]), folder / f"{kind}-{rank}.pt")
        (folder / f"{kind}-{rank}.json").write_text(json.dumps(moved))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
