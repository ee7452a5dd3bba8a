"""Tables say which split and metric they show, failures are rows, and sentences claim no more than the figures do."""

import math
from pathlib import Path

import pytest
from made_up import (
    REPORT,
    SCORES,
    made_up_cost,
    made_up_failure,
    made_up_head,
    made_up_recipe,
    made_up_result,
    made_up_result_of,
)

from hf_fft.recipe import TokenClassificationRecipe
from hf_fft.report import comparison_markdown, comparison_table, result_table
from hf_fft.report.wording import score_text
from hf_fft.result import Metric, Result

ROWS = [("full", made_up_result()), ("feature_based", made_up_head())]


def test_a_comparison_for_the_terminal():
    golden = Path(__file__).parent / "golden_comparison.txt"
    assert comparison_table(ROWS) + "\n" == golden.read_text(encoding="utf-8")


def test_the_bound_of_chance_is_that_of_two_independent_shares():
    share = (0.861 + 0.82) / 2
    assert f"{100 * 1.96 * math.sqrt(2 * share * (1 - share) / 1500):.1f}" == "2.6"


def test_markdown_holds_the_same_cells():
    lines = comparison_markdown(ROWS).splitlines()
    assert lines[0].startswith("| strategy | test accuracy | training s | × feature_based |")
    assert lines[2] == "| full | 0.861 | 412 | 2.9 | 3,210 | 109,483,778 | 100.0% | 5e-05 |"
    assert lines[-1].startswith("full scores 4.1 points more")


def test_a_failed_run_is_a_row_with_a_short_reason():
    rows = [*ROWS, ("layer | decay", made_up_failure("out of memory: " + "very " * 40 + "\nmuch"))]
    table = comparison_table(rows)
    row = next(line for line in table.splitlines() if line.startswith("layer"))
    assert row.startswith("layer | decay  failed: out of memory: very") and row.endswith("…") and len(row) < 110
    assert "1 of 3 runs failed: layer | decay." in table
    assert "| layer \\| decay | failed: out of memory: very" in comparison_markdown(rows)


def test_only_failed_runs_still_make_a_table():
    failed = Result(status="failed", recipe=made_up_recipe())
    table = comparison_table([("full", failed)])
    assert "failed: no reason was kept" in table and "1 of 1 runs failed: full." in table
    assert comparison_table([]).startswith("strategy")


def test_without_a_test_split_the_heading_says_validation_and_a_sentence_warns():
    rows = [(name, one.model_copy(update={"metrics": {"validation": {"accuracy": 0.9}}})) for name, one in ROWS]
    table = comparison_table(rows)
    assert "validation accuracy" in table
    assert "full scores the same as feature_based (0.900 against 0.900)" in table
    assert "One seed: a difference of a point or two may be chance." in table
    assert "The validation split also chose the best step" in table


def test_a_comparison_in_which_the_head_wins_says_so():
    table = comparison_table([("full", made_up_result(accuracy=0.8)), ("feature_based", made_up_head())])
    assert "full scores 2.0 points less than feature_based (0.800 against 0.820)" in table


def test_several_seeds_are_not_called_one():
    seeds = [(f"full {seed}", made_up_result(recipe=made_up_recipe(seed=seed))) for seed in (1, 2)]
    assert "seed" not in comparison_table(seeds) and "The test split has 1,500 rows" in comparison_table(seeds)


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "words"),
    [
        ("rmse", 0.41, 0.45, "full has a lower (better) rmse than feature_based (0.410 against 0.450)"),
        ("rmse", 0.51, 0.45, "full has a higher (worse) rmse than feature_based (0.510 against 0.450)"),
        ("pearson", 0.9, 0.8, "full has a higher (better) pearson than feature_based (0.900 against 0.800)"),
        ("f1_macro", 0.9, 0.8, "full scores 10.0 points more than feature_based (0.900 against 0.800)"),
    ],
)
def test_sentences_know_a_metrics_direction(metric, ours, theirs, words):
    primary = Metric(name=metric, greater_is_better=metric != "rmse")
    rows = [
        ("full", made_up_result(primary_metric=primary, metrics={"test": {metric: ours}})),
        ("feature_based", made_up_head(primary_metric=primary, metrics={"test": {metric: theirs}})),
    ]
    assert words in comparison_table(rows)
    small = "a difference of a point or two" if metric == "f1_macro" else "a small difference"
    assert f"One seed: {small} may be chance." in comparison_table(rows)


@pytest.mark.parametrize(
    ("task", "ours", "theirs", "words"),
    [
        (
            "masked_language_modeling",
            96.2,
            13412.7,
            "full has a lower (better) perplexity than head (96.20 against 13,413)",
        ),
        ("causal_language_modeling", 9.5, 9.25, "full has a higher (worse) perplexity than head (9.500 against 9.250)"),
        ("text_generation", 27.432, 25.1, "full scores 2.3 points more than head (27.43 against 25.10)"),
        ("token_classification", 0.873, 0.8, "full scores 7.3 points more than head (0.873 against 0.800)"),
        ("question_answering", 0.7, 0.71, "full scores 1.0 points less than head (0.700 against 0.710)"),
    ],
)
def test_sentences_speak_of_each_tasks_metric_as_the_field_does(task, ours, theirs, words):
    rows = [
        ("full", made_up_result_of(task, best=ours)),
        ("head", made_up_result_of(task, best=theirs, strategy="feature_based")),
    ]
    assert words in comparison_table(rows)


def test_the_best_perplexity_is_the_lowest():
    figures = {"head": 30.0, "high": 40.0, "low": 21.5}
    rows = [(name, made_up_result_of("causal_language_modeling", best=figure)) for name, figure in figures.items()]
    assert "low has a lower (better) perplexity than head (21.50 against 30.00)" in comparison_table(rows)


@pytest.mark.parametrize(
    ("task", "metric", "bounded"),
    [
        ("text_classification", "accuracy", True),
        ("question_answering", "exact_match", True),
        ("token_classification", "accuracy", False),
        ("masked_language_modeling", "accuracy", False),
        ("question_answering", "f1", False),
    ],
)
def test_a_bound_of_chance_is_given_only_where_a_score_is_a_share_of_the_rows(task, metric, bounded):
    scores = {"primary_metric": Metric(name=metric), "metrics": {"test": {metric: 0.5}}}
    makes = made_up_result if task == "text_classification" else lambda **fields: made_up_result_of(task, **fields)
    rows = [("a", makes(**scores)), ("b", makes(**scores))]
    assert ("under about 3.6 points may be chance" in comparison_table(rows)) == bounded


@pytest.mark.parametrize("task", SCORES)
def test_every_task_has_a_table_with_its_primary_metric_first(task):
    (metric, _), _ = SCORES[task]
    lines = result_table(made_up_result_of(task)).splitlines()
    assert lines[0].startswith(f"{task}, full: ") and lines[4].startswith(f"{metric} ")
    assert not any("/" in line.split()[0] for line in lines[4:] if line)


def test_scores_of_types_and_of_kinds_of_questions_have_tables_of_their_own():
    assert result_table(made_up_result_of("token_classification")).split("\n\n")[2].splitlines() == [
        "type (test)     f1",
        "-----------  -----",
        "PER          0.950",
        "LOC              –",
    ]
    words = made_up_recipe().model_copy(update={"task": TokenClassificationRecipe(tag_scheme="plain")})
    assert "tag (test) " in result_table(made_up_result_of("token_classification", recipe=words))
    assert result_table(made_up_result_of("question_answering")).split("\n\n")[2].splitlines() == [
        "kind of question (test)  exact_match     f1",
        "-----------------------  -----------  -----",
        "HasAns                         0.600  0.700",
        "NoAns                          0.720  0.720",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.86149, "0.861"),
        (-0.5, "-0.500"),
        (9.9994, "9.999"),
        (27.432, "27.43"),
        (311.64, "311.6"),
        (13412.7, "13,413"),
    ],
)
def test_a_score_has_four_or_five_figures(value, text):
    assert score_text(value) == text


def test_the_best_of_several_is_the_one_compared():
    rows = [*ROWS, ("layer decay", made_up_result(accuracy=0.87, cost=made_up_cost(train_seconds=142.0)))]
    words = (
        "layer decay scores 5.0 points more than feature_based (0.870 against 0.820) and takes about the same training"
    )
    assert words in comparison_table(rows)


def test_scores_and_costs_that_are_missing_are_dashes():
    bare = made_up_result(cost=None, metrics={"test": {"accuracy": None}}, data={})
    line = next(line for line in comparison_table([("bare", bare), ROWS[1]]).splitlines() if line.startswith("bare"))
    assert line.split() == ["bare", "–", "–", "–", "–", "–", "–", "5e-05"]


def test_a_tiny_share_of_parameters_is_not_nothing():
    tiny = made_up_head(cost=made_up_cost(trainable_parameters=2_000))
    assert "< 0.1%" in comparison_table([("feature_based", tiny)])


def test_the_learning_rate_that_was_reached_stands_in_for_one_that_was_not_named():
    assert "4.96296e-05" in comparison_table([("full", made_up_result(recipe=made_up_recipe(training={})))])


def test_a_single_run_shows_scores_by_split_labels_cost_and_notes():
    assert result_table(made_up_result()).splitlines() == [
        "text_classification, full: google-bert/bert-base-uncased on stanfordnlp/imdb",
        "",
        "metric                validation   test",
        "--------------------  ----------  -----",
        "accuracy                   0.871  0.861",
        "f1_macro                   0.858  0.858",
        "matthews_correlation           –      –",
        "",
        "label (test)     f1",
        "------------  -----",
        "negative      0.870",
        "positive      0.850",
        "",
        "Training took 412 s for 750 steps, evaluation 31.5 s; peak memory 3,210 MiB.",
        "Trained were 109,483,778 of 109,483,778 parameters (100.0%); the saved weights take 418 MiB.",
        "",
        '- learning rate 5e-05: the default of strategy "full".',
    ]


def test_many_labels_are_not_listed_and_a_failed_run_says_why():
    scores = {"accuracy": 0.5, **{f"f1/label {number}": 0.5 for number in range(77)}}
    assert "each of the 77 labels are in result.json" in result_table(made_up_result(metrics={"test": scores}))
    assert result_table(made_up_failure()).endswith("failed: torch.OutOfMemoryError: CUDA out of memory.")


def test_the_primary_metric_comes_first():
    result = made_up_result(metrics={"test": {"f1_macro": 0.1, "accuracy": 0.2}}, data=REPORT)
    assert result_table(result).splitlines()[4].startswith("accuracy")
