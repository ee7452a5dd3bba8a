"""What is written down while a run goes on: its cost, and the learning rate of every parameter group."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class CostMeter(TrainerCallback):
    """Measure the seconds that training took, without evaluation and saving.

    Trainer evaluates and saves after a step has ended and before the next begins (transformers 5.23). So what passes up
    to the end of a step is training, and what passes from there to `on_evaluate` or `on_save` is not.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._mark = 0.0
        self.train_seconds = 0.0
        self.evaluation_seconds = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._since_mark()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the step, and the loading of its rows."""
        self.train_seconds += self._since_mark()

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the evaluation, and write into its line of the log how long training had taken."""
        self.evaluation_seconds += self._since_mark()
        if state.log_history and "eval_loss" in state.log_history[-1]:
            state.log_history[-1]["train_seconds"] = self.train_seconds

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave the saving out of both counts."""
        self._since_mark()

    def _since_mark(self) -> float:
        before, self._mark = self._mark, self._clock()
        return self._mark - before


class LearningRateRecorder(TrainerCallback):
    """Write every parameter group's learning rate into the training log, where HF writes the first group's alone.

    The rates go into the trainer's `log_history`, so they are saved with it and come back with a resumed run.
    """

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: torch.optim.Optimizer | None = None,
        **kwargs: Any,
    ) -> None:
        """Read the rates that this step used, before the schedule moves on."""
        groups = optimizer.param_groups if optimizer is not None else []
        self._rates = {str(group.get("name", index)): float(group["lr"]) for index, group in enumerate(groups)}

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the rates to the training line that has just been logged."""
        if state.log_history and "loss" in state.log_history[-1]:
            state.log_history[-1]["learning_rates"] = dict(self._rates)  # type: ignore[assignment]
