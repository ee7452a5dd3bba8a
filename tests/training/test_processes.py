"""Two processes of four rows are one process of eight, also where the rows do not divide.

On plain Trainer 5.23 the rows that accelerate repeats are trained twice, and the classic heads' loss is doubled.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import make_tokenizer
from exactness import all_cases, train

SCRIPT = Path(__file__).with_name("two_processes.py")
CASES = all_cases()
KINDS = list(CASES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each kind trained by one process, and then all of them by two."""
    folder = tmp_path_factory.mktemp("processes")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = {kind: train(CASES[kind], make_tokenizer(), folder / kind, 8, 1) for kind in KINDS}
    torch.set_num_threads(threads)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    finished = subprocess.run([*command, str(folder), *KINDS], capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return folder, alone


@pytest.mark.processes
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_of_four_rows_are_one_process_of_eight(kind, runs):
    folder, alone = runs
    weights, logged = alone[kind]
    ranks = [torch.load(folder / kind / f"weights-{rank}.pt") for rank in (0, 1)]
    assert torch.equal(*ranks)
    assert (ranks[0] - weights).abs().max() < 1e-6
    assert json.loads((folder / kind / "logged-0.json").read_text()) == pytest.approx(logged, rel=1e-4)
