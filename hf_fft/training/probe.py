"""The first part of a run whose strategy trains the head alone before it begins.

It happens when training begins and never on a resumed run, whose checkpoint holds what came of it. A trainer of the
same kind trains the same model in place, with the same data, loss and metrics; its log goes before the run's own, at
steps and epochs up to zero.
"""

from __future__ import annotations

import copy
import logging
import shutil
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_fft.strategies import Probe
from hf_fft.training.callbacks import CostMeter
from hf_fft.training.frozen_prefix.callback import follow_decision, leaving_prefix, prefix_callback_of

logger = logging.getLogger(__name__)

PATIENCE_EPOCHS = 1


class ProbeCallback(TrainerCallback):
    """Train the head alone when a new run begins."""

    def __init__(self, trainer: Any, probe: Probe) -> None:
        self.trainer = trainer
        self.probe = probe

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Train the head, open everything again, and write the log of it before the run's own."""
        if state.global_step > 0:
            return
        model = parts["model"]
        learned = [parameter.requires_grad for parameter in model.parameters()]
        log = self._trained(model, args)
        for parameter, learns in zip(model.parameters(), learned, strict=True):
            parameter.requires_grad_(learns)
        state.log_history[:0] = log

    def _trained(self, model: Any, args: TrainingArguments) -> list[dict[str, Any]]:
        trainer, validates = self.trainer, self.trainer.eval_dataset is not None
        folder = Path(str(args.output_dir)) / "probe"
        stops = [EarlyStoppingCallback(PATIENCE_EPOCHS)] if _keeps_best(args) and validates else []
        shared = [one for one in trainer.callback_handler.callbacks if _goes_along(one)]
        prober = type(trainer)(
            model,
            probe_arguments(args, self.probe, folder, validates=validates),
            strategy=self.probe.strategy,
            speed=trainer.speed,
            data_collator=trainer.data_collator,
            train_dataset=trainer.train_dataset,
            eval_dataset=trainer.eval_dataset,
            processing_class=trainer.processing_class,
            compute_loss_func=trainer.compute_loss_func,
            compute_metrics=trainer.compute_metrics,
            preprocess_logits_for_metrics=trainer.preprocess_logits_for_metrics,
            callbacks=[*shared, *stops],
        )
        if (prefix := prefix_callback_of(trainer)) is not None:
            prefix.attach_to(prober)
        with leaving_prefix(prober):
            prober.train()
        trainer.speed = prober.speed
        follow_decision(trainer, prober)
        if trainer.is_world_process_zero():
            shutil.rmtree(folder, ignore_errors=True)
        logger.info("the head alone: %d steps at %g", prober.state.global_step, self.probe.learning_rate)
        return _before_zero(prober.state)


def probe_arguments(args: TrainingArguments, probe: Probe, folder: Path, *, validates: bool) -> TrainingArguments:
    """Return a run's arguments changed for its first part: another rate, other epochs, one evaluation an epoch."""
    changed = copy.copy(args)
    changed.output_dir = str(folder)
    changed.learning_rate = probe.learning_rate
    changed.num_train_epochs = probe.epochs
    changed.max_steps = -1
    if changed.warmup_steps >= 1:  # steps, meant for the second part; a share holds for both
        changed.warmup_steps = 0
    changed.neftune_noise_alpha = None  # the run's own hook is there already, and would be taken away with a second one
    changed.report_to = []
    once_an_epoch: Any = "epoch" if validates and _keeps_best(args) else "no"
    changed.eval_strategy = changed.save_strategy = once_an_epoch
    changed.load_best_model_at_end = once_an_epoch == "epoch"
    return changed


def _goes_along(callback: TrainerCallback) -> bool:
    """Say whether a run's callback works in its first part too: the clock, and what a task does to its data."""
    return isinstance(callback, CostMeter) or getattr(callback, "belongs_to_data", False)


def _keeps_best(args: TrainingArguments) -> bool:
    return bool(args.load_best_model_at_end and args.metric_for_best_model)


def _before_zero(state: TrainerState) -> list[dict[str, Any]]:
    """Return the log of the first part with its end at step and epoch zero."""
    lines = [line for line in state.log_history if "loss" in line or "eval_loss" in line]
    end = float(state.epoch or 0.0)
    return [{**line, "step": line["step"] - state.global_step, "epoch": float(line["epoch"]) - end} for line in lines]
