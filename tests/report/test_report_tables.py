"""A single run as text: the primary metric first, every label, the cost, and why a run failed."""

import pytest
from made_up import REPORT, SCORES, made_up_failure, made_up_recipe, made_up_result, made_up_result_of

from hf_fft.recipe import TokenClassificationRecipe
from hf_fft.report import result_table
from hf_fft.report.wording import score_text


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
        "To be fast: bf16 autocast, batches of rows of like length, evaluation by length.",
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
