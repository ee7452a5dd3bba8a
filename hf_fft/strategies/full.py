"""Full fine-tuning: every parameter learns, lower layers slower if asked."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from hf_fft.recipe import DEFAULT_LEARNING_RATES, FullRecipe
from hf_fft.strategies.layers import HEAD, layer_groups
from hf_fft.strategies.rates import discriminative_groups
from hf_fft.strategies.strategy import ParameterGroup, Strategy, refuse_decay_of_shared_layers, refuse_frozen


class Full(Strategy):
    """Train every parameter, with discriminative rates as an option (Howard and Ruder 2018, arXiv:1801.06146)."""

    name: ClassVar[str] = "full"
    default_learning_rate: ClassVar[float] = DEFAULT_LEARNING_RATES["full"]

    def __init__(self, recipe: FullRecipe | None = None) -> None:
        self.recipe = recipe or FullRecipe()

    def prepare(self, model: nn.Module) -> nn.Module:
        """Check that nothing is frozen by hand and that no rate is asked for that a layer cannot have."""
        refuse_frozen(model, self.name)
        refuse_decay_of_shared_layers(model, self.recipe.layer_decay)
        return model

    def parameter_groups(self, model: nn.Module, learning_rate: float) -> list[ParameterGroup]:
        """Return the head, then the layers from the top down, each at `layer_decay` times the rate of the one above."""
        groups = discriminative_groups(
            layer_groups(model),
            learning_rate,
            layer_decay=self.recipe.layer_decay,
            head_learning_rate=self.recipe.head_learning_rate,
        )
        if self.recipe.layer_decay != 1:
            return groups
        head = [group for group in groups if group.name == HEAD]
        together = tuple(name for group in reversed(groups) if group.name != HEAD for name in group.parameters)
        return head + ([ParameterGroup("backbone", together, learning_rate)] if together else [])
