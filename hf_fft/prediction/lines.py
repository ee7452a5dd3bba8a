"""What is told of a prediction: one flat record a row, the same keys for every row of a task.

`row` counts from 0, as in a run's `predictions.jsonl`; characters are counted from 0, and an end is the first one that
belongs no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from hf_fft.metrics.tagging import entities
from hf_fft.prediction.inputs import Row, id_column, words_of
from hf_fft.result import Prediction
from hf_fft.tasks import Task, TextClassification, TokenClassification
from hf_fft.tasks.language_modeling import LanguageModeling

Line: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What a line holds besides the guess.

    Attributes:
        top_k: How many of the likeliest labels, or answers, are given with their probabilities; 0 for none.
        with_inputs: Whether all columns of the row stand in the line too.
        names: What the given rows call a column of the task, where they have another name for it.
    """

    top_k: int = 0
    with_inputs: bool = False
    names: Mapping[str, str] | None = None


def line_of(row: Row, prediction: Prediction, task: Task, wanted: Wanted) -> Line:
    """Return what is told of a row."""
    name = id_column(task)
    return {
        "row": row.number,
        **({name: row.inputs[name]} if name is not None and name in row.inputs else {}),
        **_told(task)(row, prediction, task, wanted),
        **({"inputs": dict(row.given)} if wanted.with_inputs else {}),
    }


def _told(task: Task) -> Callable[[Row, Prediction, Any, Wanted], Line]:
    if isinstance(task, TextClassification):
        return _labels
    if isinstance(task, TokenClassification):
        return _tags
    if isinstance(task, LanguageModeling):
        return _figures
    return _answer if task.name == "question_answering" else _text


def _labels(row: Row, prediction: Prediction, task: TextClassification, wanted: Wanted) -> Line:
    told: Line = {"guess": prediction.guess}
    if isinstance(prediction.guess, str):
        told["probability"] = prediction.scores[prediction.guess]
    elif isinstance(prediction.guess, list):
        told["probabilities"] = [prediction.scores[label] for label in prediction.guess]
    return {**told, **(_top(prediction.scores, wanted) if prediction.scores else {})}  # a number has none


def _tags(row: Row, prediction: Prediction, task: TokenClassification, wanted: Wanted) -> Line:
    (column,) = task.text_columns()
    words = row.inputs[column]
    given = row.given.get((wanted.names or {}).get(column, column), row.given.get("text"))
    text, starts = (given, [start for _, start in words_of(given)]) if isinstance(given, str) else _joined(words)
    told: Line = {"guess": prediction.guess, "words": words}
    if task.spells_entities:
        told["entities"] = [
            _entity(text, kind, starts[first], starts[last] + len(words[last]))
            for kind, first, last in entities(prediction.guess)
        ]
    return told


def _entity(text: str, kind: str, start: int, end: int) -> Line:
    return {"type": kind, "text": text[start:end], "start": start, "end": end}


def _joined(words: list[str]) -> tuple[str, list[int]]:
    """Return words as a text with one space between them, and where each begins."""
    ends = accumulate(len(word) + 1 for word in words)
    return " ".join(words), [end - len(word) - 1 for word, end in zip(words, ends, strict=True)]


def _answer(row: Row, prediction: Prediction, task: Task, wanted: Wanted) -> Line:
    start, end = prediction.place or (None, None)
    return {
        "guess": prediction.guess,
        "start": start,
        "end": end,
        "probability": prediction.n_best.get(prediction.guess),
        "no_answer": prediction.scores.get("no_answer"),
        **_top(prediction.n_best, wanted),
    }


def _text(row: Row, prediction: Prediction, task: Task, wanted: Wanted) -> Line:
    return {"guess": prediction.guess}


def _figures(row: Row, prediction: Prediction, task: Task, wanted: Wanted) -> Line:
    loss = prediction.scores.get("loss")
    return {
        "perplexity": None if loss is None else _exp(loss),
        "loss": loss,
        "accuracy": prediction.scores.get("accuracy"),
        "tokens": prediction.scores["tokens"],
    }


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def _top(scores: Mapping[str, float], wanted: Wanted) -> Line:
    if not wanted.top_k:
        return {}
    best = sorted(scores, key=lambda name: -scores[name])[: wanted.top_k]
    return {"scores": {name: scores[name] for name in best}}
