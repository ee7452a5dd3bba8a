"""The array functions say what plain loops say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_fft.tasks.spans import (
    best_spans,
    best_threshold,
    null_scores,
    probabilities,
    rank_by_question,
    token_span,
)


@st.composite
def windows(draw):
    """Windows with logits that never tie, their contexts, and the questions that they belong to."""
    count, tokens = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    seed = draw(st.integers(0, 10**6))
    random = np.random.default_rng(seed)
    logits = random.permutation(count * tokens * 2).reshape(count, tokens, 2).astype(np.float32)
    logits = (logits + random.random(logits.shape) / 4).astype(np.float32)
    start = np.array([draw(st.integers(0, tokens)) for _ in range(count)])
    held = np.array([draw(st.integers(0, tokens - first)) for first in start])
    questions = np.array([draw(st.integers(0, 2)) for _ in range(count)])
    return logits, start, held, questions


def naive_spans(logits, start, held, n_best, max_answer_length):
    """Return the spans of one window with their scores, best first."""
    inside = range(start, start + held)
    firsts = sorted(inside, key=lambda token: -logits[token, 0])[:n_best]
    lasts = sorted(inside, key=lambda token: -logits[token, 1])[:n_best]
    pairs = set(itertools.product(firsts, lasts)) | {(first, first) for first in firsts}
    legal = [(first, last) for first, last in pairs if first <= last < first + max_answer_length]
    return sorted(((logits[first, 0] + logits[last, 1], first, last) for first, last in legal), reverse=True)[:n_best]


@settings(max_examples=150, deadline=None)
@given(windows(), st.integers(1, 6), st.integers(1, 5))
def test_best_spans_are_those_of_a_loop(made_up, n_best, longest):
    logits, start, held, questions = made_up
    found = best_spans(logits, start, held, n_best=n_best, max_answer_length=longest)
    expected = [
        naive_spans(*window, n_best, longest) for window in zip(logits, start.tolist(), held.tolist(), strict=True)
    ]
    for firsts, lasts, scores, naive in zip(*found, expected, strict=True):
        spans = [
            (score, first, last)
            for score, first, last in zip(scores.tolist(), firsts.tolist(), lasts.tolist(), strict=True)
            if score > -np.inf
        ]
        assert [(first, last) for _, first, last in spans] == [(first, last) for _, first, last in naive]
        assert [score for score, _, _ in spans] == pytest.approx([score for score, _, _ in naive])
    ranked = rank_by_question(found, questions, 3)
    for question in range(3):
        mine = slice(ranked.bounds[question], ranked.bounds[question + 1])
        together = sorted(
            ((score, window) for window, naive in enumerate(expected) for score, _, _ in naive
             if questions[window] == question),
            reverse=True,
        )  # fmt: skip
        assert ranked.score[mine].tolist() == pytest.approx([score for score, _ in together])
        assert ranked.window[mine].tolist() == [window for _, window in together]


def test_a_context_with_tokens_always_has_a_span():
    logits = np.array([[[9, 0], [0, 1], [0, 2], [8, 9]]], np.float32)  # the best ends stand before the best starts
    logits = logits[:, ::-1]
    starts, ends, scores = best_spans(logits, np.array([1]), np.array([3]), n_best=1, max_answer_length=1)
    assert (starts.tolist(), ends.tolist()) == ([[3]], [[3]]) and scores.tolist() == [[9.0]]
    assert np.isneginf(best_spans(logits, np.array([1]), np.array([0]), n_best=2, max_answer_length=3)[2]).all()


def test_padding_and_question_are_never_an_answer():
    logits = np.full((1, 6, 2), -100.0, np.float32)
    logits[0, :2] = 50.0  # the question
    logits[0, 2:4] = -200.0  # the context, below the filling of shorter batches
    starts, ends, _ = best_spans(logits, np.array([2]), np.array([2]), n_best=3, max_answer_length=9)
    assert set(starts[0].tolist()) | set(ends[0].tolist()) == {2, 3}


def test_no_answer_scores_the_lowest_of_the_windows():
    logits = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    found = null_scores(logits, np.array([0, 3, 1]), np.array([1, 0, 1]), 2)
    assert found.tolist() == [logits[1, 3].sum(), logits[0, 0].sum()]


def earned(threshold, margins, spans, nulls):
    return sum(null if margin > threshold else span for margin, span, null in zip(margins, spans, nulls, strict=True))


rows = st.lists(
    st.tuples(st.sampled_from([-3.0, -1.0, 0.0, 0.5, 2.0, np.inf]), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()),
    min_size=1,
    max_size=8,
)


@given(rows)
def test_no_threshold_earns_more_than_the_one_that_is_found(rows):
    margins, spans = [np.array(column) for column in list(zip(*rows, strict=True))[:2]]
    nulls = [float(row[2]) for row in rows]
    found = best_threshold(margins, spans, nulls)
    assert np.isfinite(found)
    every = [earned(threshold, margins, spans, nulls) for threshold in np.arange(-5, 5, 0.25)]
    assert earned(found, margins, spans, nulls) == pytest.approx(max(every))


def test_the_threshold_lies_between_two_margins():
    assert best_threshold(np.array([3.0, -2.0, 1.0]), [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]) == -0.5
    assert best_threshold(np.array([3.0, -2.0]), [0.0, 0.0], [1.0, 1.0]) == -3.0
    assert best_threshold(np.array([3.0, -2.0]), [1.0, 1.0], [0.0, 0.0]) == 4.0


def test_probabilities_add_up():
    assert probabilities(np.array([1000.0, 1000.0 + np.log(3)])) == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize(
    ("start", "end", "tokens"),
    [
        (0, 3, (0, 0)),
        (4, 9, (1, 2)),
        (5, 8, (1, 2)),  # inside two tokens
        (10, 11, (3, 5)),  # one character in three tokens
        (3, 9, (1, 2)),  # from the white space before a token
        (10, 12, (3, 6)),
        (0, 12, (0, 6)),
        (11, 13, None),
        (13, 14, None),
    ],
)
def test_characters_are_covered_by_tokens(start, end, tokens):
    char_starts = np.array([0, 4, 6, 10, 10, 10, 11])
    char_ends = np.array([3, 6, 9, 11, 11, 11, 12])
    assert token_span(char_starts, char_ends, start, end) == tokens


def test_a_window_holds_nothing_of_what_begins_before_it():
    assert token_span(np.array([4, 6]), np.array([6, 9]), 3, 6) is None
    assert token_span(np.array([]), np.array([]), 0, 1) is None
