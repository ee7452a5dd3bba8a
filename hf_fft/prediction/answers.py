"""Rows to predictions, a part at a time, so that the number of rows does not matter.

The rows of a part are read in order of their length, so that a batch has little padding, and their predictions are put
back into the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Dataset, Features, List, Value
from transformers import EvalPrediction

from hf_fft.errors import DataError
from hf_fft.prediction.inputs import Row, id_column, readable_rows
from hf_fft.prediction.saved import SavedModel, load_run
from hf_fft.recipe import AutoSpeedRecipe
from hf_fft.result import Prediction, SpeedPlan
from hf_fft.tasks.language_modeling import LanguageModeling
from hf_fft.training.arguments import evaluation_rows
from hf_fft.training.speed.fast_model import quicken_prediction
from hf_fft.training.speed.plan import rows_that_fit

PART_ROWS = 2_048
# A part ends earlier where texts are long.
PART_CHARACTERS = 16_000_000
SPLIT = "test"


def predict(run: str | Path | SavedModel, rows: Iterable[Mapping[str, Any] | str]) -> Iterator[Prediction]:
    """Yield a prediction for each row, in order.

        for prediction in predict("runs/imdb", ["A fine film.", "Two hours of my life."]):
            print(prediction.guess, prediction.scores)

    Args:
        run: A run folder, or what `load_run` or `load_named` gave.
        rows: Columns by the names of the run's recipe, or bare texts where the model reads one text.

    Raises:
        DataError: naming the row that cannot be read.
    """
    saved = run if isinstance(run, SavedModel) else load_run(run)
    given = ({"text": row} if isinstance(row, str) else row for row in rows)
    for _, prediction in answered(saved, readable_rows(given, saved.task, names={}, shown="rows")):
        yield prediction


def answered(
    saved: SavedModel, rows: Iterable[Row], *, part_rows: int | None = PART_ROWS, shown: str = "rows"
) -> Iterator[tuple[Row, Prediction]]:
    """Yield each row with its prediction, in order; texts that are joined across rows are read all at once."""
    part_rows = None if getattr(saved.task.recipe, "packing", False) else part_rows
    _quicken(saved)
    for part in _parts(rows, part_rows):
        try:
            predictions = _answers(saved, [row.inputs for row in part])
        except DataError as error:
            if not part[0].number:
                raise
            raise DataError(f"{shown}, counted from row {part[0].number + 1:,} on: {error}") from error
        for row, prediction in zip(part, predictions, strict=True):
            yield row, replace(prediction, row=row.number)


def _parts(rows: Iterable[Row], part_rows: int | None) -> Iterator[list[Row]]:
    part: list[Row] = []
    characters = 0
    for row in rows:
        part.append(row)
        characters += sum(len(str(value)) for value in row.inputs.values())
        if part_rows is not None and (len(part) == part_rows or characters >= PART_CHARACTERS):
            yield part
            part, characters = [], 0
    if part:
        yield part


def _quicken(saved: SavedModel) -> None:
    """Let the model predict as the run did, once; not sooner, for an export wants it as it is."""
    trainer = saved.trainer
    asked = isinstance(saved.recipe.speed, AutoSpeedRecipe) and trainer.args.device.type == "cpu"
    if asked and not trainer.speed.reasons:
        plan = SpeedPlan(bf16=trainer.args.bf16, reasons=("rows are answered in order of length",))
        trainer.speed = quicken_prediction(trainer.model, plan)  # type: ignore[arg-type]


def _answers(saved: SavedModel, inputs: Sequence[Mapping[str, Any]]) -> list[Prediction]:
    """Return the predictions of a part."""
    task, trainer = saved.task, saved.trainer
    rows = as_dataset(saved, inputs)
    with _quiet():
        try:
            encoded = task.preprocess(rows, saved.tokenizer, split=SPLIT)
        except DataError:
            if isinstance(task, LanguageModeling):  # Not a word of these texts is to be guessed.
                return [_nothing_guessed(row, one) for row, one in enumerate(inputs)]
            raise
        # The longest come first, so that what does not fit into memory shows at once.
        order = np.argsort(-np.asarray(encoded["length"]), kind="stable")
        with _rows_that_fit(saved, int(max(encoded["length"]))):
            output = trainer.predict(encoded.select(order))
        # accelerate keeps every loader that it has prepared, and with it the part's rows (accelerate 1.15).
        trainer.accelerator._dataloaders.clear()
        back = np.argsort(order)
        in_order = EvalPrediction(
            predictions=output.predictions[back],
            label_ids=None if output.label_ids is None else output.label_ids[back],  # type: ignore[arg-type]
        )
        return task.postprocess(rows, encoded, in_order, split=SPLIT)


@contextmanager
def _rows_that_fit(saved: SavedModel, longest: int) -> Iterator[None]:
    """Take fewer rows a batch than the run did, as many as are usual, where they are longer than the run's were."""
    arguments, asked = saved.trainer.args, saved.recipe.training.values()
    before = arguments.per_device_eval_batch_size
    if "per_device_eval_batch_size" not in asked:
        most = max(rows_that_fit(longest), evaluation_rows(asked, SpeedPlan()))
        arguments.per_device_eval_batch_size = min(before, most)
    try:
        yield
    finally:
        arguments.per_device_eval_batch_size = before


def as_dataset(saved: SavedModel, inputs: Sequence[Mapping[str, Any]]) -> Dataset:
    """Return what a task reads of rows, typed."""
    columns = {column: [one[column] for one in inputs] for column in saved.task.text_columns()}
    kind = List(Value("string")) if saved.task.name == "token_classification" else Value("string")
    rows = Dataset.from_dict(columns, features=Features(dict.fromkeys(columns, kind)))
    name = id_column(saved.task)
    if name is None or any(name not in one for one in inputs):
        return rows
    return rows.add_column(name, [one[name] for one in inputs])


def _nothing_guessed(row: int, inputs: Mapping[str, Any]) -> Prediction:
    return Prediction(split=SPLIT, row=row, inputs=dict(inputs), gold=None, guess=None, scores={"tokens": 0})


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep `datasets` from drawing a bar for every part."""
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not shown:
            datasets.enable_progress_bars()
