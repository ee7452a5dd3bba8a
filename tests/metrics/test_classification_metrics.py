"""Hand-computed scores, the same scores from scikit-learn, and what happens where a formula has no answer."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import metrics

from hf_fft.errors import DataError
from hf_fft.metrics import greater_is_better, multi_label_scores, regression_scores, single_label_scores

LABELS = ("negative", "neutral", "positive")


def test_single_label_scores_by_hand():
    # negative: 2 of 3 guessed are right, 2 of 2 found. neutral: never guessed. positive: 1 of 1, 1 of 1.
    scores = single_label_scores([0, 0, 1, 2], [0, 0, 0, 2], LABELS)
    assert scores["accuracy"] == 0.75
    assert scores["precision/negative"] == pytest.approx(2 / 3)
    assert scores["recall/negative"] == 1
    assert scores["f1/negative"] == pytest.approx(0.8)
    assert scores["precision/neutral"] == scores["recall/neutral"] == scores["f1/neutral"] == 0
    assert scores["f1/positive"] == 1
    assert scores["f1_macro"] == pytest.approx(1.8 / 3)
    assert scores["f1_weighted"] == pytest.approx((2 * 0.8 + 0 + 1) / 4)
    assert scores["precision_macro"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert scores["recall_macro"] == pytest.approx(2 / 3)
    # Of the 4 x 4 pairs: (4*3 - (2*3 + 1*0 + 1*1)) / sqrt((16 - 10) * (16 - 6)).
    assert scores["matthews_correlation"] == pytest.approx(5 / math.sqrt(60))


def test_single_label_scores_agree_with_scikit_learn():
    random = np.random.default_rng(0)
    gold, guess = random.integers(0, 3, 200), random.integers(0, 3, 200)
    scores = single_label_scores(gold, guess, LABELS)
    assert scores["f1_macro"] == pytest.approx(metrics.f1_score(gold, guess, average="macro"))
    assert scores["precision_weighted"] == pytest.approx(metrics.precision_score(gold, guess, average="weighted"))
    assert scores["recall_weighted"] == pytest.approx(metrics.recall_score(gold, guess, average="weighted"))
    assert scores["matthews_correlation"] == pytest.approx(metrics.matthews_corrcoef(gold, guess))
    assert all(isinstance(value, float) for value in scores.values())


def test_a_label_in_neither_gold_nor_guess_has_no_score_and_stays_out_of_the_macro_average():
    scores = single_label_scores([0, 0, 1, 1], [0, 1, 1, 1], LABELS)
    assert math.isnan(scores["f1/positive"]) and math.isnan(scores["precision/positive"])
    assert scores["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_label_that_is_only_guessed_scores_zero_and_counts_in_the_macro_average():
    scores = single_label_scores([0, 0], [0, 2], LABELS)
    assert scores["f1/positive"] == scores["recall/positive"] == 0
    assert scores["f1_macro"] == pytest.approx((2 / 3) / 2)


def test_small_and_one_sided_splits_leak_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert single_label_scores([1], [1], LABELS)["accuracy"] == 1
        single_label_scores([0, 1, 2], [2, 0, 1], LABELS)
        multi_label_scores([[0, 0]], [[0, 0]], ("a", "b"))
        regression_scores([1.0], [1.0])
        regression_scores([1.0, 1.0 + 1e-14], [1.0, 2.0])


def test_multi_label_scores_by_hand():
    gold = [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    guess = [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    scores = multi_label_scores(gold, guess, ("a", "b", "c"))
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["hamming_loss"] == pytest.approx(2 / 9)
    assert scores["precision_micro"] == pytest.approx(2 / 3)
    assert scores["recall_micro"] == pytest.approx(2 / 3)
    assert scores["f1_micro"] == pytest.approx(2 / 3)
    assert (scores["f1/a"], scores["f1/b"], scores["f1/c"]) == (1, 1, 0)
    assert scores["f1_macro"] == pytest.approx(2 / 3)
    assert scores["f1_weighted"] == pytest.approx(2 / 3)
    assert scores["f1_samples"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_a_label_nobody_marks_stays_out_of_the_multi_label_macro_average():
    scores = multi_label_scores([[1, 0], [1, 0]], [[1, 0], [0, 0]], ("a", "b"))
    assert scores["f1_macro"] == pytest.approx(2 / 3)
    assert math.isnan(scores["f1/b"])


def test_regression_scores_by_hand():
    scores = regression_scores([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])
    assert scores["mae"] == pytest.approx(2 / 3)
    assert scores["rmse"] == pytest.approx(math.sqrt(4 / 3))
    assert scores["r2"] == pytest.approx(1 - 4 / 2)
    assert scores["spearman"] == pytest.approx(1)
    assert scores["pearson"] == pytest.approx(np.corrcoef([1, 2, 3], [1, 2, 5])[0, 1])


@pytest.mark.parametrize(("gold", "guess"), [([1, 2, 3], [2, 2, 2]), ([2, 2, 2], [1, 2, 3]), ([1], [1])])
def test_correlation_with_a_constant_is_undefined(gold, guess):
    scores = regression_scores(gold, guess)
    assert math.isnan(scores["pearson"]) and math.isnan(scores["spearman"])
    assert math.isfinite(scores["rmse"]) and math.isfinite(scores["mae"])
    assert math.isnan(scores["r2"]) == (len(set(gold)) == 1)


def test_guesses_that_are_not_finite_have_no_scores():
    assert all(math.isnan(value) for value in regression_scores([1, 2], [1, math.nan]).values())


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (lambda: single_label_scores([], [], LABELS), "no rows to score"),
        (lambda: single_label_scores([0], [0, 1], LABELS), "1 and 2"),
        (lambda: single_label_scores([0, -100], [0, 1], LABELS), "found -100 in 1 of 2 rows"),
        (lambda: single_label_scores([0], [3], LABELS), "guess holds numbers from 0 to 2"),
        (lambda: multi_label_scores(np.zeros((0, 2)), np.zeros((0, 2)), ("a", "b")), "no rows to score"),
        (lambda: multi_label_scores([[1]], [[1]], ("a", "b")), "one column for each of 2 labels"),
        (lambda: multi_label_scores([[1, 2]], [[1, 0]], ("a", "b")), "0 or 1; found 2"),
        (lambda: regression_scores([], []), "no rows to score"),
        (lambda: regression_scores([1, math.nan], [1, 1]), "row 1 holds nan"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused_in_words(score, words):
    with pytest.raises(DataError, match=words):
        score()


def test_greater_is_better_knows_the_direction_under_prefixes_and_labels():
    assert all(map(greater_is_better, ("accuracy", "eval_f1_macro", "pearson", "f1/loss", "loss_of_control")))
    assert not any(map(greater_is_better, ("loss", "eval_loss", "test_rmse", "mae", "hamming_loss", "perplexity")))


def test_importing_metrics_is_light():
    heavy = "import sys, hf_fft.metrics; print([n for n in ('torch', 'evaluate', 'transformers') if n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
