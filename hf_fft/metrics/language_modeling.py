"""Scores of language models: how surprised a model is by each token, on average.

Means are over tokens, not over texts: a long text counts for more than a short one, as in one joined text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hf_fft.errors import DataError


def language_modeling_scores(
    losses: ArrayLike, tokens: ArrayLike, *, accuracies: ArrayLike | None = None, sizes: Sequence[float] | None = None
) -> dict[str, float]:
    """Score texts by their mean loss a token in nats, and their numbers of scored tokens; one of each a text.

    Args:
        accuracies: Share of each text's scored tokens that were guessed right.
        sizes: UTF-8 bytes of each text's scored part. Bits a byte do not depend on how a tokenizer cuts words, so they
            compare models that perplexity cannot.

    Raises:
        DataError: if no token was scored.
    """
    counts = np.asarray(tokens, dtype=np.float64)
    total = counts.sum()
    if not total > 0:
        raise DataError("There are no tokens to score. Give a split that holds more text.")
    loss = float(np.dot(np.asarray(losses, dtype=np.float64), counts) / total)
    scores = {"perplexity": _perplexity(loss), "loss": loss}
    if accuracies is not None:
        scores["accuracy"] = float(np.dot(np.asarray(accuracies, dtype=np.float64), counts) / total)
    if sizes is not None:
        scores["bits_per_byte"] = loss * total / math.log(2) / math.fsum(sizes)
    return scores


def _perplexity(loss: float) -> float:
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
