"""What is done to a loaded model on a CPU so that its steps cost less; names and weights stay as they are."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel, TrainingArguments

from hf_fft.cache import cache_folder
from hf_fft.result import SpeedPlan, write_json
from hf_fft.training.speed.adapters import join_adapters
from hf_fft.training.speed.allocator import keep_freed_memory
from hf_fft.training.speed.attention import register_attention
from hf_fft.training.speed.cores import processor_name
from hf_fft.training.speed.dropout import cheapen_dropout
from hf_fft.training.speed.embedding import keep_embedding_gradients
from hf_fft.training.speed.first_position import first_position_alone, first_position_evaluated
from hf_fft.training.speed.packed import packed_linears
from hf_fft.training.speed.plan import with_choice

logger = logging.getLogger(__name__)

FOLDER = "attention"
# Where configs say at which probability attention weights are dropped, and how many heads there are.
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop", "dropout_rate")
HEADS = ("num_attention_heads", "n_head", "num_heads")
MEASURED_TOKENS = 2048
REPEATS = 7
# Another implementation has to be this much faster than the model's own to be worth it.
LEAST_GAIN = 1.05
SAME_LOGITS = 1e-4


def quicken(model: PreTrainedModel, plan: SpeedPlan, *, tokens: int) -> SpeedPlan:
    """Do to a model on a CPU what makes its steps cheaper; return the plan with what was done. Changes the model.

    Args:
        tokens: In a row of usual length, by which attention is measured.
    """
    if keep_freed_memory():
        plan = with_choice(plan, "memory that was freed is kept for the next step")
    if swapped := cheapen_dropout(model):
        reason = f"random numbers of {swapped} dropout modules from a faster generator, at the same probabilities"
        plan = with_choice(plan, reason, cheap_dropout=True)
    own = getattr(model.config, "_attn_implementation", None)
    if own != "sdpa" or not tokens:
        return plan
    ours = register_attention()
    gain = _attention_gain(model, own, ours, tokens=tokens, bf16=plan.bf16)
    if gain < LEAST_GAIN:
        return with_choice(plan, f"attention {own}: measured at {tokens} tokens a row, ours is not faster")
    if not _same_logits(model, ours):
        return with_choice(plan, f"attention {own}: ours does not give this model's logits")
    model.set_attn_implementation(ours)
    return with_choice(plan, f"attention {ours}: measured at {tokens} tokens a row, {gain:.1f} × {own}", attention=ours)


def quicken_prepared(model: nn.Module, plan: SpeedPlan, strategy: str, processes: int) -> SpeedPlan:
    """Do what can only be done once a strategy has prepared the model; return the plan with it. Changes the model.

    Args:
        strategy: Its name, for it may have brought modules of its own.
        processes: That train together. Several exchange gradients through hooks, which a kept table passes by.
    """
    if brought := cheapen_dropout(model):
        reason = f"random numbers of {brought} dropout modules that {strategy} brought, from the faster generator too"
        plan = with_choice(plan, reason, cheap_dropout=True)
    if joined := join_adapters(model):
        plan = with_choice(plan, f"{joined} adapters are computed together with the layers that they stand beside")
    plan = quicken_prediction(model, plan)
    if processes == 1 and keep_embedding_gradients(model):
        plan = with_choice(plan, "the gradient of the word embeddings is written into one table, again and again")
    return plan


def quicken_prediction(model: nn.Module, plan: SpeedPlan) -> SpeedPlan:
    """Do what makes evaluation and prediction cheaper too; return the plan with it. Changes the model."""
    if first_position_alone(model, _logits):
        plan = with_choice(plan, "the last layer computes the first position alone: no other is read")
    return plan


def keeps_casts(arguments: TrainingArguments, plan: SpeedPlan) -> bool:
    """Say whether loops without gradients keep the casts of weights: in bf16 on a CPU, where there is a plan at all.

    Not where the model is compiled, which would be compiled anew for what stands in its layers' place.
    """
    in_bf16 = bool(arguments.bf16) and arguments.device.type == "cpu"
    return bool(plan.reasons) and in_bf16 and not arguments.torch_compile


@contextmanager
def quick_evaluation(model: nn.Module, *, keep_casts: bool) -> Iterator[None]:
    """Spare a loop over batches without gradients what need not be done: see `first_position_evaluated`.

    Weights must not change before it ends.

    Args:
        model: As a trainer calls it.
        keep_casts: Cast weights to bfloat16 once a loop instead of once a batch, those of linear layers in the form in
            which products read them (`packed_linears`). Of others autocast keeps the casts, if they learn, until its
            outermost block ends, and accelerate puts a block around each batch (torch 2.13, accelerate 1.15).
    """
    if keep_casts:
        torch.autocast_increment_nesting()
    try:
        with first_position_evaluated(model), packed_linears(model) if keep_casts else nullcontext():
            yield
    finally:
        if keep_casts and torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()


def _attention_gain(model: PreTrainedModel, own: str, ours: str, *, tokens: int, bf16: bool) -> float:
    """Return how many times as fast our attention is, as it was measured here when it was first asked.

    A clock does not say the same twice, and the same run should choose the same again.
    """
    said = [torch.__version__, torch.get_num_threads(), processor_name(), *_shape(model), own, tokens, bf16]
    kept = cache_folder() / FOLDER / f"{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]}.json"
    try:
        return float(json.loads(kept.read_text())["gain"])
    except (OSError, ValueError, KeyError, TypeError):  # not measured yet, or not readable any more
        seconds = {name: _attention_seconds(model, name, tokens=tokens, bf16=bf16) for name in (own, ours)}
    gain = seconds[own] / seconds[ours]
    try:
        write_json(kept, {"gain": gain, "seconds": seconds})
    except OSError as error:
        logger.info("The measured gain of attention is not kept: %s", error)
    return gain


def _shape(model: PreTrainedModel) -> tuple[int, int, float]:
    """Return heads, size of a head, and the probability at which attention weights are dropped."""
    config = model.config.get_text_config()
    heads = next((int(getattr(config, field)) for field in HEADS if getattr(config, field, None)), 1)
    dropout = next((float(getattr(config, field)) for field in ATTENTION_DROPOUT if hasattr(config, field)), 0.0)
    return heads, max(1, config.hidden_size // heads), dropout


def _attention_seconds(model: PreTrainedModel, name: str, *, tokens: int, bf16: bool) -> float:
    """Time one attention forward and backward, at the run's length, heads and dropout; the random state stays."""
    (heads, size, dropout), rows = _shape(model), max(1, MEASURED_TOKENS // tokens)
    implementation = AttentionInterface()[name]
    with torch.random.fork_rng(devices=[]):
        states = torch.randn(3, rows, heads, tokens, size, dtype=torch.bfloat16 if bf16 else torch.float32)
        query, key, value = (one.requires_grad_() for one in states)
        mask = _padding_mask(rows, tokens, states.dtype, added=name != "sdpa")
        step = _step(implementation, query, key, value, mask, dropout)
        # The quickest, for what others do on the machine only makes a step slower, and the choice is kept.
        return min(_seconds(step) for _ in range(REPEATS))


def _padding_mask(rows: int, tokens: int, dtype: torch.dtype, *, added: bool) -> Tensor:
    """Return a mask in which a tenth of the tokens is padding: boolean, or to be added to scores."""
    read = torch.arange(tokens) < max(1, tokens * 9 // 10)
    mask = read.expand(rows, 1, tokens, tokens)
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min) if added else mask


def _step(
    implementation: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout: float
) -> Callable[[], None]:
    module = nn.Module()
    module.is_causal = False  # type: ignore[assignment]

    def step() -> None:
        out = implementation(module, query, key, value, mask, dropout=dropout, is_causal=False)[0]
        out.sum().backward()

    return step


def _seconds(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


@torch.no_grad()
def _same_logits(model: PreTrainedModel, name: str) -> bool:
    """Say whether another attention gives the same logits in float32, on a few tokens with padding."""
    training, own = model.training, model.config._attn_implementation
    assert own is not None
    model.eval()
    try:
        expected = _logits(model)
        model.set_attn_implementation(name)
        return bool(torch.allclose(_logits(model), expected, atol=SAME_LOGITS, rtol=SAME_LOGITS))
    except ValueError:  # what our attention raises for options that it does not compute
        return False
    finally:
        model.set_attn_implementation(own)
        model.train(training)


def _logits(model: Any) -> Tensor:
    inputs = torch.arange(2 * 8).view(2, 8) % min(8, model.config.get_text_config().vocab_size)
    mask = torch.ones_like(inputs)
    mask[1, 5:] = 0
    more = {"decoder_input_ids": inputs} if model.config.is_encoder_decoder else {}
    outputs = model(input_ids=inputs, attention_mask=mask, return_dict=True, **more)
    # Question answering has two, and no "logits"; the first tensor is enough.
    return next(value for value in outputs.values() if isinstance(value, Tensor))
