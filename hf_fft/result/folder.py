"""Who owns a run folder, and what may happen to what lies in it.

A folder that holds this very run, finished, is left as it is. A folder that holds another run is refused, for somebody
may want it. A run that failed or was interrupted leaves nothing to protect, so the same recipe starts anew there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_fft.errors import HfFftError, RunFolderError
from hf_fft.recipe import Recipe
from hf_fft.result.records import Result
from hf_fft.result.store import (
    LOCK_FILE,
    PREDICTIONS_FILE,
    PUBLICATION_FILE,
    RESULT_FILE,
    load_result,
    lock,
    write_json,
)

RECIPE_FILE = "recipe.json"

CHECKPOINTS = "checkpoints"
OURS = (
    RECIPE_FILE,
    RESULT_FILE,
    PREDICTIONS_FILE,
    PUBLICATION_FILE,
    "README.md",
    "model",
    "plots",
    "tensorboard",
    CHECKPOINTS,
)


@contextmanager
def open_run_folder(folder: Path, recipe: Recipe, *, overwrite: bool = False) -> Iterator[Result | None]:
    """Own a run folder for a while; give its result if it holds this very run, finished.

    Under torchrun the first process alone owns it; the others only look whether there is anything to do.

    Raises:
        RunFolderError: if another process owns the folder, it holds another run, or it is no run folder at all.
    """
    if not _is_first_process():
        yield None if overwrite else _finished(folder)
        return
    created = _topmost_missing(folder)
    _refuse_foreign(folder, recipe, overwrite=overwrite)
    with lock(folder):
        try:
            yield None if overwrite else _finished(folder)
        except HfFftError:
            if created is not None and not (folder / RECIPE_FILE).exists():
                _leave_no_trace(folder, created)
            raise


def finished_run(folder: Path, recipe: Recipe) -> Result | None:
    """Return the result of this very run where the folder holds it, finished; None where it is still to be made.

    Raises:
        RunFolderError: if the folder holds another run, or is no run folder at all.
    """
    _refuse_foreign(folder, recipe, overwrite=False)
    return _finished(folder)


def begin_run(folder: Path, recipe: Recipe) -> None:
    """Clear what an earlier run left and write down the recipe: from here on the folder is this run's.

    Called when nothing is left that a user could have to put right, so that a refused run costs no finished one.
    """
    if _is_first_process():
        _clear(folder)
        write_json(folder / RECIPE_FILE, recipe.model_dump(mode="json", by_alias=True))


def failed_result(recipe: Recipe, error: Exception) -> Result:
    """Return the result of a run that stopped with an error."""
    return Result(status="failed", recipe=recipe, error=f"{type(error).__name__}: {error}")


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _finished(folder: Path) -> Result | None:
    if not (folder / RESULT_FILE).exists():
        return None
    result = load_result(folder)
    return result if result.status == "finished" else None


def _refuse_foreign(folder: Path, recipe: Recipe, *, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunFolderError(f"{folder} is a file, and results need a folder. Choose another --output-dir.")
    if all(path.name == LOCK_FILE for path in folder.iterdir()):
        return
    # The lock file stays in every run folder, so a folder that merely holds a recipe.json is not taken for one.
    missing = [name for name in (RECIPE_FILE, LOCK_FILE) if not (folder / name).exists()]
    if missing:
        raise RunFolderError(
            f"{folder} exists and is not a run folder ({missing[0]} is missing). Choose another --output-dir."
        )
    if overwrite or ((folder / RESULT_FILE).exists() and _finished(folder) is None):
        return
    differing = _differing(_stored_recipe(folder), recipe)
    if differing:
        raise RunFolderError(
            f"{folder} holds a run of another recipe; these differ: {', '.join(differing)}. "
            "Choose another --output-dir, or pass --overwrite."
        )


def _stored_recipe(folder: Path) -> dict[str, object]:
    try:
        stored = json.loads((folder / RECIPE_FILE).read_text())
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise RunFolderError(f"{folder / RECIPE_FILE} is damaged. Choose another --output-dir, or pass --overwrite.")
    return stored


def _differing(stored: dict[str, object], recipe: Recipe) -> list[str]:
    """Name the sections in which a stored recipe differs; where a run is put or sent is not part of what it is."""
    asked = recipe.model_dump(mode="json", by_alias=True)
    keys = sorted((set(stored) | set(asked)) - {"output_dir", "hub", "$schema"})
    return [key for key in keys if stored.get(key) != asked.get(key)]


def _leave_no_trace(folder: Path, created: Path) -> None:
    """Remove a folder in which nothing began, and those above it that were made for it, as far as they are empty."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    (folder / LOCK_FILE).unlink(missing_ok=True)
    for path in (folder, *folder.parents):
        if any(path.iterdir()):
            return
        path.rmdir()
        if path == created:
            return


def _topmost_missing(folder: Path) -> Path | None:
    """Return the highest folder that will have to be made for this one, or None if it is there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    return missing[-1] if missing else None


def _clear(folder: Path) -> None:
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
