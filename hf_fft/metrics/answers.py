"""Scores of short answers against references, as SQuAD's own scripts count them.

Exact match and token F1 after SQuAD's normalisation (arXiv:1606.05250), a question's score being that of its best
reference; a question without references has no answer, and then only the empty guess is right (arXiv:1806.03822). All
scores are fractions from 0 to 1. The normalisation is made for English: it drops the articles a, an and the.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from hf_fft.errors import DataError

# ASCII punctuation alone, as in SQuAD's script: a typographic quotation mark stays and tells two answers apart.
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Return a text as SQuAD compares it: lower case, without punctuation and articles, words one space apart."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(guess: str, references: Sequence[str]) -> float:
    """Return 1.0 if a guess equals one of the references after normalisation, otherwise 0.0.

    No references mean that there is no answer; so do references of which normalisation leaves nothing.
    """
    return float(normalize_answer(guess) in _normalized(references))


def token_f1(guess: str, references: Sequence[str]) -> float:
    """Return the harmonic mean of precision and recall over words, against the reference that it is highest for.

    Where guess or reference has no words, the score is 1.0 if neither has, otherwise 0.0.
    """
    words = normalize_answer(guess).split()
    return max(_overlap(words, reference.split()) for reference in _normalized(references))


def answer_scores(guesses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Score guesses against the references of each: `exact_match` and `f1`, means over the questions.

    An empty list of references says that the question has no answer. Where some questions have answers and some have
    none, each kind's own means are `exact_match/HasAns`, `f1/HasAns`, `exact_match/NoAns` and `f1/NoAns`.

    Raises:
        DataError: if there is nothing to score, or the two differ in length.
    """
    if len(guesses) != len(references):
        raise DataError(f"Each question needs a guess and references; there are {len(guesses)} and {len(references)}.")
    if not guesses:
        raise DataError("There are no answers to score. Give a split that has rows.")
    pairs = list(zip(guesses, references, strict=True))
    exact, f1 = ([measure(*pair) for pair in pairs] for measure in (exact_match, token_f1))
    answerable = [bool(one) for one in references]
    kinds = {"": range(len(pairs))} | {
        f"/{kind}": [index for index, has in enumerate(answerable) if has == wanted]
        for kind, wanted in (("HasAns", True), ("NoAns", False))
        if len(set(answerable)) == 2
    }
    scores = {}
    for suffix, chosen in kinds.items():
        scores[f"exact_match{suffix}"] = sum(exact[index] for index in chosen) / len(chosen)
        scores[f"f1{suffix}"] = sum(f1[index] for index in chosen) / len(chosen)
    return scores


def _normalized(references: Sequence[str]) -> list[str]:
    """Return the references that are left after normalisation, or the empty answer where none is."""
    return [text for text in map(normalize_answer, references) if text] or [""]


def _overlap(guess: Sequence[str], reference: Sequence[str]) -> float:
    if not guess or not reference:
        return float(guess == reference)
    shared = (Counter(guess) & Counter(reference)).total()
    return 2 * shared / (len(guess) + len(reference))
