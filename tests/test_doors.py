"""The doors: run, compare, and the exit codes by which a script knows what happened."""

from __future__ import annotations

import json

import pytest

from hf_fft import compare
from hf_fft.__main__ import main
from hf_fft.compare import compare_strategies
from hf_fft.comparison import Settings
from hf_fft.errors import RecipeError
from hf_fft.recipe import recipe_from
from hf_fft.result import load_result, lock, read_predictions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def recipe_file(recipe_values, tmp_path):
    file = tmp_path / "reviews.json"
    file.write_text(json.dumps(recipe_values))
    return file


def test_run_trains_and_prints_the_metrics(recipe_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(recipe_file), "--set", "training.num_train_epochs=1"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy" in printed and "runs/reviews" in printed
    assert load_result(tmp_path / "runs" / "reviews").recipe.training.values()["num_train_epochs"] == 1


def test_check_shows_everything_trains_nothing_and_creates_nothing(recipe_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(recipe_file), "--check", "--set", "strategy=feature_based"]) == 0
    printed = capsys.readouterr().out
    for words in (
        '"max_length": 32',
        "train: 64 rows",
        "layer 1",
        "frozen",
        "learns at 0.01",
        "16 optimizer steps",
        "evaluation from the longest row",
    ):
        assert words in printed, words
    assert [path.name for path in tmp_path.iterdir()] == ["reviews.json"]


def test_each_kind_of_failure_has_its_exit_code(recipe_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "no-such-recipe"]) == 2
    assert main(["run", str(recipe_file), "--set", f"data.path={tmp_path / 'nowhere.csv'}"]) == 2
    hopeless = ["--set", "training.learning_rate=1e30", "--set", "training.max_grad_norm=0.0"]
    assert main(["run", str(recipe_file), *hopeless, "--output-dir", "hopeless"]) == 6
    with lock(tmp_path / "taken"):
        assert main(["run", str(recipe_file), "--output-dir", "taken"]) == 5
    assert main(["dance"]) == 2
    errors = capsys.readouterr().err
    assert "is in use by process" in errors and "not finite" in errors and "Traceback" not in errors


def test_compare_runs_each_strategy_apart_keeps_what_is_done_and_shows_a_failure_as_a_row(
    recipe_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    # The recipe's own strategy keeps this hopeless rate; feature_based takes its default.
    words = ["compare", str(recipe_file), "--set", "training.learning_rate=1e30", "--set", "training.max_grad_norm=0.0"]
    assert main([*words, "--set", "data.group_column=label", "--output-dir", "both"]) == 0
    printed = capsys.readouterr().out
    assert "failed" in printed and "not finite" in printed and "feature_based" in printed and "majority" in printed
    stored = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert stored["status"] == "finished" and stored["reference"] == "feature_based"
    assert {run["name"]: run["result"]["status"] for run in stored["runs"]} == {
        "full": "failed",
        "feature_based": "finished",
        "majority": "finished",
        "tfidf_logistic_regression": "finished",
    }
    assert "feature_based" in (tmp_path / "both" / "comparison.md").read_text()
    folder = tmp_path / "both" / "runs" / "feature_based" / "seed-42"
    result = load_result(folder)
    assert result.recipe.training.values()["learning_rate"] == 1e-3
    assert result.cost.predictions_per_second > 0
    seconds = [point.train_seconds for point in result.curves.evaluation]
    assert 0 < seconds[0] < seconds[1] <= result.cost.train_seconds
    assert {one.group for one in read_predictions(folder)} == {0, 1}

    before = (folder / "result.json").stat().st_mtime_ns
    changes = {"training.max_grad_norm": 0.0, "data.group_column": "label"}
    comparison = compare_strategies(
        recipe_from(json.loads(recipe_file.read_text())).with_values(changes),
        ["feature_based"],
        output_dir=tmp_path / "both",
    )
    assert (folder / "result.json").stat().st_mtime_ns == before
    assert comparison.results["feature_based"] == result and "feature_based" in comparison.table()


def test_compare_hands_its_options_on_and_a_wrong_one_costs_nothing(recipe_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handed = {}

    def remembered(recipe, strategies, *, folder, settings):
        handed.update(strategies=strategies, folder=folder, settings=settings)
        raise RecipeError("far enough")

    monkeypatch.setattr(compare, "run_comparison", remembered)
    numbers = ["--seeds", "1", "2", "--fractions", "0.1", "1", "--rates", "1e-4", "1e-3", "1e-2"]
    assert main(["compare", str(recipe_file), "--strategies", "full", "lora", *numbers, "--no-baselines"]) == 2
    assert handed["strategies"] == ["full", "lora"] and str(handed["folder"]) == "runs/reviews-comparison"
    assert handed["settings"] == Settings(
        seeds=[1, 2], fractions=[0.1, 1.0], rates=[1e-4, 1e-3, 1e-2], rates_fraction=0.3, baselines=()
    )
    assert main(["compare", str(recipe_file)]) == 2
    assert handed["settings"].baselines is None
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(recipe_file), "--strategies", "ful"]) == 2
    assert main(["compare", str(recipe_file), "--rates", "1e-4"]) == 2
    errors = capsys.readouterr().err
    assert 'did you mean "full"' in errors and "1 of at least 3 rates" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["reviews.json"]


def test_run_and_compare_are_found_as_modules_and_as_console_script():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="hf-fft")
    assert script.load() is main
