"""What a run will take, in lines for `--check`: memory, time, and room on disk."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import replace
from pathlib import Path

from hf_fft.data import Splits
from hf_fft.training.estimate.fit import check_fit, mib, remedies, said
from hf_fft.training.estimate.memory_estimate import MemoryEstimate
from hf_fft.training.estimate.trial import RunTime, run_on_trial
from hf_fft.training.frozen_prefix.callback import prefix_callback_of
from hf_fft.training.memory import PeakMemory
from hf_fft.training.trainer import AnyTrainer


def preview(trainer: AnyTrainer, encoded: Splits, memory: PeakMemory, *, folder: Path) -> list[str]:
    """Say in lines what a run will take.

    Args:
        trainer: One that has not trained.
        encoded: The splits as model inputs.
        memory: Measuring since before the model was loaded.
        folder: Where checkpoints will lie, or a folder above it.

    Raises:
        RecipeError: if the run cannot fit; with what would make it fit.
    """
    estimate, time = tried(trainer, encoded, memory)
    lines = [*_memory(estimate, memory.available), *_time(trainer, time), *_disk(trainer, estimate, folder)]
    if estimate.peak <= memory.available:
        return lines
    less = said(remedies(trainer, estimate, memory.available), memory.available)
    return [*lines, "it may not fit; what would take less:", *(f"  {line}" for line in less)]


def tried(trainer: AnyTrainer, encoded: Splits, memory: PeakMemory) -> tuple[MemoryEstimate, RunTime]:
    """Count a run's memory, and if it fits take a few steps on trial, which measure it and tell its time.

    Raises:
        RecipeError: if the run cannot fit; with what would make it fit.
    """
    loading = memory.mib()
    splits = [split for name, split in encoded.items() if name != "train"]
    estimate = check_fit(trainer, splits, available=memory.available)
    memory.restart()
    time = run_on_trial(trainer, memory, rows=estimate.rows, validation=encoded.validation, test=encoded.test)
    measured, held = (round(size_mib * 2**20) for size_mib in (max(loading, memory.mib()), time.held_mib))
    return replace(estimate, measured=measured, held=held), time


def _memory(estimate: MemoryEstimate, available: int) -> list[str]:
    parts = {
        "parameters": estimate.parameters,
        "gradients": estimate.gradients,
        "optimizer state": estimate.optimizer_state,
        "activations": estimate.activations,
    }
    return [
        f"{mib(estimate.peak)} at the peak, of {mib(available)} available; the longest batch has {estimate.rows} rows "
        f"of {estimate.length} tokens",
        "in it " + ", ".join(f"{name} {mib(size)}" for name, size in parts.items()),
    ]


def _time(trainer: AnyTrainer, time: RunTime) -> list[str]:
    what = f"{time.step_seconds:.3g} s a step, {_duration(time.training_seconds)} for {time.steps:,} steps"
    limits = []
    if trainer.strategy.freezes_while_training:
        limits.append("with everything open, so at most")
    if trainer.strategy.probe is not None:
        limits.append("without the part that trains the head first")
    elif prefix_callback_of(trainer) is not None:
        limits.append("frozen layers computed every time, so at most")
    more = f" ({'; '.join(limits)})" if limits else ""
    if time.evaluation_seconds is None:
        return [f"{what}{more}; how long writing answers takes in evaluation was not tried"]
    return [f"{what}{more}, {_duration(time.evaluation_seconds)} for evaluation"]


def _disk(trainer: AnyTrainer, estimate: MemoryEstimate, folder: Path) -> list[str]:
    kind = getattr(trainer.args.save_strategy, "value", trainer.args.save_strategy)
    if kind == "no":
        return []
    learned = estimate.gradients if trainer.strategy.name == "lora" else estimate.parameters
    each, limit = learned + estimate.optimizer_state, trainer.args.save_total_limit
    # The best one is kept beside the limit, and a new one is whole before an old one goes.
    kept = "" if limit is None else f", at most {limit + 2} at once"
    free = shutil.disk_usage(folder).free
    return [f"{mib(each)} a checkpoint{kept}; {mib(free)} free on disk"]


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(datetime.timedelta(seconds=round(seconds)))
