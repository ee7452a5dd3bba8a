"""A run's own forward and backward pass on a few rows, its tensors counted, with nothing left behind.

At each place in a step the bytes alive are a straight line in the number of rows, so two small batches give every
larger one, place by place. Its peak may lie elsewhere in the step than theirs: the gradients are the same for any
batch, the activations are not.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import convert_to_fp32
from datasets import Dataset
from torch import nn

from hf_fft.training.estimate.live_memory import LiveMemory
from hf_fft.training.speed.batches import token_lengths
from hf_fft.training.trainer import AnyTrainer

# A single row takes other paths through some models.
FEW_ROWS, MORE_ROWS = 2, 4


@dataclass(frozen=True)
class Levels:
    """Bytes alive in the course of a step on few and on more rows.

    Attributes:
        few: The most in each stretch of the step, with `FEW_ROWS` rows.
        more: The same with `MORE_ROWS` rows.
        kept: What is alive at the end of the forward pass: with few rows, with more.
    """

    few: tuple[int, ...]
    more: tuple[int, ...]
    kept: tuple[int, int] = (0, 0)

    def peak(self, rows: int) -> int:
        """Return the most that is alive with so many rows."""
        pairs = list(zip(self.few, self.more, strict=True)) if len(self.few) == len(self.more) else []
        # Where the stretches cannot be laid side by side, the two peaks can.
        return max(_on_the_line(few, more, rows) for few, more in pairs or [(max(self.few), max(self.more))])

    def activations(self, rows: int) -> int:
        """Return what is alive at the end of the forward pass with so many rows."""
        return _on_the_line(*self.kept, rows)


@contextmanager
def undisturbed(trainer: AnyTrainer) -> Iterator[nn.Module]:
    """Lend the model; random states, buffers, modes and gradients are as before afterwards."""
    model = trainer.model
    assert isinstance(model, nn.Module)
    assert all(parameter.grad is None for parameter in model.parameters()), "training has begun"
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    checkpoints = _checkpointing(trainer, model)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    try:
        yield model
    finally:
        if checkpoints:
            model.activation_checkpointing_disable()  # type: ignore[operator]
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)
        for buffer, before in buffers:
            buffer.copy_(before)
        for module, training in modes.items():
            module.training = training
        model.zero_grad(set_to_none=True)


def _checkpointing(trainer: AnyTrainer, model: Any) -> bool:
    """Switch activation checkpointing on as Trainer does when training begins (transformers 5.23); say whether."""
    if not trainer.args.activation_checkpointing or model.is_activation_checkpointing:
        return False
    asked: Any = trainer.args.activation_checkpointing_kwargs
    options = dict(asked or {})
    every, offload = options.pop("every_n_layers", 1), options.pop("offload", False)
    model.activation_checkpointing_enable(
        activation_checkpointing_kwargs=options or None, every_n_layers=every, offload=offload
    )
    return True


def longest_items(rows: Dataset) -> tuple[list[int], int]:
    """Return the places of the row with the longest input and of that with the longest labels, and the tokens."""
    lengths = token_lengths(rows)
    if lengths is None:
        return [0], 0
    places = [int(np.argmax(lengths))]
    if "labels" in rows.column_names:
        answers = rows.with_format("numpy")["labels"][:]
        sizes = [np.size(answer) for answer in answers]
        if max(sizes) > 1 and sizes[places[0]] < max(sizes):
            places.append(int(np.argmax(sizes)))
    return places, int(lengths.max())


def training_levels(trainer: AnyTrainer) -> Levels:
    """Count a forward and backward pass over the longest rows, its gradients among the tensors."""
    loader = trainer.get_train_dataloader()
    counted = []
    with undisturbed(trainer) as model:
        model.train()
        for count in (FEW_ROWS, MORE_ROWS):
            batch = longest_batch(trainer, loader, count)
            with LiveMemory().marking(model) as memory:
                loss = forward(trainer, batch)
                kept = memory.now
                loss.backward()
            counted.append((tuple(memory.peaks), kept))
            model.zero_grad(set_to_none=True)
    (few, few_kept), (more, more_kept) = counted
    return Levels(few, more, (few_kept, more_kept))


def evaluation_levels(trainer: AnyTrainer, rows: Dataset) -> Levels:
    """Count a forward pass over the longest rows as evaluation makes it."""
    loader = trainer.get_eval_dataloader(rows)
    counted = []
    with undisturbed(trainer) as model:
        for count in (FEW_ROWS, MORE_ROWS):
            batch = longest_batch(trainer, loader, count)
            with LiveMemory().marking(model) as memory:
                predicted(trainer, batch)
            counted.append(tuple(memory.peaks))
    few, more = counted
    return Levels(few, more)


def longest_batch(trainer: AnyTrainer, loader: Any, count: int) -> dict[str, Any]:
    """Return a batch of so many copies of the longest row."""
    places, _ = longest_items(loader.dataset)
    return made_batch(trainer, loader, [places[index % len(places)] for index in range(count)])


def made_batch(trainer: AnyTrainer, loader: Any, places: Sequence[int]) -> dict[str, Any]:
    """Return a batch as the run's own collator makes it, on the run's device."""
    batch: dict[str, Any] = trainer._prepare_inputs(loader.collate_fn([loader.dataset[place] for place in places]))
    return batch


def forward(trainer: AnyTrainer, batch: Mapping[str, Any]) -> torch.Tensor:
    """Return the run's loss of a batch."""
    items = trainer._get_num_items_in_batch([batch], trainer.args.device)
    loss: Any = trainer.compute_loss(_AsPrepared(trainer), dict(batch), num_items_in_batch=items)
    return loss


def predicted(trainer: AnyTrainer, batch: Mapping[str, Any]) -> Any:
    """Return what evaluation keeps of a batch; answers that are written are not."""
    model = trainer.model
    assert isinstance(model, nn.Module)
    model.eval()
    with torch.no_grad():
        outputs = _AsPrepared(trainer)(**{name: value for name, value in batch.items() if name != "labels"})
        reduced = trainer.preprocess_logits_for_metrics
        writes = getattr(trainer.args, "predict_with_generate", False)
        return (
            outputs
            if reduced is None or writes or "labels" not in batch
            else reduced(_as_trainer_gives_it(outputs), batch["labels"])
        )


def _as_trainer_gives_it(outputs: Any) -> Any:
    """Return a model's outputs but the loss; of one the tensor alone, of several (question answering) a tuple."""
    values = tuple(value for name, value in outputs.items() if name != "loss")
    return values[0] if len(values) == 1 else values


class _AsPrepared:
    """The model as accelerate prepares it for a run: autocast around forward, float32 results."""

    def __init__(self, trainer: AnyTrainer) -> None:
        self._trainer = trainer

    def __call__(self, **inputs: Any) -> Any:
        model: Any = self._trainer.model
        with self._trainer.accelerator.autocast():
            outputs = model(**inputs)
        return convert_to_fp32(outputs) if self._trainer.accelerator.mixed_precision != "no" else outputs


def _on_the_line(few: int, more: int, rows: int) -> int:
    return round(few + (more - few) * (rows - FEW_ROWS) / (MORE_ROWS - FEW_ROWS))


def bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    """Return the bytes of tensors, those that share a storage counted once."""
    storages = {id(storage): storage.nbytes() for storage in [tensor.untyped_storage() for tensor in tensors]}
    return sum(storages.values())
