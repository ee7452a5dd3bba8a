"""A tracker has a run of its own for every training, with recipe and result in it, and costs no training its life."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from hf_fft.errors import MissingExtraError, RecipeError
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import recipe_from
from hf_fft.training import tracked
from hf_fft.training.tracking import trackers_of

CANARY = "7a6b5c4d3e2f10987654" * 2

TRAIN = """
import json, sys, time
import wandb
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import recipe_from
values = json.load(open(sys.argv[1]))
for seed in (1, 2):
    values["seed"] = seed
    result = fine_tune(recipe_from(values), f"runs/seed-{seed}")
    assert wandb.run is None
    print(json.dumps(result.metrics["test"]["accuracy"]))
mine = wandb.init(project="mine", mode="offline", name="open already")
values["seed"] = 3
fine_tune(recipe_from(values), "runs/seed-3")
assert wandb.run is mine
mine.finish()
"""

TRAIN_IN_TRACKIO = """
import json, sys
import trackio
from trackio.sqlite_storage import SQLiteStorage
from hf_fft.errors import TrainingError
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import recipe_from
values, found = json.load(open(sys.argv[1])), {}
for seed in (1, 2):
    values["seed"] = seed
    result = fine_tune(recipe_from(values), f"runs-{seed}/same")
    assert trackio.context_vars.current_run.get() is None
    found[seed] = result.metrics["test"]["accuracy"]
values["seed"] = 3
recipe = recipe_from({**values, "training": {**values["training"], "learning_rate": 1e30, "max_grad_norm": 0}})
try:
    fine_tune(recipe, "runs-3/same")
except TrainingError:
    assert trackio.context_vars.current_run.get() is None
kept = {}
for run in trackio.Api().runs("p"):
    assert run.name == "same"
    seed = run.config["recipe"]["seed"]
    kept[seed] = run.config, SQLiteStorage.get_logs("p", run.name, run_id=run.id), found.get(seed)
print()
print(json.dumps(kept))
"""

UNREACHABLE = """
import logging, sys, time
from hf_fft.recipe import recipe_from
from hf_fft.training import tracked, tracking
logging.basicConfig()
tracking.PATIENCE_SECONDS = 3.0
values = {"task": "text_classification", "model": "a/b", "data": {"path": "c"}, "training": {"report_to": "wandb"}}
recipe = recipe_from(values)
begun = time.monotonic()
with tracked(recipe, tracking.Path("runs/here")) as tell:
    import wandb
    assert wandb.run.offline and wandb.run.name == "here"
assert time.monotonic() - begun < 80 and wandb.run is None
"""


def records(folder: Path):
    """Read what an offline run wrote: blocks of 32 KiB, each part of a record behind its sum, length and kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("*.wandb")
    data, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""


def kept(folder: Path):
    """Return a run's name, config, summary, and how many lines of a training log it has."""
    name, config, summary, lines = "", {}, {}, 0
    for record in records(folder):
        if record.HasField("run"):
            name = record.run.display_name
        for target, updates in ((config, record.config.update), (summary, record.summary.update)):
            target.update({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates})
        lines += any("train/loss" in (item.key, *item.nested_key) for item in record.history.item)
    return name, config, summary, lines


def run_in(folder: Path, code: str, *words: str, **settings: str):
    environment = {**os.environ, "WANDB_API_KEY": CANARY, "WANDB_DIR": str(folder), **settings}
    command = [sys.executable, "-c", code, *words]
    finished = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished


def test_every_training_has_its_own_run_with_recipe_and_result(recipe_values, tmp_path):
    pytest.importorskip("wandb", reason="wandb is an optional package")
    recipe_values["training"] |= {"report_to": "wandb", "num_train_epochs": 1}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe_values))
    finished = run_in(tmp_path, TRAIN, "recipe.json", WANDB_MODE="offline")
    accuracies = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith(("0", "1"))]
    folders = sorted(tmp_path.glob("wandb/offline-run-*"))
    runs = {name: rest for name, *rest in map(kept, folders)}
    assert set(runs) == {"seed-1", "seed-2", "open already"}
    for seed, accuracy in zip((1, 2), accuracies, strict=True):
        config, summary, lines = runs[f"seed-{seed}"]
        assert config["recipe"]["seed"] == seed and config["recipe"]["training"]["report_to"] == "wandb"
        assert summary["metrics"]["test"]["accuracy"] == accuracy and summary["cost"]["optimizer_steps"] == lines == 8
    assert runs["open already"][1]["status"] == "finished" and runs["open already"][2] == 8
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert CANARY.encode() not in written and CANARY not in finished.stdout + finished.stderr


def test_a_server_out_of_reach_costs_seconds_and_the_run_is_kept_offline(tmp_path):
    pytest.importorskip("wandb", reason="wandb is an optional package")
    finished = run_in(tmp_path, UNREACHABLE, WANDB_BASE_URL="http://127.0.0.1:9")
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert f"Later: wandb sync {folder}" in finished.stderr and kept(folder)[1]["recipe"]["model"]["name"] == "a/b"
    assert CANARY not in finished.stderr + finished.stdout


def test_tensorboard_writes_where_it_is_kept_unless_the_user_says_where(recipe_values, tmp_path, monkeypatch):
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    recipe_values["training"]["report_to"] = ["tensorboard"]
    recipe = recipe_from(recipe_values)
    with tracked(recipe, tmp_path):
        assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "tensorboard")
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "mine")
    with tracked(recipe, tmp_path):
        assert os.environ["TENSORBOARD_LOGGING_DIR"] == "mine"


def test_tensorboard_has_the_log_of_a_run_in_its_folder(recipe_values, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is an optional package")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe_values["training"] |= {"report_to": "tensorboard", "num_train_epochs": 1}
    fine_tune(recipe_from(recipe_values), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("train/loss")) == 8 and events.Scalars("eval/accuracy")


def test_a_run_of_trackio_is_each_trainings_own_and_ends_with_the_result(recipe_values, tmp_path):
    pytest.importorskip("trackio", reason="trackio is an optional package")
    recipe_values["training"] |= {"report_to": "trackio", "num_train_epochs": 1, "project": "p"}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe_values))
    finished = run_in(tmp_path, TRAIN_IN_TRACKIO, "recipe.json", TRACKIO_DIR=str(tmp_path / "kept"))
    runs = json.loads(finished.stdout.splitlines()[-1])
    assert sorted(runs) == ["1", "2", "3"]
    config, logged, _ = runs.pop("3")
    assert config["recipe"]["seed"] == 3 and logged[-1]["failed"] == 1
    for config, logged, accuracy in runs.values():
        assert config["recipe"]["training"]["project"] == "p" and config["logging_steps"] == 1
        last = logged[-1]
        assert last["test/accuracy"] == accuracy and last["cost/optimizer_steps"] == 8
        assert sum("train/loss" in line for line in logged) == 8


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_loaded(recipe_values, monkeypatch):
    monkeypatch.setattr("hf_fft.training.tracking.find_spec", lambda name: None)
    for tracker in ("wandb", "trackio"):
        recipe_values["training"]["report_to"] = tracker
        with pytest.raises(MissingExtraError, match=f"{tracker}.*pip install .hf_fft.{tracker}"):
            fine_tune(recipe_from({**recipe_values, "data": {"path": "nowhere"}}), "never")


@pytest.mark.parametrize(
    ("asked", "words"), [("wanb", 'did you mean "wandb"'), (["trackio", "x"], "there are azure_ml")]
)
def test_a_mistyped_tracker_is_refused_before_anything_is_loaded(recipe_values, asked, words):
    recipe_values["training"]["report_to"] = asked
    with pytest.raises(RecipeError, match=words):
        fine_tune(recipe_from({**recipe_values, "data": {"path": "nowhere"}}), "never")


def test_a_tracker_that_fails_at_the_end_costs_no_finished_run(recipe_values, tmp_path, monkeypatch, caplog):
    @contextmanager
    def failing(recipe, folder):
        def tell(result):
            raise ValueError("the Space is frozen")

        yield tell

    monkeypatch.setattr("hf_fft.training.tracking._in_wandb", failing)
    monkeypatch.setattr("hf_fft.training.tracking.check_trackers", lambda asked: None)
    recipe_values["training"]["report_to"] = "wandb"
    with tracked(recipe_from(recipe_values), tmp_path) as tell:
        tell(None)
    assert "did not take everything: ValueError: the Space is frozen" in caplog.text


def test_a_server_that_is_lost_before_the_end_costs_no_finished_run(recipe_values, tmp_path, monkeypatch, caplog):
    pytest.importorskip("wandb")

    class Lost:
        config = summary = SimpleNamespace(update=lambda *values, **options: None)

        def finish(self, exit_code):
            raise ConnectionError(f"gone at {exit_code}")

    monkeypatch.setattr("hf_fft.training.tracking._started", lambda recipe, folder: Lost())
    recipe_values["training"]["report_to"] = "wandb"
    recipe = recipe_from(recipe_values)
    with tracked(recipe, tmp_path):
        pass
    assert "did not take everything: ConnectionError: gone at 0" in caplog.text
    with pytest.raises(ValueError, match="the run's own"), tracked(recipe, tmp_path):
        raise ValueError("the run's own")
    assert "gone at 1" in caplog.text


def test_all_means_those_that_are_installed(monkeypatch):
    monkeypatch.setattr("hf_fft.training.tracking.get_available_reporting_integrations", lambda: ["wandb", "mlflow"])
    assert trackers_of({"report_to": "all"}) == trackers_of({"report_to": ["all"]}) == {"wandb", "mlflow"}
    assert trackers_of({}) == set() and trackers_of({"report_to": "trackio"}) == {"trackio"}
