"""What each written text contributes to BLEU, chrF and ROUGE, and BLEU and chrF as formulae over sums.

The counts are sacrebleu's own, with its defaults (13a, exponential smoothing; characters up to six, beta 2). The
formulae are written again here for many sums at once, and the tests hold them to `corpus_score`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_fft.metrics.generation import overlap_counts, rouge_rows
from hf_fft.result import Prediction

BLEU_ORDERS = 4
CHRF_BETA = 2


def bleu_counts(predictions: Sequence[Prediction]) -> np.ndarray:
    """Return length, nearest reference's length, right n-grams and all n-grams of each text: (rows, 2 + 2 · orders)."""
    return _counts("bleu", predictions)


def bleu(sums: np.ndarray) -> np.ndarray:
    """Return BLEU, 0 to 100, from summed counts of shape (…, 2 + 2 · orders) (arXiv:1804.08771)."""
    length, reference = sums[..., 0], sums[..., 1]
    right, every = sums[..., 2 : 2 + BLEU_ORDERS], sums[..., 2 + BLEU_ORDERS :]
    # Exponential smoothing: the first order without a hit counts for half a hit, the second for a quarter, ….
    hits = np.where(right > 0, right, 0.5 ** np.cumsum(right == 0, axis=-1))
    scored = (every > 0).all(axis=-1) & (right > 0).any(axis=-1)
    logarithms = np.log(hits / np.where(every > 0, every, 1.0)).mean(axis=-1)
    brevity = np.minimum(0.0, 1.0 - reference / np.where(length > 0, length, 1.0))
    return np.where(scored, 100 * np.exp(brevity + logarithms), 0.0)


def chrf_counts(predictions: Sequence[Prediction]) -> np.ndarray:
    """Return for each order the n-grams of the text, of its best reference and of both: (rows, 3 · orders)."""
    return _counts("chrf", predictions)


def chrf(sums: np.ndarray) -> np.ndarray:
    """Return chrF, 0 to 100, from summed counts of shape (…, 3 · orders)."""
    said, right, both = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    there = (said > 0) & (right > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    precision, recall = (
        np.where(there, both / np.where(there, below, 1.0), 0.0).sum(axis=-1) / orders for below in (said, right)
    )
    weighted = CHRF_BETA**2 * precision + recall
    return 100 * (1 + CHRF_BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1.0)


def rouge_of_rows(name: str, predictions: Sequence[Prediction]) -> np.ndarray:
    """Return the ROUGE of each text, shape (rows,); where no text is right, 1 for none and 0 for any."""
    silent = [float(not one.guess) for one in predictions]
    answered = [one for one in predictions if one.gold]
    scores = iter(rouge_rows(name, [one.guess for one in answered], [one.gold for one in answered]))
    return np.array([next(scores) if one.gold else said for one, said in zip(predictions, silent, strict=True)])


def _counts(name: str, predictions: Sequence[Prediction]) -> np.ndarray:
    counts = overlap_counts(name, [one.guess for one in predictions], [one.gold for one in predictions])
    return np.array(counts, dtype=np.float64)
