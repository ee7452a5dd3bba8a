"""Which weights learn, how fast, and when."""

from __future__ import annotations

from collections.abc import Callable

from hf_fft.errors import StrategyError
from hf_fft.recipe import StrategyRecipe
from hf_fft.strategies.feature_based import FeatureBased
from hf_fft.strategies.full import Full
from hf_fft.strategies.gradual_unfreezing import GradualUnfreezing
from hf_fft.strategies.layers import LayerGroup, layer_groups
from hf_fft.strategies.lora import Lora
from hf_fft.strategies.probe_then_full import ProbeThenFull
from hf_fft.strategies.strategy import ParameterGroup, Probe, Strategy

__all__ = [
    "STRATEGIES",
    "FeatureBased",
    "Full",
    "GradualUnfreezing",
    "LayerGroup",
    "Lora",
    "ParameterGroup",
    "Probe",
    "ProbeThenFull",
    "Strategy",
    "layer_groups",
    "strategy_for",
]

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "full": Full,
    "feature_based": FeatureBased,
    "gradual_unfreezing": GradualUnfreezing,
    "probe_then_full": ProbeThenFull,
    "lora": Lora,
}


def strategy_for(choice: str | StrategyRecipe | Strategy) -> Strategy:
    """Return the strategy of a name, a recipe's record, or a strategy as it is.

    Raises:
        StrategyError: if no strategy has that name.
    """
    if isinstance(choice, Strategy):
        return choice
    name = choice if isinstance(choice, str) else choice.name
    if name not in STRATEGIES:
        raise StrategyError(f'"{name}" is not a strategy; there are {", ".join(STRATEGIES)}.')
    return STRATEGIES[name](None if isinstance(choice, str) else choice)
