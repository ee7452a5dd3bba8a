"""Scores of tagged words: entities, found whole or not at all, or plain tags one by one.

An entity counts as found if its type, its first word and its last word are right. Tags are BIO and read strictly, as
seqeval does with `mode="strict"` and `scheme=IOB2`: an I that goes on with no entity of its type belongs to none. The
`conlleval` script of CoNLL-2003, and seqeval by default, let such an I begin an entity. On legal tags the two agree,
but models guess illegal ones: strict reading then drops guesses that were mostly wrong, and its F1 is a little higher.
Published figures are mostly conlleval's, so `f1_conlleval` is given to compare with them.

seqeval itself takes 8 s for 50,000 sentences of 15 words, and a run scores at every evaluation; these functions take a
tenth of it, and the tests hold them to seqeval's figures. Scores are fractions; where they would divide by zero
they are 0, and a type that stands neither in gold nor in guess has none: its own figures are nan, and the macro average
leaves it out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TypeAlias

from hf_fft.errors import DataError

Tags: TypeAlias = Sequence[Sequence[str | None]]
Entity: TypeAlias = tuple[str, int, int]


def entities(tags: Sequence[str | None], *, lenient: bool = False) -> list[Entity]:
    """Return the entities of a sentence as (type, first word, last word); what is not B or I is outside.

    If lenient, an I that goes on with nothing begins an entity, as in conlleval.
    """
    found: list[Entity] = []
    kind: str | None = None
    for place, tag in enumerate(tags):
        letter, _, its_type = (tag or "O").partition("-")
        goes_on = letter == "I" and kind == its_type
        if goes_on:
            found[-1] = (its_type, found[-1][1], place)
        elif letter == "B" or (letter == "I" and lenient):
            found.append((its_type, place, place))
        kind = found[-1][0] if found and found[-1][2] == place else None
    return found


def entity_scores(gold: Tags, guess: Tags, types: Sequence[str]) -> dict[str, float]:
    """Score BIO tags by entity: precision, recall and F1 over all, F1's mean over types, and each type's own.

    `accuracy` is the share of words with the right tag. A guess of None is a word that the model could not read: it
    belongs to no entity, and is not right.

    Raises:
        DataError: if there are no words, or gold and guess differ in length.
    """
    _check_words(gold, guess)
    both, said, right = _matched(gold, guess)
    precision, recall, f1 = _ratios(both.total(), said.total(), right.total())
    read_leniently = (count.total() for count in _matched(gold, guess, lenient=True))
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        **_by_kind(both, said, right, kinds=types),
        "f1_conlleval": _ratios(*read_leniently)[2],
        "accuracy": _accuracy(gold, guess),
    }


def _matched(gold: Tags, guess: Tags, *, lenient: bool = False) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Count entities by type: those in both, in guess, in gold."""
    both, said, right = (Counter[str]() for _ in range(3))
    for gold_tags, guess_tags in zip(gold, guess, strict=True):
        in_gold = set(entities(gold_tags, lenient=lenient))
        in_guess = set(entities(guess_tags, lenient=lenient))
        right.update(kind for kind, _, _ in in_gold)
        said.update(kind for kind, _, _ in in_guess)
        both.update(kind for kind, _, _ in in_gold & in_guess)
    return both, said, right


def tag_scores(gold: Tags, guess: Tags, tags: Sequence[str]) -> dict[str, float]:
    """Score plain tags word by word: accuracy, F1's mean over tags, and each tag's own precision, recall and F1.

    A guess of None, a word that the model could not read, is not right.

    Raises:
        DataError: if there are no words, or gold and guess differ in length.
    """
    _check_words(gold, guess)
    pairs = Counter(pair for one, two in zip(gold, guess, strict=True) for pair in zip(one, two, strict=True))
    right, said, both = (Counter[str]() for _ in range(3))
    for (gold_tag, guess_tag), count in pairs.items():
        right[str(gold_tag)] += count
        if guess_tag is not None:
            said[guess_tag] += count
            both[guess_tag] += count if gold_tag == guess_tag else 0
    return {"accuracy": _accuracy(gold, guess), **_by_kind(both, said, right, kinds=tags)}


def _by_kind(
    both: Counter[str], said: Counter[str], right: Counter[str], *, kinds: Collection[str]
) -> dict[str, float]:
    """Return F1's mean over the kinds that occur, and the figures of each kind that has a name."""
    ratios = {kind: _ratios(both[kind], said[kind], right[kind]) for kind in right | said}
    scores = {"f1_macro": math.fsum(f1 for _, _, f1 in ratios.values()) / len(ratios) if ratios else 0.0}
    missing = (math.nan, math.nan, math.nan)
    for place, name in enumerate(("precision", "recall", "f1")):
        scores |= {f"{name}/{kind}": ratios.get(kind, missing)[place] for kind in kinds if kind}
    return scores


def _ratios(both: int, said: int, right: int) -> tuple[float, float, float]:
    precision, recall = both / said if said else 0.0, both / right if right else 0.0
    return precision, recall, 2 * both / (said + right) if said + right else 0.0


def _accuracy(gold: Tags, guess: Tags) -> float:
    pairs = [pair for one, two in zip(gold, guess, strict=True) for pair in zip(one, two, strict=True)]
    return sum(one == two for one, two in pairs) / len(pairs)


def _check_words(gold: Tags, guess: Tags) -> None:
    lengths = [list(map(len, side)) for side in (gold, guess)]
    if lengths[0] != lengths[1]:
        raise DataError("Each word of each sentence needs a gold tag and a guess; their numbers differ.")
    if not sum(lengths[0]):
        raise DataError("There are no words to score. Give a split that has tagged words.")
