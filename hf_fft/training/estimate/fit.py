"""Whether a run fits into the memory there is, and what would make it fit, each with its own estimate."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec

from datasets import Dataset
from transformers import PreTrainedModel

from hf_fft.errors import RecipeError
from hf_fft.strategies import Lora, Strategy
from hf_fft.training.estimate.counted import bytes_of, training_levels
from hf_fft.training.estimate.memory_estimate import MemoryEstimate, estimate_memory, optimizer_bytes
from hf_fft.training.memory import give_free_memory_back
from hf_fft.training.trainer import AnyTrainer

logger = logging.getLogger(__name__)

FACTORED, EIGHT_BITS = "adafactor", "adamw_8bit"
MIB = 2**20


@dataclass(frozen=True)
class Remedy:
    """A change of the recipe that takes less memory.

    Attributes:
        words: The change, in words and in the recipe's terms.
        peak: What the run would hold then, in bytes.
    """

    words: str
    peak: int


def check_fit(trainer: AnyTrainer, splits: Sequence[Dataset], *, available: int) -> MemoryEstimate:
    """Estimate a run's memory; refuse the run if it cannot fit, and warn if it may not.

    Args:
        trainer: One that has not trained.
        splits: The encoded splits that the run will predict.
        available: Bytes, before the model was loaded.

    Raises:
        RecipeError: if tensors alone take more; with what would make the run fit.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if trainer.args.device.type == "cpu" else 1
    shared = available // processes
    estimate = estimate_memory(trainer, splits)
    # What the counted steps have freed would lie about in pieces, and a run's own peak would come out higher.
    give_free_memory_back()
    if estimate.tensors > shared:
        raise RecipeError("\n  ".join([_refusal(estimate, shared), *said(remedies(trainer, estimate, shared), shared)]))
    if estimate.peak > shared:
        logger.warning(
            "This run may not fit: about %s, and %s are available; --check says what would take less.",
            mib(estimate.peak),
            mib(shared),
        )
    return estimate


def remedies(trainer: AnyTrainer, estimate: MemoryEstimate, available: int) -> list[Remedy]:
    """Return what would take less memory, in the order of how little it changes."""
    found = [_smaller_batch(trainer, estimate, available), _checkpointing(trainer, estimate)]
    found += [_optimizer(trainer, estimate, name) for name in (FACTORED, EIGHT_BITS)]
    found.append(_lora(trainer, estimate, available))
    return [one for one in found if one is not None and one.peak < estimate.peak]


def said(found: Sequence[Remedy], available: int) -> list[str]:
    """Return remedies in words, a line each."""
    if not found:
        return ["Nothing that can be counted here takes less; use a smaller model or another machine."]
    fits = {True: "fits", False: "not enough by itself"}
    return [f"{one.words}: {mib(one.peak)}, {fits[one.peak <= available]}" for one in found]


def mib(size_bytes: float) -> str:
    """Write bytes as MiB or GiB."""
    return f"{size_bytes / MIB:,.0f} MiB" if size_bytes < 10 * 2**30 else f"{size_bytes / 2**30:,.1f} GiB"


def _refusal(estimate: MemoryEstimate, available: int) -> str:
    lasting = f"parameters, gradients and optimizer state {mib(estimate.lasting)}"
    batch = f"{estimate.rows} rows of {estimate.length} tokens"
    return (
        f"This run needs at least {mib(estimate.tensors)} and {mib(available)} are available: {lasting}, and "
        f"{mib(estimate.activations)} of activations in a batch of {batch}. What would take less:"
    )


def _smaller_batch(trainer: AnyTrainer, estimate: MemoryEstimate, available: int) -> Remedy | None:
    """Halve the batch until it fits, or to one row; accumulation keeps the effective batch."""
    if estimate.rows < 2 or trainer.speed.max_tokens_per_batch is not None:
        return None
    rows, accumulated = trainer.args.per_device_train_batch_size, trainer.args.gradient_accumulation_steps
    smaller = estimate
    while rows > 1 and rows % 2 == 0 and (smaller is estimate or smaller.peak > available):
        rows, accumulated = rows // 2, accumulated * 2
        smaller = replace(estimate, rows=min(rows, estimate.rows), accumulates=True, measured=None)
    if smaller is estimate:
        return None
    words = f"the same batch in smaller parts, training.per_device_train_batch_size {rows} and "
    return Remedy(f"{words}training.gradient_accumulation_steps {accumulated}", smaller.peak)


def _checkpointing(trainer: AnyTrainer, estimate: MemoryEstimate) -> Remedy | None:
    model = trainer.model
    if trainer.args.activation_checkpointing or not getattr(model, "supports_gradient_checkpointing", False):
        return None
    with _changed(trainer, activation_checkpointing=True):
        levels = training_levels(trainer)
    return Remedy(
        "activations computed twice instead of kept, training.activation_checkpointing true",
        replace(estimate, levels=levels, measured=None).peak,
    )


def _optimizer(trainer: AnyTrainer, estimate: MemoryEstimate, name: str) -> Remedy | None:
    if name == EIGHT_BITS and find_spec("bitsandbytes") is None:
        return None
    if name == getattr(trainer.args.optim, "value", trainer.args.optim):
        return None
    with _changed(trainer, optim=name, optim_args=None):
        state, work_space = optimizer_bytes(trainer)
    smaller = replace(estimate, optimizer_state=state, work_space=work_space, measured=None)
    kind = "factored optimizer" if name == FACTORED else "8-bit optimizer"
    return Remedy(f"a {kind}, training.optim {name}", smaller.peak)


def _lora(trainer: AnyTrainer, estimate: MemoryEstimate, available: int) -> Remedy | None:
    """Count the same run with LoRA on a copy of the model, if there is room for one."""
    model, strategy = trainer.model, trainer.strategy
    whole = isinstance(model, PreTrainedModel) and all(parameter.requires_grad for parameter in model.parameters())
    if not whole or 2 * estimate.parameters > available:
        return None
    adapted: Strategy = Lora()
    try:
        trainer.model = adapted.prepare(copy.deepcopy(model))  # type: ignore[arg-type]
        trainer.strategy = adapted
        state, work_space = optimizer_bytes(trainer)
        learning = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
        smaller = replace(
            estimate,
            parameters=bytes_of([*trainer.model.parameters(), *trainer.model.buffers()]),
            gradients=bytes_of(learning),
            optimizer_state=state,
            work_space=work_space,
            levels=training_levels(trainer),
            measured=None,
        )
    finally:
        trainer.model, trainer.strategy = model, strategy
    return Remedy('small matrices beside frozen layers, strategy "lora"', smaller.peak)


@contextmanager
def _changed(trainer: AnyTrainer, **values: object) -> Iterator[None]:
    before = trainer.args
    trainer.args = copy.copy(before)
    for name, value in values.items():
        setattr(trainer.args, name, value)
    try:
        yield
    finally:
        trainer.args = before
