"""Answers as SQuAD has them: a column of lists of texts and of the characters at which they start in the context.

An answer that does not stand at its `answer_start` is looked up: if it stands in the context exactly once, that is
where it is, and a task counts it; otherwise nobody can say which words are meant, and it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import DatasetDict

from hf_fft.data.squad import ANSWERS
from hf_fft.data.values import column_values, refuse_rows, with_column
from hf_fft.data.wording import listed
from hf_fft.errors import DataError

_SHAPE = 'Answers are {"text": ["…"], "answer_start": [0]}, both lists empty where a question has no answer.'


def answer_lists(splits: DatasetDict, column: str) -> DatasetDict:
    """Give a column of answers the type of the Hub's `squad`; a list of {"text", "answer_start"} is taken as well.

    Raises:
        DataError: if a value is neither of the two, or an answer is empty.
    """
    typed = {}
    for split, rows in splits.items():
        values, where = column_values(rows, column), {"split": split, "column": column}
        fault = "no answers as SQuAD has them"
        refuse_rows(values, lambda value: _as_lists(value) is None, fault=fault, advice=_SHAPE, **where)
        values = [_as_lists(value) for value in values]
        refuse_rows(
            values,
            lambda value: not all(text.strip() for text in value["text"]),
            fault="an empty answer",
            advice="Where a question has no answer, both lists are empty.",
            **where,
        )
        typed[split] = with_column(rows, column, values, ANSWERS)
    return DatasetDict(typed)


def place_in_context(text: str, context: str, answer_start: int) -> int | None:
    """Return the character at which an answer starts: `answer_start` if it stands there, else its only other place."""
    if answer_start >= 0 and context.startswith(text, answer_start):
        return answer_start
    first = context.find(text)
    return first if first >= 0 and first == context.rfind(text) else None


def refuse_lost_answers(
    contexts: Sequence[str], answers: Sequence[dict[str, Any]], names: Sequence[str], *, split: str
) -> None:
    """Refuse answers of typed rows that have no place in their context; `names` are what messages call the rows.

    Raises:
        DataError: naming the questions and the answers.
    """
    lost = [
        f'{name} ("{text}" at {start})'
        for context, answer, name in zip(contexts, answers, names, strict=True)
        for text, start in zip(answer["text"], answer["answer_start"], strict=True)
        if place_in_context(text, context, start) is None
    ]
    if lost:
        count = "1 answer" if len(lost) == 1 else f"{len(lost):,} answers"
        raise DataError(
            f"{count} of {split} cannot be placed: not at answer_start (characters, counted from 0), and elsewhere in "
            f"the context nowhere or more than once: {listed(lost, limit=5)}. Correct answer_start, or leave these "
            "questions out by data.exclude."
        )


def _as_lists(value: Any) -> dict[str, list[Any]] | None:
    """Return {"text": [...], "answer_start": [...]}, or None where the value is no such thing."""
    if isinstance(value, list) and all(isinstance(answer, dict) for answer in value):
        value = {key: [answer.get(key) for answer in value] for key in ANSWERS}
    if not isinstance(value, dict) or not all(isinstance(value.get(key), list) for key in ANSWERS):
        return None
    texts, starts = value["text"], value["answer_start"]
    whole = len(texts) == len(starts) and all(isinstance(text, str) for text in texts)
    numbers = all(isinstance(start, int) and not isinstance(start, bool) for start in starts)
    return {"text": texts, "answer_start": starts} if whole and numbers else None
