"""LoRA: the backbone stays as it is, small matrices beside its linear layers learn, and so does the new head.

The only module that imports peft. Which modules are the head is found from the model: whatever stands above the last
layer and whatever the task brought, so that it trains, is saved with the adapter and comes back with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hf_fft.errors import StrategyError
from hf_fft.recipe import DEFAULT_LEARNING_RATES, LoraRecipe
from hf_fft.strategies.layers import HEAD, has_tied_output, layer_groups, new_head
from hf_fft.strategies.strategy import ParameterGroup, Strategy, refuse_frozen

ADAPTER_FOLDER = "adapter"


class Lora(Strategy):
    """Train low-rank matrices beside the backbone's linear layers (Hu et al. 2021, arXiv:2106.09685)."""

    name: ClassVar[str] = "lora"
    default_learning_rate: ClassVar[float] = DEFAULT_LEARNING_RATES["lora"]

    def __init__(self, recipe: LoraRecipe | None = None) -> None:
        self.recipe = recipe or LoraRecipe()

    def prepare(self, model: nn.Module) -> nn.Module:
        """Wrap the model in peft's; everything but adapters and head is frozen.

        Raises:
            StrategyError: if the model has no layers to adapt, or `target_modules` names none of its modules.
        """
        from peft import LoraConfig, get_peft_model

        assert isinstance(model, PreTrainedModel)
        refuse_frozen(model, self.name)
        config = LoraConfig(
            r=self.recipe.rank,
            lora_alpha=self.recipe.alpha,
            lora_dropout=self.recipe.dropout,
            target_modules=self._targets(model),
            modules_to_save=head_modules(model) or None,
        )
        return get_peft_model(model, config)

    def parameter_groups(self, model: nn.Module, learning_rate: float) -> list[ParameterGroup]:
        """Return the head, where there is a new one, and the adapters."""
        learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        head = tuple(name for name in learning if ".modules_to_save." in name)
        adapters = tuple(name for name in learning if name not in set(head))
        head_rate = self.recipe.head_learning_rate or learning_rate
        groups = [ParameterGroup(HEAD, head, head_rate), ParameterGroup("adapters", adapters, learning_rate)]
        return [group for group in groups if group.parameters]

    def save_extras(self, model: nn.Module, folder: Path) -> None:
        """Save the adapter, with the head, for peft."""
        model.save_pretrained(folder / ADAPTER_FOLDER)  # type: ignore[operator]

    def whole_model(self, model: nn.Module) -> nn.Module:
        """Return the model with the adapter merged into its weights; the wrapped model is not to be used after it."""
        return model.merge_and_unload()  # type: ignore[operator]

    def _targets(self, model: PreTrainedModel) -> list[str]:
        linear = linear_modules(model)
        if self.recipe.target_modules is None:
            if not linear:
                raise StrategyError(
                    f'strategy "lora" adapts the linear layers of a backbone, and {type(model).__name__} has none that '
                    'it can find. Name them in strategy.target_modules, or use strategy "full".'
                )
            return linear
        for name in self.recipe.target_modules:
            if not any(one == name or one.endswith(f".{name}") for one in linear):
                kinds = sorted({one.rsplit(".", 1)[-1] for one in linear})
                raise StrategyError(
                    f'strategy.target_modules: no linear layer of {type(model).__name__} is called "{name}"; there are '
                    f"{', '.join(kinds)}."
                )
        return list(self.recipe.target_modules)


def linear_modules(model: nn.Module) -> list[str]:
    """Return the names of the linear layers inside the layers of the backbone: what QLoRA adapts (arXiv:2305.14314).

    Layers that were drawn anew are left out: they learn whole.
    """
    drawn = set(drawn_modules(model))
    inside = {
        name.rpartition(".")[0]
        for group in layer_groups(model)
        if group.name.rsplit(" ", 1)[0].endswith("layer")
        for name in group.parameters
    } - drawn
    return [name for name, module in model.named_modules() if name in inside and isinstance(module, nn.Linear | Conv1D)]


def head_modules(model: nn.Module) -> list[str]:
    """Return the names of the modules that learn whole: those of the head, and those that loading drew anew.

    Where the output is tied to the embeddings, what stands around it is pretrained unless loading says otherwise.

    Raises:
        StrategyError: if the head has a parameter outside any module of its own.
    """
    new = new_head(model)
    if has_tied_output(model) or not new:
        return drawn_modules(model)
    top = layer_groups(model)[-1]
    names = new | (set(top.parameters) if top.name == HEAD else set())
    owners = _owners(model, names)
    if "" in owners:
        raise StrategyError(
            f'strategy "lora" saves the head module by module, and {type(model).__name__} keeps parameters of its head '
            'outside of any. Use strategy "full".'
        )
    return list(dict.fromkeys([*owners, *drawn_modules(model)]))


def drawn_modules(model: nn.Module) -> list[str]:
    """Return the names of the modules whose parameters no checkpoint brought, those around tied weights left out.

    Saving a module whole would part weights that are tied. Of what is left out there are biases alone, which are drawn
    as zeros.
    """
    drawn = set(getattr(model, "newly_drawn", ()))
    shared = {id(parameter) for parameter in _tied_parameters(model)}
    return [
        name
        for name in _owners(model, drawn)
        if name and not any(id(parameter) in shared for parameter in model.get_submodule(name).parameters())
    ]


def _owners(model: nn.Module, parameters: set[str]) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] for name, _ in model.named_parameters() if name in parameters))


def _tied_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that stand at more than one place of a model."""
    places: dict[int, list[nn.Parameter]] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(parameter)
    return [several[0] for several in places.values() if len(several) > 1]
