"""From a recipe, strategies and settings to the list of runs: each a whole recipe and a folder of its own.

    <comparison>/runs/<label>/seed-<n>[-fraction-<f>]     a strategy's run, or a baseline's
    <comparison>/runs/<label>/rates/rate-<r>              one learning rate of a search

A run's recipe is complete, learning rate included, so it is the very recipe that the run folder will hold: whether a
run is finished can be seen without starting it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hf_fft.comparison.choices import Choice
from hf_fft.comparison.settings import UNTRAINED_HEAD, Settings
from hf_fft.recipe import DEFAULT_LEARNING_RATES, Recipe

RUNS = "runs"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a comparison.

    Attributes:
        name: Unique: "lora", or "lora, seed 2, fraction 0.1" where there are several.
        label: The row of the table that it belongs to.
        kind: What trains: a strategy; or a baseline, which `hf_fft.comparison.baselines` computes.
        recipe: What to run, complete.
        fraction: Share of the training rows, of those that the comparison's recipe leaves.
        folder: The run folder, from the comparison's own.
    """

    name: str
    label: str
    kind: Literal["strategy", "baseline"]
    recipe: Recipe
    fraction: float
    folder: str

    @property
    def is_trained(self) -> bool:
        """Whether this is an ordinary run of a recipe; the other baselines are computed without a model."""
        return self.kind == "strategy" or self.label == UNTRAINED_HEAD


def planned_runs(
    recipe: Recipe, choices: Sequence[Choice], *, baselines: Sequence[str], settings: Settings
) -> list[PlannedRun]:
    """Return every run: seed by seed all strategies, all rows first, then the baselines.

    In this order a comparison that is stopped has compared something.

    The pretrained model with an untrained head has one run a seed, for a seed draws the head. The other baselines do
    not depend on a seed and are computed for every fraction.
    """
    seeds, fractions = seeds_of(recipe, settings), sorted(settings.fractions, reverse=True)
    runs = [
        _run(choice.label, choice.folder, choice.recipe, seed=seed, fraction=fraction)
        for seed in seeds
        for choice in choices
        for fraction in fractions
    ]
    for name in baselines:
        if name == UNTRAINED_HEAD:
            drawn = untrained(recipe)
            runs += [_run(name, name, drawn, seed=seed, fraction=fractions[0], kind="baseline") for seed in seeds]
        else:
            runs += [
                _run(name, name, data_alone(recipe), seed=seeds[0], fraction=fraction, kind="baseline")
                for fraction in fractions
            ]
    return _named(runs)


def rate_runs(recipe: Recipe, choice: Choice, settings: Settings) -> list[PlannedRun]:
    """Return a strategy's runs for the search of its learning rate, in rising order of the rates.

    They leave the test split out of the run altogether (`data.max_test_rows` 0), so no test score can enter the choice.
    """
    seed = seeds_of(recipe, settings)[0]
    runs = []
    for rate in sorted(settings.rates):
        changes = {"training.learning_rate": rate, "data.max_test_rows": 0}
        run = _run(
            choice.label, choice.folder, choice.recipe.with_values(changes), seed=seed, fraction=settings.rates_fraction
        )
        folder = f"{RUNS}/{choice.folder}/rates/rate-{rate:g}"
        runs.append(replace(run, folder=folder, name=f"{choice.label}, rate {rate:g}"))
    return runs


def seeds_of(recipe: Recipe, settings: Settings) -> tuple[int, ...]:
    """Return the seeds of a comparison; the recipe's own where none are named."""
    return tuple(settings.seeds) or (recipe.seed,)


def untrained(recipe: Recipe) -> Recipe:
    """Return the recipe that scores the pretrained model as it comes, with a new head where the task needs one."""
    training = {key: value for key, value in recipe.training.values().items() if key != "max_steps"}
    return recipe.with_values(
        {
            "strategy": "full",
            "training": {
                **training,
                "learning_rate": DEFAULT_LEARNING_RATES["full"],
                "num_train_epochs": 0.0,
            },
            "early_stopping": None,
        }
    )


def data_alone(recipe: Recipe) -> Recipe:
    """Return the recipe of a baseline that no training option touches, so that a change of one leaves it finished."""
    return recipe.with_values({"strategy": "full", "training": {}, "early_stopping": None})


def _run(
    label: str,
    folder: str,
    recipe: Recipe,
    *,
    seed: int,
    fraction: float,
    kind: Literal["strategy", "baseline"] = "strategy",
) -> PlannedRun:
    share = recipe.data.train_fraction * fraction
    # A comparison publishes none of its runs: they would replace one another.
    changed = recipe.with_values({"seed": seed, "data.train_fraction": share, "output_dir": None, "hub": None})
    part = "" if fraction == 1 else f"-fraction-{fraction:g}"
    return PlannedRun(label, label, kind, changed, fraction, f"{RUNS}/{folder}/seed-{seed}{part}")


def _named(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Give every run a name that says only what tells it from the others of its label."""
    named = []
    for run in runs:
        others = [other for other in runs if other.label == run.label]
        seed = f", seed {run.recipe.seed}" if len({other.recipe.seed for other in others}) > 1 else ""
        fraction = f", fraction {run.fraction:g}" if len({other.fraction for other in others}) > 1 else ""
        named.append(replace(run, name=f"{run.label}{seed}{fraction}"))
    return named
