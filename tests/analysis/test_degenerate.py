"""Constant answers, in the forms that answers have."""

from __future__ import annotations

import pytest

from hf_fft.analysis.degenerate import is_constant
from hf_fft.result import Prediction


def predictions(golds, guesses, inputs=None):
    return [
        Prediction("test", row, inputs or {"text": "t"}, gold, guess)
        for row, (gold, guess) in enumerate(zip(golds, guesses, strict=True))
    ]


WORDS = {"tokens": ["a", "b"]}
CASES = {
    "one label": (["a", "b", "a"], ["a", "a", "a"], None, True),
    "two labels": (["a", "b", "a"], ["a", "a", "b"], None, False),
    "one label in the data too": (["a", "a"], ["a", "a"], None, False),
    "one set of labels": ([["a"], ["a", "b"]], [["a", "b"], ["a", "b"]], None, True),
    "no label, ever": ([["a"], ["b"]], [[], []], None, True),
    "one number but for noise": ([1.0, 2.0, 3.0], [1.5, 1.5000001, 1.5], None, True),
    "several numbers": ([1.0, 2.0, 3.0], [1.5, 1.6, 1.5], None, False),
    "one tag for every word": ([["O", "B-X"], ["O", "O"]], [["O", "O"], ["O", "O"]], WORDS, True),
    "the same tags in each sentence": ([["O", "B-X"], ["O", "O"]], [["O", "B-X"], ["O", "B-X"]], WORDS, False),
    "nothing to look at": ([], [], None, False),
}


@pytest.mark.parametrize("case", CASES)
def test_constant_answers_are_found(case):
    golds, guesses, inputs, expected = CASES[case]
    assert is_constant(predictions(golds, guesses, inputs)) is expected
