"""Sentences that are lists of words: to token ids, in windows where they are long, with every word's own tokens known.

A word must have the same tokens wherever it stands in a sentence. Byte-level tokenizers (RoBERTa, GPT-2, ModernBERT)
see it only with the space before it, which a list of words does not have; `read_words` makes them add it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerBase

from hf_fft.errors import RecipeError
from hf_fft.tasks.windows import NO_WORD, window_spans, words_of_windows


@dataclass(frozen=True)
class WordWindow:
    """One input of the model: a sentence, or a window of a long one.

    Attributes:
        source: Which sentence it came from.
        columns: The tokenizer's own columns.
        words: For each token the word that this window answers for, or NO_WORD.
        sentence_tokens: The length of the whole sentence, special tokens of one input included.
    """

    source: int
    columns: dict[str, list[int]]
    words: list[int]
    sentence_tokens: int


def read_words(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a tokenizer read a list of words as it reads them in running text; it is saved that way.

    Raises:
        RecipeError: if the tokenizer cannot say which token belongs to which word.
    """
    if not tokenizer.is_fast:
        raise RecipeError(
            f"token_classification needs a tokenizer of the tokenizers library, which says which token belongs to "
            f"which word; {type(tokenizer).__name__} is not one. Choose another model, or set model.tokenizer."
        )
    backend = tokenizer.backend_tokenizer
    whole = backend.pre_tokenizer
    parts: list[Any] = list(cast(Any, whole)) if isinstance(whole, pre_tokenizers.Sequence) else [whole]
    byte_level = [part for part in parts if isinstance(part, pre_tokenizers.ByteLevel) and not part.add_prefix_space]
    if byte_level:
        for part in byte_level:
            part.add_prefix_space = True
        # RobertaTokenizer and its like build their pre-tokenizer anew from this (transformers 5.23).
        tokenizer.add_prefix_space = True
        tokenizer.init_kwargs["add_prefix_space"] = True


def encode_words(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, *, max_length: int, overlap: int
) -> list[WordWindow]:
    """Encode sentences, those longer than `max_length` tokens as windows that share `overlap` of them.

    A sentence without a single token becomes one padding token, so that every sentence has a window.
    """
    # A list of words must not be empty, and an empty word has no tokens.
    texts = [list(words) or [""] for words in sentences]
    encoded = tokenizer(texts, is_split_into_words=True, truncation=False, verbose=False)
    windows = []
    for source, words in enumerate(sentences):
        ids = encoded.word_ids(source) if words else [None] * len(encoded["input_ids"][source])
        columns = {name: values[source] for name, values in encoded.items()}
        if not ids:
            columns, ids = _padding(list(columns), tokenizer), [None]
        if len(ids) <= max_length:
            (owned,) = words_of_windows(ids, [(0, len(ids))])
            windows.append(WordWindow(source, columns, owned, len(ids)))
        else:
            windows += _windows(texts[source], tokenizer, source=source, max_length=max_length, overlap=overlap)
    return windows


def _windows(
    words: list[str], tokenizer: PreTrainedTokenizerBase, *, source: int, max_length: int, overlap: int
) -> list[WordWindow]:
    special = tokenizer.num_special_tokens_to_add()
    bare = tokenizer(words, is_split_into_words=True, add_special_tokens=False, truncation=False, verbose=False)
    spans = window_spans(len(bare["input_ids"]), size=max_length - special, overlap=overlap)
    cut = tokenizer(
        words,
        is_split_into_words=True,
        truncation=True,
        max_length=max_length,
        stride=overlap,
        return_overflowing_tokens=True,
    )
    cut.pop("overflow_to_sample_mapping")
    owned = words_of_windows(bare.word_ids(), spans)
    assert len(cut["input_ids"]) == len(spans), "the tokenizer lays windows otherwise"
    windows = []
    for index, mine in enumerate(owned):
        columns = {name: values[index] for name, values in cut.items()}
        content = iter(mine)
        inside = cut.sequence_ids(index)
        placed = [NO_WORD if sequence is None else next(content) for sequence in inside]
        windows.append(WordWindow(source, columns, placed, len(bare["input_ids"]) + special))
    return windows


def _padding(columns: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the columns of a single padding token: a model cannot read an input without tokens."""
    values = {"input_ids": tokenizer.pad_token_id, "attention_mask": 1}
    return {name: [values.get(name, 0)] for name in columns}
