"""Whether strategies can train a model at all, by its configuration alone: no weights, no data.

Started as a process of its own before a comparison trains anything: `python -m hf_fft.comparison.fitness REQUEST`. A
language model tied to its embeddings has no head for `feature_based` to train, and that should be known before `full`
has taken its hours.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from hf_fft.command_line import run_door
from hf_fft.errors import StrategyError
from hf_fft.recipe import Recipe, recipe_from
from hf_fft.strategies import strategy_for
from hf_fft.tasks import task_for
from hf_fft.tasks.pretrained import load_config

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the recipes of a request, a JSON file, and return the exit code."""
    parser = argparse.ArgumentParser(prog="hf_fft.comparison.fitness")
    parser.add_argument("request")
    options = parser.parse_args(arguments)
    wishes = json.loads(Path(options.request).read_text(encoding="utf-8"))["strategies"]
    recipes = {one["label"]: recipe_from(one["recipe"], source=f'strategy "{one["label"]}"') for one in wishes}
    return run_door(lambda: refuse_misfits(recipes))


def refuse_misfits(recipes: Mapping[str, Recipe]) -> None:
    """Refuse strategies that cannot train their model.

    Args:
        recipes: By the label of the strategy.

    Raises:
        StrategyError: naming every one of them with its reason.
        RecipeError: if there is no such model, or the task has no use for it.
    """
    reasons = {label: reason for label, recipe in recipes.items() if (reason := _misfit(recipe)) is not None}
    if reasons:
        said = " ".join(f"{label}: {reason}" for label, reason in reasons.items())
        others = [label for label in recipes if label not in reasons]
        advice = f"compare {' '.join(others)} alone" if others else "choose others"
        raise StrategyError(f"--strategies: nothing was trained. {said} Leave them out and {advice}.")


def _misfit(recipe: Recipe) -> str | None:
    """Return why a strategy cannot train its model; None if it can, or if only the run itself can tell."""
    task = task_for(recipe.task).for_model(recipe.model)
    if recipe.model.trust_remote_code or getattr(task.recipe, "architecture", None) == "warm_started":
        return None
    config = load_config(recipe.model)
    try:
        with torch.device("meta"):
            model: PreTrainedModel = task.auto_model_for(recipe.model).from_config(config)
        strategy_for(recipe.strategy).prepare(model)
    except StrategyError as error:
        return str(error)
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        logger.info("%s: whether it suits the model will be seen when it runs (%s)", recipe.strategy.name, error)
    return None


if __name__ == "__main__":
    sys.exit(main())
