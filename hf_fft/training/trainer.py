"""The HF Trainer, barely touched.

`FullFinetuningTrainer` and `FullFinetuningSeq2SeqTrainer` are `Trainer` and `Seq2SeqTrainer` with a `strategy=` and a
`speed=`; everything else is HF's constructor. What they change, and why, stands in docs/design.md:

* parameter groups come from the strategy, named, the head first;
* the loss is exact under accumulation and across processes, with a task's loss or without;
* rows that accelerate repeats to fill the last batch of an epoch carry no loss;
* a loss that is not finite stops the run before it reaches the weights;
* evaluation keeps the order of the rows, also where a speed plan runs the longest first;
* a speed plan may choose the batches of training;
* a model that writes is given the prompt alone, writes in the precision of its weights, and writes once a row.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler
from transformers import Seq2SeqTrainer, Trainer
from transformers.trainer_utils import EvalLoopOutput

from hf_fft.errors import RecipeError, StrategyError, TrainingError
from hf_fft.result import SpeedPlan
from hf_fft.strategies import Strategy, strategy_for
from hf_fft.tasks import losses
from hf_fft.training.argument_checks import allow_freezing, refuse_inexact, use_one_gpu
from hf_fft.training.callbacks import LearningRateRecorder
from hf_fft.training.draft_card import base_model_of, forget_base_model
from hf_fft.training.probe import ProbeCallback
from hf_fft.training.rows_of_batch import rows_of_batch
from hf_fft.training.speed.batches import (
    LikeLengthRows,
    LongestFirst,
    TokenBatches,
    in_order,
    sampler_of,
    token_lengths,
    training_sampler,
)
from hf_fft.training.speed.fast_model import keeps_casts, quick_evaluation
from hf_fft.training.writing import what_is_read, with_decoder_inputs, without_autocast

if TYPE_CHECKING:
    _Base = Trainer
else:
    _Base = object


class _FullFinetuning(_Base):
    """What both trainers add to HF's."""

    def __init__(
        self,
        model: Any = None,
        args: Any = None,
        *more: Any,
        strategy: str | Strategy = "full",
        speed: SpeedPlan | None = None,
        **options: Any,
    ) -> None:
        self.strategy = strategy_for(strategy)
        self.speed = speed or SpeedPlan()
        if self.speed.threads is not None:
            torch.set_num_threads(self.speed.threads)
        self._step_batches: list[dict[str, Any]] = []
        self._step_losses: list[Tensor] = []
        if isinstance(model, nn.Module):
            model = self.strategy.prepare(model)
        if args is not None:
            refuse_inexact(args)
            use_one_gpu(args)
            if self.strategy.freezes_while_training:
                allow_freezing(args, self.strategy.name)
        super().__init__(model, args, *more, **options)
        self.compute_loss_func = self._exact_loss(self.compute_loss_func)
        if self.compute_loss_func is None and not losses.uses_item_count(self.model):
            # Trainer would take a mean over the micro-batch for one over the whole step (transformers 5.23).
            self.model_accepts_loss_kwargs = False
        probing = [ProbeCallback(self, self.strategy.probe)] if self.strategy.probe is not None else []
        for callback in (LearningRateRecorder(), *probing, *self.strategy.callbacks()):
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
        name = getattr(self.args.optim, "value", self.args.optim)
        try:
            choose = self.get_optimizer_cls_and_kwargs
            optimizer_class, options = self.optimizer_cls_and_kwargs or choose(self.args, model)  # type: ignore[arg-type]
        except (ImportError, ValueError) as error:
            raise RecipeError(f'training.optim "{name}" cannot be used: {error}') from error
        if {"params", "model", "optimizer_dict"} & set(options) or not isinstance(optimizer_class, type):
            raise StrategyError(
                f'training.optim "{name}" makes its own parameter groups, so strategy '
                f'"{self.strategy.name}" cannot set its learning rates. Choose another, for example adamw_torch_fused.'
            )
        return optimizer_class, options

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor | int | None]:
        """Draw the micro-batches of one optimizer step and count their items, repeated rows left out."""
        batches, counted = super().get_batch_samples(epoch_iterator, num_batches, device)
        real_rows = self._rows_of_last_batch()
        if counted is not None and real_rows:
            batches[-1] = self._without_repeated_rows(batches[-1], real_rows)
            counted = self._get_num_items_in_batch(batches, device)
        self._step_batches, self._step_losses = batches, []
        return batches, counted

    def compute_loss(self, model: Any, inputs: dict[str, Any], *more: Any, **options: Any) -> Any:
        """Take HF's loss; a decoder that nobody gave anything to read gets it from the labels."""
        if self.compute_loss_func is not None:
            inputs = with_decoder_inputs(self.model, inputs)
        return super().compute_loss(model, inputs, *more, **options)

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

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return HF's loader; it tells a speed plan's sampler the epoch, whatever accelerate puts in between."""
        loader: Any = super().get_train_dataloader()
        sampler = sampler_of(loader)
        if isinstance(sampler, LikeLengthRows | TokenBatches):
            # accelerate looks two steps down for a sampler, and when several processes skip the batches of a resumed
            # epoch it stands three steps down (accelerate 1.15).
            loader.set_sampler(sampler)
        return loader

    def evaluation_loop(self, dataloader: DataLoader[Any], *more: Any, **options: Any) -> EvalLoopOutput:
        """Run HF's loop, and put what came of rows that ran longest first back in the rows' own order."""
        assert isinstance(self.model, nn.Module)
        sampler, metrics = sampler_of(dataloader), self.compute_metrics
        by_length = isinstance(sampler, LongestFirst)
        if by_length and metrics is not None:
            self.compute_metrics = in_order(metrics, sampler)
        try:
            with quick_evaluation(self.model, keep_casts=keeps_casts(self.args, self.speed)):
                output = super().evaluation_loop(dataloader, *more, **options)
        finally:
            self.compute_metrics = metrics
        if not by_length:
            return output
        return output._replace(
            predictions=sampler.restored(output.predictions), label_ids=sampler.restored(output.label_ids)
        )

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[Any] | None:
        """Draw rows or batches as the speed plan says; without one, as HF does."""
        if not self.speed.batches_by_length and self.speed.max_tokens_per_batch is None:
            return super()._get_train_sampler(train_dataset)
        lengths = token_lengths(self.train_dataset if train_dataset is None else train_dataset)
        if lengths is None:
            raise RecipeError("batches by length or by tokens need training rows with a column input_ids.")
        return training_sampler(self.speed, self.args, lengths)

    def create_model_card(self, *positional: Any, **options: Any) -> None:
        """Write HF's draft of a card; a base model that is not on the Hub is named and not linked."""
        origin = str(getattr(getattr(self.model, "config", None), "_name_or_path", None) or "")
        if not origin or positional or "finetuned_from" in options:
            return super().create_model_card(*positional, **options)
        shown, is_on_hub = base_model_of(origin)
        super().create_model_card(finetuned_from=shown, **options)
        if not is_on_hub and self.is_world_process_zero():
            forget_base_model(Path(self.args.output_dir or ".") / "README.md", shown)
        return None

    def _get_eval_sampler(self, eval_dataset: Dataset[Any]) -> Sampler[int] | None:
        """Keep evaluation and prediction in the order of the rows, or run the longest first as the speed plan says.

        With `group_by_length` Trainer would also shuffle these (transformers 5.23), and predictions would be laid
        beside the wrong rows.
        """
        args = self.args
        whole = args.eval_do_concat_batches and not args.batch_eval_metrics and not args.dataloader_drop_last
        lengths = token_lengths(eval_dataset) if self.speed.evaluation_by_length and whole else None
        if lengths is not None:
            return LongestFirst(lengths)
        return SequentialSampler(eval_dataset) if args.world_size <= 1 else None  # type: ignore[arg-type]

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor | int | None:
        """Count label elements as the losses do: Trainer counts `ne(-100)`, and -100 may be a regression target."""
        return super()._get_num_items_in_batch([_countable(batch) for batch in batch_samples], device)

    def _exact_loss(self, loss: losses.Loss | None) -> losses.Loss | None:
        smoothing = self.args.label_smoothing_factor
        if loss is None:
            return losses.default_loss(self.accelerator.unwrap_model(self.model), label_smoothing=smoothing)
        if not smoothing:
            return loss
        # With a loss of one's own Trainer ignores label_smoothing_factor without a word (transformers 5.23).
        if "label_smoothing" not in inspect.signature(loss).parameters:
            raise StrategyError(
                f"label_smoothing_factor is {smoothing}, but compute_loss_func takes no label_smoothing. "
                "Give it that argument, or leave the factor out."
            )
        return functools.partial(loss, label_smoothing=smoothing)

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

    def _rows_of_last_batch(self) -> int:
        """Return how many rows of an epoch's last batch, over all processes, are real; 0 where none is repeated."""
        args, state = self.args, self.accelerator.gradient_state
        whole_batches = self.speed.max_tokens_per_batch is not None or args.train_sampling_strategy == "batch_rebalance"
        if args.world_size <= 1 or not state.end_of_dataloader or whole_batches or args.dataloader_drop_last:
            return 0
        if not isinstance(self.train_dataset, Sized):
            return max(0, state.remainder)
        # accelerate does not know its own remainder in an epoch that a resumed run begins in the middle (1.15).
        return len(self.train_dataset) % (args.train_batch_size * args.world_size)

    def _without_repeated_rows(self, batch: dict[str, Any], real_rows: int) -> dict[str, Any]:
        """Take the rows out of the loss that accelerate drew a second time to fill the epoch's last batch.

        The last batch is dealt to the processes in order; its first rows are the real ones.
        """
        labels = batch["labels"]
        place = self.accelerator.process_index * len(labels) + torch.arange(len(labels), device=labels.device)
        return {**batch, "labels": losses.ignore_rows(labels, place >= real_rows)}

    def _stop_on_non_finite_loss(self) -> None:
        bad = [batch for batch, loss in zip(self._step_batches, self._step_losses, strict=True) if not loss.isfinite()]
        rows = [row for batch in bad for row in rows_of_batch(self.train_dataset, batch)]
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
    """`transformers.Seq2SeqTrainer` with a `strategy=`, an exact loss, and decoders that can be scored."""

    def evaluation_loop(self, *positional: Any, **named: Any) -> EvalLoopOutput:
        """Evaluate each row once: HF's would keep the rows that fill the last batch (transformers 5.23)."""
        self.gather_function = self.accelerator.gather_for_metrics
        return super().evaluation_loop(*positional, **named)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **settings: Any,
    ) -> tuple[Any, Tensor | None, Tensor | None]:
        """Take the loss from the whole batch, and let HF's step write from the prompts alone.

        HF's own step gives `generate` what the loss reads, which for a decoder holds the answer, and takes the loss
        that the model brings instead of ours.
        """
        writer: Any = self.model
        if prediction_loss_only or not getattr(self.args, "predict_with_generate", False):
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys, **settings)
        loss, labels = None, inputs.get("labels")
        if labels is not None:
            loss, _, _ = super().prediction_step(model, inputs, True, ignore_keys)
        decoder_only = not writer.config.is_encoder_decoder
        own = writer.generation_config
        prompts = what_is_read(inputs, decoder_only=decoder_only, pad_token_id=own.pad_token_id)
        # HF's step writes defaults into it, 20 tokens among them, which would be saved with the model.
        writer.generation_config = copy.deepcopy(own)
        try:
            with without_autocast(writer):
                _, written, _ = super().prediction_step(model, prompts, False, ignore_keys, **settings)
        finally:
            writer.generation_config = own
        if decoder_only and written is not None:
            written = written[:, prompts["input_ids"].shape[1] :]
        return loss, written, labels


AnyTrainer: TypeAlias = FullFinetuningTrainer | FullFinetuningSeq2SeqTrainer


def _countable(batch: Any) -> Any:
    """Return a batch whose labels HF counts as our losses do: float labels left out are NaN here, and -100 there."""
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if not isinstance(labels, Tensor) or not labels.is_floating_point():
        return batch
    return {**batch, "labels": torch.where(losses.ignored(labels), losses.IGNORED, 0)}
