"""From a recipe's data to `Splits`: read, typed, held out, capped and checked.

Rows that the source does not divide are divided here, once for all seeds of training: `data.split_seed` alone decides,
so the same recipe gives the same rows. Hold-outs keep the share of every label where they can, or keep the rows of a
group together. Rows keep their order.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
from datasets import ClassLabel, Dataset, DatasetDict

from hf_fft.data.columns import require_columns
from hf_fft.data.holdout import grouped_indices, random_indices, stratified_indices
from hf_fft.data.sources import read_source
from hf_fft.data.values import column_values, is_missing, refuse_rows
from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError
from hf_fft.recipe.records import DataRecipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """Rows to train on, to choose by, and to judge by."""

    train: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None

    def items(self) -> Iterator[tuple[str, Dataset]]:
        """Yield name and rows of the splits that exist."""
        for name, rows in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if rows is not None:
                yield name, rows


class TaskColumns(Protocol):
    """What loading needs to know of a task."""

    @property
    def name(self) -> str:
        """The task's name in recipes, for messages."""

    def required_columns(self) -> Sequence[str]:
        """Name the columns without which the task cannot run."""

    def type_columns(self, splits: DatasetDict) -> DatasetDict:
        """Check the columns and give them their types."""

    def stratify_column(self) -> str | None:
        """Name the ClassLabel column whose shares hold-outs should keep, if there is one."""

    def text_columns(self) -> Sequence[str]:
        """Name the columns that hold the input text."""


def load_splits(data: DataRecipe, task: TaskColumns) -> Splits:
    """Return the rows of a recipe for a task, divided into train, validation and test.

    Raises:
        DataError: if the source cannot be read, or its rows, columns or labels are not what the task needs.
    """
    splits = _without_excluded(read_source(data), data)
    require_columns(splits, task.required_columns(), task=task.name, hint=_hint(task))
    if data.group_column is not None:
        require_columns(splits, [data.group_column], task="data.group_column", hint="Correct data.group_column.")
    _refuse_empty(splits)
    splits = task.type_columns(splits)
    labels = task.stratify_column()
    if "test" not in splits and data.test_fraction:
        splits = _hold_out(splits, "test", data.test_fraction, data, labels)
    if "validation" not in splits and data.validation_fraction:
        splits = _hold_out(splits, "validation", data.validation_fraction, data, labels)
    splits = _capped(splits, data)
    _refuse_empty(splits)
    if labels is not None:
        _check_labels(splits, labels)
    return Splits(splits["train"], splits.get("validation"), splits.get("test"))


def _hint(task: TaskColumns) -> str:
    """Name the fields of the task's recipe that end in "column", as far as the task keeps its recipe."""
    recipe = getattr(task, "recipe", None)
    fields = type(recipe).model_fields if recipe is not None else {}
    wanted = [
        f"task.{name}"
        for name in fields
        if name.endswith(("_column", "_columns"))
        and getattr(recipe, name) is not None
        and not getattr(recipe, f"{name}s", None)
    ]
    if getattr(recipe, "prompt", None):
        wanted.append("task.prompt")
    return f"Set {' and '.join(wanted)}." if wanted else "Set the column fields of task."


def _without_excluded(splits: DatasetDict, data: DataRecipe) -> DatasetDict:
    for column, dropped in data.exclude.items():
        require_columns(splits, [column], task="data.exclude", hint="Correct the name of the column.")
        seen: set[str] = set()
        kept = {}
        for split, rows in splits.items():
            values = [_plain(value) for value in _named(rows, column)]
            seen.update(values)
            unwanted = {_plain(value) for value in dropped}
            kept[split] = rows.select([index for index, value in enumerate(values) if value not in unwanted])
        for value in dropped:
            if _plain(value) not in seen:
                found = listed(sorted(seen), limit=10)
                guess = did_you_mean(_plain(value), seen) or "."
                raise DataError(f'data.exclude.{column}: no row has the value "{value}"{guess} It has {found}.')
        splits = DatasetDict(kept)
    return splits


def _named(rows: Dataset, column: str) -> list[Any]:
    feature, values = rows.features[column], column_values(rows, column)
    if isinstance(feature, ClassLabel):
        return [feature.names[value] if value is not None and value >= 0 else value for value in values]
    return values


def _plain(value: Any) -> str:
    """Return a value as text, since a CSV file has only text: 3, 3.0 and "3" are the same value."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _refuse_empty(splits: DatasetDict) -> None:
    for split, rows in splits.items():
        if not len(rows):
            raise DataError(f"The {split} split has no rows. Check data.exclude, data.splits and the fractions.")


def _hold_out(splits: DatasetDict, name: str, fraction: float, data: DataRecipe, labels: str | None) -> DatasetDict:
    """Move a share of the training rows into a new split."""
    train = splits["train"]
    held = _held_indices(train, name, fraction, data, labels)
    kept = numpy.setdiff1d(numpy.arange(len(train)), held)
    if not len(kept) or not len(held):
        raise DataError(
            f"train has {len(train)} rows, too few to hold out {name}: at least two are needed. "
            f"Set data.{name}_fraction to 0, or bring more rows."
        )
    return DatasetDict({**splits, "train": train.select(kept), name: train.select(held)})


def _held_indices(train: Dataset, name: str, fraction: float, data: DataRecipe, labels: str | None) -> numpy.ndarray:
    if data.group_column is not None:
        groups = column_values(train, data.group_column)
        advice = "Give every row a group, or leave data.group_column out."
        refuse_rows(groups, is_missing, split="train", column=data.group_column, fault="no group", advice=advice)
        if any(isinstance(group, list | dict) for group in groups):
            raise DataError(f'data.group_column: "{data.group_column}" holds lists; a group is one text or number.')
        if len({str(group) for group in groups}) < 2:
            raise DataError(
                f"data.group_column: train has one group only, so {name} cannot be held out by group. "
                f'Choose another column than "{data.group_column}", or set data.{name}_fraction to 0.'
            )
        return grouped_indices(groups, fraction, data.split_seed)
    if labels is not None:
        return stratified_indices(column_values(train, labels), fraction, data.split_seed, name)
    return random_indices(len(train), fraction, data.split_seed)


def _capped(splits: DatasetDict, data: DataRecipe) -> DatasetDict:
    limits = {"train": data.max_train_rows, "validation": data.max_validation_rows, "test": data.max_test_rows}
    capped = {}
    for split, rows in splits.items():
        limit = limits[split]
        if limit == 0:
            continue
        limit = min(len(rows), limit or len(rows))
        if split == "train":
            limit = max(1, round(data.train_fraction * limit))
        if limit < len(rows):
            # The head of one permutation: a larger cap or share keeps all rows of a smaller one.
            chosen = numpy.random.default_rng(data.split_seed).permutation(len(rows))[:limit]
            rows = rows.select(numpy.sort(chosen))
        capped[split] = rows
    return DatasetDict(capped)


def _check_labels(splits: DatasetDict, column: str) -> None:
    """Refuse hold-outs or caps that left train without labels that it had before."""
    names = splits["train"].features[column].names
    train = set(column_values(splits["train"], column))
    if len(train) < 2:
        only = listed(names[label] for label in train)
        raise DataError(
            f"After hold-outs and caps, train has only one label, {only}; at least two are needed. "
            "Raise data.max_train_rows or data.train_fraction, or lower the fractions held out."
        )
    for split, rows in splits.items():
        count = Counter(column_values(rows, column))
        unseen = [f'"{names[label]}" ({count[label]})' for label in sorted(set(count) - train)]
        if unseen:
            raise DataError(
                f"After hold-outs and caps, {split} has labels that train no longer shows: {listed(unseen)}. Raise "
                "data.max_train_rows or data.train_fraction, or drop rare labels with data.exclude."
            )
