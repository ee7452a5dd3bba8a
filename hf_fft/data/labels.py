"""Labels become `ClassLabel`: one set of names, in one order, for all splits.

A row has one label, a list of labels, or a 0 or 1 in a column for each label. Labels are compared as text: `1`, `"1"`
and `1.0` (an integer column in which pandas once met a hole) are the same label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, List

from hf_fft.data.label_names import agree_on_names
from hf_fft.data.values import column_values, is_missing, refuse_rows, with_column
from hf_fft.data.wording import listed
from hf_fft.errors import DataError

_FLAGS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}
_LEAVE_OUT = 'To leave the split out, name the others: data.splits = {"train": …}.'
_FILL = "Label these rows or remove them."


def class_labels(splits: DatasetDict, column: str, names: Sequence[str] | None = None) -> DatasetDict:
    """Turn a column of labels into a ClassLabel, the same in every split.

    With `names`, an integer that is not itself a name counts into them from 0. Splits without `train` need `names`:
    those that a model has learned.

    Raises:
        DataError: if labels are missing, not labels, unknown, only in some splits, fewer than two, or too many.
    """
    texts: dict[str, list[str]] = {}
    for split, rows in splits.items():
        feature, values = rows.features[column], column_values(rows, column)
        if isinstance(feature, ClassLabel):
            values = _names_of_ids(values, feature, split, column)
        refuse_rows(values, is_missing, split=split, column=column, fault="no label", advice=_FILL)
        texts[split] = _as_text(values, split, column)
    first = next(iter(splits.values()))
    brought = splits.get("train", first).features[column]
    chosen, ids = agree_on_names(texts, column, names, getattr(brought, "names", None))
    feature = ClassLabel(names=chosen)
    return DatasetDict({split: with_column(rows, column, ids[split], feature) for split, rows in splits.items()})


def label_lists(splits: DatasetDict, column: str, names: Sequence[str] | None = None) -> DatasetDict:
    """Turn a column of lists of labels into lists of ClassLabel; an empty list is a row without a label.

    Raises:
        DataError: if a value is not a list, or for any of the reasons of `class_labels`.
    """
    lists = {split: _lists(rows, split, column) for split, rows in splits.items()}
    texts = {
        split: _as_text([label for labels in values for label in labels], split, column)
        for split, values in lists.items()
    }
    first = next(iter(splits.values()))
    brought = getattr(splits.get("train", first).features[column], "feature", None)
    chosen, ids = agree_on_names(texts, column, names, getattr(brought, "names", None))
    typed = {}
    for split, rows in splits.items():
        stream = iter(ids[split])
        # A label said twice in one row is said once.
        values = [list(dict.fromkeys(next(stream) for _ in labels)) for labels in lists[split]]
        typed[split] = with_column(rows, column, values, List(ClassLabel(names=chosen)))
    return DatasetDict(typed)


def label_columns(splits: DatasetDict, columns: Sequence[str], into: str) -> DatasetDict:
    """Turn several columns of 0 and 1 into one column `into` of lists of ClassLabel; the names are the columns'.

    Raises:
        DataError: if a value is not 0, 1, true or false, or `into` is the name of another column.
    """
    typed = {}
    for split, rows in splits.items():
        if into in rows.column_names and into not in columns:
            raise DataError(
                f'The columns {listed(columns)} are gathered in a column "{into}", but {split} has one already. '
                "Rename that column in the data."
            )
        flags = []
        for column in columns:
            values = column_values(rows, column)
            refuse_rows(
                values,
                lambda value: str(value).strip().lower() not in _FLAGS,
                split=split,
                column=column,
                fault="something else than 0, 1, true or false",
                advice="A label column says for each row whether it has that label.",
            )
            flags.append([_FLAGS[str(value).strip().lower()] for value in values])
        lists = [[index for index, flag in enumerate(row) if flag] for row in zip(*flags, strict=True)]
        others = rows.remove_columns([column for column in columns if column != into])
        typed[split] = with_column(others, into, lists, List(ClassLabel(names=list(columns))))
    return DatasetDict(typed)


def _lists(rows: Dataset, split: str, column: str) -> list[list[Any]]:
    """Return a column of lists without holes; the ids of a ClassLabel as names."""
    values, where = column_values(rows, column), {"split": split, "column": column}
    refuse_rows(values, lambda value: value is None, fault="no list of labels", advice=_FILL, **where)
    advice = 'Write lists, such as ["sport", "money"], or set task.problem_type to "single_label_classification".'
    refuse_rows(
        values,
        lambda value: not isinstance(value, list),
        fault="no list of labels but one value",
        advice=advice,
        **where,
    )
    feature = getattr(rows.features[column], "feature", None)
    if isinstance(feature, ClassLabel):
        values = [_names_of_ids(value, feature, split, column) for value in values]
    fault = "an empty label in the list"
    refuse_rows(values, lambda labels: any(map(is_missing, labels)), fault=fault, advice=_FILL, **where)
    return values


def _names_of_ids(values: Sequence[Any], feature: ClassLabel, split: str, column: str) -> list[str | None]:
    if values and all(value == -1 for value in values):
        raise DataError(f'The {split} split has no labels: every "{column}" is -1. {_LEAVE_OUT}')
    known = range(len(feature.names))
    return [feature.names[value] if value in known else None for value in values]


def _as_text(values: Sequence[Any], split: str, column: str) -> list[str]:
    """Return labels as text: whole numbers without a point, anything but text and whole numbers refused."""
    where = {"split": split, "column": column}
    refuse_rows(
        values,
        lambda value: not isinstance(value, (str, int, float)),
        fault="something else than one label",
        advice='For several labels a row set task.problem_type to "multi_label_classification".',
        **where,
    )
    if any(isinstance(value, str) for value in values):
        fault = "a number where others have text"
        advice = "Write all labels in one way."
        refuse_rows(values, lambda value: not isinstance(value, str), fault=fault, advice=advice, **where)
    refuse_rows(
        values,
        lambda value: isinstance(value, float) and not value.is_integer(),
        fault="a number that is not whole",
        advice='Labels are names or whole numbers; to predict numbers set task.problem_type to "regression".',
        **where,
    )
    texts = [str(int(value)) if isinstance(value, float) else str(value) for value in values]
    if any("." in text for text in texts) and all(re.fullmatch(r"-?\d+(\.0*)?", text) for text in texts):
        return [text.partition(".")[0] for text in texts]
    return texts
