"""Scores of one label, several labels, or a number for each text.

scikit-learn and scipy own the formulas; this page chooses among them, gives the scores the field's names, and says
what happens where a formula has no answer. Scores of labels are fractions from 0 to 1 (the Matthews correlation: -1 to
1). Precision and recall are 0 where they would divide by zero: a label that is guessed but never right by the data
scores 0. A label that stands neither in gold nor in guess has no score: its own figures are nan, and the macro averages
leave it out, as scikit-learn's default does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_fft.errors import DataError

# HF takes every name that does not end in "loss" for one to maximise (transformers 5.23), so these are listed.
SMALLER_IS_BETTER = frozenset(
    {"loss", "hamming_loss", "rmse", "mse", "mae", "mape", "smape", "mase", "perplexity", "mean_perplexity"}
    | {"bits_per_byte", "brier_score", "wer", "cer", "ter", "expected_calibration_error"}
)
SPLIT_PREFIXES = ("eval_", "validation_", "test_", "train_")


def greater_is_better(metric_name: str) -> bool:
    """Say whether a higher value of this metric is the better one.

    A split's prefix (`eval_loss`) and a label's suffix (`f1/positive`) make no difference. Unknown names count as
    "greater is better".
    """
    name = metric_name.split("/", maxsplit=1)[0]
    for prefix in SPLIT_PREFIXES:
        name = name.removeprefix(prefix)
    return name not in SMALLER_IS_BETTER


def single_label_scores(gold: Sequence[int], guess: Sequence[int], labels: Sequence[str]) -> dict[str, float]:
    """Score one label a row; gold and guess are places in `labels`.

    Raises:
        DataError: if there are no rows, the two differ in length, or a number is no place in `labels`.
    """
    from sklearn import metrics

    right, said = _label_places("gold", gold, labels), _label_places("guess", guess, labels)
    _check_rows(right, said)
    present = sorted(set(right.tolist()) | set(said.tolist()))
    with warnings.catch_warnings():
        # scikit-learn warns of splits with one label or with few rows a label; both are ordinary in small runs.
        warnings.simplefilter("ignore")
        macro = metrics.precision_recall_fscore_support(right, said, labels=present, average="macro", zero_division=0.0)
        weighted = metrics.precision_recall_fscore_support(right, said, average="weighted", zero_division=0.0)
        scores = {
            "accuracy": float(metrics.accuracy_score(right, said)),
            "f1_macro": float(macro[2]),
            "f1_weighted": float(weighted[2]),
            "precision_macro": float(macro[0]),
            "precision_weighted": float(weighted[0]),
            "recall_macro": float(macro[1]),
            "recall_weighted": float(weighted[1]),
            "matthews_correlation": float(metrics.matthews_corrcoef(right, said)),
        }
        by_label = metrics.precision_recall_fscore_support(
            right, said, labels=list(range(len(labels))), average=None, zero_division=0.0
        )
    return scores | _scores_by_label(("precision", "recall", "f1"), by_label[:3], labels, set(present))


def multi_label_scores(gold: ArrayLike, guess: ArrayLike, labels: Sequence[str]) -> dict[str, float]:
    """Score several labels a row; gold and guess are arrays (rows, labels) of 0 and 1.

    `exact_match` is the share of rows with every label right. In `f1_samples` a row without labels that gets none
    counts as 1, as it does in `exact_match`.

    Raises:
        DataError: if there are no rows, or the arrays are not (rows, labels) of 0 and 1.
    """
    from sklearn import metrics

    right, said = _label_marks("gold", gold, labels), _label_marks("guess", guess, labels)
    _check_rows(right, said)
    marked = np.flatnonzero((right | said).any(axis=0)).tolist()
    averaged = marked or list(range(len(labels)))
    scores = {
        "f1_micro": float(metrics.f1_score(right, said, average="micro", zero_division=0.0)),
        "f1_macro": float(metrics.f1_score(right, said, labels=averaged, average="macro", zero_division=0.0)),
        "f1_weighted": float(metrics.f1_score(right, said, average="weighted", zero_division=0.0)),
        "f1_samples": float(metrics.f1_score(right, said, average="samples", zero_division=1.0)),
        "precision_micro": float(metrics.precision_score(right, said, average="micro", zero_division=0.0)),
        "recall_micro": float(metrics.recall_score(right, said, average="micro", zero_division=0.0)),
        "exact_match": float(metrics.accuracy_score(right, said)),
        "hamming_loss": float(metrics.hamming_loss(right, said)),
    }
    by_label = metrics.f1_score(right, said, average=None, zero_division=0.0)
    return scores | _scores_by_label(("f1",), (by_label,), labels, set(marked))


def regression_scores(gold: ArrayLike, guess: ArrayLike) -> dict[str, float]:
    """Score one number a row.

    `pearson` and `spearman` are nan where gold or guess is constant, and `r2` where gold is: the formulas have no
    answer there. All are nan where a guess is not a finite number.

    Raises:
        DataError: if there are no rows, the two differ in length, or gold holds a number that is not finite.
    """
    from sklearn import metrics

    right, said = np.asarray(gold, dtype=float).ravel(), np.asarray(guess, dtype=float).ravel()
    _check_rows(right, said)
    if not np.isfinite(right).all():
        row = int(np.flatnonzero(~np.isfinite(right))[0])
        raise DataError(f"Regression needs a finite number in every row; row {row} holds {right[row]}. Drop the row.")
    if not np.isfinite(said).all():
        return dict.fromkeys(("pearson", "spearman", "rmse", "mae", "r2"), math.nan)
    return {
        **_correlations(right, said),
        "rmse": float(metrics.root_mean_squared_error(right, said)),
        "mae": float(metrics.mean_absolute_error(right, said)),
        "r2": math.nan if np.ptp(right) == 0 else float(metrics.r2_score(right, said)),
    }


def _correlations(right: NDArray[np.float64], said: NDArray[np.float64]) -> dict[str, float]:
    from scipy import stats

    if np.ptp(right) == 0 or np.ptp(said) == 0:
        return {"pearson": math.nan, "spearman": math.nan}
    with warnings.catch_warnings():
        # Almost constant guesses, as early in training, make scipy warn at every evaluation.
        warnings.simplefilter("ignore")
        return {
            "pearson": float(stats.pearsonr(right, said).statistic),
            "spearman": float(stats.spearmanr(right, said).statistic),
        }


def _scores_by_label(
    names: Sequence[str], columns: Sequence[NDArray[np.float64]], labels: Sequence[str], present: set[int]
) -> dict[str, float]:
    return {
        f"{name}/{label}": float(column[place]) if place in present else math.nan
        for name, column in zip(names, columns, strict=True)
        for place, label in enumerate(labels)
    }


def _label_places(side: str, values: Sequence[int], labels: Sequence[str]) -> NDArray[np.int64]:
    places = np.asarray(values, dtype=np.int64).ravel()
    strange = places[(places < 0) | (places >= len(labels))]
    if strange.size:
        raise DataError(
            f"With {len(labels)} labels, {side} holds numbers from 0 to {len(labels) - 1}; found {strange[0]} in "
            f"{strange.size} of {places.size} rows. Rows without a label cannot be scored: leave them out."
        )
    return places


def _label_marks(side: str, values: ArrayLike, labels: Sequence[str]) -> NDArray[np.int64]:
    marks = np.asarray(values)
    if marks.ndim != 2 or marks.shape[1] != len(labels):
        raise DataError(f"{side} needs one column for each of {len(labels)} labels; its shape is {marks.shape}.")
    if not np.isin(marks, (0, 1)).all():
        raise DataError(f"{side} marks each label with 0 or 1; found {marks[~np.isin(marks, (0, 1))][0]}.")
    return marks.astype(np.int64)


def _check_rows(right: NDArray[np.generic], said: NDArray[np.generic]) -> None:
    if len(right) != len(said):
        raise DataError(f"Each row needs a gold answer and a guess; there are {len(right)} and {len(said)}.")
    if len(right) == 0:
        raise DataError("There are no rows to score. Give a split that has labelled rows.")
