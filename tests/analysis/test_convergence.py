"""How soon a run comes near its best, and when it passes another's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hf_fft.analysis import RowStatistics
from hf_fft.analysis.convergence import best_of, first_epoch_near_best, seconds_to_pass, standard_error
from hf_fft.result import EvaluationPoint, Metric

ACCURACY, LOSS = Metric(name="score"), Metric(name="score", greater_is_better=False)


def points(*scores, first=1.0):
    return [
        EvaluationPoint(step=place, epoch=first + place, metrics={"score": score}, train_seconds=10.0 * (place + 1))
        for place, score in enumerate(scores)
    ]


def test_the_standard_error_of_a_share_is_the_formulas():
    right = np.arange(400) < 300
    values = np.stack([right.astype(float), np.ones(400)], axis=1)
    statistics = RowStatistics(values, lambda sums: sums[..., 0] / sums[..., 1])
    assert standard_error(statistics) == pytest.approx(math.sqrt(0.75 * 0.25 / 400), rel=0.1)
    assert standard_error(RowStatistics(values, lambda sums: sums[..., 0] * np.nan)) is None


def test_the_first_epoch_within_one_standard_error_of_the_best():
    rising = points(0.5, 0.7, 0.79, 0.8)
    assert first_epoch_near_best(rising, ACCURACY, standard_error=0.02) == 3
    assert first_epoch_near_best(rising, ACCURACY, standard_error=0.15) == 2
    assert first_epoch_near_best(rising, ACCURACY, standard_error=0.0) == 4
    assert first_epoch_near_best(points(3.0, 1.1, 1.0), LOSS, standard_error=0.2) == 2
    assert first_epoch_near_best(rising, ACCURACY, standard_error=None) is None
    assert first_epoch_near_best([], ACCURACY, standard_error=0.1) is None


def test_epochs_of_a_probe_count_from_its_beginning():
    probed = points(0.5, 0.6, 0.6, 0.9, first=-2.0)  # three epochs of the head alone, then one
    assert first_epoch_near_best(probed, ACCURACY, standard_error=0.01) == 4
    assert first_epoch_near_best(probed, ACCURACY, standard_error=0.35) == 2


def test_seconds_until_a_run_is_better_than_a_target():
    rising = points(None, 0.7, 0.8)
    assert best_of(rising, ACCURACY) == 0.8 and best_of(rising, LOSS) == 0.7
    assert seconds_to_pass(rising, ACCURACY, target=0.6) == 20.0
    assert seconds_to_pass(rising, ACCURACY, target=0.7) == 30.0  # as good is not past it
    assert seconds_to_pass(rising, ACCURACY, target=0.8) is None
    assert seconds_to_pass(points(3.0, 1.0), LOSS, target=2.0) == 20.0
