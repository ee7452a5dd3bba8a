"""What the data report says of answers that a model cannot give or learn: counted, with the questions' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from hf_fft.data.answers import place_in_context
from hf_fft.data.values import column_values
from hf_fft.data.wording import listed
from hf_fft.recipe import QuestionAnsweringRecipe
from hf_fft.tasks.context_windows import ContextParts


def answer_counts(golds: Sequence[Mapping[str, list[Any]]]) -> dict[str, int]:
    """Count questions with and without an answer."""
    answerable = sum(bool(gold["text"]) for gold in golds)
    return {"answerable": answerable, "unanswerable": len(golds) - answerable}


def findings(recipe: QuestionAnsweringRecipe, rows: Dataset, encoded: Dataset, names: Sequence[str]) -> tuple[str, ...]:
    """Say of one split what is to know about its answers; `names` are what the questions are called."""
    contexts, golds = column_values(rows, recipe.context_column), column_values(rows, recipe.answers_column)
    answerable = np.array([bool(gold["text"]) for gold in golds])
    tokens = _answer_tokens(encoded, len(rows))
    told: dict[str, Sequence[int] | NDArray[np.int64]] = {
        "Answers that stand not at answer_start but at one other place, and were looked up there": [
            row for row, (context, gold) in enumerate(zip(contexts, golds, strict=True)) if _is_moved(context, gold)
        ],
        "First answers that no window holds whole: trained as no answer, and never guessed whole": np.flatnonzero(
            answerable & (tokens == 0)
        ),
        f"First answers of more than {recipe.max_answer_length} tokens (max_answer_length): never guessed whole": (
            np.flatnonzero(tokens > recipe.max_answer_length)
        ),
        "Questions so long that the windows of their context share less than window_overlap": _crowded(recipe, encoded),
        "Questions without an answer, where the training rows answer every one: an answer is always given, and wrong": (
            [] if recipe.no_answers else np.flatnonzero(~answerable)
        ),
    }
    return tuple(
        f"{what}: {len(members):,} ({listed((names[row] for row in members), limit=5)})."
        for what, members in told.items()
        if len(members)
    )


def _is_moved(context: str, gold: Mapping[str, list[Any]]) -> bool:
    return any(
        place_in_context(text, context, start) != start
        for text, start in zip(gold["text"], gold["answer_start"], strict=True)
    )


def _answer_tokens(encoded: Dataset, count: int) -> NDArray[np.int64]:
    """Return the tokens of the answer that each row's windows are trained on; 0 where none holds it."""
    columns = encoded.with_format("numpy", columns=["row", "cls", "labels"])[:]
    labels = np.asarray(columns["labels"])
    tokens = np.where((labels == columns["cls"][:, None]).all(axis=1), 0, labels[:, 1] - labels[:, 0] + 1)
    longest = np.zeros(count, dtype=np.int64)
    np.maximum.at(longest, columns["row"], tokens)
    return longest


def _crowded(recipe: QuestionAnsweringRecipe, encoded: Dataset) -> list[int]:
    """Return the rows of several windows whose question leaves less room than twice the overlap."""
    parts, lengths = ContextParts(encoded), np.asarray(encoded["length"])
    room = recipe.max_length - lengths + parts.tokens
    several = np.bincount(parts.row)[parts.row] > 1
    return sorted(set(parts.row[several & (room < 2 * recipe.window_overlap)].tolist()))
