"""Scores of written texts against references, by sacrebleu and rouge_score, whose own figures these are.

BLEU and chrF are scores of the whole corpus from 0 to 100, as the field gives them, with sacrebleu's defaults
(arXiv:1804.08771); `generation_signatures` says which. ROUGE-1, -2, -L and -Lsum are means over the rows of the
F-measure, fractions from 0 to 1, without stemming; a row's score is that of its best reference, and Lsum takes line
breaks for the ends of sentences. rouge_score reads a to z and 0 to 9 alone, so ROUGE is 0 in other scripts. Exact match
compares texts as they are, but for white space around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

from hf_fft.errors import DataError

ROUGES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
GENERATION_METRICS = ("bleu", "chrf", *ROUGES, "exact_match")


def generation_scores(guesses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Score guesses against the references of each: `bleu`, `chrf`, the ROUGEs, `exact_match`.

    Raises:
        DataError: if there is nothing to score, or a guess has no reference.
    """
    if len(guesses) != len(references) or not guesses or not all(references):
        raise DataError(
            f"Each guess needs at least one reference; there are {len(guesses)} guesses and "
            f"{sum(map(bool, references))} rows with references. Give a split whose rows have targets."
        )
    streams = _streams(references)
    pairs = zip(guesses, references, strict=True)
    exact = [guess.strip() in {one.strip() for one in several} for guess, several in pairs]
    return {
        "bleu": _bleu().corpus_score(list(guesses), streams).score,
        "chrf": _chrf().corpus_score(list(guesses), streams).score,
        **rouge_scores(guesses, references),
        "exact_match": sum(exact) / len(exact),
    }


def rouge_scores(guesses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the mean F-measure of every kind of ROUGE, each row against its best reference."""
    scorer = _rouge()
    rows = [scorer.score_multi(list(several), guess) for guess, several in zip(guesses, references, strict=True)]
    return {name: sum(row[name].fmeasure for row in rows) / len(rows) for name in ROUGES}


def rouge_rows(name: str, guesses: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return each row's F-measure of one kind of ROUGE, against its best reference."""
    scorer = _rouge()
    pairs = zip(guesses, references, strict=True)
    return [scorer.score_multi(list(several), guess)[name].fmeasure for guess, several in pairs]


def overlap_counts(name: str, guesses: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return what each row adds to "bleu" or "chrf": sacrebleu's counts, whose sums make the score of the corpus."""
    metric = {"bleu": _bleu, "chrf": _chrf}[name]()
    # No public function gives them; this is the one that sacrebleu's own significance tests take (2.6).
    counts: list[list[int]] = metric._extract_corpus_statistics(list(guesses), _streams(references))
    return counts


def generation_signatures(references: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return sacrebleu's signatures: with which settings, and how many references, its figures were made."""
    streams = _streams(references)
    signatures = {}
    for name, metric in (("bleu", _bleu()), ("chrf", _chrf())):
        metric.corpus_score([""] * len(references), streams)
        signatures[name] = str(metric.get_signature())
    return signatures


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Return references as sacrebleu wants them: the first of every row, then the second, …; None for no more."""
    return [list(stream) for stream in zip_longest(*references)]


def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU()


def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGES))
