"""Prediction repeats a run: the stored predictions of its test rows, and its metrics on them."""

from __future__ import annotations

import json
import math

import pytest
from finished_runs import KINDS, run_of

from hf_fft.prediction import answered, answers, golds_of, load_run, predict, readable_rows, score
from hf_fft.result import Prediction, load_result, read_predictions
from hf_fft.training.speed import plan


@pytest.fixture
def runs(tmp_path_factory, tiny_bert, one_thread):
    """Give what returns a kind's run folder and its file of test rows."""
    return lambda kind: run_of(kind, tmp_path_factory, tiny_bert)


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_stored_predictions_and_the_metrics_of_test_come_again(kind, runs):
    folder, file = runs(kind)
    stored = [one for one in read_predictions(folder) if one.split == "test"]
    saved = load_run(folder, packed=True)
    rows = list(readable_rows(lines_of(file), saved.task, names={}, shown="test", labelled=True))
    # Seven rows a part: batches are others than those of the run.
    again = [one for _, one in answered(saved, rows, part_rows=7)]
    by_inputs = {json.dumps(one.inputs, sort_keys=True): one for one in again}
    assert len(by_inputs) > 20
    for one in stored:
        mine = by_inputs[json.dumps(one.inputs, sort_keys=True)]
        close = pytest.approx
        assert mine.guess == (close(one.guess, abs=1e-5) if kind == "regression" else one.guess)
        assert mine.scores == close(one.scores, abs=1e-5) and mine.place == one.place
    metrics = score(saved, again, golds_of(saved, rows, shown="test"))
    own = load_result(folder).metrics["test"]
    # Numbers that hardly differ from row to row make a correlation of their rounding.
    assert {name: value for name, value in metrics.items() if math.isfinite(value)} == close(
        {name: value for name, value in own.items() if value is not None}, abs=1e-3 if kind == "regression" else 1e-6
    )
    assert len(own) > 1


def test_batches_are_as_large_as_those_of_the_run(runs):
    folder, _ = runs("single")
    chosen = load_result(folder).speed.evaluation_rows
    assert chosen and chosen > 32
    assert load_run(folder).trainer.args.per_device_eval_batch_size == chosen
    asked = load_run(folder, overrides=["training.per_device_eval_batch_size=5"])
    assert asked.trainer.args.per_device_eval_batch_size == 5


@pytest.mark.parametrize(("tokens", "asked", "taken"), [(4096, [], None), (10, [], 32), (10, [70], 70)])
def test_rows_longer_than_those_of_the_run_come_in_smaller_batches(tokens, asked, taken, runs, monkeypatch):
    folder, _ = runs("single")
    saved = load_run(folder, overrides=[f"training.per_device_eval_batch_size={rows}" for rows in asked])
    monkeypatch.setattr(plan, "EVALUATION_TOKENS", tokens)
    own, before, seen = saved.trainer.predict, saved.trainer.args.per_device_eval_batch_size, []

    def watched(*given, **named):
        seen.append(saved.trainer.args.per_device_eval_batch_size)
        return own(*given, **named)

    monkeypatch.setattr(saved.trainer, "predict", watched)
    assert len(list(predict(saved, ["a fine film"] * 3))) == 3
    assert seen == [taken or before] and saved.trainer.args.per_device_eval_batch_size == before


@pytest.mark.parametrize("kind", ["single", "questions", "decoder_only", "tags"])
def test_parts_keep_the_order_of_the_rows(kind, runs):
    folder, file = runs(kind)
    saved, given = load_run(folder), lines_of(file)
    whole = list(predict(saved, given))
    rows = readable_rows(given, saved.task, names={}, shown="rows")
    parts = [one for _, one in answered(saved, rows, part_rows=3)]
    assert [one.row for one in parts] == [one.row for one in whole] == list(range(len(given)))
    assert [one.guess for one in parts] == [one.guess for one in whole]
    assert not saved.trainer.accelerator._dataloaders, "parts that were read stay in memory"
    columns = list(saved.task.text_columns())
    assert [[one.inputs[name] for name in columns] for one in parts] == [
        [row[name] for name in columns] for row in given
    ]


def test_long_texts_make_shorter_parts(runs, monkeypatch):
    folder, file = runs("single")
    saved, sizes = load_run(folder), []
    monkeypatch.setattr(answers, "PART_CHARACTERS", 300)

    def remembered(saved, rows):
        sizes.append(rows)
        return [Prediction(split="test", row=0, inputs={}, gold=None, guess=None)] * len(rows)

    monkeypatch.setattr(answers, "_answers", remembered)
    rows = readable_rows(lines_of(file), saved.task, names={}, shown="rows")
    assert [row.number for row, _ in answered(saved, rows)] == list(range(40))
    characters = [sum(len(row["text"]) for row in part) for part in sizes]
    assert len(sizes) > 5 and min(characters[:-1]) >= 300 and max(characters) < 300 + 300


def test_a_run_in_bfloat16_is_answered_in_bfloat16(runs):
    folder, file = runs("half")
    saved = load_run(folder)
    assert saved.trainer.args.bf16 and not load_run(folder, overrides=["training.bf16=false"]).trainer.args.bf16
    stored = {one.inputs["text"]: one.scores for one in read_predictions(folder) if one.split == "test"}
    for one in predict(saved, lines_of(file)):
        assert one.scores == pytest.approx(stored[one.inputs["text"]], abs=0.02)
