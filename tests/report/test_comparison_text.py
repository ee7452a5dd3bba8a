"""A comparison's tables and sentences are the golden texts, fit a terminal, and claim no more than intervals say."""

import json
import os
import re
from pathlib import Path

import pytest
from made_up import made_up_recipe, made_up_result
from made_up_comparison import (
    baseline,
    comparison,
    gain,
    judged,
    quickstart,
    run,
    searched,
    spread,
    strategy,
    three_seeds,
    verdict,
)

from hf_fft.report import comparison_markdown, comparison_table
from hf_fft.report.comparison_units import p_text, ratio_text, unit_of
from hf_fft.report.comparison_words import caution_sentences, comparison_sentences, verdict_sentences
from hf_fft.result import Metric
from hf_fft.result.comparison import ComparisonRecord, RateTried

HEAD = strategy("feature_based", 0.695)
RMSE = Metric(name="rmse", greater_is_better=False)
OUT_OF_MEMORY = "seed 1: torch.OutOfMemoryError: CUDA out of memory. " + "Tried to allocate more. " * 9


def failing():
    """One strategy fails always and one sometimes, one answers always the same; the reason names a local path."""
    return comparison(
        strategy("full", failures=[OUT_OF_MEMORY], verdict=verdict("failed", concerns="full")),
        strategy("feature_based", 0.695, failures=["seed 2: DataError: /home/someone/rows.csv has no column text"]),
        strategy(
            "lora",
            0.512,
            constant_runs=1,
            gain=gain(-0.183, -0.215, -0.150),
            verdict=verdict("degenerate", concerns="lora"),
        ),
    )


def undecided():
    """No strategy is told from the reference."""
    return comparison(
        judged("full", 0.701, "undecided", gain(0.006, -0.021, 0.033, 0.66, 0.66)),
        HEAD,
        judged("lora", 0.715, "undecided", gain(0.020, 0.001, 0.039, 0.041, 0.082)),
    )


@pytest.mark.parametrize("made_up", [quickstart, three_seeds, failing, undecided])
def test_a_comparison_for_the_terminal_is_the_golden_text(made_up):
    golden = Path(__file__).parent / f"golden_comparison_{made_up.__name__}.txt"
    table = comparison_table(made_up()) + "\n"
    if os.environ.get("HF_FFT_WRITE_GOLDEN"):
        golden.write_text(table, encoding="utf-8")
    assert table == golden.read_text(encoding="utf-8")
    assert max(len(line) for line in table.splitlines()) <= 110


def test_the_page_is_the_golden_text():
    golden = Path(__file__).parent / "golden_comparison.md"
    page = comparison_markdown(three_seeds())
    if os.environ.get("HF_FFT_WRITE_GOLDEN"):
        golden.write_text(page, encoding="utf-8")
    assert page == golden.read_text(encoding="utf-8")


def test_a_record_that_was_written_and_read_says_the_same():
    record = ComparisonRecord.model_validate_json(json.dumps(three_seeds().model_dump(mode="json", by_alias=True)))
    assert comparison_table(record) == comparison_table(three_seeds())


def test_a_single_difference_has_its_basis_in_the_sentence_and_no_correction():
    record = comparison(judged("full", 0.774, "better", gain(0.079, 0.061, 0.097, seeds=3, reference_seeds=2)), HEAD)
    assert comparison_sentences(record) == [
        "full is better than feature_based by 7.9 points, 95 % interval 6.1 to 9.7 (3 seeds against 2, 800 test rows, "
        "p < 0.001)."
    ]


def test_a_loss_is_told_without_signs_and_from_the_nearer_end():
    record = comparison(judged("full", 0.65, "worse", gain(-0.045, -0.071, -0.019)), HEAD)
    assert "full is worse than feature_based by 4.5 points, 95 % interval 1.9 to 7.1 (" in comparison_table(record)
    assert verdict_sentences(record) == [
        "On one seed: full loses 4.5 points against feature_based for 3.5 times the training time and 2.7 times the "
        "memory."
    ]


@pytest.mark.parametrize(
    ("metric", "theirs", "estimate", "said", "weighed"),
    [
        (
            Metric(name="f1_macro"),
            0.7,
            0.0789,
            "better than feature_based by 7.9 points, 95 %",
            "gains 7.9 points over",
        ),
        (Metric(name="bleu"), 27.3, 1.234, "better than feature_based by 1.2 points, 95 %", "gains 1.2 points over"),
        (Metric(name="rougeL"), 0.3, -0.02, "worse than feature_based by 2.0 points, 95 %", "loses 2.0 points against"),
        (
            RMSE,
            0.451,
            0.041,
            "better than feature_based: its rmse is 0.041 lower, 95 %",
            "lowers rmse by 0.041 against",
        ),
        (RMSE, 0.451, -0.041, "worse than feature_based: its rmse is 0.041 higher, 95", "raises rmse by 0.041 against"),
        (
            Metric(name="perplexity", greater_is_better=False),
            12.34,
            1.5,
            "better than feature_based: its perplexity is 1.50 lower, 95 %",
            "lowers perplexity by 1.50 against",
        ),
        (
            Metric(name="pearson"),
            0.8,
            0.05,
            "better than feature_based: its pearson is 0.050 higher, 95 %",
            "raises pearson by 0.050 against",
        ),
    ],
)
def test_words_know_a_metrics_direction_and_unit(metric, theirs, estimate, said, weighed):
    ends = sorted((0.5 * estimate, 1.5 * estimate))
    kind = "better" if estimate > 0 else "worse"
    ours = theirs + estimate * (1 if metric.greater_is_better else -1)
    head = strategy("feature_based", theirs)
    record = comparison(judged("full", ours, kind, gain(estimate, *ends)), head, metric=metric)
    assert said in comparison_sentences(record)[0]
    assert weighed in verdict_sentences(record)[0]


def test_scores_have_the_decimals_that_their_size_needs():
    for name, score, written in (
        ("accuracy", 0.7744, "0.774 ± 0.100"),
        ("bleu", 27.345, "27.3 ± 0.1"),
        ("perplexity", 12.345, "12.35 ± 0.10"),
        ("perplexity", 1234.5, "1,234.5 ± 0.1"),
    ):
        unit = unit_of(comparison(strategy("feature_based", score), metric=Metric(name=name)))
        assert unit.spread(spread(score, 0.1, 3)) == written
    unit = unit_of(quickstart())
    assert [unit.gain(value, signed=True) for value in (0.01, -0.01, 0.0001, -0.0001)] == ["+1.0", "-1.0", "0.0", "0.0"]
    assert [p_text(value) for value in (0.0002, 0.0123, 0.66)] == ["p < 0.001", "p = 0.012", "p = 0.66"]
    assert [ratio_text(value) for value in (3.456, 0.0157)] == ["3.5", "0.016"]


def test_no_verdict_is_given_where_the_reference_is_not_tuned():
    head = strategy("feature_based", 0.695, search=searched(5e-4, 5e-4, 1e-3, 2e-3, tuned=False), rate="searched")
    concerned = verdict("not tuned", concerns="feature_based")
    record = comparison(strategy("full", 0.774, gain=gain(0.079, 0.061, 0.097), verdict=concerned), head)
    (sentence,) = verdict_sentences(record)
    assert sentence == (
        "No verdict, for the others are measured by feature_based: not tuned. Its best learning rate, 0.0005, is the "
        "lowest of those tried: add lower ones to --rates."
    )
    assert comparison_sentences(record) == []
    table = comparison_table(record)
    assert "reference, not tuned" in table and re.search(r"full +0.774 +\+7.9 .* none$", table, re.MULTILINE)


def test_a_search_in_which_every_rate_failed_is_told():
    search = searched(1e-3, 1e-3, tuned=False).model_copy(
        update={"chosen": None, "tried": (RateTried(learning_rate=1e-3, error="the loss is not finite"),)}
    )
    unlucky = strategy("full", 0.6, search=search, verdict=verdict("not tuned", concerns="full"))
    record = comparison(unlucky, HEAD)
    assert "not tuned, for no learning rate that was tried gave a score." in verdict_sentences(record)[0]
    assert "| full | 0.001 | failed: the loss is not finite |  |" in comparison_markdown(record)


def test_a_smaller_gain_keeps_something_only_if_it_costs_less():
    def weigh(label):
        record = comparison(
            judged("full", 0.774, "better", gain(0.079, 0.061, 0.097)),
            judged(label, 0.766, "better", gain(0.071, 0.052, 0.090)),
            HEAD,
        )
        return verdict_sentences(record)

    assert weigh("lora")[0].endswith("the memory; lora keeps 7.1 of them at 2.1 times.")
    assert weigh("probe_then_full")[0].endswith("the memory; probe_then_full gains 7.1 at 4.3 times.")
    assert weigh("lora")[1].startswith("Which of these is the better one was not tested")


def test_a_gain_that_costs_no_more_says_so():
    cheap = strategy("full", 0.774, gain=gain(0.079, 0.061, 0.097), verdict=verdict("better", 1.02))
    assert "for about the same training time." in verdict_sentences(comparison(cheap, HEAD))[0]


def test_one_strategy_gets_no_verdict_and_an_unfinished_comparison_says_so():
    assert verdict_sentences(comparison(HEAD)) == ["No verdict: it takes two strategies that finished."]
    running = comparison(strategy("full"), HEAD, status="running")
    assert verdict_sentences(running) == []
    assert "The comparison is not finished" in comparison_table(running)
    assert re.search(r"^full +not run yet$", comparison_table(running), re.MULTILINE)


def test_a_comparison_in_which_nothing_finished_is_a_table_of_reasons():
    note = "No run of a strategy finished, so there is nothing to compare."
    record = comparison(strategy("full", failures=["seed 1: killed"]), metric=None, split=None, notes=[note])
    table = comparison_table(record)
    assert "How good: no run finished." in table and "full      failed: seed 1: killed" in table and note in table
    assert "What it costs" not in table


def test_a_difference_without_an_interval_is_no_undecided_one():
    record = comparison(strategy("full", 27.0), strategy("feature_based", 26.0), metric=Metric(name="bleu"))
    assert verdict_sentences(record) == ["No verdict on full: the difference has no interval."]
    assert comparison_sentences(record) == []


def test_a_strategy_of_which_one_seed_finished_is_named():
    both = {"seeds": 3, "reference_seeds": 3}
    record = comparison(
        judged("full", 0.774, "better", gain(0.079, 0.061, 0.097, **both)),
        judged("lora", 0.766, "better", gain(0.071, 0.052, 0.090, **{**both, "seeds": 1})),
        strategy("feature_based", 0.695),
        seeds=(1, 2, 3),
    )
    cautions = caution_sentences(record)
    assert "Only one seed of lora finished, so the chance of the seed is not covered there." in cautions
    assert "1 seed against 3, 800 test rows" in comparison_sentences(record)[1]


def test_scores_on_validation_and_runs_of_two_machines_are_warned_of():
    where = made_up_result().environment.model_copy(update={"device": "NVIDIA H200"})
    elsewhere = made_up_result(recipe=made_up_recipe(), environment=where)
    runs = [run("full", 1, [0.7]), run("full", 2, [0.7], result=elsewhere)]
    cautions = caution_sentences(comparison(HEAD, split="validation", runs=runs))
    assert any("validation, which also chose the best step" in one for one in cautions)
    assert any("different machines or versions" in one for one in cautions)
    assert "validation accuracy" in comparison_table(comparison(HEAD, split="validation"))


def test_baselines_that_are_not_beaten_are_named():
    good = baseline("tfidf_logistic_regression", 0.72, gain(0.025, 0.004, 0.046))
    level = baseline("majority", 0.69, gain(-0.005, -0.03, 0.02, 0.6))
    record = comparison(judged("full", 0.71, "undecided", gain(0.015, -0.01, 0.04, 0.2)), HEAD, good, level)
    assert comparison_sentences(record)[1:] == [
        "The baseline tfidf_logistic_regression is better than feature_based by 2.5 points.",
        "The data do not decide between the baseline majority and feature_based.",
        "No better score than the baseline tfidf_logistic_regression: full.",
    ]


def test_a_part_of_the_rows_is_named_and_long_labels_are_broken():
    label = "full head_learning_rate=0.001 layer_decay=0.8 training.weight_decay=0.1"
    record = comparison(judged(label, 0.774, "better", gain(0.079, 0.061, 0.097)), HEAD, fractions=(0.1, 0.3))
    table = comparison_table(record)
    assert "trained on 30.0% of the rows" in table
    assert "\n  layer_decay=0.8\n  training.weight_decay=0.1\n" in table
    assert max(map(len, table.splitlines())) <= 110


def test_the_page_shows_no_path_of_this_machine_and_embeds_what_is_drawn():
    page = comparison_markdown(failing())
    assert "/home/someone" not in page and "rows.csv has no column text" in page
    assert re.findall(r"!\[.*?\]\((.*?)\)", page) == ["plots/score_by_time.png", "plots/score_by_epoch.png"]
