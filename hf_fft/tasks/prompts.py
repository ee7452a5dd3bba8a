"""Prompts: what a generating model reads of a row, and rows that read alike made one.

A prompt is a text with columns in braces, `"summarize: {document}"`; a brace that is meant as one is written twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, List, Value

from hf_fft.data import require_text
from hf_fft.data.values import column_values, is_missing, refuse_rows, with_column
from hf_fft.errors import DataError, RecipeError
from hf_fft.recipe.task_records import columns_in

# How many rows of the source a row was made of.
ROWS_READ = "rows_read"


@dataclass(frozen=True)
class Filled:
    """A prompt with a row's values in it, and where its longest value stands: characters `start` to `end`."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Prompt:
    """A template, and the columns that it names."""

    template: str

    @classmethod
    def of_column(cls, column: str) -> Prompt:
        """Return the prompt that is a column's text and nothing else.

        Raises:
            RecipeError: if the name cannot stand in braces.
        """
        if not column or set(column) & set("{}!:"):
            raise RecipeError(
                f'The column "{column}" cannot be named in a prompt, where braces, ! and : have a meaning. Rename it '
                "in the data."
            )
        return cls("{" + column + "}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the prompt names, each once."""
        return columns_in(self.template)

    def with_columns(self, names: Mapping[str, str]) -> Prompt:
        """Return the prompt with some columns called by other names."""
        template = ""
        for literal, column, _, _ in Formatter().parse(self.template):
            template += literal.replace("{", "{{").replace("}", "}}")
            template += "" if column is None else "{" + names.get(column, column) + "}"
        return Prompt(template)

    def fill(self, row: Mapping[str, Any]) -> Filled:
        """Put a row's values into the template."""
        text, longest = "", (0, 0)
        for literal, column, _, _ in Formatter().parse(self.template):
            text += literal
            if column is not None:
                start, text = len(text), text + str(row[column])
                longest = max(longest, (start, len(text)), key=lambda span: span[1] - span[0])
        return Filled(text, *longest)

    def fill_all(self, rows: Mapping[str, Sequence[Any]]) -> list[Filled]:
        """Fill the template for every row of a batch of columns."""
        columns = self.columns
        return [
            self.fill(dict(zip(columns, values, strict=True)))
            for values in zip(*(rows[column] for column in columns), strict=True)
        ]


def merge_rows(rows: Dataset, prompt: Prompt, target: str) -> Dataset:
    """Make rows with the same prompt one row that has all their targets, a list of texts, in the order of the rows.

    Other columns keep the value of the first of them; a column `rows_read` says how many rows it was.

    Raises:
        DataError: if of rows with the same prompt some have something to write and others nothing.
    """
    filled = prompt.fill_all({column: column_values(rows, column) for column in prompt.columns})
    first: dict[str, int] = {}
    targets: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for index, (one, references) in enumerate(zip(filled, column_values(rows, target), strict=True)):
        place = first.setdefault(one.text, index)
        if place != index and bool(references) != bool(targets[one.text]):
            raise DataError(
                f'Column "{target}": rows {place + 1} and {index + 1} (counted from 1) read alike, and one has '
                "something to write where the other has nothing. Correct one of them, or remove it."
            )
        targets.setdefault(one.text, []).extend(references)
        counts[one.text] += 1
    chosen = with_column(rows.select(list(first.values())), target, list(targets.values()), List(Value("string")))
    return with_column(chosen, ROWS_READ, [counts[text] for text in first], Value("int64"))


def sources_as_text(splits: DatasetDict, prompt: Prompt) -> DatasetDict:
    """Turn the columns of a prompt into texts: lists of sentences are joined by spaces, numbers are written out.

    Raises:
        DataError: if a value is missing, or a column that stands alone in the prompt holds nothing but numbers.
    """
    typed = {}
    for split, rows in splits.items():
        for column in prompt.columns:
            feature, values = rows.features[column], column_values(rows, column)
            refuse_rows(
                values,
                _has_holes,
                split=split,
                column=column,
                fault="no text (null)",
                advice="Give them a text, or remove these rows.",
            )
            if not (isinstance(feature, Value) and "string" in feature.dtype):
                named = feature.int2str if isinstance(feature, ClassLabel) else source_text
                rows = with_column(rows, column, [named(value) for value in values], Value("string"))
        typed[split] = rows
    texts = DatasetDict(typed)
    if len(prompt.columns) == 1:
        require_text(texts, prompt.columns)
    return texts


def targets_as_lists(splits: DatasetDict, column: str) -> DatasetDict:
    """Turn a column of texts, or of lists of equally good texts, into lists of texts.

    Raises:
        DataError: if a row has no target, an empty one, or something else than text.
    """
    typed = {}
    for split, rows in splits.items():
        if column not in rows.column_names:
            typed[split] = rows
            continue
        values = [[value] if not isinstance(value, list) else value for value in column_values(rows, column)]
        refuse_rows(
            values,
            lambda texts: not texts or any(is_missing(text) for text in texts),
            split=split,
            column=column,
            fault="no text to write, or an empty one",
            advice="Give every row at least one text, and no empty ones, or remove these rows.",
        )
        refuse_rows(
            values,
            lambda texts: any(not isinstance(text, str) for text in texts),
            split=split,
            column=column,
            fault="something else than a text or a list of texts",
            advice="Name the column with the text to write in task.target_column.",
        )
        typed[split] = with_column(rows, column, values, List(Value("string")))
    return DatasetDict(typed)


def _has_holes(value: Any) -> bool:
    return value is None or (isinstance(value, list) and any(not isinstance(part, str) for part in value))


def source_text(value: Any) -> str:
    """Return what a prompt reads of a value: lists of sentences joined by spaces, numbers written out."""
    return " ".join(part.strip() for part in value) if isinstance(value, list) else str(value)
