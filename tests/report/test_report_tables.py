"""A single run as text: the primary metric first, every label, the cost, and why a run failed."""

from made_up import REPORT, made_up_failure, made_up_result

from hf_fft.report import result_table


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
