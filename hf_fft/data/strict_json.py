"""A strict look at a JSON file before it is read.

`datasets` fills a key that a later row lacks with null and reports a broken line by its place in a block of bytes. So
each file is first walked through row by row: every row an object, all with the same keys, no key twice. A `.json` file
may hold an array of objects, JSON lines, or one object whose rows stand under a key that `data.options.field` names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError


class _DoubleKeyError(ValueError):
    """An object that has a key twice."""


def check_json(file: Path, shown: str, options: Mapping[str, Any], *, lines: bool) -> int:
    """Walk through a file and return its number of rows; `lines` says that each line must be a row.

    Raises:
        DataError: if a row cannot be read, is not an object, or has other keys than the first; or if there is none.
    """
    encoding = options.get("encoding") or "utf-8"
    encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    field = options.get("field")
    with file.open(encoding=encoding, errors=options.get("encoding_errors") or "strict") as stream:
        if lines and field is None:
            return _check_rows(_line_rows(stream, shown), shown)
        text = stream.read()
    if field is None and _is_lines(text):
        return _check_rows(_line_rows(text.split("\n"), shown), shown)
    return _check_rows(_array_rows(text, shown, field), shown)


def json_rows(stream: TextIO, shown: str, field: str | None, *, lines: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of an open JSON file; JSON lines one by one, anything else once it is read whole.

    Unlike `check_json` this leaves it to the reader which keys a row needs.

    Raises:
        DataError: if a row cannot be read or is not an object, when the walk comes to it.
    """
    if lines and field is None:
        rows = _line_rows(stream, shown)
    else:
        text = stream.read()
        rows = (
            _line_rows(text.split("\n"), shown)
            if field is None and _is_lines(text)
            else _array_rows(text, shown, field)
        )
    for place, row in rows:
        _refuse_no_object(row, shown, place)
        yield row


def _is_lines(text: str) -> bool:
    """Tell JSON lines from one big value: the first line alone is a whole object, and it is not all there is."""
    first, _, rest = text.strip().partition("\n")
    try:
        return isinstance(json.loads(first), dict) and bool(rest.strip())
    except ValueError:
        return False


def _line_rows(lines: Any, shown: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"line {number}"
            yield place, parsed(line, f"{shown}, {place}")


def _array_rows(text: str, shown: str, field: str | None) -> Iterator[tuple[str, Any]]:
    value = parsed(text, shown) if text.strip() else []
    if field is not None:
        if not isinstance(value, dict) or field not in value:
            keys = list(value) if isinstance(value, dict) else []
            guess = did_you_mean(field, keys) or "."
            raise DataError(f'{shown} has no key "{field}" (data.options.field){guess} It has {listed(keys)}.')
        value = value[field]
    elif isinstance(value, dict):
        raise DataError(
            f"{shown} holds one object, not rows; its keys are {listed(value)}. Name the key that holds the rows in "
            "data.options.field."
        )
    if not isinstance(value, list):
        raise DataError(f"{shown} should hold a list of objects; found {type(value).__name__}.")
    yield from ((f"row {number}", row) for number, row in enumerate(value, start=1))


def parsed(text: str, place: str) -> Any:
    """Return the value of a JSON text in which no object has a key twice; `place` begins the messages.

    Raises:
        DataError: if the text is not such JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_single_keys)
    except _DoubleKeyError as error:
        raise DataError(f"{place}: {error}. Remove one of the two.") from error
    except json.JSONDecodeError as error:
        line = f" at line {error.lineno}" if "\n" in text.strip() else ""
        raise DataError(f"{place}: broken JSON{line}, column {error.colno}: {error.msg}. Mend or remove it.") from error
    except RecursionError as error:
        raise DataError(f"{place}: JSON nested too deeply to be read. A row is a flat object.") from error


def _single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DoubleKeyError(
            "the key " + listed(f'"{key}"' for key in values if keys.count(key) > 1) + " stands twice"
        )
    return values


def _check_rows(rows: Iterator[tuple[str, Any]], shown: str) -> int:
    count, first_place, first = 0, "", {}
    for place, row in rows:
        _refuse_no_object(row, shown, place)
        if not count:
            first_place, first = place, row
        elif row.keys() != first.keys():
            raise DataError(_differing_keys(shown, place, row, first_place, first))
        count += 1
    if not count:
        raise DataError(f"{shown} is empty; at least one row is needed.")
    return count


def _refuse_no_object(row: Any, shown: str, place: str) -> None:
    if not isinstance(row, dict) or not row:
        raise DataError(f"{shown}, {place}: a row is an object with a key a column; found {json.dumps(row)[:60]}.")


def _differing_keys(shown: str, place: str, row: dict[str, Any], first_place: str, first: dict[str, Any]) -> str:
    missing = [f'"{key}"' for key in first if key not in row]
    if missing:
        fault = f"{shown}, {place} lacks {listed(missing)}, which {first_place} has"
    else:
        surplus = [f'"{key}"' for key in row if key not in first]
        fault = f"{shown}, {first_place} lacks {listed(surplus)}, which {place} has"
    return f"{fault}. Give every row the same keys, with null where there is no value."
