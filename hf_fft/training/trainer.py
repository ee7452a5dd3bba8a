"""The HF Trainer, barely touched.

`FullFinetuningTrainer` and `FullFinetuningSeq2SeqTrainer` are `Trainer` and `Seq2SeqTrainer` with a `strategy=`;
everything else is HF's constructor. What they change, and why, stands in docs/design.md:

* parameter groups come from the strategy, named, the head first;
* the loss is exact under accumulation and across processes, with a task's loss or without;
* rows that accelerate repeats to fill the last batch of an epoch carry no loss;
* a loss that is not finite stops the run before it reaches the weights;
* evaluation keeps the order of the rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import Seq2SeqTrainer, Trainer

from hf_fft.errors import RecipeError, StrategyError, TrainingError
from hf_fft.strategies import Strategy, strategy_for
from hf_fft.tasks import losses

if TYPE_CHECKING:
    _Base = Trainer
else:
    _Base = object


class _FullFinetuning(_Base):
    """What both trainers add to HF's."""

    def __init__(
        self, model: Any = None, args: Any = None, *more: Any, strategy: str | Strategy = "full", **options: Any
    ) -> None:
        self.strategy = strategy_for(strategy)
        self._step_batches: list[dict[str, Any]] = []
        self._step_losses: list[Tensor] = []
        if isinstance(model, nn.Module):
            model = self.strategy.prepare(model)
        super().__init__(model, args, *more, **options)
        self.compute_loss_func = self._exact_loss(self.compute_loss_func)
        for callback in self.strategy.callbacks():
            self.add_callback(callback)

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """Build the model by `model_init` and prepare it as the strategy says."""
        return self.strategy.prepare(super().call_model_init(trial))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Build the optimizer over the strategy's parameter groups.

        Raises:
            StrategyError: if the optimizer insists on groups of its own.
        """
        if self.optimizer is not None:
            return self.optimizer
        model = self.model if model is None else model
        assert isinstance(model, nn.Module)
        optimizer_class, options = self.optimizer_class_and_options(model)
        # HF builds the optimizer from `params` where these options name them (transformers 5.23), so its own care for
        # special optimizers stays in place.
        before = self.optimizer_cls_and_kwargs
        self.optimizer_cls_and_kwargs = (optimizer_class, {**options, "params": self._optimizer_groups(model)})
        try:
            return super().create_optimizer(model)
        finally:
            self.optimizer_cls_and_kwargs = before

    def optimizer_class_and_options(self, model: nn.Module) -> tuple[Any, dict[str, Any]]:
        """Return what the optimizer will be built from.

        Raises:
            RecipeError: if the optimizer needs a package that is not installed, or does not exist.
            StrategyError: if it insists on parameter groups of its own.
        """
        try:
            choose = self.get_optimizer_cls_and_kwargs
            optimizer_class, options = self.optimizer_cls_and_kwargs or choose(self.args, model)  # type: ignore[arg-type]
        except (ImportError, ValueError) as error:
            raise RecipeError(f'training.optim "{self.args.optim}" cannot be used: {error}') from error
        if {"params", "model", "optimizer_dict"} & set(options) or not isinstance(optimizer_class, type):
            raise StrategyError(
                f'training.optim "{self.args.optim}" makes its own parameter groups, so strategy '
                f'"{self.strategy.name}" cannot set its learning rates. Choose another, for example adamw_torch_fused.'
            )
        return optimizer_class, options

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor | int | None]:
        """Draw the micro-batches of one optimizer step and count their items, repeated rows left out."""
        batches, counted = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._step_batches, self._step_losses = batches, []
        if counted is None:
            return batches, None
        if self._ends_with_repeated_rows() and batches:
            batches[-1] = self._without_repeated_rows(batches[-1])
        return batches, self._count_items(batches, device)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Take HF's step; before the optimizer moves, look whether every loss of the step is finite.

        Raises:
            TrainingError: naming the step and the rows.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._step_losses.append(loss)
        if self.accelerator.sync_gradients and not bool(torch.stack(self._step_losses).isfinite().all()):
            self._stop_on_non_finite_loss()
        return loss

    def _get_eval_sampler(self, eval_dataset: Dataset[Any]) -> Sampler[int] | None:
        """Keep evaluation and prediction in the order of the rows.

        With `group_by_length` Trainer would also shuffle these (transformers 5.23), and predictions would be laid
        beside the wrong rows.
        """
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None  # type: ignore[arg-type]

    def _exact_loss(self, loss: losses.Loss | None) -> losses.Loss | None:
        smoothing = self.args.label_smoothing_factor
        if loss is None:
            return losses.default_loss(self.accelerator.unwrap_model(self.model), label_smoothing=smoothing)
        # With a loss of one's own Trainer ignores label_smoothing_factor without a word (transformers 5.23).
        return functools.partial(loss, label_smoothing=smoothing) if smoothing else loss

    def _optimizer_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        decayed = set(self.get_decay_parameter_names(model))
        parameters = dict(model.named_parameters())
        groups: list[dict[str, Any]] = []
        for group in self.strategy.parameter_groups(model, self.args.learning_rate):
            for decay in (True, False):
                members = [parameters[name] for name in group.parameters if (name in decayed) == decay]
                if members:
                    weight_decay = self.args.weight_decay if decay else 0.0
                    groups.append(
                        {"name": group.name, "params": members, "lr": group.learning_rate, "weight_decay": weight_decay}
                    )
        return groups

    def _ends_with_repeated_rows(self) -> bool:
        state = self.accelerator.gradient_state
        return self.args.world_size > 1 and state.end_of_dataloader and state.remainder > 0

    def _without_repeated_rows(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take the rows out of the loss that accelerate drew a second time to fill the epoch's last batch.

        The last batch is dealt to the processes in order; its first `remainder` rows are the real ones.
        """
        labels = batch["labels"]
        place = self.accelerator.process_index * len(labels) + torch.arange(len(labels), device=labels.device)
        return {**batch, "labels": losses.ignore_rows(labels, place >= self.accelerator.gradient_state.remainder)}

    def _count_items(self, batches: list[dict[str, Any]], device: torch.device) -> Tensor:
        # Trainer counts `ne(-100)`, which would leave out a regression target of -100.
        shifted = self._loss_shifts_labels
        labels = [batch["labels"][..., 1:] if shifted else batch["labels"] for batch in batches]
        count = torch.stack([losses.count_items(one) for one in labels]).sum().to(device)
        across = self.args.world_size > 1 and self.args.average_tokens_across_devices
        return self.accelerator.gather(count).sum() if across else count

    def _stop_on_non_finite_loss(self) -> None:
        bad = [batch for batch, loss in zip(self._step_batches, self._step_losses, strict=True) if not loss.isfinite()]
        rows = [row for batch in bad for row in _training_rows(self.train_dataset, batch)]
        where = f"training rows {', '.join(map(str, rows))} (from 0)" if rows else "rows that could not be traced"
        clipping = "" if self.args.max_grad_norm else ", or set training.max_grad_norm"
        raise TrainingError(
            f"the loss of optimizer step {self.state.global_step + 1} is not finite, on {where}. The weights are those "
            f"of step {self.state.global_step}. Look at these rows, lower training.learning_rate "
            f"({self.args.learning_rate:g}){clipping}."
        )


class FullFinetuningTrainer(_FullFinetuning, Trainer):
    """`transformers.Trainer` with a `strategy=` and a loss that accumulation does not change."""


class FullFinetuningSeq2SeqTrainer(_FullFinetuning, Seq2SeqTrainer):
    """`transformers.Seq2SeqTrainer` with a `strategy=` and a loss that accumulation does not change."""


def _training_rows(rows: Any, batch: dict[str, Any]) -> list[int]:
    """Find a batch's rows by their token ids: a search, but one that only a run that stops has to pay for."""
    if rows is None or "input_ids" not in batch or not hasattr(rows, "column_names"):
        return []
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    wanted = {tuple(ids[kept].tolist()) for ids, kept in zip(batch["input_ids"], mask, strict=True)}
    numbers = rows["row"] if "row" in rows.column_names else range(len(rows))
    return sorted({number for number, ids in zip(numbers, rows["input_ids"], strict=True) if tuple(ids) in wanted})
