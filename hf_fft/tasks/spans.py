"""Spans of a context and the numbers that choose among them: pure functions over arrays.

A span is a first and a last token of one window, both inside. It is legal if it does not run backwards, lies in the
window's part of the context and has at most `max_answer_length` tokens. Its score is the sum of its start and end
logits. A question's windows compete: the best span of any of them is its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Windows are worked through in blocks, so that the pairs of a block stay in the processor's cache.
_BLOCK = 256


@dataclass(frozen=True)
class Candidates:
    """Spans as answers to questions, sorted by question and then from the highest score to the lowest.

    Attributes:
        window: Which window each span lies in.
        start: Its first token in that window.
        end: Its last token.
        score: Start logit + end logit.
        bounds: The spans of question q are those from bounds[q] up to bounds[q + 1].
    """

    window: NDArray[np.intp]
    start: NDArray[np.intp]
    end: NDArray[np.intp]
    score: NDArray[np.float32]
    bounds: NDArray[np.intp]


def best_spans(
    logits: NDArray[np.float32],
    context_start: NDArray[np.integer],
    context_tokens: NDArray[np.integer],
    *,
    n_best: int,
    max_answer_length: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the best legal spans of each window: first tokens, last tokens and scores, each (windows, n_best).

    The `n_best` likeliest starts and ends of the context are paired, and each start also with itself, so that a context
    with tokens always has a legal span. Scores fall along a row; places without a legal span hold minus infinity.

    Args:
        logits: (windows, tokens, 2), start and end; what stands outside the context does not matter.
        context_start: The first token of the context in each window.
        context_tokens: How many tokens of the context each window holds.
    """
    count, tokens = logits.shape[:2]
    starts, ends = np.zeros((count, n_best), np.intp), np.zeros((count, n_best), np.intp)
    scores = np.full((count, n_best), -np.inf, np.float32)
    top = min(n_best, tokens)
    kept = min(n_best, top * (top + 1))
    for block in (slice(first, first + _BLOCK) for first in range(0, count, _BLOCK)):
        place = np.arange(tokens) - np.asarray(context_start[block])[:, None]
        outside = (place < 0) | (place >= np.asarray(context_tokens[block])[:, None])
        start_logits, end_logits = (np.where(outside, -np.inf, logits[block, :, side]) for side in (0, 1))
        pairs: tuple[NDArray[Any], ...] = _pairs(start_logits, end_logits, top, max_answer_length)
        order = _top(pairs[2], kept)
        targets: tuple[NDArray[Any], ...] = (starts, ends, scores)
        for target, values in zip(targets, pairs, strict=True):
            target[block, :kept] = np.take_along_axis(values, order, axis=1)
    return starts, ends, scores


def rank_by_question(
    windows: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]],
    questions: NDArray[np.integer],
    count: int,
) -> Candidates:
    """Gather the legal spans of `best_spans` over each question's windows.

    Args:
        windows: What `best_spans` gave.
        questions: The question, from 0 to `count` - 1, that each window belongs to.
    """
    starts, ends, scores = windows
    window, place = np.nonzero(scores > -np.inf)
    score, question = scores[window, place], np.asarray(questions)[window]
    order = np.lexsort((-score, question))
    bounds = np.searchsorted(question[order], np.arange(count + 1))
    return Candidates(
        window[order], starts[window, place][order], ends[window, place][order], score[order], bounds.astype(np.intp)
    )


def null_scores(
    logits: NDArray[np.float32], cls: NDArray[np.integer], questions: NDArray[np.integer], count: int
) -> NDArray[np.float64]:
    """Return the score of "no answer" for each question: the CLS token as start and end, lowest over the windows.

    A window without the answer says "not here"; only where every window says so is there none, hence the lowest.
    """
    each = logits[np.arange(len(logits)), np.asarray(cls)].astype(np.float64).sum(axis=1)
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, np.asarray(questions), each)
    return lowest


def best_threshold(margins: NDArray[np.float64], span_scores: Sequence[float], null_scores: Sequence[float]) -> float:
    """Return the threshold at which the answers score highest, by one sweep over the sorted margins.

    A question is left unanswered if its margin is above the threshold. The threshold lies halfway between two margins,
    beyond the outermost ones by 1; of equally good ones the lowest is taken.

    Args:
        margins: By how much "no answer" outscores the best span; infinite where there is no span.
        span_scores: What each question earns if its best span is the answer.
        null_scores: What it earns if it is left unanswered.
    """
    order = np.argsort(margins, kind="stable")
    order = order[np.isfinite(margins[order])]
    if not len(order):
        return 0.0
    sorted_margins = margins[order]
    gains = (np.asarray(span_scores, float) - np.asarray(null_scores, float))[order]
    totals = np.concatenate(([0.0], np.cumsum(gains)))
    # Questions with one margin are answered together or not at all.
    possible = np.concatenate(([True], sorted_margins[1:] > sorted_margins[:-1], [True]))
    answered = int(np.argmax(np.where(possible, totals, -np.inf)))
    edges = np.concatenate(([sorted_margins[0] - 2], sorted_margins, [sorted_margins[-1] + 2]))
    return float((edges[answered] + edges[answered + 1]) / 2)


def probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax of a list of scores."""
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def token_span(
    char_starts: NDArray[np.integer], char_ends: NDArray[np.integer], start: int, end: int
) -> tuple[int, int] | None:
    """Return the first and last context token that cover the characters from `start` up to `end`, counted from 0.

    None if the window does not hold them all. A character may be spread over several tokens; all of them are covered.
    """
    if not len(char_starts) or start < char_starts[0] or end > char_ends[-1]:
        return None
    first = int(np.searchsorted(char_ends, start, side="right"))
    last = int(np.searchsorted(char_starts, end, side="left")) - 1
    return (first, last) if first <= last else None


def _pairs(
    start_logits: NDArray[np.float32], end_logits: NDArray[np.float32], top: int, max_answer_length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return starts, ends and scores of all pairs, each (windows, top · (top + 1)); illegal ones score -inf."""
    starts, ends = _top(start_logits, top), _top(end_logits, top)
    shape = (len(starts), top, top + 1)
    first = np.broadcast_to(starts[:, :, None], shape)
    last = np.concatenate([np.broadcast_to(ends[:, None, :], (len(ends), top, top)), starts[:, :, None]], axis=2)
    scores = np.take_along_axis(start_logits, starts, axis=1)[:, :, None] + np.take_along_axis(
        end_logits, last.reshape(len(last), -1), axis=1
    ).reshape(shape)
    length = last - first + 1
    illegal = (length < 1) | (length > max_answer_length)
    # A start that is among the likeliest ends is paired with itself already.
    illegal[:, :, -1] |= (starts[:, :, None] == ends[:, None, :]).any(axis=2)
    scores[illegal] = -np.inf
    flat = (len(starts), -1)
    return first.reshape(flat), last.reshape(flat), scores.reshape(flat)


def _top(values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return the places of the `count` highest values of each row, highest first."""
    chosen = np.argpartition(values, values.shape[1] - count, axis=1)[:, -count:]
    order = np.argsort(-np.take_along_axis(values, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)
