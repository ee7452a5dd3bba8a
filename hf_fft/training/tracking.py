"""Experiment trackers: HF's callbacks do the logging; here a run gets one of its own, with recipe and result in it.

HF's callbacks (transformers 5.23) open a run of Weights & Biases only where none is open, and never end it, so that a
second training in one process would write into the first one's; where the server is out of reach, they wait ninety
seconds and then end the training. A run of Trackio they find by its name, whose ever it is, and open another one where
it has none as soon as something is predicted after training.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from hf_fft.errors import MissingExtraError, RecipeError
from hf_fft.recipe import Recipe
from hf_fft.recipe.words import near_miss
from hf_fft.result import Result

# What is asked of a tracker's server is given up after so long; training then goes on without it.
PATIENCE_SECONDS = 15.0
TENSORBOARD = "TENSORBOARD_LOGGING_DIR"
TENSORBOARD_FOLDER = "tensorboard"
# Trackers that a run is opened for here, and the extras that bring them.
EXTRAS = {"wandb": "wandb", "trackio": "trackio"}
OF_THE_RESULT = {"status", "metrics", "intervals", "cost", "best_step", "notes"}

Tell: TypeAlias = Callable[[Result], None]

logger = logging.getLogger(__name__)


def trackers_of(asked: dict[str, Any]) -> set[str]:
    """Return the trackers that the training section names; "all" are those that are installed."""
    named = asked.get("report_to") or []
    trackers = {named} if isinstance(named, str) else set(named)
    return trackers if trackers != {"all"} else set(get_available_reporting_integrations())


def check_trackers(asked: dict[str, Any]) -> None:
    """Refuse a tracker that transformers does not know, or that is not installed, before anything is loaded.

    Raises:
        RecipeError: with the near miss.
        MissingExtraError: naming what to install.
    """
    trackers = trackers_of(asked)
    for tracker in sorted(trackers - set(INTEGRATION_TO_CALLBACK)):
        if trackers != {"none"}:
            meant = near_miss(tracker, INTEGRATION_TO_CALLBACK)
            hint = f'did you mean "{meant}"?' if meant else f"there are {', '.join(INTEGRATION_TO_CALLBACK)}."
            raise RecipeError(f'training.report_to: "{tracker}" is no tracker that transformers knows; {hint}')
    for tracker in sorted(trackers & set(EXTRAS)):
        if find_spec(tracker) is None:
            raise MissingExtraError(EXTRAS[tracker], f'training.report_to "{tracker}"')


@contextmanager
def tracked(recipe: Recipe, folder: Path) -> Iterator[Tell]:
    """Open the trackers' runs for this training alone, and close them when the block ends; give what takes the result.

    A run of Weights & Biases that is open already is the caller's: it is written to, and left open. A tracker that
    cannot take the result costs no finished run its life: it is said, and that is all.

    Raises:
        RecipeError: if a tracker does not take what the recipe says of it.
    """
    trackers, kinds = trackers_of(recipe.training.values()), {"wandb": _in_wandb, "trackio": _in_trackio}
    if os.environ.get("RANK", "0") != "0":
        yield lambda result: None
        return
    with _tensorboard_beside(folder, wanted="tensorboard" in trackers), ExitStack() as opened:
        tells = [opened.enter_context(kinds[one](recipe, folder)) for one in sorted(trackers & set(kinds))]

        def tell_all(result: Result) -> None:
            for tell in tells:
                with _only_said():
                    tell(result)

        yield tell_all


@contextmanager
def _only_said() -> Iterator[None]:
    """Say what goes wrong with a tracker, whose errors may be any, and go on: nothing of a run depends on it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        logger.warning("A tracker did not take everything: %s: %s", type(error).__name__, error)


@contextmanager
def _in_wandb(recipe: Recipe, folder: Path) -> Iterator[Tell]:
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
            with _only_said():
                run.finish(exit_code=exit_code)


@contextmanager
def _in_trackio(recipe: Recipe, folder: Path) -> Iterator[Tell]:
    """Begin a run of this name, which HF's callback then finds as the latest one, and end it with the result.

    A Space that does not exist yet is made private: the recipe stands in the config, with the places of this machine.
    """
    import trackio

    asked, told = recipe.training.values(), list[Result]()
    place: dict[str, Any] = {"project": asked.get("project", "huggingface"), "name": run_name(recipe, folder)}
    place |= {name: asked.get(f"trackio_{name}") for name in ("space_id", "bucket_id")} | {"private": True}
    config = {"recipe": recipe.model_dump(mode="json", by_alias=True)}
    try:
        trackio.init(**place, config=config, resume="never")
    except Exception as error:
        raise RecipeError(f"training.report_to: trackio does not begin a run: {error}") from error
    # It is found by what was logged.
    trackio.log({"seed": recipe.seed})
    trackio.finish()
    try:
        yield told.append
    finally:
        with _only_said():
            # Whoever opens a run again replaces its config: HF's callback did so with its arguments.
            theirs = {name: value for name, value in trackio.config.items() if not name.startswith("_")}
            trackio.init(**place, config=theirs | config, resume="allow")
            trackio.log(_figures(told[0]) if told else {"failed": 1})
            trackio.finish()


def _figures(result: Result) -> dict[str, float]:
    """Return scores and cost, flat."""
    cost = {} if result.cost is None else result.cost.model_dump(mode="json")
    flat = {f"{split}/{name}": value for split, some in result.metrics.items() for name, value in some.items()}
    flat |= {f"cost/{name}": value for name, value in cost.items()}
    return {name: value for name, value in flat.items() if isinstance(value, (int, float))}


def run_name(recipe: Recipe, folder: Path) -> str:
    """Return what trackers call a run: as the recipe says, otherwise like its folder."""
    return recipe.training.values().get("run_name") or folder.name


def _started(recipe: Recipe, folder: Path) -> Any:
    """Start a run; offline where the server is out of reach or there is no key for it."""
    import wandb

    options: dict[str, Any] = {
        "project": os.environ.get("WANDB_PROJECT", "huggingface"),
        "name": run_name(recipe, folder),
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
