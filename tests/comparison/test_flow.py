"""A comparison from beginning to end on runs that never were: what runs, what is kept, what follows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from made_runs import TEST_ROWS, MadeRuns, made_recipe

from hf_fft.comparison import Settings, flow, run_comparison, stored_record
from hf_fft.errors import RunFolderError, StrategyError, TrainingError

BOTH = ["full", "feature_based"]


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Compare with fake processes; returns the record and the fake."""

    def compare(strategies=BOTH, *, recipe=None, made=None, **settings):
        made = made or MadeRuns()
        monkeypatch.setattr(flow, "run_apart", made.run_apart)
        monkeypatch.setattr(flow, "compute_apart", made.compute_apart)
        monkeypatch.setattr(flow, "check_apart", made.check_apart)
        record, _ = run_comparison(recipe or made_recipe(), strategies, folder=tmp_path, settings=Settings(**settings))
        return record, made

    return compare


def test_strategies_and_baselines_stand_beside_feature_based_with_an_interval_and_a_verdict(compare, tmp_path):
    record, made = compare(["full", "feature_based", "lora"], seeds=[1, 2, 3])
    assert len(made.names) == 9 + 2
    assert (record.status, record.split, record.metric.name, record.reference) == (
        "finished",
        "test",
        "accuracy",
        "feature_based",
    )
    assert [one.label for one in record.strategies] == [
        "full",
        "feature_based",
        "lora",
        "majority",
        "tfidf_logistic_regression",
    ]
    full = record.strategy("full")
    assert full.score.runs == full.gain.seeds == full.gain.reference_seeds == 3 and full.score.sd > 0
    assert full.gain.estimate == pytest.approx(full.score.mean - record.strategy("feature_based").score.mean)
    assert full.gain.low < full.gain.estimate < full.gain.high and full.gain.rows == TEST_ROWS
    assert full.gain.corrected_p_value >= full.gain.p_value
    assert full.gain.mcnemar_seed == 1 and full.gain.mcnemar_p_value < 0.05
    assert (full.verdict.kind, full.verdict.cost, full.verdict.time_ratio) == ("better", "more", 4.0)
    assert full.verdict.extra_train_seconds == 30.0
    assert record.strategy("feature_based").verdict is None and record.strategy("feature_based").is_reference
    assert record.strategy("majority").verdict.kind == "worse"
    assert stored_record(tmp_path) == record


def test_two_seeds_of_one_strategy_are_not_told_apart(compare):
    record, _ = compare(
        ["full", {"name": "full", "layer_decay": 1.0}],
        seeds=[1, 2],
        made=MadeRuns(shares={"full": 0.7, "majority": 0.5, "tfidf_logistic_regression": 0.6}),
    )
    gain = record.strategy("full layer_decay=1").gain
    assert record.reference == "full" and gain.low < 0 < gain.high
    assert record.strategy("full layer_decay=1").verdict.kind == "undecided"


def test_a_finished_comparison_is_read_and_one_more_seed_costs_itself(compare):
    first, made = compare(seeds=[1])
    assert len(made.names) == 4
    again, made = compare(seeds=[1])
    assert again == first and made.names == []
    more, made = compare(seeds=[1, 2])
    assert made.names == ["full, seed 2", "feature_based, seed 2"]
    assert [run.seed for run in more.runs if run.label == "full"] == [1, 2]
    assert more.strategy("full").gain.seeds == 2


def test_a_comparison_that_was_stopped_is_readable_and_goes_on(compare, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compare(seeds=[1, 2], made=MadeRuns(stop_after=3))
    partial = stored_record(tmp_path)
    assert partial.status == "running" and len(partial.runs) == 3
    assert partial.strategy("full").finished == 2 and partial.strategy("full").planned == 2
    assert partial.strategy("full").gain is None
    record, made = compare(seeds=[1, 2])
    assert made.names[0] == "feature_based, seed 2" and len(made.names) == 3
    assert record.status == "finished" and len(record.runs) == 6


def test_a_failed_run_is_a_row_with_its_reason_and_is_tried_again(compare):
    record, _ = compare(seeds=[1, 2], made=MadeRuns(fail=["full, seed 2"]))
    full = record.strategy("full")
    assert full.failures == ("seed 2: out of memory",) and full.finished == 1 and full.gain.seeds == 1
    record, made = compare(seeds=[1, 2])
    assert made.names == ["full, seed 2"] and record.strategy("full").failures == ()


def test_without_feature_based_the_first_that_finished_is_the_reference(compare):
    record, _ = compare(made=MadeRuns(fail=["feature_based"]))
    assert record.reference == "full" and record.strategy("feature_based").verdict.kind == "failed"
    record, _ = compare(made=MadeRuns(fail=["feature_based", "full"]), overwrite=True)
    assert record.reference is None and "nothing to compare" in record.notes[0]


def test_constant_answers_get_no_verdict_whoever_gives_them(compare):
    record, _ = compare(seeds=[1, 2], made=MadeRuns(constant=["full, seed 2"]))
    full = record.strategy("full")
    assert full.constant_runs == 1 and (full.verdict.kind, full.verdict.concerns) == ("degenerate", "full")
    assert record.strategy("majority").verdict.kind == "worse"  # what a majority is expected to do
    record, _ = compare(seeds=[1, 2], made=MadeRuns(constant=["feature_based, seed 1"]), overwrite=True)
    assert record.strategy("full").verdict.concerns == "feature_based"


def test_rows_of_a_group_are_drawn_together(compare):
    record, _ = compare(made=MadeRuns(group=20))
    assert record.strategy("full").gain.clusters == 20
    assert compare(overwrite=True)[0].strategy("full").gain.clusters is None


def test_rates_are_searched_on_validation_and_the_best_one_runs(compare, tmp_path):
    made = MadeRuns(by_rate={1e-5: 0.5, 1e-4: 0.8, 1e-3: 0.6})
    record, made = compare(["full", "feature_based"], made=made, rates=[1e-5, 1e-4, 1e-3], baselines=())
    assert made.names[:3] == ["full, rate 1e-05", "full, rate 0.0001", "full, rate 0.001"] and len(made.names) == 8
    full = record.strategy("full")
    assert full.rate == "searched" and full.search.tuned and full.search.chosen == full.learning_rate == 1e-4
    stored = json.loads((tmp_path / "runs/full/rates/rate-1e-05/result.json").read_text())
    assert set(stored["metrics"]) == {"validation"}
    assert compare(made=MadeRuns(), rates=[1e-5, 1e-4, 1e-3], baselines=())[1].names == []


def test_a_rate_at_the_edge_is_not_tuned_and_a_named_one_is_not_searched(compare):
    made = MadeRuns(by_rate={1e-5: 0.5, 1e-4: 0.7, 1e-3: 0.8})
    wishes = ["full", {"name": "feature_based", "training": {"learning_rate": 2e-3}}]
    record, _ = compare(wishes, made=made, rates=[1e-5, 1e-4, 1e-3], baselines=())
    full, head = record.strategies
    assert full.learning_rate == 1e-3 and not full.search.tuned and full.verdict.kind == "not tuned"
    assert full.gain is not None and head.search is None and head.rate == "not searched" and head.learning_rate == 2e-3


def test_a_rate_that_fails_is_a_worse_one_and_without_any_the_default_stays(compare):
    rates = [1e-5, 1e-4, 1e-3]
    made = MadeRuns(by_rate={1e-5: 0.5, 1e-4: 0.8}, fail=["full, rate 0.001"])
    record, _ = compare(["full"], made=made, rates=rates, baselines=())
    assert record.strategy("full").search.tuned and record.strategy("full").search.tried[2].error == "out of memory"
    made = MadeRuns(fail=[f"lora, rate {rate:g}" for rate in rates])
    record, _ = compare(["lora"], made=made, rates=rates, baselines=())
    assert record.strategy("lora").search.chosen is None and record.strategy("lora").learning_rate == 2e-4


def test_rates_need_a_validation_split(compare, monkeypatch):
    class Unvalidated(MadeRuns):
        def _written(self, run, folder):
            return super()._written(run, folder).model_copy(update={"metrics": {}})

    with pytest.raises(TrainingError, match="no validation split"):
        compare(made=Unvalidated(by_rate=dict.fromkeys((1, 2, 3), 0.5)), rates=[1, 2, 3])


def test_learning_curves_say_how_many_rows_are_needed(compare):
    record, _ = compare(seeds=[1, 2], fractions=[0.1, 0.3, 1])
    full = record.strategy("full")
    assert [point.train_rows for point in full.learning_curve] == [100, 300, 1000]
    assert record.fractions == (0.1, 0.3, 1.0) and full.planned == full.finished == 2
    assert (full.data_required.bound, full.data_required.rows) == ("fewer than", 100)
    assert record.strategy("majority").data_required.bound == "more than"
    assert record.strategy("feature_based").data_required is None
    assert full.convergence.epoch.mean == 2 and full.convergence.seconds_to_pass.mean == 40.0
    assert (full.convergence.passed, full.convergence.runs) == (2, 2)
    assert record.strategy("feature_based").convergence.passed is None


def test_a_metric_that_is_no_sum_over_rows_gets_no_interval_and_says_so(compare, monkeypatch):
    from hf_fft.comparison import judging

    monkeypatch.setattr(judging, "row_statistics", lambda *_: None)
    record, _ = compare(seeds=[1, 2])
    assert record.strategy("full").gain is None and record.strategy("full").verdict.kind == "undecided"
    assert "no interval" in record.notes[0]
    assert record.strategy("full").convergence.epoch is not None  # by the spread over seeds


def test_sums_that_do_not_repeat_the_reported_score_give_no_interval(compare, monkeypatch):
    from hf_fft.comparison import judging

    row_statistics = judging.row_statistics

    def another(*given):
        known = row_statistics(*given)
        return replace(known, combine=lambda sums: known.combine(sums) + 0.01)

    monkeypatch.setattr(judging, "row_statistics", another)
    record, _ = compare()
    assert record.strategy("full").gain is None
    assert "no interval" in record.notes[0]


def test_strategies_are_checked_before_anything_runs_and_once(compare):
    made = MadeRuns(misfits={"feature_based"})
    with pytest.raises(StrategyError, match="feature_based"):
        compare(made=made)
    assert made.names == []
    assert compare(["full"])[1].checked == ["full"]
    assert compare(["full", "lora"])[1].checked == ["lora"]
    assert compare(["full", "lora"], seeds=[1, 2])[1].checked == []


def test_runs_of_another_recipe_are_refused_before_anything_runs(compare):
    compare()
    other = made_recipe(training={"num_train_epochs": 3, "learning_rate": 1e-4})
    made = MadeRuns()
    with pytest.raises(RunFolderError, match="holds a run of another recipe; these differ: training"):
        compare(recipe=other, made=made)
    assert made.names == []
    assert len(compare(recipe=other, overwrite=True)[1].names) == 4


def test_a_finished_comparison_is_read_without_torch_or_numpy(compare, tmp_path):
    compare()
    code = (
        "import sys; from pathlib import Path; from hf_fft.comparison import Settings, run_comparison\n"
        "from hf_fft.result.comparison import ComparisonRecord\n"
        "import hf_fft.compare\n"
        "folder = Path(sys.argv[1]); file = folder / 'comparison.json'\n"
        "record = ComparisonRecord.model_validate_json(file.read_bytes())\n"
        "_, is_new = run_comparison(record.recipe, ['full', 'feature_based'], folder=folder, settings=Settings())\n"
        "print(is_new, sorted({'torch', 'transformers', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert finished.stdout.strip() == "False []", finished.stderr
