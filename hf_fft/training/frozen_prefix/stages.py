"""Which layers are frozen when: the stages of a run, and how many layers from the bottom up nothing learns in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from transformers import TrainerCallback, TrainerState

from hf_fft.strategies.gradual_unfreezing import UnfreezingCallback
from hf_fft.strategies.layers import BOTTOM, layer_groups


@dataclass(frozen=True)
class Stage:
    """A part of a run in which the same parameters learn.

    Attributes:
        step: The optimizer step before which it begins.
        learning: What learns, by id.
    """

    step: int
    learning: frozenset[int]


@dataclass(frozen=True)
class Pass:
    """A part of a run whose kept states come of one pass over the rows.

    Attributes:
        begins: The optimizer step before which it begins.
        ends: The step before which the next part begins.
        boundaries: The numbers of frozen layers in it, in their order.
    """

    begins: int
    ends: int
    boundaries: tuple[int, ...]


def passes(
    moves: Sequence[tuple[int, int]], max_steps: int, room_bytes: int, bytes_at: Callable[[int], int]
) -> list[Pass]:
    """Return the passes of a run: each keeps the next boundary, and as many after it as there is room for.

    They follow from the whole run, so that a run that goes on from a checkpoint has those of one that never stopped.

    Args:
        moves: The step before which a stage begins, and its frozen layers, by step.
        max_steps: Of the run.
        room_bytes: For all that is kept at a time.
        bytes_at: What the states of all rows take at a boundary.
    """
    first: dict[int, int] = {}
    for step, boundary in moves:
        first.setdefault(boundary, step)
    coming = [(step, boundary) for boundary, step in first.items()]
    found: list[Pass] = []
    while coming and coming[0][1]:
        boundaries: list[int] = []
        begins, left = coming[0][0], room_bytes
        while coming and coming[0][1] and (not boundaries or bytes_at(coming[0][1]) <= left):
            boundaries.append(coming.pop(0)[1])
            left -= bytes_at(boundaries[-1])
        found.append(Pass(begins, coming[0][0] if coming else max_steps, tuple(boundaries)))
    return found


def stages_of(model: nn.Module, callbacks: Sequence[TrainerCallback], state: TrainerState) -> list[Stage]:
    """Return the parts of a run in which the same parameters learn: one, but for gradual unfreezing."""
    opener = next((one for one in callbacks if isinstance(one, UnfreezingCallback)), None)
    if opener is None:
        return [Stage(0, frozenset(id(one) for one in model.parameters() if one.requires_grad))]
    return list(_openings(opener, state.max_steps))


def _openings(opener: UnfreezingCallback, max_steps: int) -> Iterator[Stage]:
    for step in sorted({step for step, _ in opener.opens if step < max_steps}):
        opened = [parameter for opens, group in opener.opens if opens <= step for parameter in group]
        yield Stage(step, frozenset(map(id, opened)))


def frozen_layers(model: nn.Module, layers: Sequence[nn.Module], learning: frozenset[int]) -> int:
    """Count the layers from the bottom up of which nothing learns; 0 where the embeddings learn."""
    for boundary, parameters in enumerate(prefix_parameters(model, len(layers))):
        if any(id(parameter) in learning for parameter in parameters):
            return max(0, boundary - 1)
    return len(layers)


def prefix_parameters(model: nn.Module, layers: int) -> list[list[nn.Parameter]]:
    """Return the parameters of what stands below the layers, then those of each layer, bottom first."""
    groups, parameters = layer_groups(model), dict(model.named_parameters())
    named = [[parameters[name] for name in group.parameters] for group in groups]
    if not groups or groups[0].name != BOTTOM:
        named.insert(0, [])
    return named[: layers + 1]
