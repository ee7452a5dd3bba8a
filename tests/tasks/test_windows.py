"""Windows over long sentences: where they lie, that each word is answered once, and by which of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_fft.tasks.windows import NO_WORD, answering_window, first_tokens, window_spans, words_of_windows


@pytest.mark.parametrize(
    ("tokens", "spans"),
    [
        (0, [(0, 0)]),
        (1, [(0, 1)]),
        (6, [(0, 6)]),
        (7, [(0, 6), (4, 7)]),
        (10, [(0, 6), (4, 10)]),
        (11, [(0, 6), (4, 10), (8, 11)]),
    ],
)
def test_windows_overlap_and_end_with_the_tokens(tokens, spans):
    assert window_spans(tokens, size=6, overlap=2) == spans


def test_the_window_with_most_context_on_the_shorter_side_answers():
    spans = [(0, 10), (4, 14)]
    assert [answering_window(token, spans) for token in (0, 5, 6, 7, 8, 13)] == [0, 0, 0, 1, 1, 1]


@st.composite
def words(draw):
    """Draw the word numbers of tokens: words of one to nine tokens, some words without any."""
    counts = draw(st.lists(st.integers(0, 9), max_size=12))
    return [word for word, count in enumerate(counts) for _ in range(count)]


@settings(deadline=None, max_examples=200)
@given(words(), st.integers(2, 8), st.integers(0, 4))
def test_each_word_with_a_token_begins_in_exactly_one_window(word_ids, size, overlap):
    spans = window_spans(len(word_ids), size=size, overlap=min(overlap, size - 1))
    windows = words_of_windows(word_ids, spans)
    assert [len(window) for window in windows] == [end - begin for begin, end in spans]
    begun = sorted(window[place] for window in windows for place in first_tokens(window))
    assert begun == sorted(set(word_ids))
    for (begin, _), window in zip(spans, windows, strict=True):
        for place in first_tokens(window):
            # The first token that a window has of a word is the word's own first token, not a later piece of it.
            assert begin + place == word_ids.index(window[place])


def test_the_rest_of_a_word_belongs_to_the_window_of_its_first_token_or_to_none():
    assert words_of_windows([0, 0, 0, 0, 1], [(0, 3), (2, 5)]) == [[0, 0, 0], [NO_WORD, NO_WORD, 1]]


def test_tokens_of_no_word_are_left_out():
    assert words_of_windows([None, 0, 0, 2, None], [(0, 5)]) == [[NO_WORD, 0, 0, 2, NO_WORD]]
    assert first_tokens([NO_WORD, 0, 0, 2, NO_WORD]) == [1, 3]
