"""The HF Trainer, barely touched."""

from __future__ import annotations

from hf_fft.training.arguments import (
    batches_per_epoch,
    check_precision,
    steps_in_all,
    steps_per_epoch,
    training_arguments,
    trains_on_gpu,
)
from hf_fft.training.build import build_trainer, device_of, precision_of
from hf_fft.training.callbacks import CostMeter, LearningRateRecorder
from hf_fft.training.estimate.counted import MORE_ROWS as COUNTED_ROWS
from hf_fft.training.estimate.fit import check_fit
from hf_fft.training.estimate.preview import preview
from hf_fft.training.memory import PeakMemory
from hf_fft.training.scoring import Scored, score_splits, with_groups
from hf_fft.training.speed.plan import plan_speed, with_choice
from hf_fft.training.tracking import check_trackers, tracked
from hf_fft.training.trainer import AnyTrainer, FullFinetuningSeq2SeqTrainer, FullFinetuningTrainer

__all__ = [
    "COUNTED_ROWS",
    "AnyTrainer",
    "CostMeter",
    "FullFinetuningSeq2SeqTrainer",
    "FullFinetuningTrainer",
    "LearningRateRecorder",
    "PeakMemory",
    "Scored",
    "batches_per_epoch",
    "build_trainer",
    "check_fit",
    "check_precision",
    "check_trackers",
    "device_of",
    "plan_speed",
    "precision_of",
    "preview",
    "score_splits",
    "steps_in_all",
    "steps_per_epoch",
    "tracked",
    "training_arguments",
    "trains_on_gpu",
    "with_choice",
    "with_groups",
]
