"""Exact match and token F1, worked out by hand from SQuAD's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_fft.errors import DataError
from hf_fft.metrics import answer_scores, exact_match, normalize_answer, token_f1


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The Cat", "cat"),
        ("an  apple, a pear\tand the end.", "apple pear and end"),
        ("U.S.", "us"),
        ("co-operate", "cooperate"),
        ("there, another anthem", "there another anthem"),
        ("a-b", "ab"),
        ("Theatre of the Absurd", "theatre of absurd"),
        ("«Ünïcode» – ja", "«ünïcode» – ja"),
        ("the", ""),
        ("?!", ""),
        ("", ""),
        ("ΣΑΣ", "σας"),
        ("$3,600", "3600"),
        ("A\u00a0B", "b"),
    ],
)
def test_normalisation_is_squads(text, plain):
    assert normalize_answer(text) == plain


@pytest.mark.parametrize(
    ("guess", "references", "exact", "f1"),
    [
        ("the Normans", ["Normans"], 1, 1),
        ("Norman", ["Normans"], 0, 0),
        ("in the 10th century", ["10th and 11th centuries", "the 10th century"], 0, 4 / 5),
        ("red red blue", ["red green"], 0, 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)),
        ("Greta Vale", ["Vale, Greta"], 0, 1),
        ("", [], 1, 1),
        ("x", [], 0, 0),
        ("the", [], 1, 1),
        ("", ["x"], 0, 0),
        ("", ["the", "x"], 0, 0),
        ("", ["the"], 1, 1),
        ("a", ["the"], 1, 1),
        ("das Café", ["das café"], 1, 1),
        ("das Cafe", ["das café"], 0, 1 / 2),
    ],
)
def test_scores_of_one_question(guess, references, exact, f1):
    assert exact_match(guess, references) == exact
    assert token_f1(guess, references) == pytest.approx(f1)


def test_means_over_all_and_over_each_kind():
    guesses = ["blue whale", "", "seven", "Ada"]
    references = [["the whale", "a blue whale"], ["Ada"], [], ["Ada Lovelace", "Countess"]]
    assert answer_scores(guesses, references) == {
        "exact_match": pytest.approx(1 / 4),
        "f1": pytest.approx((1 + 0 + 0 + 2 / 3) / 4),
        "exact_match/HasAns": pytest.approx(1 / 3),
        "f1/HasAns": pytest.approx((1 + 0 + 2 / 3) / 3),
        "exact_match/NoAns": 0.0,
        "f1/NoAns": 0.0,
    }


def test_one_kind_alone_has_no_parts():
    assert answer_scores(["x"], [["x"]]) == {"exact_match": 1.0, "f1": 1.0}
    assert answer_scores([""], [[]]) == {"exact_match": 1.0, "f1": 1.0}


def test_nothing_to_score_is_refused():
    with pytest.raises(DataError, match="no answers"):
        answer_scores([], [])
    with pytest.raises(DataError, match="2 and 1"):
        answer_scores(["a", "b"], [["a"]])


words = st.text(alphabet="abt he.,'é ", max_size=12)


@given(words, st.lists(words, max_size=3))
def test_an_exact_match_has_full_f1_and_no_score_leaves_its_range(guess, references):
    exact, f1 = exact_match(guess, references), token_f1(guess, references)
    assert exact in (0.0, 1.0) and 0.0 <= f1 <= 1.0 and f1 >= exact


@given(words, st.lists(words, min_size=1, max_size=3))
def test_the_best_reference_counts_and_their_order_does_not(guess, references):
    assert token_f1(guess, references) == token_f1(guess, references[::-1])
    assert exact_match(references[0], references) == 1.0 or not normalize_answer(references[0])
