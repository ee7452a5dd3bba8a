"""What a strategy is: which weights learn, how fast, and when.

A strategy looks at a model and nothing else; it knows no task, no data and no trainer. `prepare` freezes or wraps,
`parameter_groups` says at what rate each part learns, `callbacks` brings what has to happen while training goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn
from transformers import TrainerCallback

from hf_fft.errors import StrategyError
from hf_fft.strategies.layers import backbone, shared_layers, trainable_parameters


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate.

    Attributes:
        name: As plots and logs show it.
        parameters: Their names in the model.
        learning_rate: The peak rate, before the schedule.
    """

    name: str
    parameters: tuple[str, ...]
    learning_rate: float


@dataclass(frozen=True)
class Probe:
    """What is trained before a strategy begins.

    Attributes:
        strategy: What learns then.
        epochs: At most so many.
        learning_rate: Its peak rate.
    """

    strategy: Strategy
    epochs: int
    learning_rate: float


class Strategy(ABC):
    """One way to train a model."""

    name: ClassVar[str]
    default_learning_rate: ClassVar[float]
    freezes_while_training: ClassVar[bool] = False  # whether parameters are frozen after the model was wrapped

    def prepare(self, model: nn.Module) -> nn.Module:
        """Freeze or wrap what the strategy needs; called once, before the trainer builds anything. Changes the model.

        Raises:
            StrategyError: if the model cannot be trained this way.
        """
        return model

    @abstractmethod
    def parameter_groups(self, model: nn.Module, learning_rate: float) -> list[ParameterGroup]:
        """Return the groups of all parameters that will ever learn: head first, then from the top layer down."""

    def callbacks(self) -> Sequence[TrainerCallback]:
        """Return what has to happen during training."""
        return ()

    @property
    def probe(self) -> Probe | None:
        """What is trained first, if anything is."""
        return None

    def save_extras(self, model: nn.Module, folder: Path) -> None:
        """Save into the run folder what a trained model has besides its weights, such as an adapter."""
        return

    def whole_model(self, model: nn.Module) -> nn.Module:
        """Return the model that a run scores and saves, nothing wrapped around it any more."""
        return model

    def stages(self, model: nn.Module, *, max_steps: int, steps_per_epoch: int) -> list[str]:
        """Say what changes in the course of a run, a line each; empty where nothing does."""
        return []


def refuse_frozen(model: nn.Module, strategy: str) -> None:
    """Refuse a model with parameters frozen by hand, where a strategy means to train them all.

    Parameters that the architecture itself never trains (RoFormer's sinusoidal positions) are left alone.
    """
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    if not frozen:
        return
    fixed = _frozen_by_architecture(model)
    by_hand = [name for name in frozen if name not in fixed]
    if by_hand:
        more = f" and {len(by_hand) - 1} more" if len(by_hand) > 1 else ""
        raise StrategyError(
            f'strategy "{strategy}" trains every parameter, but this model comes with frozen ones '
            f'({by_hand[0]}{more}). Use strategy "feature_based", or call model.requires_grad_(True) first.'
        )


def refuse_decay_of_shared_layers(model: nn.Module, layer_decay: float) -> None:
    """Refuse a learning rate by layer where several layers share one set of weights, which can have but one rate."""
    shared = shared_layers(model)
    if layer_decay == 1 or shared is None:
        return
    depth, sets = shared
    raise StrategyError(
        f"strategy.layer_decay {layer_decay:g} gives each layer a learning rate of its own, but the {depth} layers of "
        f"{type(model).__name__} share {sets} {'set' if sets == 1 else 'sets'} of weights. Leave it out; "
        "strategy.head_learning_rate still sets the head apart."
    )


def keep_frozen_modules_in_eval(model: nn.Module) -> None:
    """Switch frozen modules to eval mode before every forward pass in training.

    `Trainer.training_step` calls `model.train()` at each step (transformers 5.23), which would leave dropout on in a
    frozen backbone. The hook looks at `requires_grad` each time, so it follows layers that are frozen or opened later.
    """

    known = _Frozen(model, list(model.parameters()))

    def switch(module: nn.Module, inputs: Any) -> None:
        nonlocal known
        if module.training:
            if known.model is not module:  # a copy of the model, hook included
                known = _Frozen(module, list(module.parameters()))
            known.switch()

    model.register_forward_pre_hook(switch)


class _Frozen:
    """The modules of a model that belong into eval mode; looked for again only when something froze or opened."""

    def __init__(self, model: nn.Module, parameters: list[nn.Parameter]) -> None:
        self.model = model
        self._parameters = parameters
        self._flags: list[bool] = []
        self._modules: list[nn.Module] = []

    def switch(self) -> None:
        flags = [parameter.requires_grad for parameter in self._parameters]
        if flags != self._flags:
            self._flags = flags
            self._modules = list(_in_eval(self.model, backbone(self.model), inside=False))
        for module in self._modules:
            if module.training:
                module.training = False


def _in_eval(module: nn.Module, body: nn.Module, *, inside: bool) -> Iterator[nn.Module]:
    flags = [parameter.requires_grad for parameter in module.parameters()]
    if flags and not any(flags):
        yield from module.modules()
        return
    inside = inside or module is body
    partly_frozen = not all(flags)
    for child in module.children():
        if next(child.parameters(), None) is not None:
            yield from _in_eval(child, body, inside=inside)
        elif inside and partly_frozen:
            yield from child.modules()


def _frozen_by_architecture(model: nn.Module) -> set[str]:
    import torch

    config = getattr(model, "config", None)
    if config is None:
        return set()
    with torch.device("meta"):
        fresh = type(model)(config)
    trainable = {name for name, _ in trainable_parameters(fresh)}
    return {name for name, _ in fresh.named_parameters()} - trainable
