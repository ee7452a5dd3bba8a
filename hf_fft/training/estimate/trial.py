"""A few real steps on trial: what a run really holds, and how long its steps take.

They have the run's own batches, model, loss and optimizer, at learning rate 0, and nothing is left of them: weights,
random states and gradients are as before. The longest batch comes first and last. Between them come batches of all
sizes, evenly spaced over an epoch's batches by size, so that their mean is the epoch's.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn

from hf_fft.training.arguments import steps_in_all, steps_per_epoch
from hf_fft.training.estimate.counted import forward, longest_batch, made_batch, predicted, undisturbed
from hf_fft.training.memory import PeakMemory
from hf_fft.training.speed.batches import token_lengths
from hf_fft.training.speed.fast_model import keeps_casts, quick_evaluation
from hf_fft.training.trainer import AnyTrainer

TIMED_BATCHES = 6
# On a CPU, batches of changing size leave gaps behind, and the peak grows over a run's first fifteen steps or so. No
# further round begins after so many seconds.
ROUNDS = 3
MOST_SECONDS = 20.0


@dataclass(frozen=True)
class RunTime:
    """How long a run will take on this machine.

    Attributes:
        step_seconds: Of one optimizer step, at an epoch's mean.
        steps: That the run takes.
        evaluation_seconds: Of all passes over validation and test, without the scores; None where answers are
            written, for how long those will be is not known.
        held_mib: What was held between two steps, above the level before the model was loaded.
    """

    step_seconds: float
    steps: int
    evaluation_seconds: float | None
    held_mib: float

    @property
    def training_seconds(self) -> float:
        """All steps together."""
        return self.step_seconds * self.steps


def run_on_trial(
    trainer: AnyTrainer, memory: PeakMemory, *, rows: int, validation: Dataset | None, test: Dataset | None
) -> RunTime:
    """Take a few steps and evaluate a few batches; whoever measures memory meanwhile sees the peak of a run's steps.

    Args:
        trainer: One that has not trained.
        memory: Measuring since before the model was loaded.
        rows: In the longest batch.
        validation: As encoded; evaluated in the course of the run and at its end.
        test: As encoded; evaluated at the end.
    """
    accumulated = trainer.args.gradient_accumulation_steps
    with undisturbed(trainer) as model:
        model.train()
        loader = trainer.get_train_dataloader()
        optimizer = _at_rate_zero(trainer)
        try:
            longest = longest_batch(trainer, loader, rows)
            for _ in range(2):  # threads, caches and optimizer state come with the first
                _step(trainer, [longest] * min(2, accumulated), optimizer)
            several, begun = [], _now(trainer)
            for _ in range(ROUNDS):
                if _now(trainer) - begun < MOST_SECONDS:
                    _evaluate_longest(trainer, validation)
                    for batch in _spread(loader):
                        several.append(_step(trainer, [made_batch(trainer, loader, batch)], optimizer))
                    _step(trainer, [longest] * min(2, accumulated), optimizer)
            held = memory.held_mib()
        finally:
            trainer.optimizer = None
        model.zero_grad(set_to_none=True)
        passes, updates = (float(np.mean(seconds)) for seconds in zip(*several, strict=True))
        steps = steps_in_all(trainer.args, len(loader))
        times = [(validation, evaluations(trainer, steps, len(loader)) + 1), (test, 1)]
        evaluated = [count * _evaluation_seconds(trainer, split) for split, count in times if split is not None]
    writes = bool(getattr(trainer.args, "predict_with_generate", False))
    return RunTime(accumulated * passes + updates, steps, None if writes else sum(evaluated), held)


def evaluations(trainer: AnyTrainer, steps: int, batches: int) -> int:
    """Return how often a run of so many steps, whose epochs have so many batches, evaluates before its end."""
    args = trainer.args
    kind = getattr(args.eval_strategy, "value", args.eval_strategy)
    if kind == "epoch":
        return math.ceil(steps / steps_per_epoch(args, batches))
    every = float(args.eval_steps or args.logging_steps)
    return int(steps // (every if every >= 1 else max(1, every * steps))) if kind == "steps" else 0


def _at_rate_zero(trainer: AnyTrainer) -> torch.optim.Optimizer:
    optimizer = trainer.create_optimizer()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    return optimizer


def _step(trainer: AnyTrainer, batches: list[dict[str, Any]], optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """Take an optimizer step and return the seconds of its passes and of its update."""
    model = trainer.model
    assert isinstance(model, nn.Module)
    begun = _now(trainer)
    for batch in batches:
        forward(trainer, batch).backward()
    passed = _now(trainer)
    if trainer.args.max_grad_norm:
        torch.nn.utils.clip_grad_norm_(model.parameters(), trainer.args.max_grad_norm)
    optimizer.step()
    model.zero_grad(set_to_none=True)
    return passed - begun, _now(trainer) - passed


def _evaluate_longest(trainer: AnyTrainer, split: Dataset | None) -> None:
    """Evaluate the longest batch, as happens between the steps of a run, and go back to training."""
    if split is not None:
        loader = trainer.get_eval_dataloader(split)
        predicted(trainer, longest_batch(trainer, loader, min(trainer.args.eval_batch_size, len(split))))
        trainer.model.train()  # type: ignore[union-attr]


def _evaluation_seconds(trainer: AnyTrainer, split: Dataset) -> float:
    loader: Any = trainer.get_eval_dataloader(split)
    longest = longest_batch(trainer, loader, min(trainer.args.eval_batch_size, len(split)))
    assert isinstance(trainer.model, nn.Module)
    seconds = []
    with quick_evaluation(trainer.model, keep_casts=keeps_casts(trainer.args, trainer.speed)):
        for batch in (longest, *(made_batch(trainer, loader, rows) for rows in _spread(loader))):
            begun = _now(trainer)
            predicted(trainer, batch)
            seconds.append(_now(trainer) - begun)
    return float(np.mean(seconds[1:])) * len(loader)


def _spread(loader: Any) -> list[list[int]]:
    """Return batches of an epoch, evenly spaced by size: the smallest, the largest, the second smallest, and so on."""
    lengths = token_lengths(loader.dataset)
    batches = [list(rows) for rows in loader.batch_sampler]
    if lengths is not None:
        batches.sort(key=lambda rows: len(rows) * int(lengths[rows].max()))
    # The middle of each of so many equal parts.
    count = min(TIMED_BATCHES, len(batches))
    spaced = [batches[int((place + 0.5) * len(batches) / count)] for place in range(count)]
    return [spaced[place // 2 if place % 2 == 0 else -1 - place // 2] for place in range(count)]


def _now(trainer: AnyTrainer) -> float:
    if trainer.args.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
