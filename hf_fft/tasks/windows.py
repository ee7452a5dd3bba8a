"""Long inputs in overlapping windows: where windows lie, and which of them answers for a word.

A tokenizer gives each token the number of its word, or None where the token belongs to none. Windows lie as the
tokenizers library lays them: each begins `size - overlap` tokens after the one before, and the last may be shorter.
All functions are pure.
"""

from __future__ import annotations

from collections.abc import Sequence

NO_WORD = -1


def window_spans(tokens: int, *, size: int, overlap: int) -> list[tuple[int, int]]:
    """Return where windows begin and end over so many tokens; there is one window at least."""
    assert 0 <= overlap < size, "windows must move on"
    begins = [0]
    while begins[-1] + size < tokens:
        begins.append(begins[-1] + size - overlap)
    return [(begin, min(begin + size, tokens)) for begin in begins]


def answering_window(token: int, spans: Sequence[tuple[int, int]]) -> int:
    """Return which window shows most context on the shorter side of a token; the first of equals."""
    holding = [index for index, (begin, end) in enumerate(spans) if begin <= token < end]
    assert holding, f"no window holds token {token}"
    return max(holding, key=lambda index: min(token - spans[index][0], spans[index][1] - 1 - token))


def words_of_windows(word_ids: Sequence[int | None], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return for each window, token by token, the word that it answers for, or NO_WORD.

    Every word with a token has exactly one answering window: the one that its first token has most context in. The
    tokens of a word that run on beyond that window belong to no other.
    """
    words = [[NO_WORD] * (end - begin) for begin, end in spans]
    owner = 0
    for token, word in enumerate(word_ids):
        if word is None:
            continue
        if token == 0 or word_ids[token - 1] != word:
            owner = answering_window(token, spans)
        begin, end = spans[owner]
        if token < end:
            words[owner][token - begin] = word
    return words


def first_tokens(words: Sequence[int]) -> list[int]:
    """Return the places at which a window's words begin."""
    return [place for place, word in enumerate(words) if word != NO_WORD and (place == 0 or words[place - 1] != word)]
