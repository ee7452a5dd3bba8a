"""A strict look at a CSV file before it is read.

pandas, which reads CSV for `datasets`, takes a record with a missing or surplus cell as it comes and may shift every
column by one without a word. So each file is first walked through record by record with Python's own `csv`: the same
number of cells everywhere, every quote closed, no column named twice. The walk also gives the column names, so that all
cells can be read as the text that they are.
"""

from __future__ import annotations

import csv
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from hf_fft.data.wording import listed
from hf_fft.errors import DataError

logger = logging.getLogger(__name__)

# With these options pandas understands a file in ways that the walk does not follow.
_NOT_FOLLOWED = ("comment", "skipfooter", "lineterminator", "index_col", "skip_blank_lines", "on_bad_lines", "engine")
_CSV_OPTIONS = ("quotechar", "doublequote", "escapechar", "skipinitialspace", "quoting")


@dataclass(frozen=True)
class CsvShape:
    """Column names and number of records of a CSV file."""

    columns: tuple[str, ...]
    records: int


def check_csv(file: Path, shown: str, options: Mapping[str, Any]) -> CsvShape | None:
    """Walk through a file; return None, with a warning, where the options are beyond a strict check.

    Raises:
        DataError: if a record has too many or too few cells, a quote is wrong, or there are no records.
    """
    delimiter = options.get("delimiter") or options.get("sep") or ","
    header, skipped = options.get("header", "infer"), options.get("skiprows") or 0
    unusual = [name for name in _NOT_FOLLOWED if options.get(name)]
    if unusual or len(delimiter) != 1 or header not in ("infer", 0, None) or not isinstance(skipped, int):
        logger.warning("%s: not checked for records with missing or surplus cells, because of its data.options", shown)
        return None
    with _no_field_limit(), _opened(file, options) as stream:
        for _ in range(skipped):
            stream.readline()
        records = _records(_reader(stream, delimiter, options), shown, skipped)
        return _shape(records, shown, options, has_header=header is not None)


def csv_rows(stream: TextIO, shown: str, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the records of an open CSV file one by one, every cell as the text that it is.

    Raises:
        DataError: as `check_csv` does, when the walk comes to the record.
    """
    delimiter = options.get("delimiter") or options.get("sep") or ","
    skipped = options.get("skiprows") or 0
    with _no_field_limit():
        for _ in range(skipped):
            stream.readline()
        records = _records(_reader(stream, delimiter, options), shown, skipped)
        columns, records = _begun(records, shown, options, has_header=options.get("header", "infer") is not None)
        for line, record in records:
            _check_width(record, columns, shown, line, _is_named(options))
            yield dict(zip(columns, record, strict=True))


def _reader(stream: TextIO, delimiter: str, options: Mapping[str, Any]) -> Any:
    dialect = {name: options[name] for name in _CSV_OPTIONS if name in options}
    return csv.reader(stream, delimiter=delimiter, strict=True, **dialect)


def _opened(file: Path, options: Mapping[str, Any]) -> io.TextIOWrapper:
    encoding = options.get("encoding") or "utf-8"
    encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    return file.open(encoding=encoding, errors=options.get("encoding_errors", "strict"), newline="")


@contextmanager
def _no_field_limit() -> Iterator[None]:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _records(reader: Any, shown: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield every record that is not a blank line, with the line on which it begins."""
    while True:
        line = reader.line_num + skipped + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(_quote_fault(error, shown, line)) from error
        if len(record) > 1 or (record and record[0].strip()):
            yield line, record


def _quote_fault(error: csv.Error, shown: str, line: int) -> str:
    if "unexpected end of data" in str(error):
        fault = "the record that begins here has a quote that is never closed"
    else:
        fault = f"the record that begins here cannot be read ({error})"
    return (
        f"{shown}, line {line}: {fault}. Close the quote, double quotes inside a quoted cell, "
        "or set data.options.quoting to 3 if quotes mean nothing in this file."
    )


def _shape(
    records: Iterator[tuple[int, list[str]]], shown: str, options: Mapping[str, Any], has_header: bool
) -> CsvShape:
    columns, records = _begun(records, shown, options, has_header=has_header)
    count = 0
    for line, record in records:
        _check_width(record, columns, shown, line, _is_named(options))
        count += 1
    if count == 0:
        raise DataError(f"{shown} has a header ({listed(columns)}) but no records; at least one is needed.")
    return CsvShape(columns, count)


def _begun(
    records: Iterator[tuple[int, list[str]]], shown: str, options: Mapping[str, Any], *, has_header: bool
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]]]:
    """Return the names of the columns, and the records without the header."""
    named = options.get("column_names") or options.get("names")
    line, first = next(records, (0, []))
    if not first:
        raise DataError(f"{shown} is empty; a header and at least one record are needed.")
    if named is None and not has_header:
        raise DataError(f"{shown}: data.options.header is null, so data.options.column_names must name the columns.")
    columns = tuple(named or [name or f"Unnamed: {index}" for index, name in enumerate(first)])
    if named and tuple(first) == columns:
        raise DataError(
            f"{shown}, line {line}: data.options.column_names says that the file has no header, but its first record "
            "is just these names. Remove column_names."
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{shown}: columns named twice: {listed(twice)}. Rename one of each.")
    return columns, chain([(line, first)], records) if named else records


def _is_named(options: Mapping[str, Any]) -> bool:
    return (options.get("column_names") or options.get("names")) is not None


def _check_width(record: list[str], columns: tuple[str, ...], shown: str, line: int, named: bool) -> None:
    if len(record) == len(columns):
        return
    cells = "1 cell" if len(record) == 1 else f"{len(record)} cells"
    source = "data.options.column_names has" if named else "the header has"
    raise DataError(
        f"{shown}, line {line}: {cells}, but {source} {len(columns)} ({listed(columns)}). "
        "Put cells with the delimiter in them into quotes, or set data.options.delimiter, quotechar or quoting."
    )
