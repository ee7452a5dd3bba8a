"""Metrics from sums of row statistics are the metrics that the tasks report."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from hf_fft.analysis import row_statistics
from hf_fft.metrics import multi_label_scores, regression_scores, single_label_scores
from hf_fft.metrics.answers import answer_scores
from hf_fft.metrics.generation import GENERATION_METRICS, generation_scores
from hf_fft.metrics.tagging import entity_scores, tag_scores
from hf_fft.result import Prediction

LABELS = ["a", "b", "c", "d"]
TAGS = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def predictions(gold: list, guess: list, scores: list | None = None) -> list[Prediction]:
    return [
        Prediction(split="test", row=row, inputs={}, gold=right, guess=said, scores=scores[row] if scores else {})
        for row, (right, said) in enumerate(zip(gold, guess, strict=True))
    ]


def one_label() -> tuple[list[str], list[str]]:
    draw = random.Random(1)
    gold = draw.choices(LABELS[:3], k=80)
    return gold, [draw.choice(LABELS) if draw.random() < 0.4 else one for one in gold]


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "f1_weighted"])
def test_one_label_a_row(metric):
    gold, guess = one_label()
    expected = single_label_scores(*([LABELS.index(one) for one in side] for side in (gold, guess)), LABELS)
    statistics = row_statistics("text_classification", metric, predictions(gold, guess))
    assert statistics.score() == pytest.approx(expected[metric])


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "f1_weighted", "exact_match"])
def test_several_labels_a_row(metric):
    draw = random.Random(2)
    gold, guess = ([[label for label in LABELS if draw.random() < 0.4] for _ in range(60)] for _ in range(2))
    marks = [[[int(label in row) for label in LABELS] for row in side] for side in (gold, guess)]
    statistics = row_statistics("text_classification", metric, predictions(gold, guess))
    assert statistics.score() == pytest.approx(multi_label_scores(*marks, LABELS)[metric])


@pytest.mark.parametrize("metric", ["pearson", "rmse", "mae"])
def test_a_number_a_row(metric):
    draw = random.Random(3)
    gold = [1000 + draw.gauss(0, 1) for _ in range(50)]
    guess = [one + draw.gauss(0, 0.7) for one in gold]
    statistics = row_statistics("text_classification", metric, predictions(gold, guess))
    assert statistics.score() == pytest.approx(regression_scores(gold, guess)[metric])


def test_a_correlation_of_a_constant_is_none():
    statistics = row_statistics("text_classification", "pearson", predictions([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]))
    assert math.isnan(statistics.score())


@pytest.mark.parametrize("metric", ["f1", "precision", "recall", "accuracy"])
def test_entities_also_where_a_word_has_no_answer(metric):
    draw = random.Random(4)
    gold = [draw.choices(TAGS, k=draw.randint(1, 9)) for _ in range(70)]
    guess = [[draw.choice([*TAGS, None]) if draw.random() < 0.3 else tag for tag in row] for row in gold]
    statistics = row_statistics("token_classification", metric, predictions(gold, guess))
    assert statistics.score() == pytest.approx(entity_scores(gold, guess, ["PER", "LOC"])[metric])


def test_the_mean_over_types_of_entities():
    draw = random.Random(5)
    gold = [draw.choices(TAGS, k=draw.randint(1, 9)) for _ in range(70)]
    guess = [[draw.choice([*TAGS, "B-ORG", None]) if draw.random() < 0.3 else tag for tag in row] for row in gold]
    statistics = row_statistics("token_classification", "f1_macro", predictions(gold, guess))
    assert statistics.score() == pytest.approx(entity_scores(gold, guess, ["PER", "LOC", "ORG"])["f1_macro"])
    without_locations = [row for row, tags in enumerate(gold) if not {"B-LOC"} & {*tags, *guess[row]}]
    some = [[side[row] for row in without_locations] for side in (gold, guess)]
    assert len(without_locations) > 5
    assert statistics.combine(statistics.values[without_locations].sum(axis=0)) == pytest.approx(
        entity_scores(*some, ["PER", "LOC", "ORG"])["f1_macro"]
    )


def test_the_mean_over_plain_tags():
    draw = random.Random(6)
    gold = [draw.choices(["NN", "VB", "DT"], k=draw.randint(1, 9)) for _ in range(40)]
    guess = [[draw.choice(["NN", "JJ", None]) if draw.random() < 0.3 else tag for tag in row] for row in gold]
    statistics = row_statistics("token_classification", "f1_macro", predictions(gold, guess))
    assert statistics.score() == pytest.approx(tag_scores(gold, guess, ["NN", "VB", "DT", "JJ"])["f1_macro"])


SENTENCE = "the red house stands by the old river and , in the evening , nobody comes there but the cat ."
WRITTEN = SENTENCE.split(" ")


def texts(seed: int, rows: int, noise: float) -> tuple[list[list[str]], list[str]]:
    """Draw texts of up to 14 words, one to three references each, and guesses that are not quite one of them."""
    draw = random.Random(seed)
    gold = [
        [" ".join(draw.choices(WRITTEN, k=draw.randint(1, 14))) for _ in range(draw.randint(1, 3))] for _ in range(rows)
    ]
    guess = [
        " ".join(draw.choice(WRITTEN) if draw.random() < noise else word for word in draw.choice(several).split())
        for several in gold
    ]
    return gold, guess


@pytest.mark.parametrize("metric", GENERATION_METRICS)
@pytest.mark.parametrize("noise", [0.0, 0.3, 0.9])
def test_written_texts_score_as_the_whole_corpus_does(metric, noise):
    gold, guess = texts(1, 60, noise)
    guess[:3] = ["", "house", "!?"]
    statistics = row_statistics("text_generation", metric, predictions(gold, guess))
    assert statistics.score() == pytest.approx(generation_scores(guess, gold)[metric], abs=1e-9)


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_any_choice_of_texts_scores_as_sacrebleu_scores_it(metric):
    gold, guess = texts(2, 30, 0.6)
    guess[:2] = ["", "cat"]
    statistics = row_statistics("text_generation", metric, predictions(gold, guess))
    # One row, rows of a word or two, and all: orders of n-grams without a hit, or without any n-gram, among them.
    choices = [[0], [1], [0, 1], *([row] for row in range(2, 12)), [3, 3, 4], list(range(30))]
    sums = np.stack([statistics.values[rows].sum(axis=0) for rows in choices])
    scores = [generation_scores([guess[row] for row in rows], [gold[row] for row in rows])[metric] for rows in choices]
    assert 0.0 in scores
    assert len(set(scores)) > 8
    assert statistics.combine(sums) == pytest.approx(scores, abs=1e-9)


@pytest.mark.parametrize(("guesses", "golds"), [(["a b c d e"], [["a b x d e"]]), (["a"], [["b"]]), ([""], [["a"]])])
def test_smoothing_and_empty_texts(guesses, golds):
    for metric in ("bleu", "chrf"):
        statistics = row_statistics("text_generation", metric, predictions(golds, guesses))
        assert statistics.score() == pytest.approx(generation_scores(guesses, golds)[metric], abs=1e-9)


def test_a_question_without_an_answer_is_right_if_nothing_is_said():
    statistics = row_statistics(
        "generative_question_answering", "rougeL", predictions([["the red house"], [], []], ["red house", "", "a cat"])
    )
    assert statistics.values[:, 0] == pytest.approx([0.8, 1.0, 0.0])


@pytest.mark.parametrize("metric", ["exact_match", "f1"])
def test_answers(metric):
    gold = [["the red house", "house"], [], ["Paris"], ["a b c"]]
    guess = ["red house", "", "London", "b c d"]
    statistics = row_statistics("question_answering", metric, predictions(gold, guess))
    assert statistics.score() == pytest.approx(answer_scores(guess, gold)[metric])


def test_perplexity_weighs_texts_by_their_tokens():
    scores = [{"loss": 2.0, "tokens": 10}, {"loss": 1.0, "tokens": 30}, {"tokens": 0}]
    statistics = row_statistics("causal_language_modeling", "perplexity", predictions([None] * 3, [None] * 3, scores))
    assert statistics.score() == pytest.approx(math.exp((20 + 30) / 40))


def test_sums_of_many_choices_are_scored_at_once():
    gold, guess = one_label()
    statistics = row_statistics("text_classification", "f1_macro", predictions(gold, guess))
    draw = np.random.default_rng(0)
    chosen = draw.integers(len(gold), size=(5, len(gold)))
    sums = np.stack([statistics.values[rows].sum(axis=0) for rows in chosen])
    expected = [
        single_label_scores(*([LABELS.index(side[row]) for row in rows] for side in (gold, guess)), LABELS)["f1_macro"]
        for rows in chosen
    ]
    assert statistics.combine(sums) == pytest.approx(expected)


def test_a_metric_that_is_no_formula_over_sums_is_none():
    assert row_statistics("text_classification", "matthews_correlation", predictions(["a"], ["a"])) is None
    assert row_statistics("a task to come", "accuracy", predictions(["a"], ["a"])) is None
