"""CoNLL column files: a word a line, a blank line between sentences, the word's annotations in columns.

Columns stand apart by tabs or by spaces; the first line of words says which. Python's own `split()` would not do: it
also splits at no-break spaces, which are words in some corpora. `-DOCSTART-` lines end a sentence and are left out, and
so is a comment, which is a line that begins with "# " between two sentences and has another number of columns than the
words have. Everything else must have as many columns as the first line of words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from datasets import BuilderConfig, Dataset, Features, List, Value, concatenate_datasets

from hf_fft.data.wording import listed
from hf_fft.errors import DataError

logger = logging.getLogger(__name__)

DOCUMENT_START = "-DOCSTART-"
DEFAULT_NAMES = ("tokens", "tags")

Splitter: TypeAlias = Callable[[str], list[str]]


@dataclass
class ConllConfig(BuilderConfig):
    """The options of the reader; without `column_names` the first column is `tokens` and the last is `tags`."""

    column_names: list[str] | None = None
    delimiter: str | None = None
    encoding: str | None = None


def read_conll(files: Sequence[Path], shown: Sequence[str], options: Mapping[str, Any]) -> Dataset:
    """Read column files, one behind another: a row a sentence, each named column a list of texts.

    Args:
        shown: What messages call the files.
        options: Those of `ConllConfig`.

    Raises:
        DataError: naming the line, if columns differ in number or are empty, or naming the option that cannot be used.
        UnicodeDecodeError: if a file is not in its `encoding`.
    """
    names, delimiter, encoding = _checked_options(options)
    parts = []
    for file, name in zip(files, shown, strict=True):
        lines = list(_lines(file, encoding))
        parts.append(_rows(lines, name, names=names, delimiter=delimiter))
    return concatenate_datasets(parts)


def conll_rows(stream: TextIO, shown: str, options: Mapping[str, Any]) -> Iterator[dict[str, list[str]]]:
    """Yield the sentences of an open column file one by one; a file of words alone has the column `tokens`.

    Raises:
        DataError: as `read_conll` does, when it comes to the line.
    """
    names, delimiter, _ = _checked_options(options)
    lines = (line.rstrip("\n") for line in stream)
    begun: list[str] = []
    for line in lines:
        begun.append(line)
        if line.strip() and not line.startswith((DOCUMENT_START, "#")):
            break
    first_words = _first_line_of_words(begun)
    if not first_words:
        return
    split = _splitter(first_words, delimiter)
    width = len(split(first_words))
    places = {DEFAULT_NAMES[0]: 0} if names is None and width == 1 else _places(names, width, shown)
    for words in _sentences(chain(begun, lines), split, width, shown):
        yield {name: [cells[place] for cells in words] for name, place in places.items()}


def _rows(lines: list[str], shown: str, *, names: list[str] | None, delimiter: str | None) -> Dataset:
    first_words = _first_line_of_words(lines)
    if not first_words:
        raise DataError(f"{shown}: no words; at least one sentence is needed.")
    split = _splitter(first_words, delimiter)
    width = len(split(first_words))
    places = _places(names, width, shown)
    sentences = list(_sentences(lines, split, width, shown))
    columns = {name: [[cells[place] for cells in words] for words in sentences] for name, place in places.items()}
    return Dataset.from_dict(columns, features=Features({name: List(Value("string")) for name in places}))


def _lines(file: Path, encoding: str) -> Iterator[str]:
    with file.open(encoding=encoding) as stream:
        for line in stream:
            yield line.rstrip("\n")


def _first_line_of_words(lines: list[str]) -> str:
    """Return the line that says how many columns there are: the first one that cannot be anything else."""
    words = (line for line in lines if line.strip() and not line.startswith(DOCUMENT_START))
    first = next(words, "")
    return next((line for line in (first, *words) if not line.startswith("#")), first)


def _splitter(line: str, delimiter: str | None) -> Splitter:
    if delimiter is None:
        delimiter = "\t" if "\t" in line else " "
    if delimiter == " ":
        return lambda line: [cell for cell in line.replace("\t", " ").split(" ") if cell]
    return lambda line: [cell.strip(" ") for cell in line.split(delimiter)]


def _sentences(lines: Iterable[str], split: Splitter, width: int, shown: str) -> Iterator[list[list[str]]]:
    words: list[list[str]] = []
    documents = comments = 0
    for number, line in enumerate(lines, start=1):
        is_document_start = line.startswith(DOCUMENT_START)
        if is_document_start or not line.strip():
            documents += is_document_start
            if words:
                yield words
            words = []
            continue
        cells = split(line)
        # "# sent_id = 3" has as many cells as some files have columns.
        if not words and line.startswith("# ") and (len(cells) != width or any("=" in cell for cell in cells[1:])):
            comments += 1
            continue
        _check_cells(cells, width, f"{shown}, line {number}")
        words.append(cells)
    if words:
        yield words
    if documents or comments:
        logger.info("%s: left out %d %s lines and %d comments", shown, documents, DOCUMENT_START, comments)


def _check_cells(cells: list[str], width: int, where: str) -> None:
    if len(cells) != width:
        found = f"{len(cells)} {'column' if len(cells) == 1 else 'columns'}"
        raise DataError(
            f'{where}: {found} where the first line of words has {width}: "{" ".join(cells)[:80]}". Mend the line, or '
            "set data.options.delimiter to what stands between the columns; sentences are parted by a blank line."
        )
    if "" in cells:
        raise DataError(
            f"{where}: column {cells.index('') + 1} is empty. Fill it, or set data.options.delimiter to what stands "
            "between the columns."
        )


def _places(names: list[str] | None, width: int, shown: str) -> dict[str, int]:
    """Return the place of each named column."""
    if names is None:
        if width == 1:
            raise DataError(
                f"{shown} has one column; a word and its tag are needed. Set data.options.delimiter to what stands "
                "between the columns. Words without tags can be neither learned from nor scored: to leave such a file "
                "out, name the others in data.splits."
            )
        return dict(zip(DEFAULT_NAMES, (0, width - 1), strict=True))
    if len(names) != width:
        raise DataError(
            f"data.options.column_names: {len(names)} names ({listed(names)}), but {shown} has {width} columns. "
            "Name every column, or leave column_names out: then the first is tokens and the last is tags."
        )
    return {name: place for place, name in enumerate(names)}


def _checked_options(options: Mapping[str, Any]) -> tuple[list[str] | None, str | None, str]:
    names, delimiter, encoding = (options.get(name) for name in ("column_names", "delimiter", "encoding"))
    if names is not None:
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
            raise DataError(f"data.options.column_names: a list of names is needed, not {names!r}.")
        if len(set(names)) != len(names):
            raise DataError(f"data.options.column_names names a column twice: {listed(names)}.")
    if delimiter is not None and (not isinstance(delimiter, str) or not delimiter):
        raise DataError(f'data.options.delimiter: a text such as "\\t" or " " is needed, not {delimiter!r}.')
    if encoding is not None and not isinstance(encoding, str):
        raise DataError(f'data.options.encoding: a name such as "latin-1" is needed, not {encoding!r}.')
    # A byte order mark would stick to the first word.
    plain = encoding is None or encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    return (None if names is None else list(names)), delimiter, "utf-8-sig" if plain else str(encoding)
