"""Feature-based transfer: the backbone is frozen and in eval mode, and only the head learns."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from hf_fft.errors import StrategyError
from hf_fft.recipe import DEFAULT_LEARNING_RATES, FeatureBasedRecipe
from hf_fft.strategies.layers import HEAD, has_tied_output, layer_groups, new_head
from hf_fft.strategies.strategy import ParameterGroup, Strategy, keep_frozen_modules_in_eval


class FeatureBased(Strategy):
    """Train the head on frozen features (Peters et al. 2019, arXiv:1903.05987)."""

    name: ClassVar[str] = "feature_based"
    default_learning_rate: ClassVar[float] = DEFAULT_LEARNING_RATES["feature_based"]

    def __init__(self, recipe: FeatureBasedRecipe | None = None) -> None:
        self.recipe = recipe or FeatureBasedRecipe()

    def prepare(self, model: nn.Module) -> nn.Module:
        """Freeze everything below the head, and keep it in eval mode.

        Raises:
            StrategyError: if the task brought no head of its own, as in a language model tied to its embeddings.
        """
        head = self._head(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in head)
        keep_frozen_modules_in_eval(model)
        return model

    def parameter_groups(self, model: nn.Module, learning_rate: float) -> list[ParameterGroup]:
        """Return the head as the only group."""
        head = self._head(model)
        ordered = tuple(name for name, _ in model.named_parameters() if name in head)
        return [ParameterGroup(HEAD, ordered, learning_rate)]

    def _head(self, model: nn.Module) -> set[str]:
        return trained_head(model, pooler=self.recipe.pooler, strategy=self.name)


def trained_head(model: nn.Module, *, pooler: Literal["train", "frozen"], strategy: str) -> set[str]:
    """Return the names of the parameters that learn where the head alone does.

    Args:
        model: Not wrapped.
        pooler: Whether what stands above the last layer learns too.
        strategy: On whose behalf, for the message.

    Raises:
        StrategyError: if the task brought no head of its own, as in a language model tied to its embeddings.
    """
    new = new_head(model)
    if not new or has_tied_output(model):
        raise StrategyError(
            f'strategy "{strategy}" trains the head alone{", at first" if strategy != FeatureBased.name else ""}, but '
            f"{type(model).__name__} has no head of its own (its output is tied to its embeddings, or it is a bare "
            'backbone). Use strategy "full".'
        )
    top = layer_groups(model)[-1]
    above_the_layers = set(top.parameters) if pooler == "train" and top.name == HEAD else set()
    return new | above_the_layers
