"""A trained model and a split: metrics and predictions, once."""

from __future__ import annotations

import time
from dataclasses import dataclass

from datasets import Dataset
from transformers import EvalPrediction

from hf_fft.result import Prediction
from hf_fft.tasks import Task
from hf_fft.training.trainer import FullFinetuningTrainer


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


def score_split(trainer: FullFinetuningTrainer, task: Task, rows: Dataset, encoded: Dataset, *, split: str) -> Scored:
    """Predict a split and score it.

    `Trainer.predict` fires neither early stopping nor the choice of the best weights, as `evaluate` would.
    """
    started = time.perf_counter()
    # The trainer's own compute_metrics is bound to the validation rows.
    trainer.compute_metrics = None
    output = trainer.predict(encoded, metric_key_prefix=split)
    answers = EvalPrediction(predictions=output.predictions, label_ids=output.label_ids)  # type: ignore[arg-type]
    predictions = task.postprocess(rows, encoded, answers, split=split)
    return Scored(task.score(predictions), predictions, time.perf_counter() - started)
