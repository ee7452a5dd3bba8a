"""Lines to a place: JSON lines or CSV, a file whole or not at all, standard output line by line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from hf_fft.errors import DataError, RecipeError
from hf_fft.prediction.lines import Line
from hf_fft.result import as_json
from hf_fft.result.store import written_whole

Write: TypeAlias = Callable[[Line], None]

STANDARD = "-"


@contextmanager
def line_writer(out: str, standard_output: TextIO) -> Iterator[Write]:
    """Give what writes a line to `out`: a file that is there once the block has ended well, or "-".

    Raises:
        RecipeError: if the file's extension says no format.
    """
    if out == STANDARD:
        yield _json_lines(standard_output, flush=True)
        return
    kind = format_of(out)
    with written_whole(Path(out)) as file:
        yield _json_lines(file) if kind == "jsonl" else _csv_lines(file)


def format_of(out: str) -> str:
    """Return the format that an output file's extension says.

    Raises:
        RecipeError: if it says none, or the folder is a file.
    """
    kind = {".jsonl": "jsonl", ".csv": "csv"}.get(Path(out).suffix.lower())
    if kind is None:
        raise RecipeError(f"--out {out}: the extension says the format; .jsonl and .csv are written.")
    return kind


def _json_lines(file: TextIO, *, flush: bool = False) -> Write:
    def write(line: Line) -> None:
        file.write(json.dumps(as_json(line), ensure_ascii=False, allow_nan=False) + "\n")
        if flush:
            file.flush()

    return write


def _csv_lines(file: TextIO) -> Write:
    """Write lists and records as JSON in their cells; the first line names the columns, and none is lost."""
    columns: list[str] = []
    # Python's csv ends lines with \r\n unless told otherwise, whatever the file was opened with.
    writer = csv.writer(file, lineterminator="\n")

    def write(line: Line) -> None:
        cells = _cells(line)
        if not columns:
            columns.extend(cells)
            writer.writerow(columns)
        further = [column for column, cell in cells.items() if column not in columns and cell != ""]
        if further:
            raise DataError(
                f"row {line['row'] + 1:,} (counted from 1) has {', '.join(further)}, which the first row has not, and "
                "the columns of a CSV file are those of its first row. Write to a .jsonl file."
            )
        writer.writerow([cells.get(column, "") for column in columns])

    return write


def _cells(line: Line) -> dict[str, Any]:
    inputs = {f"inputs.{column}": value for column, value in line.get("inputs", {}).items()}
    told = {**{key: value for key, value in line.items() if key != "inputs"}, **inputs}
    return {key: _cell(as_json(value)) for key, value in told.items()}


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
