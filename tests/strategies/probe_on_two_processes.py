"""Started by torchrun: probe, then full, on two processes of two rows, and write down the weights of each."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import torch  # noqa: E402
from test_probe_then_full import RECIPE, model, trainer_of, weights  # noqa: E402

from hf_fft.strategies import ProbeThenFull  # noqa: E402


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    trainer = trainer_of(model(), folder / "out", ProbeThenFull(RECIPE), optim="sgd", per_device_train_batch_size=2)
    trainer.train()
    torch.save(weights(trainer), folder / f"weights-{torch.distributed.get_rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
