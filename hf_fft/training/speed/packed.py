"""Linear layers where weights stand still, on a CPU in bfloat16: weights laid out once as the product reads them.

In a loop without gradients `nn.Linear` under autocast copies its bias into the result, for the product to be added to,
and lays its weights out anew in every call. oneDNN's own linear layer, which torch's compiler uses for frozen models,
takes weights that are laid out already and adds the bias itself (torch 2.13).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

# Smaller layers, such as a classifier's last one, take no time.
LEAST_FEATURES = 32
# What weights are laid out for; they serve any number of tokens.
TOKENS = 1024
SAME_PRODUCT = 0.05


@contextmanager
def packed_linears(model: nn.Module) -> Iterator[None]:
    """Let the linear layers of a model use packed weights while this lasts: calls without gradients, under autocast.

    Weights must not change before it ends. They are packed at their first use, and take as much memory as a cast to
    bfloat16 does. Nothing happens where torch has no such product, or where it does not give what `linear` gives.

    Args:
        model: On a CPU. The `forward` of its layers is replaced on the objects for the while.
    """
    linears = [one for one in model.modules() if isinstance(one, nn.Linear)]
    layers = [one for one in linears if _is_plain(one)] if _works() else []
    for layer in layers:
        vars(layer)["forward"] = _Packed(layer, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(layer: nn.Linear) -> bool:
    """Say whether a layer is torch's own, with weights that autocast casts; not those of a library that quantizes."""
    weight = layer.weight
    if type(layer) is not nn.Linear or "forward" in vars(layer) or type(weight) is not nn.Parameter:
        return False
    cast = weight.dtype in (torch.float32, torch.bfloat16, torch.float16)
    return cast and weight.device.type == "cpu" and min(weight.shape) >= LEAST_FEATURES


@dataclass
class _Packed:
    """Stands for a layer's forward."""

    layer: nn.Linear
    whole: Callable[[Tensor], Tensor]
    weights: tuple[Tensor, Tensor | None] | None = None

    def __call__(self, input: Tensor) -> Tensor:
        """Take (…, features in); return (…, features out)."""
        in_bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
        if not in_bf16 or torch.is_grad_enabled() or not input.numel():
            return self.whole(input)
        if self.weights is None:
            self.weights = _packed(self.layer.weight, self.layer.bias)
        return _product(input.to(torch.bfloat16), *self.weights)


@torch.no_grad()
def _packed(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    # Detached, for autocast must not keep this cast as well.
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(torch.bfloat16).contiguous(), TOKENS)
    return laid_out, None if bias is None else bias.detach().to(torch.bfloat16)


def _product(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(states.contiguous(), weight, bias, "none", [], "")
    return out


@functools.cache
def _works() -> bool:
    """Say whether torch has this product here, and it gives what `linear` gives but for rounding."""
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    generator = torch.Generator().manual_seed(0)
    states, weight = (torch.randn(size, 64, generator=generator).to(torch.bfloat16) for size in (48, 96))
    bias = torch.randn(96, generator=generator)
    try:
        found = _product(states, *_packed(weight, bias))
    except (RuntimeError, AttributeError, NotImplementedError):  # no such operator, or not for this processor
        return False
    with torch.autocast("cpu", enabled=False):  # it is asked inside loops under autocast
        expected = linear(states.float(), weight.float(), bias)
    return bool(torch.allclose(found.float(), expected, rtol=SAME_PRODUCT, atol=SAME_PRODUCT))
