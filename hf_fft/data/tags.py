"""Tags that spell entities: which scheme they follow, what it forbids, and the same entities in BIO.

A tag is "O", or a letter and the entity's type: `B-PER`. Some corpora have one type only and write bare letters. Three
schemes are read:

* BIO, also called IOB2: B begins every entity, I goes on with it;
* IOB1, of CoNLL-2003: I also begins an entity, B is for one that touches another of its type (arXiv:cs/9907006);
* BIOES, and BILOU with other letters for the same: E (L) ends an entity of several words, S (U) is a single word.

In IOB1 every order of B, I and O can be read, as `conlleval` reads it: a B where I would do begins an entity all the
same, and CoNLL-2003 itself has two of them. Tags of any other form, such as parts of speech, are "plain". All functions
are pure; `tag_columns` applies them to data sets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Literal, TypeAlias

Scheme: TypeAlias = Literal["IOB1", "BIO", "BIOES"]

OUTSIDE = "O"
NEEDLESS_SHARE = 0.01
_TYPED = re.compile(r"([BIESLU])-(\S.*)")
_BARE = frozenset("BIESLU")
_AS_BIOES = {"L": "E", "U": "S"}


@cache
def split_tag(tag: str) -> tuple[str, str] | None:
    """Return a tag's letter, in BIOES, and its type: ("B", "PER"), or ("O", ""). None if it has another form."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if tag in _BARE:
        return _AS_BIOES.get(tag, tag), ""
    typed = _TYPED.fullmatch(tag)
    return (_AS_BIOES.get(typed[1], typed[1]), typed[2]) if typed else None


def entity_type(tag: str) -> str | None:
    """Return the type of the entity that a tag belongs to, "" where tags are bare letters; None outside of one."""
    parts = split_tag(tag)
    return None if parts is None or parts[0] == OUTSIDE else parts[1]


def spell_entities(tags: Collection[str]) -> bool:
    """Say whether tags are meant as entities; otherwise they are plain.

    One tag with a letter and a type is enough. Bare letters count only where there is nothing else, and "O" and "B" or
    "I" are among them: single letters also name parts of speech.
    """
    if any(_TYPED.fullmatch(tag) for tag in tags):
        return True
    return OUTSIDE in tags and not {"B", "I"}.isdisjoint(tags) and all(split_tag(tag) for tag in tags)


def find_scheme(sentences: Sequence[Sequence[str]]) -> Scheme:
    """Return the scheme that sentences are meant in, all of them together; they may still break it here and there.

    Without E and S it is BIO where every I goes on with something, and IOB1 where I begins entities and, but for one in
    a hundred, B is only where IOB1 needs it.
    """
    letters = {parts[0] for tag in {tag for tags in sentences for tag in tags} if (parts := split_tag(tag))}
    if not letters.isdisjoint("ES"):
        return "BIOES"
    begun_by_i = sum(len(illegal_places(tags, "BIO")) for tags in sentences)
    needless_b = sum(len(needless_places(tags)) for tags in sentences)
    return "IOB1" if begun_by_i and needless_b <= begun_by_i * NEEDLESS_SHARE else "BIO"


def needless_places(tags: Sequence[str]) -> list[int]:
    """Return where a sentence has B though the word before belongs to no entity of that type: IOB1 writes I there."""
    edges = pairwise((OUTSIDE, *tags))
    return [place for place, (before, tag) in enumerate(edges) if _is_needless(before, tag)]


def illegal_places(tags: Sequence[str], scheme: Scheme) -> list[int]:
    """Return where a sentence breaks the scheme; its length stands for an entity that the end of the sentence cuts."""
    edges = pairwise((OUTSIDE, *tags, OUTSIDE))
    return [place for place, (before, tag) in enumerate(edges) if not _may_follow(before, tag, scheme)]


def to_bio(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Return the same entities in BIO; the tags must be legal in their scheme."""
    return [_as_bio(before, tag, scheme) for before, tag in pairwise((OUTSIDE, *tags))]


def bio_labels(types: Iterable[str]) -> list[str]:
    """Return the labels of these entity types: "O", then B and I of each type, types sorted."""
    return [OUTSIDE, *(join_tag(letter, kind) for kind in sorted(types) for letter in "BI")]


def join_tag(letter: str, kind: str) -> str:
    """Return the tag of a letter and an entity's type; the bare letter if the type is empty."""
    return f"{letter}-{kind}" if kind else letter


@cache
def _may_follow(before: str, tag: str, scheme: Scheme) -> bool:
    one, two = split_tag(before), split_tag(tag)
    if one is None or two is None:
        return two is not None
    (old, old_type), (new, new_type) = one, two
    goes_on = old in "BI" and old_type == new_type
    if scheme == "BIO":
        return new in "OB" or (new == "I" and goes_on)
    if scheme == "IOB1":
        return new in "OIB"
    return new in "IE" and goes_on if old in "BI" else new in "OBS"


@cache
def _is_needless(before: str, tag: str) -> bool:
    parts = split_tag(tag)
    return parts is not None and parts[0] == "B" and entity_type(before) != parts[1]


@cache
def _as_bio(before: str, tag: str, scheme: Scheme) -> str:
    parts = split_tag(tag)
    assert parts is not None, f"{tag} was not checked"
    letter, kind = parts
    if letter == OUTSIDE:
        return OUTSIDE
    begins = letter in "BS" or (scheme == "IOB1" and entity_type(before) != kind)
    return join_tag("B" if begins else "I", kind)
