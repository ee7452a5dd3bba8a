"""The run folder: each file is written whole or not at all, read back, and the folder is owned by one run at a time.

`result.json` is a `Result`; `predictions.jsonl` holds one `Prediction` a line. JSON has no word for a number that is
not finite, so it becomes null. While a run holds `lock(folder)`, a second run stops before it writes there.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from hf_fft.errors import RunFolderError
from hf_fft.result.records import Prediction, Result

RESULT_FILE = "result.json"
PREDICTIONS_FILE = "predictions.jsonl"
PUBLICATION_FILE = "publication.json"
LOCK_FILE = ".hf_fft.lock"

logger = logging.getLogger(__name__)


def as_json(value: Any) -> Any:
    """Return the value as JSON can hold it: nan and infinities as None, arrays and tuples as lists, keys as text."""
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    # numpy's scalars and arrays, without importing numpy.
    return as_json(value.tolist()) if hasattr(value, "tolist") else value


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(Path(path)) as file:
        file.write(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file whole or not at all; see `as_json` for what becomes of numbers that are not finite."""
    write_text(path, json.dumps(as_json(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_result(folder: str | Path, result: Result) -> None:
    """Write `result.json` into the run folder."""
    write_json(Path(folder) / RESULT_FILE, result.model_dump(mode="json", by_alias=True))


def load_result(folder: str | Path) -> Result:
    """Read the result of a run folder.

    Raises:
        RunFolderError: if there is no `result.json`, or it is not a result.
    """
    path = _existing(Path(folder) / RESULT_FILE)
    try:
        return Result.model_validate_json(path.read_bytes())
    except ValidationError as fault:
        faults = [f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in fault.errors()]
        raise RunFolderError(
            f"{path} is not a result that this hf_fft can read: {'; '.join(faults[:3])}. It was cut short, edited, or "
            f"written by another version. Run its recipe again."
        ) from fault


def write_predictions(folder: str | Path, predictions: Iterable[Prediction]) -> None:
    """Write `predictions.jsonl` into the run folder, row by row; the old file stays until the last is written."""
    names = [field.name for field in fields(Prediction)]
    with written_whole(Path(folder) / PREDICTIONS_FILE) as file:
        for prediction in predictions:
            row = as_json({name: getattr(prediction, name) for name in names})
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def read_predictions(folder: str | Path) -> list[Prediction]:
    """Read the predictions of a run folder, in the order in which they were written.

    Raises:
        RunFolderError: if there is no `predictions.jsonl`, or a line of it is not a prediction.
    """
    path = _existing(Path(folder) / PREDICTIONS_FILE)
    predictions, number = [], 0
    try:
        # Lines end at \n alone: a text may hold other line separators, which JSON does not escape.
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007 - the message below needs it
                predictions.append(Prediction(**json.loads(line)))
    except (ValueError, TypeError) as fault:
        raise RunFolderError(f"{path}, line {number}, is not a prediction ({fault}). Run the recipe again.") from fault
    return predictions


@contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Own the run folder, made if it is missing, until the block ends or the process dies.

    Raises:
        RunFolderError: if another run owns it; says which.
    """
    path = Path(folder) / LOCK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        owned = _own(descriptor, path)
        try:
            _write_owner(descriptor, f"process {os.getpid()} on {socket.gethostname()}" if owned else "")
            yield
        finally:
            # Emptied, never removed: a run that had just opened the removed file would own a lock nobody else sees.
            _write_owner(descriptor, "")
            if owned:
                _let_go(descriptor)
    finally:
        os.close(descriptor)


def _own(descriptor: int, path: Path) -> bool:
    """Take the lock; False where the system or the file system knows no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        owner = os.read(descriptor, 1000).decode(errors="replace").strip() or "another run"
        raise RunFolderError(
            f"{path.parent} is in use by {owner}. Wait until it has ended, stop it, or give another output_dir."
        ) from fault
    except ImportError:
        logger.warning("This system knows no file locks: nothing keeps two runs out of %s at once.", path.parent)
        return False
    except OSError as fault:
        if fault.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        logger.warning("The file system of %s knows no locks: nothing keeps two runs out of it at once.", path.parent)
        return False
    return True


def _let_go(descriptor: int) -> None:
    """Give the lock back at once; closing would not while a forked data worker still has the file open."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _write_owner(descriptor: int, owner: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, owner.encode(), 0)


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """Open a file beside `path` that takes its place when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Half of a surrogate pair cannot be written as UTF-8; as the escape \ud800 it is valid JSON and reads back.
        with open(part, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    inside = sorted(one.parent.name for one in path.parent.glob(f"*/{path.name}"))
    hint = f" It holds the run folders {', '.join(inside)}: give one of them." if inside else ""
    raise RunFolderError(f"{path.parent} holds no {path.name}, so it is not the folder of a finished run.{hint}")
