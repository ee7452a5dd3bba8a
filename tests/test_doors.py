"""The doors: run, compare, and the exit codes by which a script knows what happened."""

from __future__ import annotations

import json

import pytest

from hf_fft.__main__ import main
from hf_fft.compare import compare_strategies, for_strategy
from hf_fft.errors import RecipeError
from hf_fft.recipe import recipe_from
from hf_fft.result import load_result, lock

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
    for words in ('"max_length": 32', "train: 64 rows", "layer 1", "frozen", "learns at 0.01", "16 optimizer steps"):
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
    assert main([*words, "--output-dir", "both"]) == 0
    printed = capsys.readouterr().out
    assert "failed" in printed and "not finite" in printed and "feature_based" in printed
    stored = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert {name: run["status"] for name, run in stored["runs"].items()} == {
        "full": "failed",
        "feature_based": "finished",
    }
    assert "feature_based" in (tmp_path / "both" / "comparison.md").read_text()
    result = load_result(tmp_path / "both" / "feature_based")
    assert result.recipe.training.values()["learning_rate"] == 1e-3

    file = tmp_path / "both" / "feature_based" / "result.json"
    before = file.stat().st_mtime_ns
    compare_strategies(
        recipe_from(json.loads(recipe_file.read_text())).with_values({"training.max_grad_norm": 0.0}),
        ["feature_based"],
        output_dir=tmp_path / "both",
    )
    assert file.stat().st_mtime_ns == before


def test_a_strategys_options_and_rate_are_not_handed_to_another(recipe_values):
    recipe = recipe_from({**recipe_values, "strategy": {"name": "full", "layer_decay": 0.5}})
    assert for_strategy(recipe, "full").strategy.layer_decay == 0.5
    assert for_strategy(recipe, "full").training.values()["learning_rate"] == 1e-2
    other = for_strategy(recipe, "feature_based")
    assert other.strategy.name == "feature_based" and "learning_rate" not in other.training.values()
    with pytest.raises(RecipeError, match='"ful" is not a strategy; did you mean "full"'):
        for_strategy(recipe, "ful")


def test_run_and_compare_are_found_as_modules_and_as_console_script():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="hf-fft")
    assert script.load() is main
