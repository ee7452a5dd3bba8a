"""A column of words and a column of tags: checked, brought into BIO, and typed, the same labels in every split.

Where the labels come from, in this order: the recipe's `task.labels`, the data's own class names, the training rows.
Entities are compared by type: an `I-PER` that train happens not to show is no surprise, a `PER` is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from datasets import ClassLabel, Dataset, DatasetDict, List

from hf_fft.data.label_names import MOST_LABELS
from hf_fft.data.tags import (
    OUTSIDE,
    Scheme,
    bio_labels,
    entity_type,
    find_scheme,
    illegal_places,
    join_tag,
    needless_places,
    spell_entities,
    split_tag,
    to_bio,
)
from hf_fft.data.values import column_values, is_missing, refuse_rows, with_column
from hf_fft.data.wording import did_you_mean, listed, rows_named
from hf_fft.errors import DataError

logger = logging.getLogger(__name__)

Sentences: TypeAlias = list[list[str]]
UNTYPED = "entity"
_FILL = "Give every word a tag, or remove these rows."


def require_words(splits: DatasetDict, column: str) -> None:
    """Check that a column holds lists of words; a row without words passes, a split without any does not.

    Raises:
        DataError: naming the rows that hold something else.
    """
    advice = 'Split each sentence into a list of words, such as ["A", "word"], or name the column that holds them.'
    for split, rows in splits.items():
        values, where = column_values(rows, column), {"split": split, "column": column}
        refuse_rows(values, lambda value: not isinstance(value, list), fault="no list of words", advice=advice, **where)
        refuse_rows(
            values,
            lambda words: not all(isinstance(word, str) for word in words),
            fault="something else than texts in the list of words",
            advice=advice,
            **where,
        )
        if not any(values):
            raise DataError(f'Column "{column}" of {split} has no word in any row; at least one is needed.')


def tag_lists(
    splits: DatasetDict,
    *,
    tokens: str,
    tags: str,
    scheme: Literal["auto", "IOB1", "BIO", "BIOES", "plain"] = "auto",
    labels: Sequence[str] | None = None,
) -> DatasetDict:
    """Turn a column of tags, one a word, into lists of `ClassLabel`, in BIO where they spell entities.

    Args:
        scheme: How the tags spell entities; "auto" finds it out over all splits, "plain" takes tags as they are.
        labels: The labels in the model's order; whole numbers in the column count into them. Splits without `train`
            need them: those that a model has learned.

    Raises:
        DataError: naming split, rows and tag, if tags are missing, are not one a word, break their scheme, or stand for
            what train never shows; and if train has only one tag, or hundreds of them.
    """
    sentences = {split: _tag_texts(rows, split, tags, labels) for split, rows in splits.items()}
    for split, rows in splits.items():
        _refuse_other_lengths(column_values(rows, tokens), sentences[split], split=split, columns=(tokens, tags))
    seen = {tag for rows in sentences.values() for row in rows for tag in row}
    spells = spell_entities(seen) if scheme == "auto" else scheme != "plain"
    given = labels or _class_names(splits["train"], tags)
    if spells:
        assert scheme != "plain"
        sentences = _in_bio(sentences, tags, scheme)
    train = sentences.get("train", [])
    if "train" in sentences:
        _check_variety(train, tags, is_given=given is not None)
    names = _label_names(train, given, spells=spells, may_grow=labels is None)
    for split, rows in sentences.items():
        if labels is not None:
            _refuse_unknown(rows, names, split, tags)
        if "train" in sentences:
            _refuse_unseen(rows, train, split=split, column=tags, spells=spells)
    numbers = {name: number for number, name in enumerate(names)}
    feature = List(ClassLabel(names=names))
    return DatasetDict(
        {
            split: with_column(rows, tags, [[numbers[tag] for tag in row] for row in sentences[split]], feature)
            for split, rows in splits.items()
        }
    )


def count_types(tags: Sequence[Sequence[str]], *, spells: bool = True) -> dict[str, int]:
    """Count the entities of each type in sentences of BIO tags, or each tag where tags are plain.

    Entities are called "entity" where tags are bare letters.
    """
    if not spells:
        counts = Counter(tag for row in tags for tag in row)
    else:
        begins = [parts[1] for row in tags for tag in row if (parts := split_tag(tag)) and parts[0] == "B"]
        counts = Counter(kind or UNTYPED for kind in begins)
    return dict(sorted(counts.items()))


def _class_names(rows: Dataset, column: str) -> list[str] | None:
    feature = getattr(rows.features[column], "feature", None)
    return list(feature.names) if isinstance(feature, ClassLabel) else None


def _tag_texts(rows: Dataset, split: str, column: str, labels: Sequence[str] | None) -> Sentences:
    """Return the tags as text: ids of a ClassLabel by name, other whole numbers by their place in `labels`."""
    values, where = column_values(rows, column), {"split": split, "column": column}
    advice = 'Write lists, such as ["O", "B-PER"], one tag a word, or set task.tags_column.'
    refuse_rows(values, lambda value: not isinstance(value, list), fault="no list of tags", advice=advice, **where)
    names = _class_names(rows, column) or labels
    if any(isinstance(tag, int) for row in values for tag in row):
        if names is None:
            raise DataError(
                f'Column "{column}" of {split} holds numbers without names. Set task.labels to the names in the order '
                'of the numbers, such as ["O", "B-PER", "I-PER"].'
            )
        values = [[_named(tag, names) for tag in row] for row in values]
    refuse_rows(values, lambda row: any(map(is_missing, row)), fault="a word without a tag", advice=_FILL, **where)
    refuse_rows(
        values,
        lambda row: not all(isinstance(tag, str) for tag in row),
        fault="something else than tags in the list",
        advice=advice,
        **where,
    )
    return values


def _named(tag: Any, names: Sequence[str]) -> str | None:
    if not isinstance(tag, int):
        return tag
    return names[tag] if 0 <= tag < len(names) else None


def _refuse_other_lengths(words: list[list[str]], tags: Sentences, *, split: str, columns: tuple[str, str]) -> None:
    pairs = list(zip(map(len, words), map(len, tags), strict=True))
    bad = [row for row, (one, two) in enumerate(pairs) if one != two]
    if bad:
        one, two = pairs[bad[0]]
        raise DataError(
            f'Columns "{columns[0]}" and "{columns[1]}": {_rows_have(len(bad), split)} another number of tags than of '
            f"words: {rows_named(bad)}; the first has {one} words and {two} tags. Each word needs one tag."
        )


def _in_bio(sentences: Mapping[str, Sentences], column: str, asked: Literal["auto"] | Scheme) -> dict[str, Sentences]:
    """Find the scheme, refuse what it does not allow, and return the tags in BIO."""
    for split, rows in sentences.items():
        _refuse_plain(rows, split, column)
    scheme = find_scheme([row for rows in sentences.values() for row in rows]) if asked == "auto" else asked
    for split, rows in sentences.items():
        _refuse_illegal(rows, scheme, split=split, column=column)
        if scheme == "IOB1" and (needless := [row for row, tags in enumerate(rows) if needless_places(tags)]):
            logger.warning(
                'column "%s": B- where IOB1 writes I-, read as the beginning of an entity all the same: %s of %s',
                column,
                rows_named(needless),
                split,
            )
    return {split: [to_bio(row, scheme) for row in rows] for split, rows in sentences.items()}


def _refuse_plain(rows: Sentences, split: str, column: str) -> None:
    strange = {tag for row in rows for tag in row if split_tag(tag) is None}
    if strange:
        refuse_rows(
            rows,
            lambda row: not strange.isdisjoint(row),
            split=split,
            column=column,
            fault=f"tags that spell no entity where others do ({listed(sorted(strange), 5)})",
            advice='Write O, or a letter and a type: B-PER. For tags without entities set task.tag_scheme to "plain".',
        )


def _refuse_illegal(rows: Sentences, scheme: Scheme, *, split: str, column: str) -> None:
    bad = {row: places for row, tags in enumerate(rows) if (places := illegal_places(tags, scheme))}
    if not bad:
        return
    row, (place, *_) = next(iter(bad.items()))
    tags = ["the beginning of the sentence", *(f'"{tag}"' for tag in rows[row]), "the end of the sentence"]
    other = ', or set task.tag_scheme to "IOB1", where I- may begin an entity' if scheme == "BIO" else ""
    raise DataError(
        f'Column "{column}": {_rows_have(len(bad), split)} tags that {scheme} does not allow: {rows_named(list(bad))}; '
        f"the first is {tags[place + 1]} after {tags[place]}, word {place + 1} of row {row + 1}. Mend the tags{other}."
    )


def _bio_names(names: Sequence[str]) -> list[str]:
    """Return class names with the letters of BIO in the place of others; names of no such form stay."""
    letters = {"S": "B", "E": "I"}
    parts = [(name, split_tag(name)) for name in names]
    return list(
        dict.fromkeys(
            name if part is None else join_tag(letters.get(part[0], part[0]), part[1]) for name, part in parts
        )
    )


def _label_names(train: Sentences, given: Sequence[str] | None, *, spells: bool, may_grow: bool) -> list[str]:
    """Return the labels: the given ones, or those of the training rows; B and I of every type, if they may grow."""
    if not spells:
        return list(given or sorted({tag for row in train for tag in row}))
    names = _bio_names(given or [OUTSIDE])
    if not may_grow:
        return names
    tags = {*names, *(tag for row in train for tag in row)}
    types = {kind for tag in tags if (kind := entity_type(tag)) is not None}
    return names + [label for label in bio_labels(types) if label not in names]


def _check_variety(train: Sentences, column: str, *, is_given: bool) -> None:
    distinct = sorted({tag for row in train for tag in row})
    if len(distinct) < 2:
        raise DataError(
            f'Column "{column}" of train has only one tag, {listed(distinct)}; at least two are needed to learn from. '
            "Check task.tags_column and data.exclude."
        )
    if not is_given and len(distinct) > MOST_LABELS:
        raise DataError(
            f'Column "{column}" has {len(distinct):,} different values in train, such as {listed(distinct[:3])}: these '
            "are hardly tags. Set task.tags_column to another column, or task.labels if they are meant."
        )


def _refuse_unknown(rows: Sentences, names: Sequence[str], split: str, column: str) -> None:
    count = Counter(tag for row in rows for tag in row)
    unknown = {tag: count[tag] for tag in sorted(set(count) - set(names))}
    if unknown:
        raise DataError(
            f'Column "{column}" of {split} has tags that are not among the labels ({listed(names)}): '
            f"{_counted(unknown)}{did_you_mean(next(iter(unknown)), names) or '.'} Correct them, or add them to "
            "task.labels."
        )


def _refuse_unseen(rows: Sentences, train: Sentences, *, split: str, column: str, spells: bool) -> None:
    known = list(count_types(train, spells=spells))
    unseen = {kind: count for kind, count in count_types(rows, spells=spells).items() if kind not in known}
    if unseen:
        what, told = ("entities of types", "types") if spells else ("tags", "tags")
        raise DataError(
            f'Column "{column}": {split} has {what} that train never shows: {_counted(unseen)}'
            f"{did_you_mean(next(iter(unseen)), known) or '.'} The {told} of train are {listed(known)}. Correct them, "
            "or remove those rows."
        )


def _counted(count: Mapping[str, int]) -> str:
    return listed(f'"{name}" ({count[name]:,})' for name in sorted(count))


def _rows_have(count: int, split: str) -> str:
    return f"1 row of {split} has" if count == 1 else f"{count:,} rows of {split} have"
