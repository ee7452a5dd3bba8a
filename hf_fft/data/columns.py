"""Columns as a task needs them: present, without holes, and of the right type.

Each function takes the splits, checks one thing, and says in words which rows of which split break it. Those that give
a column its type return new splits: texts stay texts, numbers become 32-bit floats; labels have their own file.
"""

from __future__ import annotations

from collections.abc import Sequence

from datasets import ClassLabel, DatasetDict, List, Value

from hf_fft.data.values import as_number, column_values, is_missing, refuse_rows, with_column
from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError

_TEXT_TYPES = ("string", "large_string", "string_view")


def require_columns(splits: DatasetDict, columns: Sequence[str], *, task: str, hint: str) -> None:
    """Check that every split has the columns.

    Raises:
        DataError: if one is missing; `hint` says which fields of the recipe to set.
    """
    for split, rows in splits.items():
        missing = [column for column in columns if column not in rows.column_names]
        if not missing:
            continue
        alike = all(other.column_names == rows.column_names for other in splits.values())
        owner = "the data have" if alike else f"the {split} split has"
        guesses = "".join(did_you_mean(column, rows.column_names) for column in missing)
        advice = "" if alike or split == "train" else f" To leave {split} out, name the other splits in data.splits."
        raise DataError(
            f"{task} needs the columns {listed(columns)}; {owner} {listed(rows.column_names)}{guesses or '.'} "
            f"{hint}{advice}"
        )


def require_text(splits: DatasetDict, columns: Sequence[str]) -> None:
    """Check that columns hold text, and not numbers written as text, in every row of every split; empty texts pass.

    Raises:
        DataError: if a value is null, or a column holds lists, numbers or anything else.
    """
    for split, rows in splits.items():
        for column in columns:
            feature = rows.features[column]
            if not isinstance(feature, Value) or feature.dtype not in (*_TEXT_TYPES, "null"):
                raise DataError(
                    f'Column "{column}" of {split} should hold text; it holds {_kind(feature)}. '
                    "Name the column with the text, or write these values as text."
                )
            values = column_values(rows, column)
            advice = "Give them a text, or remove these rows."
            refuse_rows(
                values, lambda value: value is None, split=split, column=column, fault="no text (null)", advice=advice
            )
            if values and all(as_number(value) is not None for value in values):
                raise DataError(
                    f'Column "{column}" of {split} should hold text; every value in it is a number, such as '
                    f'"{values[0]}". Name the column with the text.'
                )


def numbers(splits: DatasetDict, column: str) -> DatasetDict:
    """Turn a column of numbers, or of texts that all are numbers, into 32-bit floats.

    Raises:
        DataError: if a value is missing, not finite, or not a number.
    """
    typed = {}
    for split, rows in splits.items():
        feature = rows.features[column]
        if isinstance(feature, ClassLabel):
            raise DataError(
                f'Column "{column}" of {split} should hold numbers; it holds the classes {listed(feature.names)}. '
                'Name another column, or set task.problem_type to "single_label_classification".'
            )
        values = column_values(rows, column)
        advice = "Give them a number, or remove these rows."
        refuse_rows(values, is_missing, split=split, column=column, fault="no number", advice=advice)
        refuse_rows(
            values,
            lambda value: as_number(value) is None,
            split=split,
            column=column,
            fault="something else than a finite number",
            advice='Regression needs numbers; for classes set task.problem_type to "single_label_classification".',
        )
        typed[split] = with_column(rows, column, [as_number(value) for value in values], Value("float32"))
    return DatasetDict(typed)


def _kind(feature: object) -> str:
    if isinstance(feature, ClassLabel):
        return f"the classes {listed(feature.names)}"
    if isinstance(feature, (List, list)):
        return "lists"
    if isinstance(feature, Value):
        simple = {
            "int": "numbers",
            "uint": "numbers",
            "float": "numbers",
            "double": "numbers",
            "bool": "true and false",
        }
        word = feature.dtype.rstrip("0123456789")
        return f"{simple.get(word, 'values')} ({feature.dtype})"
    return f"values of mixed or nested types ({feature})"
