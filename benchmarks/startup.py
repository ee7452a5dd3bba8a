"""How long until something happens: the import, the help, a recipe that is refused, and the first step of a run.

Every figure is the wall-clock time of a process from its start, the interpreter's own included; the median over
repeats. "Ready" is the quickstart (real MiniLM, real rows, both in the cache after the first run): everything up to the
moment at which `trainer.train()` is called, reached through the command line like the rest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import finish, interleaved, median, options, spread, table

REFUSED = (
    """{"task": {"name": "text_clasification"}, "modle": "x", "data": {"path": "d"}, "training": {"batch_size": 8}}"""
)
# Runs the door as it is, and ends where training would begin.
READY = """
import os, sys
import hf_fft.training.trainer as trainer
def stop(*_, **__):
    os._exit(0)
trainer.FullFinetuningTrainer.train = stop
from hf_fft.__main__ import main
sys.exit(main(["run", *sys.argv[1:]]) or 1)
"""


def main() -> None:
    """Time each start and print the medians."""
    parser = options(__doc__, repeats=5)
    parser.add_argument("--recipe", default="quickstart", help='recipe of "ready" (quickstart)')
    parser.add_argument("--without-ready", action="store_true", help='leave "ready" out: it takes seconds')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bad.json").write_text(REFUSED)
        variants = _variants(arguments, Path(folder))
        for variant in variants.values():
            variant()  # compiled modules and files in the cache
        runs = interleaved(variants, arguments)
    print(table(["start", "seconds", "spread"], [[name, median(runs[name]), spread(runs[name])] for name in runs]))
    finish({f"{name}_seconds": median(runs[name]) for name in runs}, runs)


def _variants(arguments: argparse.Namespace, folder: Path) -> dict[str, Callable[[], dict[str, float]]]:
    run = [sys.executable, "-m", "hf_fft.run"]
    variants = {
        "import": _timed([sys.executable, "-c", "import hf_fft"], folder, expected=0),
        "help": _timed([*run, "--help"], folder, expected=0),
        "refused": _timed([*run, "bad.json"], folder, expected=2),
    }
    if not arguments.without_ready:
        command = [sys.executable, "-c", READY, arguments.recipe, "--output-dir", "run", "--overwrite"]
        variants["ready"] = _timed(command, folder, expected=0)
    return variants


def _timed(command: list[str], folder: Path, *, expected: int) -> Callable[[], dict[str, float]]:
    def variant() -> dict[str, float]:
        started = time.perf_counter()
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=dict(os.environ), check=False)
        seconds = time.perf_counter() - started
        if answer.returncode != expected:
            sys.exit(f"{' '.join(command[:4])} ended with {answer.returncode}:\n{answer.stderr[-2000:]}")
        return {"seconds": seconds}

    return variant


if __name__ == "__main__":
    main()
