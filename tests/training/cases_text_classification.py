"""Text classification in all its kinds."""

from __future__ import annotations

from datasets import ClassLabel, Dataset, Features, List, Value
from exactness import ROWS, Case, text

from hf_fft.tasks import TextClassification


def rows(length: int = 6) -> Dataset:
    texts = [text(index, length) for index in range(ROWS)]
    features = {"text": Value("string"), "other": Value("string"), "label": ClassLabel(names=["neg", "mid", "pos"])}
    return Dataset.from_dict(
        {"text": texts, "other": texts[::-1], "label": [(index * index) % 3 for index in range(ROWS)]},
        features=Features(features),
    )


def long_rows() -> Dataset:
    return rows(length=30)


def rows_of_several_labels() -> Dataset:
    labels = [[label for label in range(3) if (index >> label) & 1] for index in range(ROWS)]
    return Dataset.from_dict(
        {"text": [text(index) for index in range(ROWS)], "label": labels},
        features=Features({"text": Value("string"), "label": List(ClassLabel(names=["x", "y", "z"]))}),
    )


def rows_of_numbers() -> Dataset:
    # One target is -100, which transformers would take for "leave this row out".
    numbers = [-100.0 if index == 5 else index / 3 for index in range(ROWS)]
    return Dataset.from_dict({"text": [text(index) for index in range(ROWS)], "label": numbers})


WINDOWS = {"max_length": 16, "long_text": "windows", "window_overlap": 4}
PROBLEM = "multi_label_classification"
CASES = {
    "single_label": Case(TextClassification(max_length=32), rows),
    "pair": Case(TextClassification(max_length=32, text_pair_column="other"), rows),
    "class_weights": Case(TextClassification(max_length=32, class_weights="auto"), rows),
    "label_smoothing": Case(TextClassification(max_length=32), rows).smoothed(),
    "windows": Case(TextClassification(**WINDOWS), long_rows),
    "windows_weights": Case(
        TextClassification(**WINDOWS, class_weights={"neg": 1.0, "mid": 3.0, "pos": 0.5}), long_rows
    ),
    "multi_label": Case(TextClassification(max_length=32, problem_type=PROBLEM), rows_of_several_labels),
    "regression": Case(TextClassification(max_length=32, problem_type="regression"), rows_of_numbers),
}
