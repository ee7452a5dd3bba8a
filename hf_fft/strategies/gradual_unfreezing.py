"""Gradual unfreezing: the head learns first, then one more layer group from the top, until everything learns.

Which groups are open is a function of the trainer's `global_step` and nothing else, so a run that was interrupted goes
on as it would have. All groups are in the optimizer from the first step, and all are trainable while the model is
wrapped for several processes; closed ones are frozen when training begins. They receive no gradient, and an optimizer
leaves such parameters alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_fft.recipe import DEFAULT_LEARNING_RATES, GradualUnfreezingRecipe
from hf_fft.strategies.layers import layer_groups, shared_layers
from hf_fft.strategies.rates import discriminative_groups
from hf_fft.strategies.strategy import (
    ParameterGroup,
    Strategy,
    keep_frozen_modules_in_eval,
    refuse_decay_of_shared_layers,
    refuse_frozen,
)


class GradualUnfreezing(Strategy):
    """Open one layer group after another, from the top (Howard and Ruder 2018, arXiv:1801.06146)."""

    name: ClassVar[str] = "gradual_unfreezing"
    default_learning_rate: ClassVar[float] = DEFAULT_LEARNING_RATES["gradual_unfreezing"]
    freezes_while_training: ClassVar[bool] = True

    def __init__(self, recipe: GradualUnfreezingRecipe | None = None) -> None:
        self.recipe = recipe or GradualUnfreezingRecipe()

    def prepare(self, model: nn.Module) -> nn.Module:
        """Check that nothing is frozen by hand; from now on frozen layers are in eval mode."""
        refuse_frozen(model, self.name)
        refuse_decay_of_shared_layers(model, self.recipe.layer_decay)
        keep_frozen_modules_in_eval(model)
        return model

    def parameter_groups(self, model: nn.Module, learning_rate: float) -> list[ParameterGroup]:
        """Return every layer group, head first, each at `layer_decay` times the rate of the one above."""
        return discriminative_groups(
            layer_groups(model),
            learning_rate,
            layer_decay=self.recipe.layer_decay,
            head_learning_rate=self.recipe.head_learning_rate,
        )

    def callbacks(self) -> Sequence[TrainerCallback]:
        """Return what opens the groups."""
        return (UnfreezingCallback(self.recipe),)

    def stages(self, model: nn.Module, *, max_steps: int, steps_per_epoch: int) -> list[str]:
        """Say when each group opens, and which ones the run is too short for."""
        names = [group.name for group in reversed(layer_groups(model))]
        steps = opening_steps(self.recipe, len(names), max_steps=max_steps, steps_per_epoch=steps_per_epoch)
        opened = [f"{name} opens at step {step:,}" for name, step in zip(names, steps, strict=True) if step < max_steps]
        never = [name for name, step in zip(names, steps, strict=True) if step >= max_steps]
        if never:
            advice = 'train longer, open more often, or set strategy.schedule to "spread"'
            opened.append(f"never opened in {max_steps:,} steps: {', '.join(never)}; {advice}")
        if shared := shared_layers(model):
            sets = f"{shared[1]} {'set' if shared[1] == 1 else 'sets'} of weights"
            opened.append(f"{shared[0]} layers share {sets}, so a group opens for all of its layers at once")
        return opened


class UnfreezingCallback(TrainerCallback):
    """Freeze what is not open yet, before training and before every optimizer step."""

    def __init__(self, recipe: GradualUnfreezingRecipe) -> None:
        self.recipe = recipe
        self.opens: list[tuple[int, list[nn.Parameter]]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Freeze here and no earlier: the optimizer and DDP must have seen every parameter trainable."""
        model, batches = parts["model"], len(parts["train_dataloader"])
        # As Trainer counts an epoch's optimizer steps (transformers 5.23).
        steps_per_epoch = max(1, -(-batches // args.gradient_accumulation_steps))
        groups, parameters = layer_groups(model), dict(model.named_parameters())
        steps = opening_steps(self.recipe, len(groups), max_steps=state.max_steps, steps_per_epoch=steps_per_epoch)
        self.opens = [
            (step, [parameters[name] for name in group.parameters])
            for group, step in zip(reversed(groups), steps, strict=True)
        ]
        self._freeze_what_is_not_open(state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Open the groups whose step has come."""
        self._freeze_what_is_not_open(state)

    def _freeze_what_is_not_open(self, state: TrainerState) -> None:
        for step, parameters in self.opens:
            for parameter in parameters:
                parameter.requires_grad_(step <= state.global_step)


def opening_steps(recipe: GradualUnfreezingRecipe, groups: int, *, max_steps: int, steps_per_epoch: int) -> list[int]:
    """Return the optimizer step before which each group opens, from the top: 0 for the head, then never falling."""
    if recipe.schedule == "spread":
        return [-(-place * max_steps // groups) for place in range(groups)]
    unit = steps_per_epoch if recipe.schedule == "epochs" else 1
    # Rounded once for each group, so that a fraction of an epoch does not add up its rounding.
    return [round(place * recipe.every * unit) for place in range(groups)]
