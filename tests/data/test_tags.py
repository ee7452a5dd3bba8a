"""Tags of every scheme become BIO with the same entities; what a scheme forbids is refused with row and tag."""

from __future__ import annotations

import logging

import pytest
from data_case import splits_of
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_fft.data import count_types, require_words, spell_entities, tag_lists
from hf_fft.data.tags import bio_labels, find_scheme, illegal_places, split_tag, to_bio
from hf_fft.errors import DataError


@st.composite
def sentences(draw):
    """Draw a number of words, and entities (type, first word, last word) that do not overlap."""
    spans, place = [], 0
    for gap, size, kind in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("XY")))):
        spans.append((kind, place + gap, place + gap + size - 1))
        place += gap + size
    return place + draw(st.integers(0, 2)), spans


def spelled(words, spans, scheme):
    """Spell entities in a scheme."""
    tags, before = ["O"] * words, None
    for kind, first, last in spans:
        touches = before == (kind, first - 1)
        letters = ["B"] + ["I"] * (last - first)
        if scheme == "IOB1" and not touches:
            letters[0] = "I"
        if scheme in ("BIOES", "BILOU"):
            one, end = "SE" if scheme == "BIOES" else "UL"
            letters = [*letters[:-1], end] if last > first else [one]
        tags[first : last + 1] = [f"{letter}-{kind}" for letter in letters]
        before = (kind, last)
    return tags


@settings(deadline=None, max_examples=150)
@given(st.lists(sentences(), max_size=4), st.sampled_from(["IOB1", "BIO", "BIOES", "BILOU"]))
def test_every_scheme_is_found_out_and_spells_the_same_entities_in_bio(drawn, written):
    scheme = "BIOES" if written == "BILOU" else written
    texts = [spelled(words, spans, written) for words, spans in drawn]
    assert not any(illegal_places(tags, scheme) for tags in texts)
    if any(spans for _, spans in drawn):
        assert find_scheme(texts) == scheme
    assert [to_bio(tags, scheme) for tags in texts] == [spelled(words, spans, "BIO") for words, spans in drawn]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([f"{letter}-{kind}" for letter in "BIES" for kind in "XY"] + ["O"]), max_size=6))
def test_tags_are_legal_exactly_if_some_entities_spell_them(tags):
    """Reading tags as entities and writing those again gives the same tags, or else they were not legal."""
    for scheme in ("BIO", "BIOES"):
        spans, start = [], None
        for place, tag in enumerate([*to_bio(tags, scheme), "O"]):
            if start is not None and not tag.startswith("I"):
                spans.append((tags[start][2:], start, place - 1))
                start = None
            start = place if tag.startswith("B") else start
        assert (spelled(len(tags), spans, scheme) == tags) == (not illegal_places(tags, scheme))


@pytest.mark.parametrize(
    ("tags", "scheme", "places"),
    [
        ("O I-X", "BIO", [1]),
        ("B-X I-Y", "BIO", [1]),
        ("B-X E-X", "BIO", [1]),
        ("O I-X B-X I-Y", "IOB1", []),
        ("B-X O", "BIOES", [1]),
        ("B-X", "BIOES", [1]),
        ("S-X I-X E-X", "BIOES", [1]),
        ("B-X E-Y", "BIOES", [1]),
        ("B-X S-X", "BIOES", [1]),
    ],
)
def test_illegal_places(tags, scheme, places):
    assert illegal_places(tags.split(), scheme)[:1] == places


def test_tags_are_told_from_parts_of_speech():
    assert spell_entities({"O", "B-PER"}) and spell_entities({"O", "B", "I"}) and spell_entities({"S-X"})
    assert not spell_entities({"NOUN", "VERB", "O"}) and not spell_entities({"N", "B", "I"})
    assert not spell_entities({"O"}) and not spell_entities({"-LRB-", "NN-HL"})
    assert split_tag("B-creative-work") == ("B", "creative-work") and split_tag("L-X") == ("E", "X")
    assert split_tag("b-PER") is split_tag("B-") is split_tag("B_PER") is None


def typed(tags, **options):
    """Return the typed splits of tags written with spaces."""
    rows = {split: [row.split() for row in part] for split, part in tags.items()}
    splits = splits_of(
        **{split: {"tokens": [["w"] * len(r) for r in part], "tags": part} for split, part in rows.items()}
    )
    return tag_lists(splits, tokens="tokens", tags="tags", **options)


def names_of(splits):
    return splits["train"].features["tags"].feature.names


def texts_of(rows):
    names = rows.features["tags"].feature.names
    return [" ".join(names[tag] for tag in tags) for tags in rows["tags"]]


def test_labels_of_entities_come_from_train_outside_first_and_types_sorted_with_b_and_i_of_each():
    splits = typed({"train": ["B-PER O", "B-LOC I-LOC"], "test": ["B-PER I-PER"]})
    assert names_of(splits) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert texts_of(splits["test"]) == ["B-PER I-PER"]


def test_the_scheme_is_found_over_all_splits_together():
    splits = typed({"train": ["S-PER O", "B-PER E-PER"], "test": ["B-PER I-PER E-PER"]})
    assert texts_of(splits["test"]) == ["B-PER I-PER I-PER"] and names_of(splits) == bio_labels({"PER"})
    with pytest.raises(DataError, match=r"1 row of test has tags that BIOES does not allow"):
        typed({"train": ["S-PER O", "B-PER E-PER"], "test": ["B-PER I-PER O"]})


def test_a_b_that_iob1_does_not_need_is_read_and_told(caplog):
    rows = ["I-X O"] * 200 + ["B-X O"]
    with caplog.at_level(logging.WARNING):
        splits = typed({"train": rows})
    assert texts_of(splits["train"])[-2:] == ["B-X O", "B-X O"] and "row 201" in caplog.text


def test_an_i_without_its_entity_among_bio_is_refused_unless_iob1_is_named():
    data = {"train": ["B-X I-X", "O I-X", "B-X"]}
    with pytest.raises(
        DataError, match=r'tags that BIO does not allow: row 2 .*first is "I-X" after "O", word 2 of row 2'
    ):
        typed(data)
    assert texts_of(typed(data, scheme="IOB1")["train"]) == ["B-X I-X", "O B-X", "B-X"]


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        ({"train": ["B-X PER"]}, {}, r"1 row of train has tags that spell no entity where others do \(PER\).*row 1"),
        ({"train": ["B-X O"]}, {"scheme": "BIOES"}, r'tags that BIOES does not allow.*"O" after "B-X"'),
        (
            {"train": ["B-X"], "test": ["O", "E-X"]},
            {},
            r"1 row of train has tags that BIOES does not allow.*end of the",
        ),
        ({"train": ["S-X"], "test": ["O", "E-X"]}, {}, r'1 row of test .* row 2 .*"E-X" after the beginning'),
        ({"train": ["O O"]}, {}, r"has only one tag, O; at least two"),
        ({"train": ["N V"], "test": ["N ADJ ADJ"]}, {}, r'test has tags that train never shows: "ADJ" \(2\)'),
        (
            {"train": ["B-PER O"], "test": ["B-PRE I-PRE"]},
            {},
            r'entities of types that train never shows: "PRE" \(1\); did you mean "PER"',
        ),
        ({"train": ["B-X O"]}, {"labels": ["O", "B-Y", "I-Y"]}, r'not among the labels.*"B-X" \(1\)'),
    ],
)
def test_tags_that_make_no_sense_are_refused_with_split_row_and_tag(data, options, words):
    with pytest.raises(DataError, match=words):
        typed(data, **options)


def test_plain_tags_stay_as_they_are_sorted():
    splits = typed({"train": ["V N", "DET N"], "test": ["N"]})
    assert names_of(splits) == ["DET", "N", "V"] and texts_of(splits["train"]) == ["V N", "DET N"]
    assert names_of(typed({"train": ["B-X O O"]}, scheme="plain")) == ["B-X", "O"]


def class_label_splits(names, rows):
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=names))})
    return DatasetDict(
        train=Dataset.from_dict({"tokens": [["w"] * len(r) for r in rows], "tags": rows}, features=features)
    )


def test_class_names_keep_their_order_and_missing_ones_follow():
    names = ["O", "B-PER", "I-PER", "B-LOC"]
    splits = tag_lists(class_label_splits(names, [[0, 3], [1, 2]]), tokens="tokens", tags="tags")
    assert names_of(splits) == [*names, "I-LOC"] and splits["train"]["tags"][:] == [[0, 3], [1, 2]]
    splits = tag_lists(class_label_splits(["S-X", "O", "B-X", "E-X"], [[0, 1, 2, 3]]), tokens="tokens", tags="tags")
    assert names_of(splits) == ["B-X", "O", "I-X"] and texts_of(splits["train"]) == ["B-X O B-X I-X"]


def test_whole_numbers_count_into_the_labels_and_need_them():
    splits = splits_of(train={"tokens": [["a", "b"]], "tags": [[0, 1]]})
    with pytest.raises(DataError, match=r"holds numbers without names\. Set task\.labels"):
        tag_lists(splits, tokens="tokens", tags="tags")
    found = tag_lists(splits, tokens="tokens", tags="tags", labels=["O", "B-X", "I-X"])
    assert texts_of(found["train"]) == ["O B-X"]
    with pytest.raises(DataError, match=r"1 row of train has a word without a tag"):
        tag_lists(splits, tokens="tokens", tags="tags", labels=["O"])


@pytest.mark.parametrize(
    ("tokens", "tags", "words"),
    [
        ([["a"], ["b", "c"]], [["O"], ["O"]], r"another number of tags than of words: row 2 .*2 words and 1 tags"),
        ([["a"]], [[None]], r'Column "tags": 1 row of train has a word without a tag, .*: row 1'),
        ([["a"], ["b"]], [["O"], None], r"1 row of train has no list of tags: row 2"),
        (["a b"], [["O", "O"]], r"1 row of train has no list of words, such as 'a b': row 1"),
        ([["a"]], ["O"], r"no list of tags"),
        ([[1, 2]], [["O", "O"]], r"something else than texts in the list of words, such as '1', '2': row 1"),
        ([["a"], ["b"]], [["O"], [" "]], r"a word without a tag, .*: row 2"),
        ([[], []], [[], []], r'Column "tokens" of train has no word in any row'),
    ],
)
def test_rows_that_are_not_words_with_tags_are_refused(tokens, tags, words):
    splits = splits_of(train={"tokens": tokens, "tags": tags})
    with pytest.raises(DataError, match=words):
        require_words(splits, "tokens")
        tag_lists(splits, tokens="tokens", tags="tags")


def test_entities_are_counted_by_type_and_plain_tags_one_by_one():
    rows = [["B-X", "I-X", "B-Y"], ["O", "B-X"]]
    assert count_types(rows) == {"X": 2, "Y": 1} and count_types([["B", "I", "O", "B"]]) == {"entity": 2}
    assert count_types(rows, spells=False) == {"B-X": 2, "B-Y": 1, "I-X": 1, "O": 1}
