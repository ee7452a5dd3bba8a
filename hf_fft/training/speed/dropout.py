"""Dropout whose random numbers cost little on a CPU.

torch draws one double from a Mersenne twister for each element, one thread for all, which is a sixth of a training step
(torch 2.13). Here a fast generator (SFC64), seeded by one draw from torch's, gives sixteen bits for each element. So a
checkpoint's random state still decides every mask, and activation checkpointing repeats it. The probability is the
nearest of the 65,536 that sixteen bits can say, and the scale is the exact inverse of it.

What is swapped is the modules of the class `nn.Dropout`. They have no parameters, so names in checkpoints stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEVELS = 2**16


def cheapen_dropout(model: nn.Module) -> int:
    """Put `CheapDropout` in the place of each `nn.Dropout`; return how many there were. Changes the model."""
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Dropout and 0 < levels_dropped(child.p) < LEVELS
    ]
    # A module that stands in two places stays one module.
    swapped = {id(child): CheapDropout(child.p).train(child.training) for _, _, child in places}
    for parent, name, child in places:
        setattr(parent, name, swapped[id(child)])
    return len(swapped)


class CheapDropout(nn.Dropout):
    """`nn.Dropout` with cheap random numbers on a CPU, and torch's own elsewhere."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements in training; shapes stay."""
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        return _Dropped.apply(input, levels_dropped(self.p))


def levels_dropped(p: float) -> int:
    """Return how many of the 65,536 levels of sixteen random bits are dropped at probability `p`."""
    return round(p * LEVELS)


def keep_mask(shape: tuple[int, ...], dropped: int) -> Tensor:
    """Draw a mask of 1 for what is kept and 0 for what is dropped, as uint8: the type that multiplies fastest.

    Args:
        shape: Of the mask.
        dropped: Levels of 65,536, from 1 to 65,535.
    """
    elements = int(np.prod(shape))
    seed = int(torch.empty((), dtype=torch.int64).random_())
    sixteen_bits = np.random.SFC64(seed).random_raw(-(-elements // 4)).view(np.int16)[:elements]
    # By numpy, which compares sixteen bits in a fifth of torch's time (2.13), into memory that torch counts.
    kept = torch.empty(elements, dtype=torch.uint8)
    np.greater_equal(sixteen_bits, np.int16(dropped - LEVELS // 2), out=kept.numpy().view(np.bool_))
    return kept.view(shape)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, dropped: int) -> Tensor:
        mask = keep_mask(tuple(values.shape), dropped)
        context.save_for_backward(mask)
        context.scale = LEVELS / (LEVELS - dropped)
        return (values * mask).mul_(context.scale)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = context.saved_tensors
        return (gradients[0] * mask).mul_(context.scale), None
