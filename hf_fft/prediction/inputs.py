"""Rows as they come to rows as a task reads them: which columns, under which names, and what a value must be.

Only what the model reads is needed; labels are looked at where a file is scored. A row that cannot be read is named by
its number in the file, whatever part of it is worked on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError, RecipeError
from hf_fft.tasks import Task
from hf_fft.tasks.prompts import source_text

# Words joined by punctuation inside them ("don't", "U.S"), or a mark alone: near to what tagged corpora call words.
_WORD = re.compile(r"\w+(?:[^\w\s]+\w+)*|[^\w\s]")
_TEXT_COLUMN = "text"

Reader: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        number: Its place in what was given, from 0.
        given: All of its columns, as they came.
        inputs: What the model reads, under the task's own names.
        labels: The columns that say what is right, under the task's own names; empty where nobody asked.
    """

    number: int
    given: Mapping[str, Any]
    inputs: dict[str, Any]
    labels: dict[str, Any]


def readable_rows(
    rows: Iterable[Mapping[str, Any]],
    task: Task,
    *,
    names: Mapping[str, str],
    shown: str,
    labelled: bool = False,
) -> Iterator[Row]:
    """Yield rows as the task reads them.

    Args:
        names: What the given rows call a column of the task, where they have another name for it.
        shown: What messages call the source.
        labelled: Whether the columns with what is right are needed too.

    Raises:
        DataError: naming the row, if a column is missing or a value cannot be read.
    """
    reads = list(task.text_columns())
    asks = [column for column in task.required_columns() if column not in reads] if labelled else []
    named, read = {column: names.get(column, column) for column in known_columns(task)}, reader_for(task)
    for number, given in enumerate(rows):
        if not number and set(given) == {_TEXT_COLUMN} and len(reads) == 1 and reads[0] not in names:
            named[reads[0]] = _TEXT_COLUMN  # Lines of text have no name of their own for their column.
        where = f"{shown}, row {number + 1:,} (counted from 1)"
        _refuse_missing([named[column] for column in (*reads, *asks)], given, task, where)
        inputs = {column: _read(read, given[named[column]], named[column], where) for column in reads}
        name = id_column(task)
        if name is not None and named[name] in given:
            inputs[name] = given[named[name]]
        yield Row(number, given, inputs, {column: given[named[column]] for column in asks})


def known_columns(task: Task) -> list[str]:
    """Return the columns that a task may read: those that it needs, and the ids' column."""
    return list(dict.fromkeys([*task.required_columns(), *filter(None, [id_column(task)])]))


def id_column(task: Task) -> str | None:
    """Return the column that names a row, if the task has one."""
    return getattr(task.recipe, "id_column", None)


def check_names(names: Mapping[str, str], task: Task) -> None:
    """Check that columns are named that the task has.

    Raises:
        RecipeError: naming them.
    """
    known = known_columns(task)
    for name in names:
        if name not in known:
            guess = did_you_mean(name, known) or "."
            raise RecipeError(
                f'--columns {name}=…: the model reads no column "{name}"{guess} It knows {listed(known)}; write '
                f"{known[0]}=NAME, with the name that the column has in the file."
            )


def words_of(text: str) -> list[tuple[str, int]]:
    """Return the words of a running text, each with the character at which it begins.

    A mark is a word, unless it stands between two letters or digits: "don't" is one word, "(Bonn)," is four.
    """
    return [(found[0], found.start()) for found in _WORD.finditer(text)]


def reader_for(task: Task) -> Reader:
    """Return what turns a value into what the task reads; it raises a ValueError in words."""
    if task.name == "token_classification":
        return _words
    return _prompt_part if task.generates else _text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"should hold a text; found {_kind(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"holds half a character, {error.object[error.start]!r}") from error
    return value


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [word for word, _ in words_of(_text(value))]
    if not isinstance(value, Sequence):
        raise ValueError(f"should hold a text or a list of words; found {_kind(value)}")
    return [_text(word) for word in value]


def _prompt_part(value: Any) -> str:
    if value is None or isinstance(value, dict):
        raise ValueError(f"should hold a text; found {_kind(value)}")
    if isinstance(value, list):
        return source_text([_text(part) for part in value])
    return _text(source_text(value))


def _read(read: Reader, value: Any, column: str, where: str) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise DataError(f'{where}: the column "{column}" {error}. Correct the value, or remove the row.') from error


def _refuse_missing(wanted: Sequence[str], given: Mapping[str, Any], task: Task, where: str) -> None:
    missing = [column for column in wanted if column not in given]
    if missing:
        guesses = "".join(did_you_mean(column, given) for column in missing)
        raise DataError(
            f"{where}: {task.name} reads the columns {listed(wanted)}; this row has {listed(given)}{guesses or '.'} "
            f"Name them by --columns {missing[0]}=NAME."
        )


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
