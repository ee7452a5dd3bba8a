"""What each row contributes to a metric, so that the metric of any choice of rows is a formula over sums.

A mean over rows needs its value and a count; the F1 of entities needs how many were found, guessed and there; a
correlation needs five sums. From such sums a metric is computed for ten thousand choices of rows at once, where scoring
each of them anew would take hours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from hf_fft.analysis.text_statistics import bleu, bleu_counts, chrf, chrf_counts, rouge_of_rows
from hf_fft.data.tags import spell_entities
from hf_fft.metrics.answers import exact_match, token_f1
from hf_fft.metrics.generation import ROUGES
from hf_fft.metrics.tagging import Entity, entities
from hf_fft.result import Prediction

# Sums, (…, statistics), to metrics, (…).
Combine: TypeAlias = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class RowStatistics:
    """What the rows of a split contribute to one metric.

    Attributes:
        values: Shape (rows, statistics).
        combine: From their sum over rows, shape (…, statistics), to the metric, shape (…).
    """

    values: np.ndarray
    combine: Combine

    def score(self) -> float:
        """Return the metric of all rows."""
        return float(self.combine(self.values.sum(axis=0)))


def row_statistics(task: str, metric: str, predictions: Sequence[Prediction]) -> RowStatistics | None:
    """Return the statistics of a metric, or None for a metric that is no formula over sums known here.

    Args:
        task: The task's name, for "f1" and "accuracy" mean different things.
        metric: As in `result.json`.
        predictions: Labelled ones.
    """
    known = _BY_TASK.get(task, {})
    return known[metric](predictions) if metric in known else None


def right_rows(predictions: Sequence[Prediction]) -> list[bool]:
    """Say of each row whether gold and guess are the same answer."""
    return [one.gold == one.guess for one in predictions]


def _mean(measure: Callable[[Prediction], float]) -> Callable[[Sequence[Prediction]], RowStatistics]:
    def statistics(predictions: Sequence[Prediction]) -> RowStatistics:
        values = np.array([[measure(one), 1.0] for one in predictions])
        return RowStatistics(values, lambda sums: _ratio(sums[..., 0], sums[..., 1]))

    return statistics


def _root_mean_square(predictions: Sequence[Prediction]) -> RowStatistics:
    values = np.array([[(one.gold - one.guess) ** 2, 1.0] for one in predictions])
    return RowStatistics(values, lambda sums: np.sqrt(_ratio(sums[..., 0], sums[..., 1])))


def _pearson(predictions: Sequence[Prediction]) -> RowStatistics:
    gold, guess = (np.array([getattr(one, side) for one in predictions], dtype=float) for side in ("gold", "guess"))
    # Centred, for the formula over sums subtracts large numbers from each other.
    gold, guess = gold - gold.mean(), guess - guess.mean()
    values = np.stack([np.ones_like(gold), gold, guess, gold**2, guess**2, gold * guess], axis=1)

    def combine(sums: np.ndarray) -> np.ndarray:
        count, one, two, one_square, two_square, product = np.moveaxis(sums, -1, 0)
        above = count * product - one * two
        below = np.sqrt((count * one_square - one**2).clip(min=0) * (count * two_square - two**2).clip(min=0))
        return _ratio(above, below, otherwise=np.nan)

    return RowStatistics(values, combine)


def _f1_of_labels(average: str) -> Callable[[Sequence[Prediction]], RowStatistics]:
    def statistics(predictions: Sequence[Prediction]) -> RowStatistics:
        gold, guess = ([_as_set(getattr(one, side)) for one in predictions] for side in ("gold", "guess"))
        labels = sorted(set().union(*gold, *guess))
        place = {label: index for index, label in enumerate(labels)}
        values = np.zeros((len(predictions), 3, len(labels)))
        for row, (right, said) in enumerate(zip(gold, guess, strict=True)):
            for kind, members in enumerate((right & said, said, right)):
                values[row, kind, [place[label] for label in members]] = 1.0

        def combine(sums: np.ndarray) -> np.ndarray:
            both, said, right = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, len(labels)), -2, 0)
            if average == "micro":
                return _f1(both.sum(axis=-1), said.sum(axis=-1), right.sum(axis=-1))
            if average == "weighted":
                return _ratio((_f1(both, said, right) * right).sum(axis=-1), right.sum(axis=-1))
            return _macro(both, said, right)

        return RowStatistics(values.reshape(len(predictions), -1), combine)

    return statistics


def _entities(
    ratio: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], *, lenient: bool = False
) -> Callable[[Sequence[Prediction]], RowStatistics]:
    def found(tags: Sequence[str | None]) -> set[Any]:
        return set(entities(tags, lenient=lenient))

    def statistics(predictions: Sequence[Prediction]) -> RowStatistics:
        rows = [(found(one.gold), found(one.guess)) for one in predictions]
        values = np.array([[len(gold & guess), len(guess), len(gold)] for gold, guess in rows], dtype=float)
        return RowStatistics(values, lambda sums: ratio(sums[..., 0], sums[..., 1], sums[..., 2]))

    return statistics


def _macro_of_tags(predictions: Sequence[Prediction]) -> RowStatistics:
    """Count by type of entity, or by tag where the tags spell no entities."""
    rows = [(one.gold, one.guess) for one in predictions]
    if spell_entities({tag for row in rows for tags in row for tag in tags if tag is not None}):
        found = [[Counter(kind for kind, _, _ in some) for some in _three(*row)] for row in rows]
    else:
        found = [_tags_by_word(*row) for row in rows]
    kinds = sorted({kind for row in found for counts in row for kind in counts})
    values = np.array([[counts[kind] for counts in row for kind in kinds] for row in found], dtype=float)

    def combine(sums: np.ndarray) -> np.ndarray:
        return _macro(*np.moveaxis(sums.reshape(*sums.shape[:-1], 3, len(kinds)), -2, 0))

    return RowStatistics(values, combine)


def _three(gold: Sequence[str], guess: Sequence[str | None]) -> tuple[set[Entity], set[Entity], set[Entity]]:
    """Return the entities of a sentence that are in both, in the guess, in gold."""
    said, right = set(entities(guess)), set(entities(gold))
    return said & right, said, right


def _tags_by_word(gold: Sequence[str], guess: Sequence[str | None]) -> list[Counter[str]]:
    both = Counter(one for one, other in zip(gold, guess, strict=True) if one == other)
    return [both, Counter(tag for tag in guess if tag is not None), Counter(gold)]


def _texts(
    counts: Callable[[Sequence[Prediction]], np.ndarray], combine: Combine
) -> Callable[[Sequence[Prediction]], RowStatistics]:
    return lambda predictions: RowStatistics(counts(predictions), combine)


def _rouge(name: str) -> Callable[[Sequence[Prediction]], RowStatistics]:
    def statistics(predictions: Sequence[Prediction]) -> RowStatistics:
        scores = rouge_of_rows(name, predictions)
        values = np.stack([scores, np.ones_like(scores)], axis=1)
        return RowStatistics(values, lambda sums: _ratio(sums[..., 0], sums[..., 1]))

    return statistics


def _words(predictions: Sequence[Prediction]) -> RowStatistics:
    values = np.array(
        [[sum(map(_same, one.gold, one.guess)), len(one.gold)] for one in predictions],
        dtype=float,
    )
    return RowStatistics(values, lambda sums: _ratio(sums[..., 0], sums[..., 1]))


def _tokens(combine: Callable[[np.ndarray], np.ndarray], name: str) -> Callable[[Sequence[Prediction]], RowStatistics]:
    def statistics(predictions: Sequence[Prediction]) -> RowStatistics:
        counts = np.array([one.scores["tokens"] for one in predictions], dtype=float)
        means = np.array([one.scores.get(name, 0.0) for one in predictions], dtype=float)
        values = np.stack([means * counts, counts], axis=1)
        return RowStatistics(values, lambda sums: combine(_ratio(sums[..., 0], sums[..., 1])))

    return statistics


def _bits_per_byte(predictions: Sequence[Prediction]) -> RowStatistics:
    scores = [one.scores for one in predictions]
    values = [[one.get("loss", 0.0) * one["tokens"] / math.log(2), one.get("bytes", 0.0)] for one in scores]
    return RowStatistics(np.array(values, dtype=float), lambda sums: _ratio(sums[..., 0], sums[..., 1]))


def _same(one: Any, other: Any) -> bool:
    return one == other


def _as_set(answer: Any) -> set[str]:
    return set(answer) if isinstance(answer, list) else {answer}


def _macro(both: np.ndarray, said: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the mean of F1 over the kinds that occur, the last axis."""
    occurs = said + right > 0
    return _ratio((_f1(both, said, right) * occurs).sum(axis=-1), occurs.sum(axis=-1))


def _f1(both: np.ndarray, said: np.ndarray, right: np.ndarray) -> np.ndarray:
    return _ratio(2 * both, said + right)


def _ratio(above: np.ndarray, below: np.ndarray, *, otherwise: float = 0.0) -> np.ndarray:
    """Divide, with a value of its own where there is nothing to divide by."""
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    return np.divide(above, below, out=np.full_like(above, otherwise), where=below > 0)


def _answers(measure: Callable[[str, Sequence[str]], float]) -> Callable[[Sequence[Prediction]], RowStatistics]:
    return _mean(lambda one: measure(one.guess, one.gold))


_ANSWERS = {"exact_match": _answers(exact_match), "f1": _answers(token_f1)}
_BY_TASK: dict[str, dict[str, Callable[[Sequence[Prediction]], RowStatistics]]] = {
    "text_classification": {
        "accuracy": _mean(lambda one: one.gold == one.guess),
        "exact_match": _mean(lambda one: set(one.gold) == set(one.guess)),
        **{f"f1_{average}": _f1_of_labels(average) for average in ("micro", "macro", "weighted")},
        "pearson": _pearson,
        "rmse": _root_mean_square,
        "mae": _mean(lambda one: abs(one.gold - one.guess)),
    },
    "token_classification": {
        "f1": _entities(_f1),
        "precision": _entities(lambda both, said, right: _ratio(both, said)),
        "recall": _entities(lambda both, said, right: _ratio(both, right)),
        "accuracy": _words,
        "f1_macro": _macro_of_tags,
        "f1_conlleval": _entities(_f1, lenient=True),
    },
    "question_answering": _ANSWERS,
    "generative_question_answering": {**_ANSWERS, "rougeL": _rouge("rougeL")},
    "text_generation": {
        "bleu": _texts(bleu_counts, bleu),
        "chrf": _texts(chrf_counts, chrf),
        **{name: _rouge(name) for name in ROUGES},
        "exact_match": _mean(lambda one: one.guess.strip() in {right.strip() for right in one.gold}),
    },
    "masked_language_modeling": {
        "loss": _tokens(lambda loss: loss, "loss"),
        "perplexity": _tokens(np.exp, "loss"),
        "accuracy": _tokens(lambda share: share, "accuracy"),
    },
    "causal_language_modeling": {
        "loss": _tokens(lambda loss: loss, "loss"),
        "perplexity": _tokens(np.exp, "loss"),
        "accuracy": _tokens(lambda share: share, "accuracy"),
        "bits_per_byte": _bits_per_byte,
    },
}
