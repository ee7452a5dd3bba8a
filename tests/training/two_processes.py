"""Started by torchrun from test_processes.py: train on this rank's share and write down what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import torch  # noqa: E402
from conftest import make_tokenizer  # noqa: E402
from exactness import all_cases, train  # noqa: E402


def main(folder: Path, kinds: list[str]) -> None:
    torch.set_num_threads(1)
    cases = all_cases()
    for kind in kinds:
        weights, logged = train(cases[kind], make_tokenizer(), folder / kind, 4, 1)
        rank = torch.distributed.get_rank()
        torch.save(weights, folder / kind / f"weights-{rank}.pt")
        (folder / kind / f"logged-{rank}.json").write_text(json.dumps(logged))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
