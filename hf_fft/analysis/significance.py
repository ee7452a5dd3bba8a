"""Is a difference between two strategies more than chance? Intervals and tests over rows and seeds.

Rows that belong together (reviews of one film, questions on one article) are drawn together, seeds are drawn as a
second level, and metrics that are no mean of rows, such as the F1 of entities, are computed from the sums of each row's
statistics, so ten thousand draws take seconds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from hf_fft.analysis.statistics import Combine, RowStatistics

DRAWS = 10_000
LEVEL = 0.95
QUANTILES = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
# The ends of an interval that is only shown, with three figures, need fewer.
INTERVAL_DRAWS = 1_000
# Draws are made in portions of about so many counts, to bound memory.
COUNTS_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class Difference:
    """How much better one strategy is than another, and how sure that is.

    Attributes:
        estimate: The metric of the first minus that of the second, each the mean over its seeds.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p_value: Two-sided; how often a difference as large would come by chance if there were none.
    """

    estimate: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    ours: Sequence[RowStatistics],
    theirs: Sequence[RowStatistics],
    *,
    clusters: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Return the difference between two strategies on the same rows, by drawing rows and seeds again and again.

    Percentile intervals over resampled clusters (Efron and Tibshirani 1993, ch. 13; for test sets of language tasks
    Koehn 2004). Both strategies see the same rows in every draw; their seeds are drawn independently.

    Args:
        ours: The statistics of the test rows, one element a seed.
        theirs: The same of the strategy that it is compared with.
        clusters: What each row belongs to; rows of one cluster are drawn together. Each row alone if absent.
        draws: How often.
        seed: Of the draws.
    """
    rows = len(ours[0].values)
    assert all(len(one.values) == rows for one in (*ours, *theirs)), "both strategies must have scored the same rows"
    groups = _groups(clusters, rows)
    combine = ours[0].combine
    mine, other = (_by_group(runs, groups) for runs in (ours, theirs))
    estimate = _mean(mine.sum(axis=1), combine) - _mean(other.sum(axis=1), combine)
    generator = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            _drawn(mine, counts, combine, generator) - _drawn(other, counts, combine, generator)
            for counts in _counts(groups.max() + 1, draws, generator)
        ]
    )
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Difference(float(estimate), float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(drawn, QUANTILES)
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p_value = max(2 * (beyond + 1) / (len(drawn) + 1), _least_p_value(mine, other))
    return Difference(float(estimate), float(low), float(high), min(1.0, p_value))


def score_intervals(
    runs: Mapping[str, RowStatistics],
    *,
    clusters: Sequence[Hashable] | None = None,
    draws: int = INTERVAL_DRAWS,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each score of one run, by drawing its rows again and again; see `paired_bootstrap`.

    Args:
        runs: The statistics of the same rows, by metric.
        clusters: What each row belongs to; rows of one cluster are drawn together. Each row alone if absent.
        draws: How often.
        seed: Of the draws.
    """
    if not runs:
        return {}
    rows = len(next(iter(runs.values())).values)
    groups = _groups(clusters, rows)
    sums = {name: _by_group([one], groups)[0] for name, one in runs.items()}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in runs}
    for counts in _counts(groups.max() + 1, draws, np.random.default_rng(seed)):
        for name, one in runs.items():
            drawn[name].append(one.combine(counts @ sums[name]))
    scores = {name: np.concatenate(parts) for name, parts in drawn.items()}
    ends = {name: np.nanquantile(one, QUANTILES) for name, one in scores.items() if not np.isnan(one).all()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def mcnemar(ours: Sequence[bool], theirs: Sequence[bool]) -> float:
    """Return the exact two-sided p-value that two classifiers err equally often on the same rows (McNemar 1947).

    Args:
        ours: Whether each row was right, by one.
        theirs: The same by the other.
    """
    one, other = np.asarray(ours, dtype=bool), np.asarray(theirs, dtype=bool)
    only_one, only_other = int((one & ~other).sum()), int((~one & other).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(binomtest(only_one, only_one + only_other, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many there are, in their order (Holm 1979)."""
    count = len(p_values)
    corrected = [0.0] * count
    highest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (count - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _groups(clusters: Sequence[Hashable] | None, rows: int) -> np.ndarray:
    """Number what each row belongs to, from 0."""
    if clusters is None:
        return np.arange(rows)
    return np.unique([str(one) for one in clusters], return_inverse=True)[1]


def _by_group(runs: Sequence[RowStatistics], groups: np.ndarray) -> np.ndarray:
    """Sum the statistics of each cluster's rows: (seeds, clusters, statistics)."""
    summed = np.zeros((len(runs), groups.max() + 1, runs[0].values.shape[1]))
    for place, run in enumerate(runs):
        np.add.at(summed[place], groups, run.values)
    return summed


def _least_p_value(mine: np.ndarray, other: np.ndarray) -> float:
    """Return the smallest p-value that so few clusters can give: that of a sign test on those that differ at all.

    A bootstrap cannot draw what it has not seen, so of three clusters of one sign it would be sure.
    """
    differs = ~np.isclose(mine.mean(axis=0), other.mean(axis=0)).all(axis=-1)
    return float(2 * 0.5 ** float(differs.sum()))


def _counts(groups: int, draws: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield portions of draws: how often each cluster was drawn, (draws, clusters)."""
    portion = max(1, COUNTS_AT_ONCE // groups)
    for start in range(0, draws, portion):
        size = min(portion, draws - start)
        chosen = generator.integers(groups, size=(size, groups)) + np.arange(size)[:, None] * groups
        yield np.bincount(chosen.ravel(), minlength=size * groups).reshape(size, groups).astype(np.float64)


def _drawn(sums: np.ndarray, counts: np.ndarray, combine: Combine, generator: np.random.Generator) -> np.ndarray:
    """Return the metric in every draw, the mean over seeds drawn with replacement: (draws,)."""
    scores = np.stack([combine(counts @ one) for one in sums], axis=1)
    seeds = generator.integers(len(sums), size=scores.shape)
    return np.take_along_axis(scores, seeds, axis=1).mean(axis=1)


def _mean(totals: np.ndarray, combine: Combine) -> float:
    return float(np.mean(combine(totals)))
