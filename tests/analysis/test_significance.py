"""Intervals and p-values equal an independent computation, and cover nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hf_fft.analysis import RowStatistics, holm, mcnemar, paired_bootstrap, score_intervals


def mean_of(values) -> RowStatistics:
    """Return the statistics of a plain mean over rows."""
    columns = np.stack([np.asarray(values, dtype=float), np.ones(len(values))], axis=1)
    return RowStatistics(columns, lambda sums: sums[..., 0] / sums[..., 1])


def right(rows: int, share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(rows) < share


def test_the_interval_of_a_mean_difference_is_scipys():
    ours, theirs = right(400, 0.8, 1), right(400, 0.7, 2)
    difference = paired_bootstrap([mean_of(ours)], [mean_of(theirs)])
    expected = stats.bootstrap(
        (ours.astype(float) - theirs,), np.mean, method="percentile", n_resamples=10_000, rng=3
    ).confidence_interval
    assert difference.estimate == pytest.approx(ours.mean() - theirs.mean())
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), abs=4e-3)


def test_rows_of_one_cluster_are_drawn_together():
    generator = np.random.default_rng(5)
    clusters = np.repeat(np.arange(40), 10)
    effect = np.repeat(generator.normal(0.1, 0.3, 40), 10)
    ours, theirs = mean_of(effect), mean_of(np.zeros(400))
    together = paired_bootstrap([ours], [theirs], clusters=[f"film {one}" for one in clusters])
    alone = paired_bootstrap([ours], [theirs])
    expected = stats.bootstrap(
        (effect[::10],), np.mean, method="percentile", n_resamples=10_000, rng=3
    ).confidence_interval
    assert (together.low, together.high) == pytest.approx((expected.low, expected.high), abs=8e-3)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_a_ratio_of_sums_is_drawn_as_a_ratio():
    generator = np.random.default_rng(6)
    found, there = generator.integers(0, 3, 300).astype(float), generator.integers(2, 5, 300).astype(float)

    def ratio(chosen: np.ndarray) -> float:
        return float(found[chosen].sum() / there[chosen].sum())

    ours = RowStatistics(np.stack([found, there], axis=1), lambda sums: sums[..., 0] / sums[..., 1])
    nothing = RowStatistics(np.stack([0 * found, there], axis=1), lambda sums: sums[..., 0] / sums[..., 1])
    difference = paired_bootstrap([ours], [nothing])
    drawn = [ratio(generator.integers(300, size=300)) for _ in range(4000)]
    assert (difference.low, difference.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=5e-3)


def test_seeds_widen_the_interval_where_they_differ():
    rows = 2000
    steady = [mean_of(right(rows, 0.8, seed)) for seed in range(3)]
    shaky = [mean_of(right(rows, share, seed)) for seed, share in enumerate((0.7, 0.8, 0.9))]
    base = [mean_of(right(rows, 0.75, seed)) for seed in range(10, 13)]
    narrow, wide = paired_bootstrap(steady, base), paired_bootstrap(shaky, base)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert wide.estimate == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_two_runs_of_equal_skill_are_not_told_apart(seed):
    # Each differs from the truth on rows of its own: the same skill, another seed.
    difference = paired_bootstrap([mean_of(right(800, 0.77, seed))], [mean_of(right(800, 0.77, seed + 50))])
    assert difference.low < 0 < difference.high
    assert difference.p_value > 0.05


def test_the_p_value_is_small_where_the_interval_is_far_from_zero():
    difference = paired_bootstrap([mean_of(right(800, 0.85, 1))], [mean_of(right(800, 0.7, 2))])
    assert difference.low > 0
    assert difference.p_value < 0.001


def test_the_same_seed_of_the_draws_gives_the_same_interval():
    pair = [mean_of(right(100, 0.8, 1))], [mean_of(right(100, 0.7, 2))]
    assert paired_bootstrap(*pair, draws=500) == paired_bootstrap(*pair, draws=500)


@pytest.mark.parametrize("clusters", [None, ["a", "a", "a"], ["a", "a", "b"]])
def test_three_rows_or_fewer_clusters_of_one_sign_decide_nothing(clusters):
    difference = paired_bootstrap([mean_of([1, 1, 1])], [mean_of([0, 0, 0])], clusters=clusters)
    different = 3 if clusters is None else len(set(clusters))
    assert difference.p_value == pytest.approx(min(1.0, 2 * 0.5**different))


def test_other_rows_are_a_mistake_of_the_caller():
    with pytest.raises(AssertionError, match="the same rows"):
        paired_bootstrap([mean_of([1, 0])], [mean_of([1, 0, 1])])


def test_mcnemar_is_the_binomial_test_of_the_rows_that_only_one_got_right():
    ours = [True] * 15 + [False] * 5 + [True] * 60 + [False] * 20
    theirs = [False] * 15 + [True] * 5 + [True] * 60 + [False] * 20
    # Exact two-sided binomial by hand: 2 * P(at most 5 of 20).
    by_hand = 2 * sum(stats.binom.pmf(count, 20, 0.5) for count in range(6))
    assert mcnemar(ours, theirs) == pytest.approx(by_hand)
    assert mcnemar(ours, ours) == 1.0


def test_holm_multiplies_by_how_many_are_left_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_the_interval_of_one_score_is_scipys_and_wider_where_rows_belong_together():
    rows = right(400, 0.8, 1)
    ends = score_intervals({"accuracy": mean_of(rows), "twice": mean_of(2.0 * rows)}, draws=10_000)
    expected = stats.bootstrap((rows.astype(float),), np.mean, method="percentile", rng=3).confidence_interval
    assert ends["accuracy"] == pytest.approx((expected.low, expected.high), abs=4e-3)
    assert ends["twice"] == pytest.approx([2 * end for end in ends["accuracy"]])
    joined = mean_of(np.repeat(rows[:40], 10))
    low, high = score_intervals({"accuracy": joined}, clusters=[row // 10 for row in range(400)])["accuracy"]
    apart_low, apart_high = score_intervals({"accuracy": joined})["accuracy"]
    assert high - low > 2 * (apart_high - apart_low)


def test_a_score_that_no_draw_gives_has_no_interval():
    nothing = RowStatistics(np.zeros((3, 1)), lambda sums: np.full(sums.shape[:-1], np.nan))
    assert score_intervals({"pearson": nothing}) == {} == score_intervals({})
