"""Perplexity and its kin are means over tokens, not over texts."""

from __future__ import annotations

import math

import pytest

from hf_fft.errors import DataError
from hf_fft.metrics import greater_is_better, language_modeling_scores


def test_a_long_text_counts_for_as_many_tokens_as_it_has():
    scores = language_modeling_scores([1.0, 4.0], [9, 1], accuracies=[1.0, 0.0])
    assert scores["loss"] == pytest.approx(1.3)
    assert scores["perplexity"] == pytest.approx(math.exp(1.3))
    assert scores["accuracy"] == pytest.approx(0.9)


def test_bits_a_byte_are_all_bits_over_all_bytes():
    # Ten tokens of one bit each for 20 bytes, two of four bits each for 4 bytes.
    scores = language_modeling_scores([math.log(2), 4 * math.log(2)], [10, 2], sizes=[20.0, 4.0])
    assert scores["bits_per_byte"] == pytest.approx(18 / 24)


def test_a_model_that_knows_nothing_of_a_vocabulary_has_its_size_as_perplexity():
    assert language_modeling_scores([math.log(50)] * 3, [1, 2, 3])["perplexity"] == pytest.approx(50)


def test_a_loss_too_large_for_a_number_gives_infinite_perplexity():
    assert language_modeling_scores([1e4], [1])["perplexity"] == math.inf


@pytest.mark.parametrize("tokens", [[], [0, 0]])
def test_nothing_to_score_is_refused(tokens):
    with pytest.raises(DataError, match="no tokens to score"):
        language_modeling_scores([0.0] * len(tokens), tokens)


def test_lower_is_better():
    assert not any(map(greater_is_better, ("perplexity", "eval_perplexity", "bits_per_byte", "loss")))
