"""Runs in processes of their own, one after the other.

Memory is measured by process, and a run that fails or is killed takes no other with it. A run that is finished is read
and not started, which costs no import of torch.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hf_fft.comparison.choices import Choice
from hf_fft.comparison.plan import PlannedRun
from hf_fft.errors import StrategyError
from hf_fft.recipe import Recipe
from hf_fft.result import Result, finished_run, load_result, write_json

REASON_BYTES = 4096
PR_SET_PDEATHSIG = 1

logger = logging.getLogger(__name__)


def finished_runs(runs: Sequence[PlannedRun], folder: Path) -> dict[str, Result]:
    """Return the results of the runs that are finished already, by name.

    Raises:
        RunFolderError: if a run's folder holds another run.
    """
    found = {run.name: finished_run(folder / run.folder, run.recipe) for run in runs}
    return {name: result for name, result in found.items() if result is not None}


def run_apart(run: PlannedRun, folder: Path, *, flags: Sequence[str] = ()) -> Result:
    """Train a run in a fresh process and read what it left; one that leaves nothing becomes a failed result."""
    target = folder / run.folder
    with _written_for_the_run(run.recipe.model_dump(mode="json", by_alias=True)) as file:
        command = [sys.executable, "-m", "hf_fft.run", str(file), "--output-dir", str(target), *flags]
        exit_code, last_words = call(command)
    return load_result(target) if exit_code == 0 else failed(run.recipe, exit_code, last_words)


def compute_apart(runs: Sequence[PlannedRun], folder: Path, *, flags: Sequence[str] = ()) -> dict[str, Result]:
    """Compute baselines that need no model in one fresh process, and read what it left, by name."""
    wishes = [
        {"name": run.label, "recipe": run.recipe.model_dump(mode="json", by_alias=True), "folder": str(place)}
        for run in runs
        for place in [(folder / run.folder).absolute()]
    ]
    with _written_for_the_run({"baselines": wishes}) as file:
        exit_code, last_words = call([sys.executable, "-m", "hf_fft.comparison.baselines", str(file), *flags])
    if exit_code != 0:
        return {run.name: failed(run.recipe, exit_code, last_words) for run in runs}
    return {run.name: load_result(folder / run.folder) for run in runs}


def check_apart(choices: Sequence[Choice]) -> None:
    """Find out in a fresh process whether strategies can train the model at all; it reads no weights and no data.

    Raises:
        StrategyError: if one cannot, or the model is none for the task.
    """
    wishes = [{"label": one.label, "recipe": one.recipe.model_dump(mode="json", by_alias=True)} for one in choices]
    with _written_for_the_run({"strategies": wishes}) as file:
        exit_code, last_words = call([sys.executable, "-m", "hf_fft.comparison.fitness", str(file)], quiet=True)
    if exit_code == StrategyError.exit_code:
        raise StrategyError(last_words)


def failed(recipe: Recipe, exit_code: int, last_words: str) -> Result:
    """Return the result of a run whose process ended badly."""
    if exit_code < 0:
        last_words = f"the process was ended by {_signal_name(-exit_code)}"
    return Result(status="failed", recipe=recipe, error=last_words or f"the process ended with exit code {exit_code}")


def call(command: Sequence[str], *, quiet: bool = False) -> tuple[int, str]:
    """Run a command, show what it writes to standard error as it comes, and return its exit code and last words.

    If quiet, nothing is shown.

    The command ends with this process, however that ends: one that went on would hold its run folder and its memory
    against the comparison that is started next.
    """
    kept = bytearray()

    def pass_on() -> None:
        assert process.stderr is not None
        while chunk := process.stderr.read1(1024):  # type: ignore[attr-defined]
            if not quiet:
                sys.stderr.buffer.write(chunk)
                sys.stderr.flush()
            kept.extend(chunk)
            del kept[:-REASON_BYTES]

    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=_ends_with_its_parent()
    ) as process:
        reader = threading.Thread(target=pass_on)
        reader.start()
        try:
            exit_code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            reader.join()
    lines = [line for line in kept.decode(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return exit_code, lines[-1].strip() if lines else ""


@contextmanager
def _written_for_the_run(values: object) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "recipe.json"
        write_json(file, values)
        yield file


def _ends_with_its_parent() -> Callable[[], None] | None:
    """Return what asks Linux to kill a new process when its parent dies, even of a signal nobody can catch."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)

    def ask() -> None:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
