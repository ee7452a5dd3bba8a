"""Where a model's forward pass can be cut, and how frozen layers are passed over in place.

The layers of a backbone hand states on: the states that leave layer k - 1 enter layer k. Where all below k is frozen,
they are the same for a row every time. `LayerStack` runs the real layers up to there, or gives the backbone stored
states and lets the frozen layers and the embeddings return them as they are; everything else is the model's own code.
Modules keep their places, so names, optimizer and checkpoints know nothing of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_fft.strategies.layers import backbone, layer_lists, shared_layers
from hf_fft.training.speed.first_position import first_position_computed

Forward = Callable[..., Any]


class NotUnderstoodError(Exception):
    """A model that cannot be cut; the message is a clause that says why."""


class _Reached(Exception):  # noqa: N818
    """All states that were asked for are there: the rest of the forward pass is not needed."""


@dataclass(frozen=True)
class Ending:
    """How a backbone's answer comes of the states that leave its last layer."""

    record: type[Any]
    fields: Mapping[str, nn.Module | None]

    def of(self, states: Tensor) -> Any:
        """Return the answer."""
        return self.record(**{name: states if one is None else one(states) for name, one in self.fields.items()})


@dataclass(frozen=True)
class Anatomy:
    """What one forward pass showed of a model.

    Attributes:
        body: The backbone.
        layers: Its layers, bottom first.
        bottom: The module whose output enters the first layer, if there is one.
        places: How each layer returns states: alone (0), or first in a tuple of so many, the others None.
        ending: What the backbone answers of the last layer's states: its record's class, and for each of its fields the
            module through which they went, or None for the states themselves. None where it does more than that.
    """

    body: nn.Module
    layers: tuple[nn.Module, ...]
    bottom: nn.Module | None
    places: tuple[int, ...]
    ending: Ending | None = None


def anatomy_of(model: nn.Module, inputs: Mapping[str, Tensor]) -> Anatomy:
    """Watch a forward pass over a few rows.

    Raises:
        NotUnderstoodError: if the layers are not one list, each called once, from the bottom up.
    """
    body, layers = backbone(model), _layers(model)
    calls: list[_Call] = []

    def watch(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        calls.append(_Call(module, (*arguments, *named.values()), output))

    inside = {id(module) for layer in layers for module in layer.modules()} - {id(layer) for layer in layers}
    watched = [module for module in body.modules() if id(module) not in inside]
    hooks = [module.register_forward_hook(watch, with_kwargs=True) for module in watched]
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    order = [call.module for call in calls if any(call.module is layer for layer in layers)]
    if len(order) != len(layers) or any(one is not other for one, other in zip(order, layers, strict=True)):
        raise NotUnderstoodError("its layers are not run once each, from the bottom up")
    first, last = (next(at for at, call in enumerate(calls) if call.module is one) for one in (layers[0], layers[-1]))
    entering = next(iter(calls[first].read), None)
    before = [call.module for call in calls[:first] if call.output is entering and isinstance(entering, Tensor)]
    outputs = {id(call.module): call.output for call in calls}
    places = tuple(_place(outputs[id(one)]) for one in layers)
    states = calls[last].output[0] if places[-1] else calls[last].output
    ending = _ending(states, calls[last + 1 :], outputs[id(body)])
    return Anatomy(body, layers, before[-1] if before else None, places, ending)


@dataclass(frozen=True)
class _Call:
    module: nn.Module
    read: tuple[Any, ...]
    output: Any


def _ending(states: Tensor, calls: Sequence[_Call], answer: Any) -> Ending | None:
    """Explain a backbone's answer by what was called after its last layer."""
    if not isinstance(answer, Mapping):
        return None
    through = {id(call.output): call.module for call in calls if len(call.read) == 1 and call.read[0] is states}
    fields: dict[str, nn.Module | None] = {}
    for name, value in answer.items():
        if value is not states and id(value) not in through:
            return None
        fields[name] = None if value is states else through[id(value)]
    return Ending(type(answer), fields)


def _layers(model: nn.Module) -> tuple[nn.Module, ...]:
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise NotUnderstoodError("an encoder-decoder has two stacks of layers")
    if shared_layers(model) is not None:
        raise NotUnderstoodError("its layers share weights")
    lists = layer_lists(model)
    if len(lists) != 1:
        raise NotUnderstoodError(f"its backbone has {len(lists)} lists of layers, not one")
    if not hasattr(model, "base_model") or model.base_model is model:
        raise NotUnderstoodError("it has no backbone apart from its head")
    return tuple(lists[0])


def _place(output: Any) -> int:
    if isinstance(output, Tensor):
        return 0
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor) and not any(_is_said(output[1:])):
        return len(output)
    raise NotUnderstoodError("its layers return more than hidden states")


def _is_said(values: Sequence[Any]) -> Iterator[bool]:
    return (value is not None for value in values)


class LayerStack:
    """The layers of a model, whose forwards are replaced while it is installed.

    `answer` is what the backbone does in place of its own forward; it is given the backbone's arguments by name.
    """

    def __init__(self, anatomy: Anatomy, answer: Callable[[dict[str, Any]], Any]) -> None:
        self.anatomy = anatomy
        self._answer = answer
        self._names = _argument_names(anatomy.body)
        self._given: Tensor | None = None
        self._boundary = 0
        self._taken: dict[int, Tensor] | None = None
        self._wanted: frozenset[int] = frozenset()
        self._originals: dict[nn.Module, tuple[Forward, bool]] = {}

    @property
    def names(self) -> set[str]:
        """The names of what the backbone's forward takes."""
        return set(self._names)

    @property
    def installed(self) -> bool:
        """Whether forwards are replaced at present."""
        return bool(self._originals)

    def install(self) -> None:
        """Replace the forwards of the backbone, of its layers, and of the module below them."""
        if self.installed:
            return
        anatomy = self.anatomy
        self._replace(anatomy.body, self._body)
        for index, layer in enumerate(anatomy.layers):
            self._replace(layer, self._layer(index, layer.forward))
        if anatomy.bottom is not None:
            self._replace(anatomy.bottom, self._bottom(anatomy.bottom.forward))

    def remove(self) -> None:
        """Give every module its own forward back."""
        for module, (original, own) in self._originals.items():
            if own:
                module.forward = original
            else:
                del module.forward
        self._originals.clear()

    def as_ever(self, arguments: Mapping[str, Any]) -> Any:
        """Run the backbone's own forward."""
        return self._originals[self.anatomy.body][0](**arguments)

    def states(self, arguments: Mapping[str, Any], boundaries: Sequence[int]) -> dict[int, Tensor]:
        """Run the real layers and return the states that leave the layer below each boundary: (rows, tokens, width).

        Nothing above the highest boundary runs.
        """
        self._taken, self._wanted = {}, frozenset(boundaries)
        try:
            self.as_ever(arguments)
        except _Reached:
            pass
        finally:
            taken, self._taken = self._taken, None
        return taken

    def from_states(self, states: Tensor, boundary: int, arguments: Mapping[str, Any]) -> Any:
        """Run the backbone from a boundary on, with states that were kept."""
        ending = self.anatomy.ending
        if ending is not None and boundary == len(self.anatomy.layers) and arguments.get("return_dict", True):
            return ending.of(states)
        self._given, self._boundary = states, boundary
        try:
            return self.as_ever(arguments)
        finally:
            self._given = None

    def first_position_of_last(self) -> AbstractContextManager[None]:
        """Let the real last layer compute the first position alone for a while, if the model is made so that it can."""
        original, _ = self._originals[self.anatomy.layers[-1]]
        return first_position_computed(original)

    def _body(self, *arguments: Any, **named: Any) -> Any:
        return self._answer({**dict(zip(self._names, arguments, strict=False)), **named})

    def _layer(self, index: int, original: Forward) -> Forward:
        place = self.anatomy.places[index]

        def forward(*arguments: Any, **named: Any) -> Any:
            if self._given is not None and index < self._boundary:
                return (self._given, *[None] * (place - 1)) if place else self._given
            output = original(*arguments, **named)
            if self._taken is not None and index + 1 in self._wanted:
                self._taken[index + 1] = output[0] if place else output
                if len(self._taken) == len(self._wanted):
                    raise _Reached
            return output

        return forward

    def _bottom(self, original: Forward) -> Forward:
        def forward(*arguments: Any, **named: Any) -> Any:
            return original(*arguments, **named) if self._given is None else self._given

        return forward

    def _replace(self, module: nn.Module, forward: Forward) -> None:
        self._originals[module] = (module.forward, "forward" in vars(module))
        module.forward = forward


def _argument_names(module: nn.Module) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, one in inspect.signature(module.forward).parameters.items() if one.kind in kinds]
