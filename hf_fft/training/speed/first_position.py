"""The last layer for the first position alone, in steps and evaluation of a model whose head reads nothing else.

A classifier of BERT's kind reads the first position of what the last layer gives. Nobody reads the others, no gradient
comes back through them, and the last layer computes them all the same. Here keys and values are of all positions, and
queries and all that comes after attention of the first one: of twelve parts of the layer's products with weights, ten
are spared. Logits and gradients are those of the whole layer, up to rounding.

It is done while the whole model is called in training, where gradients are recorded, in a trainer's evaluation, and
where the frozen prefix keeps one vector a row; hooks on the layer or the backbone see one position then. Any other
call, one that asks for states, and a prefix that keeps all tokens meet the layer as it always was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from hf_fft.strategies.layers import layer_lists
from hf_fft.training.eval_mode import in_eval_mode

Compute: TypeAlias = Callable[[Any, Tensor, Tensor | None, Mapping[str, Any]], Tensor]
SAME_LOGITS = 1e-5
# What reads other positions, or the layer's inside.
ASKED = ("output_hidden_states", "output_attentions")
# What an encoder's layer is given as None.
OF_DECODERS = frozenset({"encoder_hidden_states", "encoder_attention_mask", "past_key_values"})


def first_position_alone(model: nn.Module, logits_of: Callable[[Any], Tensor]) -> bool:
    """Let a classifier's last layer compute the first position alone, if its head reads nothing else.

    It does so in training steps, and where `first_position_evaluated` says so. Changes the model. Only layers that are
    known (`KNOWN`) are taken, and each is proved on the model's logits.

    Args:
        model: As a trainer calls it, adapters included.
        logits_of: Runs it on a few made-up rows.

    Returns:
        Whether it was done.
    """
    if torch.is_inference_mode_enabled() or any(one.is_inference() for one in model.parameters()):
        return False  # no gradient can show what is read
    unwrapped = getattr(model, "get_base_model", None)
    inner: nn.Module = model if unwrapped is None else unwrapped()
    lists = layer_lists(inner)
    layer = lists[0][-1] if len(lists) == 1 else None
    compute = KNOWN.get(f"{type(layer).__module__}.{type(layer).__name__}")
    if layer is None or compute is None or not _plain(layer) or any(getattr(model.config, one, False) for one in ASKED):
        return False
    if not _reads_first_alone(model, layer, logits_of):
        return False
    narrowed = _Narrowed(layer, compute, layer.forward)
    layer.forward = narrowed
    if not _same_logits(model, narrowed, logits_of):
        del layer.forward
        return False
    # Of the model inside adapters, for it is what is left when they are merged.
    inner.register_forward_pre_hook(narrowed.begin, with_kwargs=True)
    inner.register_forward_hook(narrowed.end, always_call=True)
    return True


@contextmanager
def first_position_evaluated(model: nn.Module) -> Iterator[None]:
    """Let evaluation compute the first position alone too, where training steps do.

    Not where something else stands in the place of the layer's forward, as the frozen prefix does: it says itself when
    the first position is enough (`first_position_computed`).
    """
    layers = [one for module in model.modules() if isinstance(one := vars(module).get("forward"), _Narrowed)]
    before = [layer.evaluating for layer in layers]
    for layer in layers:
        layer.evaluating = True
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.evaluating = was


@contextmanager
def first_position_computed(forward: Callable[..., Any]) -> Iterator[None]:
    """Let a layer's forward, inside a call of its model, compute the first position alone; if it is one that can."""
    if not isinstance(forward, _Narrowed):
        yield
        return
    before = forward.active, forward.evaluating
    forward.active = forward.evaluating = True
    try:
        yield
    finally:
        forward.active, forward.evaluating = before


@dataclass
class _Narrowed:
    """A layer's forward that is for the first position alone while `active`, with gradients or while `evaluating`."""

    layer: nn.Module
    compute: Compute
    whole: Callable[..., Any]
    active: bool = False
    evaluating: bool = False

    def __call__(self, states: Tensor, mask: Tensor | None = None, *more: Any, **options: Any) -> Any:
        """Take (rows, tokens, width); return (rows, 1, width) while active, otherwise as ever."""
        named = {name: value for name, value in options.items() if name not in OF_DECODERS}
        encodes = all(value is None for value in (*more, *(options[name] for name in options.keys() - named.keys())))
        readable = mask is None or mask.dim() == 4
        computes = self.active and (torch.is_grad_enabled() or self.evaluating)
        if not computes or not encodes or not readable:
            return self.whole(states, mask, *more, **options)
        return self.compute(self.layer, states, mask, named)

    def begin(self, model: nn.Module, _: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Before a call of the whole model: be active if it is a training step's, or evaluation's."""
        asked = any(named.get(name) or getattr(model.config, name, False) for name in ASKED)
        self.active = (model.training or self.evaluating) and not asked

    def end(self, *_: Any) -> None:
        """After it, also where it failed."""
        self.active = False


def _plain(layer: Any) -> bool:
    """Say whether a layer is an encoder's, with nothing replaced in it, and attention by the interface."""
    decodes = getattr(layer, "is_decoder", False) or getattr(layer, "add_cross_attention", False)
    config = next(module.config for module in layer.modules() if hasattr(module, "config"))
    return not decodes and "forward" not in vars(layer) and config._attn_implementation in ALL_ATTENTION_FUNCTIONS


def _reads_first_alone(model: nn.Module, layer: nn.Module, logits_of: Callable[[Any], Tensor]) -> bool:
    """Say whether a gradient comes back through the first position of what a layer gives, and through no other."""
    given: list[Tensor] = []

    def cut(_: nn.Module, __: Any, states: Tensor) -> Tensor:
        given.append(states.detach().requires_grad_())
        return given[-1]

    handle = layer.register_forward_hook(cut)
    try:
        with in_eval_mode(model), torch.enable_grad():
            gradient = torch.autograd.grad(logits_of(model).square().sum(), given[-1])[0]
    finally:
        handle.remove()
    return bool(gradient[:, 0].any()) and not bool(gradient[:, 1:].any())


def _same_logits(model: nn.Module, narrowed: _Narrowed, logits_of: Callable[[Any], Tensor]) -> bool:
    with in_eval_mode(model), torch.enable_grad():
        whole = logits_of(model)
        narrowed.active = True
        try:
            return bool(torch.allclose(logits_of(model), whole, rtol=SAME_LOGITS, atol=SAME_LOGITS))
        finally:
            narrowed.active = False


def _of_bert(layer: Any, states: Tensor, mask: Tensor | None, options: Mapping[str, Any]) -> Tensor:
    inner, first = layer.attention.self, states[:, :1]
    found = _attended(inner, inner.query(first), inner.key(states), inner.value(states), mask, options)
    return layer.feed_forward_chunk(layer.attention.output(found, first))


def _of_distilbert(layer: Any, states: Tensor, mask: Tensor | None, options: Mapping[str, Any]) -> Tensor:
    inner, first = layer.attention, states[:, :1]
    found = _attended(inner, inner.q_lin(first), inner.k_lin(states), inner.v_lin(states), mask, options)
    normed = layer.sa_layer_norm(inner.out_lin(found) + first)
    return layer.output_layer_norm(layer.ffn(normed) + normed)


def _attended(
    inner: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: Mapping[str, Any]
) -> Tensor:
    """Return what the first position's query finds: (rows, 1, width)."""
    heads = (one.view(*one.shape[:2], -1, inner.attention_head_size).transpose(1, 2) for one in (query, key, value))
    attention = ALL_ATTENTION_FUNCTIONS[inner.config._attn_implementation]
    dropout = inner.dropout.p if inner.training else 0.0
    mask = mask if mask is None else mask[:, :, :1]
    found, _ = attention(inner, *heads, mask, dropout=dropout, scaling=inner.scaling, **options)
    return found.reshape(*query.shape[:2], -1)


# transformers 5.23: attention by the interface, and a residual and a norm after each half.
KNOWN: dict[str, Compute] = {
    "transformers.models.bert.modeling_bert.BertLayer": _of_bert,
    "transformers.models.camembert.modeling_camembert.CamembertLayer": _of_bert,
    "transformers.models.electra.modeling_electra.ElectraLayer": _of_bert,
    "transformers.models.roberta.modeling_roberta.RobertaLayer": _of_bert,
    "transformers.models.xlm_roberta.modeling_xlm_roberta.XLMRobertaLayer": _of_bert,
    "transformers.models.distilbert.modeling_distilbert.TransformerBlock": _of_distilbert,
}
