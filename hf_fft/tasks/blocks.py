"""Texts to items of bounded length: joined and cut into blocks, or one text an item. Pure functions over arrays.

A corpus is three flat arrays, so that a million tokens take no Python loop: the ids of all tokens one behind another,
the row that each came from, and where the items begin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

NO_ROW = -1

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """The tokens of many items, one behind another.

    Attributes:
        ids: Every token's number.
        rows: The row of every token; -1 for special tokens.
        bounds: Where each item begins, and last the end: item i is `ids[bounds[i]:bounds[i + 1]]`.
    """

    ids: Integers
    rows: Integers
    bounds: Integers

    def lengths(self) -> Integers:
        """Return the number of tokens of each item."""
        return np.diff(self.bounds)


@dataclass(frozen=True)
class Frame:
    """The special tokens of a task.

    Attributes:
        before: What stands before each item.
        after: What stands after each item.
        separator: What stands between two texts of one item, if there is such a token.
        ends_texts: Whether the separator stands behind every text, also the last one and one that stands alone.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    separator: int | None
    ends_texts: bool

    def tokens_a_text(self) -> int:
        """Return how many special tokens a text gets that stands alone."""
        return len(self.before) + len(self.after) + (self.separator is not None and self.ends_texts)


def items_of(texts: Tokens, frame: Frame, *, max_length: int, packing: bool) -> tuple[Tokens, Integers]:
    """Make items of at most `max_length` tokens of the texts; return them, and the row that each begins with.

    A text without tokens makes no item.
    """
    size = max_length - len(frame.before) - len(frame.after)
    texts = without_empty_items(texts)
    if frame.separator is not None and (packing or frame.ends_texts):
        texts = separated(texts, frame.separator, after_last=frame.ends_texts)
    tokens = packed(texts, size) if packing else cut(texts, size)
    return framed(tokens, frame.before, frame.after), item_rows(tokens)


def text_tokens(texts: Dataset, column: str, tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """Tokenize a column without special tokens, an item a text."""
    encoded = texts.map(
        # verbose=False leaves out the warning that a text is long.
        lambda rows: {"input_ids": tokenizer(rows[column], add_special_tokens=False, verbose=False)["input_ids"]},
        batched=True,
        remove_columns=texts.column_names,
        desc="Encoding",
    )
    ids, lengths = flat_column(encoded, "input_ids")
    return Tokens(ids, np.repeat(np.arange(len(lengths)), lengths), _bounds(lengths))


def flat_column(items: Dataset, column: str) -> tuple[Integers, Integers]:
    """Return a column of lists as one array, and the lengths of the lists."""
    chunks = items.with_format("arrow")[:][column].chunks
    values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks]
    lengths = [chunk.value_lengths().to_numpy(zero_copy_only=False) for chunk in chunks]
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *values]).astype(np.int64), np.concatenate([none, *lengths]).astype(np.int64)


def without_empty_items(tokens: Tokens) -> Tokens:
    """Drop the items that have no token."""
    return Tokens(tokens.ids, tokens.rows, np.unique(tokens.bounds))


def separated(tokens: Tokens, separator: int, *, after_last: bool) -> Tokens:
    """Put a separator behind every item, or between the items only; it counts to the item before it."""
    count = len(tokens.bounds) - (1 if after_last else 2)
    places = tokens.bounds[1 : 1 + max(count, 0)]
    moved = tokens.bounds + np.minimum(np.arange(len(tokens.bounds)), len(places))
    return Tokens(np.insert(tokens.ids, places, separator), np.insert(tokens.rows, places, NO_ROW), moved)


def packed(tokens: Tokens, size: int) -> Tokens:
    """Join all items and cut them into blocks of `size` tokens; the last block is what is left, and may be shorter."""
    end = len(tokens.ids)
    return Tokens(tokens.ids, tokens.rows, np.append(np.arange(0, end, size), end))


def cut(tokens: Tokens, size: int) -> Tokens:
    """Keep the first `size` tokens of every item."""
    lengths = tokens.lengths()
    place = np.arange(len(tokens.ids)) - np.repeat(tokens.bounds[:-1], lengths)
    kept = place < size
    return Tokens(tokens.ids[kept], tokens.rows[kept], _bounds(np.minimum(lengths, size)))


def framed(tokens: Tokens, before: Sequence[int], after: Sequence[int]) -> Tokens:
    """Put special tokens before and after every item."""
    starts, ends = tokens.bounds[:-1], tokens.bounds[1:]
    # Where an item ends the next one begins; insertion is stable, so the end's tokens must be named first.
    places = np.concatenate([np.repeat(ends, len(after)), np.repeat(starts, len(before))])
    special = np.concatenate([np.tile(after, len(ends)), np.tile(before, len(starts))]).astype(np.int64)
    moved = tokens.bounds + np.arange(len(tokens.bounds)) * (len(before) + len(after))
    return Tokens(np.insert(tokens.ids, places, special), np.insert(tokens.rows, places, NO_ROW), moved)


def item_rows(tokens: Tokens) -> Integers:
    """Return the row of each item's first token, before it is framed; a separator counts to the text before it."""
    return np.maximum.accumulate(tokens.rows)[tokens.bounds[:-1]]


def tokens_around(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens that the tokenizer itself puts before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, special = tuple(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    if 0 not in special:
        return ids, ()
    return ids[: special.index(0)], ids[len(ids) - special[::-1].index(0) :]


def as_dataset(lists: Mapping[str, Integers], bounds: Integers, **columns: Integers) -> Dataset:
    """Return items as a dataset.

    Args:
        lists: Columns of lists, each as one flat array.
        bounds: Where the lists of each item begin, and last the end.
        columns: Columns of numbers, one an item.
    """
    offsets = pa.array(bounds.astype(np.int32))
    return Dataset.from_dict(
        {name: pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in lists.items()}
        | {name: pa.array(values) for name, values in columns.items()}
    )


def _bounds(lengths: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
