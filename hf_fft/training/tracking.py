"""Experiment trackers: HF's callbacks do the logging; here a run gets one of its own, with recipe and result in it.

HF's callback (transformers 5.23) starts a run of Weights & Biases only where none is open and never ends it, so that a
second training in one process would write into the first one's; and where the server is out of reach, it waits ninety
seconds and then ends the training.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from hf_fft.recipe import Recipe
from hf_fft.result import Result

# What is asked of a tracker's server is given up after so long; training then goes on without it.
PATIENCE_SECONDS = 15.0
TENSORBOARD = "TENSORBOARD_LOGGING_DIR"
TENSORBOARD_FOLDER = "tensorboard"
OF_THE_RESULT = {"status", "metrics", "intervals", "cost", "best_step", "notes"}

Tell: TypeAlias = Callable[[Result], None]

logger = logging.getLogger(__name__)


def trackers_of(asked: dict[str, Any]) -> set[str]:
    """Return the trackers that the training section names."""
    named = asked.get("report_to") or []
    return {named} if isinstance(named, str) else set(named)


@contextmanager
def tracked(recipe: Recipe, folder: Path) -> Iterator[Tell]:
    """Open a tracker's run for this training alone, and close it when the block ends; give what takes the result.

    A run of Weights & Biases that is open already is the caller's: it is written to, and left open.
    """
    trackers = trackers_of(recipe.training.values())
    with _tensorboard_beside(folder, wanted=bool(trackers & {"tensorboard", "all"})):
        if "wandb" not in trackers or os.environ.get("RANK", "0") != "0":
            yield lambda result: None
            return
        import wandb

        theirs = wandb.run
        run = theirs or _started(recipe, folder)
        run.config.update({"recipe": recipe.model_dump(mode="json", by_alias=True)}, allow_val_change=True)
        exit_code = 1
        try:
            yield lambda result: run.summary.update(result.model_dump(mode="json", include=OF_THE_RESULT))
            exit_code = 0
        finally:
            if theirs is None:
                run.finish(exit_code=exit_code)


def _started(recipe: Recipe, folder: Path) -> Any:
    """Start a run; offline where the server is out of reach or there is no key for it."""
    import wandb

    options: dict[str, Any] = {
        "project": os.environ.get("WANDB_PROJECT", "huggingface"),
        "name": recipe.training.values().get("run_name") or folder.name,
    }
    # What is printed may hold anything, and would be kept with the run.
    settings: dict[str, Any] = {"console": "off", "init_timeout": PATIENCE_SECONDS, "login_timeout": PATIENCE_SECONDS}
    settings |= {"finish_timeout": PATIENCE_SECONDS}
    try:
        return wandb.init(**options, settings=wandb.Settings(**settings))
    except wandb.errors.Error as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        run = wandb.init(**options, mode="offline", settings=wandb.Settings(**settings))
        logger.warning(
            "Weights & Biases is out of reach (%s); this run is kept in %s. Later: wandb sync %s",
            first,
            Path(run.dir).parent,
            Path(run.dir).parent,
        )
        return run


@contextmanager
def _tensorboard_beside(folder: Path, *, wanted: bool) -> Iterator[None]:
    """Let TensorBoard write into the run folder; HF's place for it goes with the checkpoints."""
    if not wanted or TENSORBOARD in os.environ:
        yield
        return
    os.environ[TENSORBOARD] = str(folder / TENSORBOARD_FOLDER)
    try:
        yield
    finally:
        del os.environ[TENSORBOARD]
