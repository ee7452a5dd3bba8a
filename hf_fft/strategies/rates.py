"""Learning rates by layer: the higher a layer, the faster it may move."""

from __future__ import annotations

from collections.abc import Sequence

from hf_fft.strategies.layers import HEAD, LayerGroup
from hf_fft.strategies.strategy import ParameterGroup


def discriminative_groups(
    groups: Sequence[LayerGroup], learning_rate: float, *, layer_decay: float, head_learning_rate: float | None
) -> list[ParameterGroup]:
    """Return the head, then the layers from the top down, each at `layer_decay` times the rate of the one above.

    The head learns at `head_learning_rate`, or at `learning_rate` where there is none (arXiv:1801.06146).
    """
    head = [
        ParameterGroup(HEAD, one.parameters, head_learning_rate or learning_rate) for one in groups if one.name == HEAD
    ]
    layers = [one for one in reversed(groups) if one.name != HEAD]
    return head + [
        ParameterGroup(one.name, one.parameters, learning_rate * layer_decay**depth)
        for depth, one in enumerate(layers, start=1)
    ]
