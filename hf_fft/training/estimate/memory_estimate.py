"""How much memory a run will take, told before it trains.

A training step is run on two and on four copies of the longest row, and every tensor that is alive during it is counted
(`live_memory`, `counted`). At each place in the step the bytes are a straight line in the number of rows, so the same
step with the whole batch follows to the byte. Optimizer state is counted by letting the run's own optimizer step once
on one parameter of each shape. Nothing is assumed about architecture, strategy or optimizer, and nothing that learns is
touched. What a process takes beside its tensors is measured by real steps on trial (`trial`) where they fit, and an
allowance where they do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch import nn

from hf_fft.training.estimate.counted import Levels, bytes_of, evaluation_levels, longest_items, training_levels
from hf_fft.training.estimate.live_memory import LiveMemory
from hf_fft.training.trainer import AnyTrainer


@dataclass(frozen=True)
class Allowance:
    """What a process takes beside the tensors that it holds.

    Attributes:
        share: Of the tensors' bytes: gaps between blocks, and what kernels allocate inside themselves.
        fixed_bytes: Code that is loaded late, threads, the libraries' own work space.
    """

    share: float
    fixed_bytes: int


# Made by `benchmarks/estimate.py` from its calibration cases: its last lines say what it would set here.
ALLOWANCES = {"cpu": Allowance(0.35, 60 * 2**20), "cuda": Allowance(0.05, 64 * 2**20)}


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a run holds on its device, above what the process held before the model was loaded.

    Attributes:
        parameters: The whole model, buffers included.
        gradients: Of what learns.
        optimizer_state: Of the run's own optimizer.
        work_space: What the optimizer needs besides while it moves.
        levels: A training step, place by place.
        evaluation: Most tensors that are alive in evaluation at once, parameters and optimizer state not among them.
        rows: Rows in the longest batch.
        length: Tokens in its longest row.
        accumulates: Whether gradients are kept over several batches.
        loaded: The best weights, which are loaded beside all else at the end; from a file that is mapped, so on a CPU
            what malloc keeps for later does not serve them.
        allowance: Of the device.
        measured: The peak of real steps on trial, where some were made.
        held: What was held at their end.
    """

    parameters: int
    gradients: int
    optimizer_state: int
    work_space: int
    levels: Levels
    evaluation: int
    rows: int
    length: int
    accumulates: bool
    loaded: int
    allowance: Allowance
    measured: int | None = None
    held: int = 0

    @property
    def activations(self) -> int:
        """What is alive at the end of the forward pass of the longest batch."""
        return self.levels.activations(self.rows)

    @property
    def lasting(self) -> int:
        """Parameters, gradients and optimizer state: what no choice of batches makes smaller."""
        return self.parameters + self.gradients + self.optimizer_state

    @property
    def tensors(self) -> int:
        """Most tensors that are alive at once: while gradients are computed, in the update, or in evaluation."""
        kept = self.parameters + self.optimizer_state
        step = self.levels.peak(self.rows) + (self.gradients if self.accumulates else 0)
        return kept + max(step, self.gradients + self.work_space, self.evaluation, self.loaded)

    @property
    def peak(self) -> int:
        """The most that the run holds at once."""
        if self.measured is None:
            return self._allowed(self.tensors)
        return max(self.measured, self.held + self.loaded)

    def _allowed(self, tensors: int) -> int:
        return round(tensors * (1 + self.allowance.share)) + self.allowance.fixed_bytes


def estimate_memory(trainer: AnyTrainer, splits: Sequence[Dataset]) -> MemoryEstimate:
    """Estimate a run's peak memory from a trainer that has not trained.

    Args:
        trainer: As `train()` would be called on it; weights, random states and modes are left as they are.
        splits: The encoded splits that the run will predict.
    """
    model, args = trainer.model, trainer.args
    assert isinstance(model, nn.Module)
    state, work_space = optimizer_bytes(trainer)
    accumulates = args.gradient_accumulation_steps > 1
    parameters = bytes_of([*model.parameters(), *model.buffers()])
    gradients = bytes_of(parameter for parameter in model.parameters() if parameter.requires_grad)
    loaded = gradients if trainer.strategy.name == "lora" else parameters  # a checkpoint of peft's holds adapters alone
    return MemoryEstimate(
        parameters=parameters,
        gradients=gradients,
        optimizer_state=state,
        work_space=work_space,
        levels=training_levels(trainer),
        evaluation=max((_evaluation_bytes(trainer, split) for split in splits), default=0),
        rows=rows_of_longest_batch(trainer),
        length=longest_items(trainer.train_dataset)[1],
        accumulates=accumulates,
        loaded=loaded if args.load_best_model_at_end and args.device.type == "cpu" else 0,
        allowance=ALLOWANCES.get(args.device.type, ALLOWANCES["cpu"]),
    )


def optimizer_bytes(trainer: AnyTrainer) -> tuple[int, int]:
    """Return what the run's optimizer keeps, and what it needs besides while it moves.

    It is counted by one step over one parameter of each shape, so it holds for any optimizer, factored or quantized.
    """
    model = trainer.model
    assert isinstance(model, nn.Module)
    optimizer_class, options = trainer.optimizer_class_and_options(model)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    shapes = Counter((parameter.shape, parameter.dtype, parameter.device) for parameter in learning)
    state, spaces = 0, []
    for (shape, dtype, device), count in shapes.items():
        parameter = nn.Parameter(torch.zeros(shape, dtype=dtype, device=device))
        parameter.grad = torch.zeros_like(parameter)
        optimizer: Any = optimizer_class([parameter], **options)
        with LiveMemory() as memory:
            optimizer.step()
        state += count * memory.now
        spaces += [memory.peak - memory.now] * count
    # On a GPU the parameters of a group move together where the optimizer is not fused, on a CPU one after the other.
    together = trainer.args.device.type == "cuda"
    return state, sum(spaces) if together else max(spaces, default=0)


def rows_of_longest_batch(trainer: AnyTrainer) -> int:
    """Return how many rows stand in the batch with the longest row."""
    rows: Any = trainer.train_dataset
    most, tokens = trainer.args.train_batch_size, trainer.speed.max_tokens_per_batch
    if tokens is not None:
        most = max(1, tokens // max(1, longest_items(rows)[1]))
    return min(most, len(rows))


def _evaluation_bytes(trainer: AnyTrainer, split: Dataset) -> int:
    return evaluation_levels(trainer, split).peak(min(trainer.args.eval_batch_size, len(split)))
