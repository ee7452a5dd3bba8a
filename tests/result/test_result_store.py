"""A run folder is written whole or not at all, reads back what was written, and belongs to one run at a time."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from hf_fft.errors import RunFolderError
from hf_fft.recipe.records import Recipe
from hf_fft.result import (
    Cost,
    Curves,
    EvaluationPoint,
    Metric,
    Prediction,
    Result,
    TrainingPoint,
    load_result,
    lock,
    read_predictions,
    write_json,
    write_predictions,
    write_result,
    write_text,
)

RECIPE = Recipe.model_validate(
    {
        "$schema": "./recipe.schema.json",
        "task": {"name": "text_classification", "labels": ["no", "yes"]},
        "model": "some/model",
        "data": {"path": "some/data", "exclude": {"source": ["a", 1, True]}},
        "strategy": {"name": "feature_based"},
        "training": {"learning_rate": 1e-3, "num_train_epochs": 2},
    }
)
RESULT = Result(
    status="finished",
    recipe=RECIPE,
    primary_metric=Metric(name="accuracy"),
    metrics={"test": {"accuracy": 0.9, "pearson": None}},
    cost=Cost(
        train_seconds=1.5,
        evaluation_seconds=0.5,
        peak_mib=100.0,
        trainable_parameters=10,
        total_parameters=100,
        optimizer_steps=4,
        model_mib=0.4,
    ),
    curves=Curves(
        training=(TrainingPoint(step=1, epoch=0.5, loss=None, learning_rates={"head": 1e-3}),),
        evaluation=(EvaluationPoint(step=2, epoch=1.0, metrics={"accuracy": 0.8, "loss": None}),),
    ),
    data={"splits": {"test": {"rows": 10}}},
    notes=("bf16 was chosen",),
    best_step=2,
)
PREDICTIONS = [
    Prediction(
        "test", 0, {"text": 'line\u2028separator\n, quotes " and ünïcode 🙂'}, "yes", "no", {"yes": 0.25, "no": 0.75}
    ),
    Prediction("test", 1, {"text": "half a pair: \ud83d"}, ["a", "b"], [], {}),
    Prediction("test", 2, {"text": ""}, 1.5, None),
]


def test_a_result_reads_back_as_it_was_written(tmp_path):
    write_result(tmp_path, RESULT)
    assert load_result(tmp_path) == RESULT.model_copy(update={"recipe": RECIPE.model_copy(update={"schema_": None})})
    assert json.loads((tmp_path / "result.json").read_text())["recipe"]["training"] == {
        "learning_rate": 1e-3,
        "num_train_epochs": 2,
    }


def test_a_failed_result_reads_back(tmp_path):
    failed = Result(status="failed", recipe=RESULT.recipe, error="out of memory")
    write_result(str(tmp_path), failed)
    assert load_result(str(tmp_path)).error == "out of memory"


def test_predictions_read_back_as_they_were_written(tmp_path):
    write_predictions(tmp_path, iter(PREDICTIONS))
    assert read_predictions(tmp_path) == PREDICTIONS


def test_no_predictions_are_an_empty_file(tmp_path):
    write_predictions(tmp_path, [])
    assert read_predictions(tmp_path) == []


def test_numbers_that_are_not_finite_become_null_and_numpy_becomes_plain(tmp_path):
    value = {"a": [float("nan"), float("inf"), np.float32(0.5), np.array([1, 2]), (np.int64(3),)], 1: np.float64("nan")}
    write_json(tmp_path / "value.json", value)
    assert json.loads((tmp_path / "value.json").read_text()) == {"a": [None, None, 0.5, [1, 2], [3]], "1": None}


def test_a_crash_at_the_last_step_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    write_json(tmp_path / "value.json", "old")

    def crash(*_):
        raise OSError("disk gone")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="disk gone"):
        write_json(tmp_path / "value.json", "new")
    assert json.loads((tmp_path / "value.json").read_text()) == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["value.json"]


def test_a_crash_while_predictions_are_made_leaves_the_old_ones(tmp_path):
    write_predictions(tmp_path, PREDICTIONS)

    def crash():
        yield PREDICTIONS[0]
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_predictions(tmp_path, crash())
    assert read_predictions(tmp_path) == PREDICTIONS


def test_readers_only_ever_see_a_whole_file(tmp_path):
    path, stop = tmp_path / "value.txt", threading.Event()
    write_text(path, "0" * 50_000)

    def write():
        for digit in "123456789":
            write_text(path, digit * 50_000)
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        text = path.read_text()
        assert len(text) == 50_000 and len(set(text)) == 1
    writer.join()


def test_files_can_be_read_by_whom_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "value.txt", "")
    finally:
        os.umask(before)
    assert (tmp_path / "value.txt").stat().st_mode & 0o777 == 0o644


def test_a_folder_without_a_result_is_named_with_the_runs_inside_it(tmp_path):
    with pytest.raises(RunFolderError, match=r"holds no result\.json, so it is not the folder of a finished run\.$"):
        load_result(tmp_path)
    write_result(tmp_path / "full", RESULT)
    with pytest.raises(RunFolderError, match="It holds the run folders full: give one of them"):
        load_result(tmp_path)
    with pytest.raises(RunFolderError, match="holds no predictions"):
        read_predictions(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"status": "fini', "the file: Invalid JSON"),
        ('{"status": "finished"}', "recipe: Field required"),
        ("[]", "the file: Input should be an object"),
        ("\xff", "the file: Invalid JSON"),
    ],
)
def test_a_garbled_result_is_refused_in_words(tmp_path, text, words):
    (tmp_path / "result.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunFolderError, match=words):
        load_result(tmp_path)


@pytest.mark.parametrize("line", ['{"split": "te', '{"split": "test"}', "[1]", "7", '{"rows": 1}'])
def test_a_garbled_prediction_is_refused_with_its_line(tmp_path, line):
    write_predictions(tmp_path, PREDICTIONS[:1])
    with open(tmp_path / "predictions.jsonl", "a") as file:
        file.write(line)
    with pytest.raises(RunFolderError, match="line 2, is not a prediction"):
        read_predictions(tmp_path)


def test_a_locked_folder_is_refused_with_the_owner_and_free_afterwards(tmp_path):
    folder = tmp_path / "run"
    with lock(folder), pytest.raises(RunFolderError, match=f"in use by process {os.getpid()} on "), lock(folder):
        pass
    with pytest.raises(ZeroDivisionError), lock(folder):
        _ = 1 / 0
    assert (folder / ".hf_fft.lock").read_text() == ""
    with lock(folder):
        pass


def test_a_second_run_that_was_refused_leaves_the_owners_name(tmp_path):
    with lock(tmp_path):
        for _ in range(2):
            with pytest.raises(RunFolderError, match=f"process {os.getpid()}"), lock(tmp_path):
                pass


def test_a_killed_run_leaves_no_lock(tmp_path):
    code = (
        "import sys, time\nfrom hf_fft.result import lock\n"
        "with lock(sys.argv[1]):\n  print(1, flush=True)\n  time.sleep(99)"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        run.stdout.readline()
        with pytest.raises(RunFolderError, match=f"in use by process {run.pid} on"), lock(tmp_path):
            pass
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    with lock(tmp_path):
        assert (tmp_path / ".hf_fft.lock").read_text().startswith(f"process {os.getpid()}")


def test_a_lock_is_given_back_while_a_forked_worker_still_has_the_file(tmp_path):
    with lock(tmp_path):
        worker = os.fork()
        if worker == 0:
            time.sleep(30)
            os._exit(0)
    try:
        with lock(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_a_file_system_without_locks_warns_and_goes_on(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(37, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    with lock(tmp_path):
        assert "knows no locks" in caplog.text


def test_importing_result_is_light():
    heavy = "import sys, hf_fft.result; print([n for n in ('torch', 'numpy', 'transformers') if n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
