"""Rows needed, read off a learning curve."""

from __future__ import annotations

import pytest

from hf_fft.analysis.data_required import data_required
from hf_fft.result import Metric
from hf_fft.result.comparison import LearningPoint, Spread


def curve(*scores, rows=(100, 1000, 10_000)):
    return [
        LearningPoint(fraction=count / rows[-1], train_rows=count, score=Spread(mean=score))
        for count, score in zip(rows, scores, strict=True)
    ]


CASES = {
    "half way in the logarithm": ((0.5, 0.7, 0.8), 0.6, ("about", 316)),
    "exactly at a point": ((0.5, 0.7, 0.8), 0.7, ("about", 1000)),
    "exactly at the first": ((0.5, 0.7, 0.8), 0.5, ("about", 100)),
    "already with the fewest": ((0.5, 0.7, 0.8), 0.4, ("fewer than", 100)),
    "not even with all": ((0.5, 0.7, 0.8), 0.9, ("more than", 10_000)),
    "where it is reached first": ((0.5, 0.7, 0.65), 0.6, ("about", 316)),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_are_interpolated_between_the_measured_shares(case):
    scores, target, (bound, rows) = CASES[case]
    required = data_required(curve(*scores), Metric(name="accuracy"), target=target)
    assert (required.bound, required.rows, required.target) == (bound, rows, target)


def test_a_metric_that_should_be_small_is_turned():
    required = data_required(curve(3.0, 2.0, 1.0), Metric(name="loss", greater_is_better=False), target=2.5)
    assert (required.bound, required.rows) == ("about", 316)


def test_one_point_is_no_curve():
    assert data_required(curve(0.5, rows=(100,)), Metric(name="accuracy"), target=0.4) is None
