"""Proof, on a few real rows, that a model may be cut: its answers from kept states are those of the whole model.

The kept states are those of real tokens, with zeros for padding, and must not depend on weights that learn. The whole
pass and the cut one have equal padded length, so they agree to the bit on most models; more than rounding is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_fft.training.eval_mode import in_eval_mode
from hf_fft.training.frozen_prefix.layers import Anatomy, LayerStack, NotUnderstoodError
from hf_fft.training.frozen_prefix.rows import MASK, Rows, rows_read
from hf_fft.training.frozen_prefix.stages import Stage, frozen_layers

# Of the largest answer, or of 1 where that is smaller.
SAME_ANSWERS = 1e-5
NOT_ANSWERS = frozenset({"loss", "hidden_states", "attentions", "past_key_values"})


@dataclass(frozen=True)
class Proof:
    """What the probe showed.

    Attributes:
        one_vector: Whether the head reads the first position alone, so that one vector a row is enough where all
            layers are frozen, as they are somewhere in the run.
        bytes_a_token: What a token's states take at one boundary.
    """

    one_vector: bool
    bytes_a_token: int


def prove(model: nn.Module, anatomy: Anatomy, inputs: Mapping[str, Tensor], stages: Sequence[Stage]) -> Proof:
    """Compare cut and whole passes at the boundary of every stage; in eval mode, which is put back.

    Raises:
        NotUnderstoodError: where they do not agree.
    """
    assert stages
    probe, layers = _Probe(anatomy), len(anatomy.layers)
    mask = inputs.get(MASK)
    boundaries = [frozen_layers(model, anatomy.layers, stage.learning) for stage in stages]
    with in_eval_mode(model):
        with torch.no_grad():
            whole = _answers(model(**inputs), mask)
        probe.stack.install()
        try:
            for stage, boundary in zip(stages, boundaries, strict=True):
                if boundary:
                    with _learning(model, stage.learning):
                        _check(whole, probe.answers(model, inputs, boundary), boundary)
            one_vector = False
            if layers in boundaries:
                with _learning(model, stages[boundaries.index(layers)].learning):
                    one_vector = probe.reads_first_alone(model, inputs, whole)
        finally:
            probe.stack.remove()
    return Proof(one_vector, probe.bytes_a_token)


class _Probe:
    """A stack whose backbone computes states and goes on from them at once."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.stack = LayerStack(anatomy, self._answer)
        self.bytes_a_token = 0
        self._boundary = 0
        self._noise = False
        self._first_alone = False

    def answers(self, model: nn.Module, inputs: Mapping[str, Tensor], boundary: int) -> list[Tensor]:
        """Return the answers from kept states at a boundary."""
        self._boundary = boundary
        torch.clear_autocast_cache()  # it would hold weights with the gradients of another stage
        # With gradients, so that states show whether they depend on what learns.
        with torch.enable_grad():
            return [answer.detach() for answer in _answers(model(**inputs), inputs.get(MASK))]

    def reads_first_alone(self, model: nn.Module, inputs: Mapping[str, Tensor], whole: list[Tensor]) -> bool:
        """Say whether the answers stay when all positions but the first are changed, and when they are left out."""
        boundary = len(self.stack.anatomy.layers)
        self._noise = True
        noisy = self.answers(model, inputs, boundary)
        self._noise, self._first_alone = False, True
        if _difference(whole, noisy) > 0:
            return False
        try:
            return _difference(whole, self.answers(model, inputs, boundary)) <= SAME_ANSWERS
        except (RuntimeError, IndexError, ValueError):  # a head that cannot do with one position
            return False

    def _answer(self, arguments: dict[str, Any]) -> Any:
        rows = rows_read(arguments)
        if rows is None:
            raise NotUnderstoodError("its backbone reads more than ids and masks of tokens")
        states = self.stack.states(arguments, [self._boundary])[self._boundary]
        if states.requires_grad:
            raise NotUnderstoodError("what its lower layers compute depends on weights that learn")
        kept = torch.zeros_like(states)
        for place, length in enumerate(rows.lengths):
            kept[place, :length] = states[place, :length]
        self.bytes_a_token = states.shape[-1] * states.element_size()
        if self._noise:
            random = torch.Generator().manual_seed(0)
            kept[:, 1:] += torch.randn(kept[:, 1:].shape, generator=random).to(kept)
        if self._first_alone:
            return self.stack.from_states(kept[:, :1], self._boundary, first_position(rows))
        return self.stack.from_states(kept, self._boundary, arguments)


def first_position(rows: Rows) -> dict[str, Any]:
    """Return a backbone's arguments for the first position alone; no mask, for nothing attends any more."""
    inputs = {name: value[:, :1] for name, value in rows.inputs.items() if name != MASK}
    return {**inputs, **rows.others}


def _answers(outputs: Any, mask: Tensor | None) -> list[Tensor]:
    """Return what a model answered, padding left out where there is an answer a token."""
    named = outputs.items() if isinstance(outputs, Mapping) else enumerate(outputs)
    answers = [value for name, value in named if isinstance(value, Tensor) and name not in NOT_ANSWERS]
    if mask is None:
        return answers
    return [one[mask.bool()] if one.dim() > 1 and one.shape[:2] == mask.shape else one for one in answers]


def _check(whole: list[Tensor], cut: list[Tensor], boundary: int) -> None:
    difference = _difference(whole, cut)
    if not difference <= SAME_ANSWERS:
        raise NotUnderstoodError(f"cut at layer {boundary} it answers otherwise than whole (by {difference:.1g})")


def _difference(whole: list[Tensor], cut: list[Tensor]) -> float:
    """Return the largest difference, as a share of the largest answer where that is above 1."""
    if [one.shape for one in whole] != [one.shape for one in cut]:
        return float("inf")
    pairs = [(one.float(), other.float()) for one, other in zip(whole, cut, strict=True) if one.numel()]
    differences = [(one - other).abs().max() / one.abs().max().clamp(min=1) for one, other in pairs]
    return float(torch.stack(differences).max()) if differences else 0.0  # NaN if one of them is


@contextmanager
def _learning(model: nn.Module, learning: frozenset[int]) -> Iterator[None]:
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in learning)
    try:
        yield
    finally:
        for parameter, learns in before:
            parameter.requires_grad_(learns)
