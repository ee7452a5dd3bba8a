"""Started by torchrun from test_batches.py: train and evaluate by length on this rank's share, and write it down."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from length_case import BY_LENGTH, BY_TOKENS, resumed, rows, trainer, weights  # noqa: E402


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank, said = int(os.environ["RANK"]), {"resumed": {}}
    for name, plan in (("length", BY_LENGTH), ("tokens", BY_TOKENS)):
        trained = trainer(folder / name, plan)
        trained.train()
        torch.save(weights(trained.model), folder / f"{name}-{rank}.pt")
        whole, again = resumed(folder / f"{name}-resumed", plan, 8)
        said["resumed"][name] = torch.equal(whole, again)
    seen = []
    by_length, in_order = (trainer(folder, plan) for plan in (BY_LENGTH, None))
    by_length.compute_metrics = lambda output: seen.append(output.label_ids.tolist()) or {}
    by_length.evaluate()
    said["labels_for_metrics"] = seen[0]
    one, other = (each.predict(rows(17)) for each in (by_length, in_order))
    said["labels"] = one.label_ids.tolist()
    said["as_in_order"] = float(np.abs(one.predictions - other.predictions).max())
    (folder / f"said-{rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
