"""Linear probing, then full fine-tuning: the head learns on frozen features first, so that they are not distorted.

A new head gives random gradients, and full fine-tuning passes them on to pretrained features before the head has
learned anything. With the head trained beforehand there is less to pass on, which helps most under domain shift.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from hf_fft.recipe import DEFAULT_LEARNING_RATES, FeatureBasedRecipe, FullRecipe, ProbeThenFullRecipe
from hf_fft.strategies.feature_based import FeatureBased, trained_head
from hf_fft.strategies.full import Full
from hf_fft.strategies.strategy import (
    ParameterGroup,
    Probe,
    Strategy,
    refuse_decay_of_shared_layers,
    refuse_frozen,
)


class ProbeThenFull(Strategy):
    """Train the head to convergence, then everything from there: LP-FT (Kumar et al. 2022, arXiv:2202.10054)."""

    name: ClassVar[str] = "probe_then_full"
    default_learning_rate: ClassVar[float] = DEFAULT_LEARNING_RATES["probe_then_full"]

    def __init__(self, recipe: ProbeThenFullRecipe | None = None) -> None:
        self.recipe = recipe or ProbeThenFullRecipe()

    def prepare(self, model: nn.Module) -> nn.Module:
        """Check that nothing is frozen by hand and that there is a head to train first.

        Raises:
            StrategyError: for a model that `feature_based` refuses too, or a rate that a layer cannot have.
        """
        refuse_frozen(model, self.name)
        refuse_decay_of_shared_layers(model, self.recipe.layer_decay)
        trained_head(model, pooler=self.recipe.pooler, strategy=self.name)
        return model

    def parameter_groups(self, model: nn.Module, learning_rate: float) -> list[ParameterGroup]:
        """Return the groups of the second part, as `full` has them."""
        second = FullRecipe(layer_decay=self.recipe.layer_decay, head_learning_rate=self.recipe.head_learning_rate)
        return Full(second).parameter_groups(model, learning_rate)

    @property
    def probe(self) -> Probe:
        """The first part: `feature_based`."""
        return Probe(self._head_alone, self.recipe.probe_epochs, self.recipe.probe_learning_rate)

    def stages(self, model: nn.Module, *, max_steps: int, steps_per_epoch: int) -> list[str]:
        """Say what comes first."""
        recipe = self.recipe
        return [
            f"before them, the head alone at {recipe.probe_learning_rate:g}, for at most {recipe.probe_epochs} epochs "
            "and no longer than validation improves"
        ]

    @property
    def _head_alone(self) -> FeatureBased:
        return FeatureBased(FeatureBasedRecipe(pooler=self.recipe.pooler))
