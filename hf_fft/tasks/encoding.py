"""Texts to token ids, with nothing lost unseen: every row keeps its length before cutting."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_fft.data import Splits
from hf_fft.errors import RecipeError


def encode_cut(
    texts: list[str], pairs: list[str] | None, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> dict[str, list[Any]]:
    """Encode texts, or pairs of texts, and cut the longer ones as the tokenizer itself cuts.

    Returns:
        The tokenizer's columns, and `text_tokens`: the length of each input before cutting, special tokens included.
    """
    # The whole texts first, for their true length; verbose=False leaves out the warning that they are long.
    encoded = dict(tokenizer(texts, pairs, truncation=False, verbose=False))
    lengths = [len(ids) for ids in encoded["input_ids"]]
    long = [index for index, length in enumerate(lengths) if length > max_length]
    if long:
        some_pairs = None if pairs is None else [pairs[index] for index in long]
        cut = tokenizer([texts[index] for index in long], some_pairs, truncation=True, max_length=max_length)
        for column, values in cut.items():
            for index, value in zip(long, values, strict=True):
                encoded[column][index] = value
    return {**encoded, "text_tokens": lengths}


def encode_windows(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int, overlap: int
) -> dict[str, list[Any]]:
    """Encode texts as windows of at most `max_length` tokens, neighbours sharing `overlap` of them.

    Returns:
        The tokenizer's columns, `source`: which text a window came from, and `text_tokens`: the length of that text,
        special tokens of one window included.

    Raises:
        RecipeError: if the tokenizer cannot return overflowing tokens.
    """
    if not tokenizer.is_fast:
        raise RecipeError(
            f'task.long_text "windows" needs a tokenizer of the tokenizers library; {type(tokenizer).__name__} is not '
            'one. Set task.long_text to "cut".'
        )
    encoded = dict(
        tokenizer(texts, truncation=True, max_length=max_length, stride=overlap, return_overflowing_tokens=True)
    )
    source = encoded.pop("overflow_to_sample_mapping")
    special = tokenizer.num_special_tokens_to_add()
    lengths = [special] * len(texts)
    seen: set[int] = set()
    for index, ids in zip(source, encoded["input_ids"], strict=True):
        lengths[index] += len(ids) - special - (overlap if index in seen else 0)
        seen.add(index)
    return {**encoded, "source": source, "text_tokens": [lengths[index] for index in source]}


def length_of_each_row(encoded: Splits, column: str) -> dict[str, list[int]]:
    """Return the lengths that the items of each split carry, once a row: an item is a row, or one of its windows."""
    return {name: list(dict(zip(items["row"], items[column], strict=True)).values()) for name, items in encoded.items()}


def weigh_windows(encoded: Dataset) -> Dataset:
    """Append to each item's labels its weight: one over its document's windows, scaled to mean 1 over the items."""
    rows = np.asarray(encoded["row"])
    windows = np.bincount(rows)
    weights = len(rows) / (np.count_nonzero(windows) * windows[rows])
    labels = [[*np.atleast_1d(label), weight] for label, weight in zip(encoded["labels"], weights, strict=True)]
    return encoded.remove_columns("labels").add_column("labels", labels)


def mean_by_row(scores: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Average the scores, (items, labels), of the items of each row: (count, labels)."""
    summed = np.zeros((count, scores.shape[1]))
    np.add.at(summed, rows, scores)
    return summed / np.bincount(rows, minlength=count)[:, None]
