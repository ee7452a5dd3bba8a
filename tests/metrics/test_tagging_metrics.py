"""Entity scores are seqeval's in strict mode; what they make of illegal tags and of nothing at all."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import accuracy_score, classification_report, f1_score
from seqeval.scheme import IOB2

from hf_fft.errors import DataError
from hf_fft.metrics import entity_scores, tag_scores
from hf_fft.metrics.tagging import entities

TAGS = ["O", "B-PER", "I-PER", "B-creative-work", "I-creative-work"]
TYPES = ["PER", "creative-work"]
pairs = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8), min_size=1)


@settings(deadline=None, max_examples=150)
@given(pairs)
def test_the_figures_are_those_of_seqeval_in_strict_mode(sentences):
    gold = [[one for one, _ in sentence] for sentence in sentences]
    guess = [[other for _, other in sentence] for sentence in sentences]
    ours = entity_scores(gold, guess, TYPES)
    assert ours["accuracy"] == pytest.approx(accuracy_score(gold, guess))
    assert ours["f1_conlleval"] == pytest.approx(f1_score(gold, guess, zero_division=0))  # seqeval's default reading
    if not any(tag.startswith("B") for tags in [*gold, *guess] for tag in tags):
        assert ours["f1"] == ours["precision"] == ours["recall"] == ours["f1_macro"] == 0.0
        return
    theirs = classification_report(gold, guess, mode="strict", scheme=IOB2, zero_division=0, output_dict=True)
    for name, average in (("precision", "micro avg"), ("recall", "micro avg"), ("f1", "micro avg")):
        assert ours[name] == pytest.approx(theirs[average][f"{name}-score" if name == "f1" else name])
    assert ours["f1_macro"] == pytest.approx(theirs["macro avg"]["f1-score"])
    for kind in TYPES:
        if kind in theirs:
            assert ours[f"precision/{kind}"] == pytest.approx(theirs[kind]["precision"])
            assert ours[f"recall/{kind}"] == pytest.approx(theirs[kind]["recall"])
            assert ours[f"f1/{kind}"] == pytest.approx(theirs[kind]["f1-score"])
        else:
            assert math.isnan(ours[f"f1/{kind}"])


def test_an_entity_counts_only_whole():
    gold = [["B-PER", "I-PER", "O", "B-LOC"]]
    assert entity_scores(gold, [["B-PER", "O", "O", "B-LOC"]], ["PER", "LOC"])["f1"] == 0.5
    assert entity_scores(gold, [["B-PER", "I-PER", "O", "B-PER"]], ["PER", "LOC"])["recall/LOC"] == 0.0
    assert entity_scores(gold, gold, ["PER", "LOC"])["f1"] == 1.0


def test_an_illegal_i_begins_nothing_where_conlleval_lets_it_begin_an_entity():
    gold, guess = [["B-PER", "I-PER", "O"]], [["I-PER", "I-PER", "O"]]
    scores = entity_scores(gold, guess, ["PER"])
    assert (scores["f1"], scores["f1_conlleval"]) == (0.0, 1.0)
    assert entities(["B-PER", "I-LOC", "I-PER"]) == [("PER", 0, 0)]


def test_without_entities_the_scores_are_zero_and_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = entity_scores([["O", "O"]], [["O", "O"]], ["PER"])
    assert (scores["f1"], scores["f1_macro"], scores["accuracy"]) == (0.0, 0.0, 1.0)
    assert math.isnan(scores["f1/PER"])


def test_a_word_without_an_answer_is_outside_and_not_right():
    scores = entity_scores([["B-PER", "O"]], [[None, None]], ["PER"])
    assert (scores["recall"], scores["accuracy"]) == (0.0, 0.0)
    assert tag_scores([["N", "V"]], [["N", None]], ["N", "V"])["accuracy"] == 0.5


def test_bare_letters_spell_entities_of_one_kind_without_figures_of_its_own():
    scores = entity_scores([["B", "I", "O", "B"]], [["B", "I", "O", "O"]], [""])
    assert scores["recall"] == 0.5 and scores["precision"] == 1.0 and not any("/" in name for name in scores)


def test_labels_that_are_no_bio_are_outside():
    assert entities(["B-X", "PAD", "I-X"]) == [("X", 0, 0)]


def test_plain_tags_are_scored_as_scikit_learn_does():
    from sklearn.metrics import f1_score as by_word

    gold, guess = [["N", "V", "N"], ["D", "N"]], [["N", "N", "N"], ["D", "V"]]
    flat = [tag for tags in gold for tag in tags], [tag for tags in guess for tag in tags]
    scores = tag_scores(gold, guess, ["D", "N", "V", "X"])
    assert scores["accuracy"] == 0.6 and scores["f1_macro"] == pytest.approx(by_word(*flat, average="macro"))
    assert [scores[f"f1/{tag}"] for tag in "DNV"] == pytest.approx(list(by_word(*flat, average=None)))
    assert math.isnan(scores["f1/X"])


def test_sides_of_different_length_and_nothing_at_all_are_refused():
    with pytest.raises(DataError, match="their numbers differ"):
        entity_scores([["O", "O"]], [["O"]], [])
    with pytest.raises(DataError, match="no words to score"):
        tag_scores([[]], [[]], [])
