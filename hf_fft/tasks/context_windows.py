"""Questions and contexts to windows of tokens: the whole question in each, and as much of the context as fits.

The question comes first, and the context is cut; for tokenizers that pad on the left, XLNet's for example, the context
comes first, as such models were trained. Each window remembers where its part of the context stands, in tokens and in
characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from hf_fft.data.wording import rows_named
from hf_fft.errors import DataError

# With less room than this beside a question, a longer context is not read in windows.
LEAST_ROOM = 8


def encode_questions(
    questions: Sequence[str],
    contexts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    overlap: int,
) -> tuple[dict[str, list[Any]], list[int]]:
    """Encode questions with contexts as windows of at most `max_length` tokens.

    Neighbouring windows share `overlap` tokens of the context, or half of the room beside a question that leaves less
    than twice the overlap.

    Returns:
        The windows, and the questions beside which there is no room for a window of their context. A window has the
        tokenizer's columns and `source` (which question), `cls` (the token that means "no answer"), `context_start`
        (the context's first token), `char_starts` and `char_ends` (where each token of the context stands in it), and
        `text_tokens` (the length of question and context before cutting, special tokens of one window included).
    """
    room = _room(questions, tokenizer, max_length)
    strides = np.where(room < LEAST_ROOM, -1, np.minimum(overlap, room // 2))
    windows: list[dict[str, Any]] = []
    crowded: list[int] = []
    # The tokenizers library takes one stride a call, and panics where a stride is not below the room.
    for stride in np.unique(strides):
        members = np.flatnonzero(strides == stride).tolist()
        pairs = ([questions[member] for member in members], [contexts[member] for member in members])
        found = _windows(pairs, members, tokenizer, max_length=max_length, stride=int(stride))
        crowded += [one["source"] for one in found if len(one["input_ids"]) > max_length]
        windows += found
    windows.sort(key=lambda window: window["source"])
    _count_tokens(windows, strides)
    return {column: [window[column] for window in windows] for column in windows[0]}, sorted(crowded)


def refuse_crowded(crowded: Sequence[int], *, split: str, max_length: int) -> None:
    """Refuse questions that leave no room for their context.

    Raises:
        DataError: naming the rows.
    """
    if crowded:
        count = "1 question leaves" if len(crowded) == 1 else f"{len(crowded):,} questions leave"
        raise DataError(
            f"{count} fewer than {LEAST_ROOM} of {max_length} tokens for a longer context in {split}, "
            f"{rows_named(crowded)}. "
            "Raise task.max_length, shorten the questions, or leave them out by data.exclude."
        )


class ContextParts:
    """Where the windows of an encoded data set hold their context: columns of it as arrays.

    Attributes:
        row: The row that each window came from.
        cls: The token that means "no answer".
        start: The context's first token in each window.
        tokens: How many tokens of the context it holds.
    """

    def __init__(self, encoded: Dataset) -> None:
        table = encoded.select_columns(["row", "cls", "context_start", "char_starts", "char_ends"])
        columns = table.with_format("arrow")[:]
        self.row, self.cls, self.start = (
            columns[name].to_numpy().astype(np.int64) for name in ("row", "cls", "context_start")
        )
        starts, ends = (columns[name].combine_chunks() for name in ("char_starts", "char_ends"))
        self.tokens: NDArray[np.int64] = starts.value_lengths().to_numpy().astype(np.int64)
        self._char_starts, self._char_ends = starts.flatten().to_numpy(), ends.flatten().to_numpy()
        self._before = np.cumsum(self.tokens) - self.tokens

    def characters(
        self, window: NDArray[np.integer], start: NDArray[np.integer], end: NDArray[np.integer]
    ) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Return the characters of the context from and up to which spans of tokens reach."""
        behind = self._before[window] - self.start[window]
        return self._char_starts[behind + start], self._char_ends[behind + end]


def _room(questions: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> NDArray[np.int64]:
    ids = tokenizer(list(questions), add_special_tokens=False, verbose=False)["input_ids"]
    return max_length - tokenizer.num_special_tokens_to_add(pair=True) - np.array([len(one) for one in ids])


def _windows(
    pairs: tuple[list[str], list[str]],
    members: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    stride: int,
) -> list[dict[str, Any]]:
    """Return the windows of some questions; a negative stride means no cutting."""
    question_first = tokenizer.padding_side == "right"
    side = 1 if question_first else 0
    cutting: dict[str, Any] = {
        "truncation": "only_second" if question_first else "only_first",
        "max_length": max_length,
        "stride": stride,
        "return_overflowing_tokens": True,
    }
    texts = pairs if question_first else pairs[::-1]
    batch = tokenizer(*texts, return_offsets_mapping=True, verbose=False, **(cutting if stride >= 0 else {}))
    columns = {name: values for name, values in batch.items() if name in tokenizer.model_input_names}
    sources = batch.get("overflow_to_sample_mapping", range(len(members)))
    return [
        {
            **{name: values[index] for name, values in columns.items()},
            "source": members[source],
            **_context_part(batch.sequence_ids(index), batch["offset_mapping"][index], side),
            "cls": _cls(batch["input_ids"][index], tokenizer),
        }
        for index, source in enumerate(sources)
    ]


def _context_part(sequences: list[int | None], offsets: list[tuple[int, int]], side: int) -> dict[str, Any]:
    count = sequences.count(side)
    start = sequences.index(side) if count else 0
    characters = np.array(offsets[start : start + count], dtype=np.int32).reshape(-1, 2)
    return {"context_start": start, "char_starts": characters[:, 0], "char_ends": characters[:, 1]}


def _cls(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that means "no answer": CLS, or the first token where there is none."""
    token = tokenizer.cls_token_id
    return ids.index(token) if token in ids else 0


def _count_tokens(windows: Sequence[dict[str, Any]], strides: NDArray[np.int64]) -> None:
    totals: dict[int, int] = {}
    for window in windows:
        source, here = window["source"], len(window["char_starts"])
        before = totals.get(source)
        totals[source] = len(window["input_ids"]) if before is None else before + here - int(strides[source])
    for window in windows:
        window["text_tokens"] = totals[window["source"]]
