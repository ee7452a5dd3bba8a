"""LoRA's linear layers in training steps on a CPU: a layer and its adapter in one function.

peft computes the layer, casts what it read to float32, drops some of it, multiplies by two narrow matrices, scales and
adds (0.21). The products are small, and the passes over states around them cost more than training the weights
themselves would. Here all stays in the precision of the step, the scaling is done between the two matrices, where few
numbers are, and the adapter's part is added by its own product.

The layers keep their places and names, so checkpoints, saving and merging know nothing of it. Calls without gradients,
several adapters at once, variants of LoRA and layers with hooks are left to peft.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from hf_fft.training.speed.dropout import LEVELS, keep_mask, levels_dropped

# By name, since only the strategy imports peft.
LORA_LINEAR = "peft.tuners.lora.layer.Linear"


def join_adapters(model: nn.Module) -> int:
    """Let each linear layer under LoRA be computed together with its adapter; return how many. Changes the model."""
    layers: list[Any] = [
        one for one in model.modules() if f"{type(one).__module__}.{type(one).__name__}" == LORA_LINEAR
    ]
    joined = [one for one in layers if type(one.base_layer) is nn.Linear and "forward" not in vars(one)]
    for layer in joined:
        layer.forward = _Joined(layer, layer.forward)
    return len(joined)


@dataclass(frozen=True)
class _Joined:
    """Stands for the forward of one of peft's layers."""

    layer: Any
    whole: Callable[..., Tensor]

    def __call__(self, states: Tensor, *more: Any, **options: Any) -> Tensor:
        """Take (…, features in); return (…, features out)."""
        adapter = None if more or options else self._adapter(states)
        if adapter is None:
            return self.whole(states, *more, **options)
        layer, on_cpu = self.layer, "cpu"
        dtype = torch.get_autocast_dtype(on_cpu) if torch.is_autocast_enabled(on_cpu) else states.dtype
        own = layer.base_layer
        out: Tensor = _Adapted.apply(
            states.to(dtype).reshape(-1, states.shape[-1]),
            layer.lora_A[adapter].weight,
            layer.lora_B[adapter].weight,
            (own.weight.detach().to(dtype), None if own.bias is None else own.bias.detach().to(dtype)),
            _levels(layer.lora_dropout[adapter]),
            layer.scaling[adapter],
        )
        return out.view(*states.shape[:-1], out.shape[-1])

    def _adapter(self, states: Tensor) -> str | None:
        """Return the name of the adapter, if this is a step in which it and nothing else of the layer learns."""
        layer = self.layer
        names = [name for name in layer.active_adapters if name in layer.lora_A]
        if len(names) != 1 or layer.merged or layer.disable_adapters or names[0] in layer.lora_variant:
            return None
        own, dropout = layer.base_layer, layer.lora_dropout[names[0]]
        down, up = layer.lora_A[names[0]], layer.lora_B[names[0]]
        learns = torch.is_grad_enabled() and down.weight.requires_grad and up.weight.requires_grad
        frozen = not any(parameter.requires_grad for parameter in own.parameters()) and up.bias is None
        plain = all(type(one) is nn.Linear for one in (own, down, up)) and _levels(dropout) < LEVELS
        watched = any(_is_watched(one) for one in (own, dropout, down, up))
        return names[0] if learns and frozen and plain and not watched and states.device.type == "cpu" else None


def _levels(dropout: nn.Module) -> int:
    """Return how many levels of random bits are dropped; none by what stands where there is no dropout."""
    return levels_dropped(getattr(dropout, "p", 0.0)) if dropout.training else 0


def _is_watched(module: nn.Module) -> bool:
    """Say whether something expects a module's forward, or its gradients, to pass by."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(hooks) or "forward" in vars(module)


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        states: Tensor,
        down: Tensor,
        up: Tensor,
        own: tuple[Tensor, Tensor | None],
        dropped: int,
        scaling: float,
    ) -> Tensor:
        narrow_down, narrow_up, mask, read = down.to(states.dtype), up.to(states.dtype), None, states
        if dropped:
            mask = keep_mask(tuple(states.shape), dropped)
            read, scaling = states * mask, scaling * LEVELS / (LEVELS - dropped)
        inner = (read @ narrow_down.t()).mul_(scaling)
        context.scaling, context.dtypes = scaling, (down.dtype, up.dtype)
        context.save_for_backward(read, mask, inner, narrow_down, narrow_up, own[0])
        return linear(states, *own).addmm_(inner, narrow_up.t())

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        read, mask, inner, down, up, weight = context.saved_tensors
        gradient, (of_down, of_up) = gradients[0], context.dtypes
        outer = (gradient @ up).mul_(context.scaling)
        of_states = None
        if context.needs_input_grad[0]:
            of_states = gradient @ weight
            if mask is None:
                of_states.addmm_(outer, down)
            else:
                of_states += (outer @ down).mul_(mask)
        # The narrow factor first: the other way round takes twice the time (torch 2.13).
        grown = (outer.t() @ read).to(of_down), (inner.t() @ gradient).t().to(of_up).contiguous()
        return of_states, *grown, None, None, None
