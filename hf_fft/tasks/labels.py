"""Label names, label vectors and class weights of typed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from datasets import ClassLabel, Dataset

from hf_fft.data.wording import did_you_mean
from hf_fft.errors import DataError


def name_labels(rows: Dataset, column: str) -> list[str]:
    """Return the label names of a typed column, in the order of their numbers.

    Raises:
        DataError: if the column has not been typed, as `load_splits` does.
    """
    feature = rows.features[column]
    feature = getattr(feature, "feature", feature)
    if not isinstance(feature, ClassLabel):
        raise DataError(
            f'the column "{column}" holds {feature} where class labels are expected. '
            "Load the data by hf_fft.load_splits(data, task), which finds and checks the label names."
        )
    return list(feature.names)


def names_in_config(labels: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a model's config that hold the label names, in both directions."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def multi_hot(labels: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """Return lists of label numbers as an array of 0.0 and 1.0, shape (rows, labels)."""
    vectors = np.zeros((len(labels), count))
    for row, numbers in enumerate(labels):
        vectors[row, list(numbers)] = 1.0
    return vectors


def class_weights(rows: Dataset, column: str, choice: Literal["auto"] | Mapping[str, float]) -> dict[str, float]:
    """Return a weight for each label, of mean 1 over the rows, so that a weighted loss keeps its scale.

    "auto" gives each label the inverse of its share (scikit-learn's "balanced"); named weights are scaled.

    Raises:
        DataError: if a named label does not exist, one that exists has no weight, or all weights are zero.
    """
    names = name_labels(rows, column)
    counts = np.bincount(np.asarray(rows[column]), minlength=len(names)).astype(float)
    if choice == "auto":
        weights = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    else:
        weights = np.array([_weight_of(name, choice) for name in names])
        _refuse_unknown(choice, names)
    total = float((weights * counts).sum())
    if total == 0:
        raise DataError("task.class_weights leaves every training row without weight; give one label a weight above 0.")
    return {name: float(weight) for name, weight in zip(names, weights * counts.sum() / total, strict=True)}


def _weight_of(name: str, weights: Mapping[str, Any]) -> float:
    if name not in weights:
        raise DataError(f'task.class_weights has no weight for the label "{name}"; name every label, or use "auto".')
    return float(weights[name])


def _refuse_unknown(weights: Mapping[str, float], names: Sequence[str]) -> None:
    for name in weights:
        if name not in names:
            hint = did_you_mean(name, names) or f"; there are {', '.join(names)}."
            raise DataError(f'task.class_weights: "{name}" is not a label of the data{hint}')
