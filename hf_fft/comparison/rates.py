"""Which learning rate suits a strategy: a few are tried with a part of the training rows, and validation chooses.

No test score can enter the choice, for these runs leave the test split out altogether.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hf_fft.comparison.choices import Choice
from hf_fft.comparison.plan import PlannedRun
from hf_fft.errors import TrainingError
from hf_fft.result import Result
from hf_fft.result.comparison import RateSearch, RateTried

VALIDATION = "validation"


def searched(label: str, runs: Sequence[PlannedRun], results: Sequence[Result]) -> RateSearch:
    """Return which of the learning rates of one strategy is best on validation.

    A strategy is tuned if the best rate lies inside of those tried: a lower and a higher one are known to be no better,
    one that failed included. So of rates with the same score one inside is taken before one at an edge.

    Args:
        label: The strategy's.
        runs: One run a rate, in rising order.
        results: What came of them.

    Raises:
        TrainingError: if there is no validation split to choose by.
    """
    rates = [one.recipe.training.values()["learning_rate"] for one in runs]
    tried = [_tried(rate, result, label) for rate, result in zip(rates, results, strict=True)]
    metric = next((result.primary_metric for result in results if result.primary_metric is not None), None)
    sign = 1 if metric is None or metric.greater_is_better else -1
    inside = tried[1:-1]
    scored = [one for one in (*inside, tried[0], tried[-1]) if one.score is not None]
    best = max(scored, key=lambda one: sign * (one.score or 0.0), default=None)  # of equal ones the first
    return RateSearch(
        tried=tuple(tried),
        fraction=runs[0].fraction,
        seed=runs[0].recipe.seed,
        chosen=best.learning_rate if best is not None else None,
        tuned=any(one is best for one in inside),
    )


def with_rate(choice: Choice, search: RateSearch) -> Choice:
    """Return a strategy with the rate that was found; as it is where none gave a score."""
    if search.chosen is None:
        return choice
    return replace(choice, recipe=choice.recipe.with_values({"training.learning_rate": search.chosen}))


def _tried(rate: float, result: Result, label: str) -> RateTried:
    if result.status == "failed" or result.primary_metric is None:
        return RateTried(learning_rate=rate, error=result.error or "no reason was kept")
    if VALIDATION not in result.metrics:
        raise TrainingError(
            f"--rates: {label} has no validation split to choose a learning rate by. Set "
            "data.validation_fraction above 0, or leave --rates out."
        )
    return RateTried(learning_rate=rate, score=result.metrics[VALIDATION].get(result.primary_metric.name))
