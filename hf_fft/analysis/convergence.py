"""How soon a run comes near its best, and how long it took to pass another run's best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from hf_fft.analysis.statistics import RowStatistics
from hf_fft.result import EvaluationPoint, Metric

DRAWS = 1000


def standard_error(statistics: RowStatistics, *, draws: int = DRAWS, seed: int = 0) -> float | None:
    """Return the standard error of a metric over rows, by drawing rows again and again; None where it has none.

    For a share p of n rows this is √(p (1 − p) / n) but for the chance of the draws.
    """
    rows = len(statistics.values)
    generator = np.random.default_rng(seed)
    even = np.full(rows, 1 / rows)
    scores = [
        float(statistics.combine(generator.multinomial(rows, even).astype(float) @ statistics.values))
        for _ in range(draws)
    ]
    known = np.array(scores)[~np.isnan(scores)]
    return float(known.std(ddof=1)) if len(known) > 1 else None


def best_of(points: Iterable[EvaluationPoint], metric: Metric) -> float | None:
    """Return the best of a metric over evaluations; None where it was never a number."""
    return max(_scores(points, metric), key=_rank(metric), default=None)


def first_epoch_near_best(
    points: Sequence[EvaluationPoint], metric: Metric, *, standard_error: float | None
) -> float | None:
    """Return the epoch of the first evaluation within one standard error of the best.

    Counted from the beginning of training: a head that was trained beforehand has its evaluations, one an epoch, at
    epochs up to zero, and those count too. None without a standard error or evaluations.
    """
    best = best_of(points, metric)
    if best is None or standard_error is None:
        return None
    sign = _sign(metric)
    near = (
        point
        for point in points
        if (score := point.metrics.get(metric.name)) is not None and sign * score >= sign * best - standard_error
    )
    return next(near).epoch + _epochs_before_zero(points)


def seconds_to_pass(points: Iterable[EvaluationPoint], metric: Metric, *, target: float) -> float | None:
    """Return the training seconds at the first evaluation that is better than the target; None where none is."""
    sign = _sign(metric)
    for point in points:
        score = point.metrics.get(metric.name)
        if score is not None and sign * score > sign * target:
            return point.train_seconds
    return None


def _epochs_before_zero(points: Sequence[EvaluationPoint]) -> float:
    first = points[0].epoch
    # The first evaluation comes after one epoch, so its place below zero says how many there were.
    return 1 - first if first <= 0 else 0.0


def _scores(points: Iterable[EvaluationPoint], metric: Metric) -> list[float]:
    return [score for point in points if (score := point.metrics.get(metric.name)) is not None]


def _rank(metric: Metric) -> Callable[[float], float]:
    sign = _sign(metric)
    return lambda score: sign * score


def _sign(metric: Metric) -> int:
    return 1 if metric.greater_is_better else -1
