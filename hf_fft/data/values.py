"""What the checks of columns share: taking values out, finding the bad ones, putting typed ones back.

A check collects the rows that break it and names the split, the count and the first few of them; a typed column goes
back to the place of the old one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from datasets import Dataset

from hf_fft.data.wording import listed, rows_named
from hf_fft.errors import DataError

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def column_values(rows: Dataset, column: str) -> list[Any]:
    """Return a column as Python values; a ClassLabel gives its ids."""
    # Sliced, a column comes out of Arrow at once; iterated, every row is formatted on its own (datasets 5.2).
    return list(rows.with_format(None)[column][:])


def is_missing(value: Any) -> bool:
    """Tell whether a value stands for nothing: null, NaN, or a text without a visible character."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def as_number(value: Any) -> float | None:
    """Return a finite number, also one written as text, or None."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def refuse_rows(
    values: Iterable[Any], is_bad: Callable[[Any], bool], *, split: str, column: str, fault: str, advice: str
) -> None:
    """Raise a DataError that names the rows whose value is bad; `fault` follows "2 rows of train have"."""
    bad: list[int] = []
    example = None
    for index, value in enumerate(values):
        if is_bad(value):
            example = value if not bad else example
            bad.append(index)
    if not bad:
        return
    found = "" if is_missing(example) else f", such as {_in_words(example)}"
    count = f"1 row of {split} has" if len(bad) == 1 else f"{len(bad):,} rows of {split} have"
    raise DataError(f'Column "{column}": {count} {fault}{found}: {rows_named(bad)}. {advice}')


def _in_words(value: Any) -> str:
    """Write a value for a message: a text or number in quotes, of a list and of an object the first few."""
    if isinstance(value, Mapping):
        return listed((f"{key} {_in_words(one)}" for key, one in value.items()), limit=5)
    if isinstance(value, list | tuple):
        return listed(map(_in_words, value), limit=5) if value else "an empty list"
    return "nothing" if value is None else repr(str(value)[:80])


def with_column(rows: Dataset, column: str, values: Sequence[Any], feature: Any) -> Dataset:
    """Return the rows with a column added, or changed in its place, under a new type."""
    order = rows.column_names if column in rows.column_names else [*rows.column_names, column]
    others = rows.remove_columns(column) if column in rows.column_names else rows
    if not others.column_names:
        return Dataset.from_dict({column: list(values)}, features=type(rows.features)({column: feature}))
    return others.add_column(column, list(values), feature=feature).select_columns(order)
