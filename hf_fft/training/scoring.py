"""A trained model and a split: metrics and predictions, once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from datasets import Dataset
from transformers import EvalPrediction

from hf_fft.data import Splits
from hf_fft.data.values import column_values
from hf_fft.result import Prediction
from hf_fft.tasks import Task
from hf_fft.training.trainer import AnyTrainer


@dataclass(frozen=True)
class Scored:
    """What a model says of one split.

    Attributes:
        metrics: By the field's names; fractions.
        predictions: One a row, in the order of the rows.
        seconds: The time that predicting took.
    """

    metrics: dict[str, float]
    predictions: list[Prediction]
    seconds: float


def score_splits(trainer: AnyTrainer, task: Task, splits: Splits, encoded: Splits) -> tuple[Task, dict[str, Scored]]:
    """Score validation, then test; return the task with what validation chose, by which test was scored."""
    scored: dict[str, Scored] = {}
    for name, rows in splits.items():
        if name != "train":
            items = getattr(encoded, name)
            started = time.perf_counter()
            output = _predicted(trainer, items, split=name)
            if name == "validation":
                task = task.tuned(rows, items, output)
            predictions = task.postprocess(rows, items, output, split=name)
            scored[name] = Scored(task.score(predictions), predictions, time.perf_counter() - started)
    return task, scored


def with_groups(predictions: Sequence[Prediction], rows: Dataset, column: str | None) -> list[Prediction]:
    """Return predictions that say which group their row belongs to; as they are where the recipe names no column."""
    if column is None:
        return list(predictions)
    groups = column_values(rows, column)
    return [replace(one, group=groups[one.row]) for one in predictions]


def _predicted(trainer: AnyTrainer, items: Dataset, *, split: str) -> EvalPrediction:
    """Predict a split. `Trainer.predict` moves neither early stopping nor the best weights, as `evaluate` would."""
    # The trainer's own compute_metrics is bound to the validation rows.
    trainer.compute_metrics = None
    output = trainer.predict(items, metric_key_prefix=split)
    return EvalPrediction(predictions=output.predictions, label_ids=output.label_ids)  # type: ignore[arg-type]
