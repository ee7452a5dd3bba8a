"""Attention for CPUs, by the formula, a few rows at a time.

With attention dropout torch's SDPA takes its general path on a CPU: in float32 whatever the autocast says, the scores
of the whole batch written out several times, and a random number from a slow generator for each of them (torch 2.13).
The fused kernel that it takes without dropout loses on short rows. Here the scores of a few rows at a time, which fit
into the processor's cache, are computed in the precision of the inputs, as `eager` attention does. Backward keeps the
probabilities alone: no probability is negative, so the sign says which ones were dropped.

It is registered with transformers' `AttentionInterface` under a name of its own, which a saved config does not hold.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from hf_fft.training.speed.dropout import LEVELS, keep_mask, levels_dropped

NAME = "hf_fft_cpu"
# Scores that are computed at once: 2 MiB of bfloat16, which with their like fit into a second-level cache.
SCORES_AT_ONCE = 2**20
# Of an AVX-512 register. What fills none of bfloat16 is done number by number: up to 31 of a row's scores.
FLOATS_AT_ONCE = 16
# Given by some models, and changing the result in ways that are not computed here.
NOT_COMPUTED = ("softcap", "s_aux", "position_bias")


def register_attention() -> str:
    """Make the implementation known to transformers, and return its name."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Compute attention as transformers' attention functions do.

    Args:
        module: The model's attention; its `num_key_value_groups` says how many queries share a key.
        query: (rows, heads, tokens, size of a head).
        key: (rows, heads of keys, tokens read, size of a head).
        value: As `key`.
        attention_mask: Added to the scores; (rows, 1 or heads, tokens, tokens read).
        scaling: Of the scores; one over the root of the head's size if absent.
        options: `dropout`, the probability at which attention weights are dropped; others of transformers.

    Returns:
        (rows, tokens, heads, size of a head), and no attention weights.

    Raises:
        ValueError: for an option that is not computed here.
    """
    wrong = [name for name in NOT_COMPUTED if options.get(name) is not None]
    if wrong:
        raise ValueError(f"the attention {NAME} does not compute {', '.join(wrong)}")
    sharing = getattr(module, "num_key_value_groups", 1)
    if sharing > 1:
        key, value = key.repeat_interleave(sharing, dim=1), value.repeat_interleave(sharing, dim=1)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if attention_mask is not None:
        # The lowest float32 would become minus infinity in bfloat16, and a row that may read nothing would become NaN.
        attention_mask = attention_mask.clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
    dropped = levels_dropped(options.get("dropout", 0.0))
    with torch.autocast(query.device.type, enabled=False):
        key, value = key.to(query.dtype), value.to(query.dtype)
        return _Attention.apply(query, key, value, attention_mask, dropped, scaling), None


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropped: int, scaling: float
    ) -> Tensor:
        rows, heads, tokens, _ = query.shape
        context.at_once = max(1, SCORES_AT_ONCE // (heads * tokens * key.shape[2]))
        context.scale, context.scaling = LEVELS / (LEVELS - dropped), scaling
        training = any(context.needs_input_grad)
        # Heads come between the tokens, and each product would lay its factors out anew, here and in backward.
        query, key, value = _laid_out(query, scaling), key.contiguous(), value.contiguous()
        out = query.new_empty(rows, tokens, heads, value.shape[-1])
        kept = []
        for here in _parts(rows, context.at_once):
            scores = query[here] @ key[here].transpose(2, 3)
            if mask is not None:
                scores += mask[here] if mask.shape[0] > 1 else mask
            probabilities = weight = _softmax(scores)
            if dropped:
                weight = probabilities * keep_mask(tuple(scores.shape), dropped)
                probabilities.neg_().add_(weight, alpha=2)  # exact: as it was, or its negative
            kept += [probabilities] if training else []
            out[here] = (weight @ value[here]).mul_(context.scale).transpose(1, 2)
        context.dropped = dropped
        context.save_for_backward(query, key, value, out, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        query, key, value, out, *kept = context.saved_tensors
        of_query, of_key, of_value = (_between_tokens(one) for one in (query, key, value))
        gradient = gradients[0].to(query.dtype)
        # The sum over all weights of weight times gradient is that of output times gradient (arXiv:2205.14135, B.4).
        shares = (gradient * out).sum(dim=-1).transpose(1, 2).unsqueeze(-1)
        for index, here in enumerate(_parts(query.shape[0], context.at_once)):
            outside = _laid_out(gradient[here].transpose(1, 2), context.scale)
            inside = outside @ value[here].transpose(2, 3)
            weight = kept[index].relu() if context.dropped else kept[index]
            of_value[here] = weight.transpose(2, 3) @ outside
            if context.dropped:
                inside *= weight
                inside -= kept[index].abs() * shares[here]
            else:
                inside -= shares[here]
                inside *= weight
            of_query[here] = (inside @ key[here]).mul_(context.scaling)
            of_key[here] = inside.transpose(2, 3) @ query[here]
        return of_query, of_key, of_value, None, None, None


def _laid_out(states: Tensor, factor: float) -> Tensor:
    """Return states times a factor, in the order of their dimensions."""
    return torch.mul(states, factor, out=states.new_empty(states.shape))


def _between_tokens(states: Tensor) -> Tensor:
    """Return room for (rows, heads, tokens, size) that lies in memory as projections do: tokens, then heads."""
    return states.new_empty([states.shape[index] for index in (0, 2, 1, 3)]).transpose(1, 2)


def _softmax(scores: Tensor) -> Tensor:
    """Return the softmax over the last dimension; by way of float32 where torch's own for bfloat16 is slow (2.13)."""
    width = scores.shape[-1]
    if scores.dtype == torch.bfloat16 and width >= FLOATS_AT_ONCE and width % (2 * FLOATS_AT_ONCE):
        return torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
    return torch.softmax(scores, dim=-1)


def _parts(rows: int, at_once: int) -> list[slice]:
    return [slice(start, min(rows, start + at_once)) for start in range(0, rows, at_once)]
