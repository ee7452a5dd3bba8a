"""What a run does to be fast: chosen before it begins, for this machine and these data, with a reason for each choice.

Whatever the recipe says under `training` wins, false included, and `"speed": "off"` chooses nothing. What can only be
chosen once the model is there (`build_trainer` knows it) is added to the plan by `with_choice`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import BatchSampler
from transformers import TrainingArguments

from hf_fft.data import Splits
from hf_fft.errors import RecipeError
from hf_fft.recipe import AutoSpeedRecipe, Recipe, TextClassificationRecipe, TokenClassificationRecipe
from hf_fft.recipe.task_records import QuestionAnsweringRecipe
from hf_fft.result import SpeedPlan
from hf_fft.training.arguments import LEAST_EVALUATION_ROWS, evaluation_rows, trains_on_gpu
from hf_fft.training.speed.batches import Integers, LikeLengthRows, TokenBatches, padding_share, token_lengths
from hf_fft.training.speed.cores import threads_for, usable_cores

# Batches of like length that spare less padding than this are not worth an order that depends on length.
LEAST_PADDING_SPARED = 0.02
# Of a batch in evaluation, padding included: what 32 rows of 128 tokens are. More are faster still, and evaluation
# would take more memory than training a head does.
EVALUATION_TOKENS = 4096
MOST_EVALUATION_ROWS = 64
ROUND_ROWS = 8
FEW_LOGITS = (TextClassificationRecipe, TokenClassificationRecipe, QuestionAnsweringRecipe)
DEFAULT_BATCH = TrainingArguments.per_device_train_batch_size

Choice = tuple[dict[str, Any], str]


def plan_speed(recipe: Recipe, encoded: Splits) -> SpeedPlan:
    """Choose what makes this run fast, as far as machine, recipe and encoded rows say it.

    Raises:
        RecipeError: if the recipe asks for batches of so many tokens and of so many rows.
    """
    if not isinstance(recipe.speed, AutoSpeedRecipe):
        return SpeedPlan(reasons=("speed is off: plain Trainer with the recipe's arguments",))
    asked = recipe.training.values()
    on_gpu = trains_on_gpu(recipe)
    evaluated = [token_lengths(split) for split in (encoded.validation, encoded.test) if split is not None]
    plan = SpeedPlan()
    choices = (
        _precision(asked, on_gpu=on_gpu),
        _batches(recipe, recipe.speed, token_lengths(encoded.train)),
        _evaluation(evaluated),
        _evaluation_rows(recipe, evaluated),
        None if on_gpu else _threads(),
        _left_alone(asked, on_gpu=on_gpu),
    )
    for choice in choices:
        if choice is not None:
            chosen, reason = choice
            plan = with_choice(plan, reason, **chosen)
    return plan


def with_choice(plan: SpeedPlan, reason: str, **chosen: Any) -> SpeedPlan:
    """Return a plan with one more choice and the reason for it, a sentence without a full stop."""
    return plan.model_copy(update={**chosen, "reasons": (*plan.reasons, reason)})


def bf16_units() -> str | None:
    """Name what multiplies bfloat16 in this processor; None where it would be emulated, which is slow."""
    present = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    units = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
    return next((unit for name, unit in units.items() if present.get(name)), None)


def _precision(asked: Mapping[str, Any], *, on_gpu: bool) -> Choice:
    named = [name for name in ("bf16", "fp16", "deepspeed") if name in asked]
    if named:
        return {}, f"precision as training.{named[0]} says"
    where = "GPU" if on_gpu else "processor"
    units = bf16_units() if not on_gpu else torch.cuda.is_bf16_supported(including_emulation=False)
    if not units:
        return {}, f"float32: this {where} has no units for bfloat16"
    named_units = f" ({units})" if isinstance(units, str) else ""
    return {"bf16": True}, f"bf16 autocast over float32 weights: this {where} multiplies bfloat16 itself{named_units}"


def _batches(recipe: Recipe, speed: AutoSpeedRecipe, lengths: Integers | None) -> Choice:
    asked, processes = recipe.training.values(), int(os.environ.get("WORLD_SIZE", "1"))
    if speed.max_tokens_per_batch is not None:
        return _token_batches(asked, speed.max_tokens_per_batch, lengths, seed=recipe.seed, processes=processes)
    if "train_sampling_strategy" in asked:
        name = asked["train_sampling_strategy"]
        grouped = ", which a run that is resumed does not repeat exactly" if name == "group_by_length" else ""
        return {}, f'batches as training.train_sampling_strategy "{name}" says{grouped}'
    if lengths is None:
        return {}, "batches in random order: the rows have no token ids to tell their length by"
    size = asked.get("per_device_train_batch_size", DEFAULT_BATCH) * processes
    random, sorted_rows = _padding(lengths, size, seed=recipe.seed)
    if random - sorted_rows < LEAST_PADDING_SPARED:
        return {}, f"batches in random order: only {random:.0%} of them is padding"
    reason = f"rows of like length in a batch: {sorted_rows:.0%} padding instead of {random:.0%}; seeded by epoch"
    return {"batches_by_length": True}, reason


def _padding(lengths: Integers, size: int, *, seed: int) -> tuple[float, float]:
    """Return the share of padding in the first epoch's batches: rows at random, and rows of like length."""
    sampler = LikeLengthRows(lengths, rows_per_batch=size, seed=seed)
    at_random = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
    random, alike = (padding_share(BatchSampler(rows, size, False), lengths) for rows in (at_random, sampler))
    return random, alike


def _token_batches(
    asked: Mapping[str, Any], max_tokens: int, lengths: Integers | None, *, seed: int, processes: int
) -> Choice:
    both = [name for name in ("per_device_train_batch_size", "train_sampling_strategy") if name in asked]
    if both:
        raise RecipeError(
            f"speed.max_tokens_per_batch fills batches by tokens, and training.{both[0]} says otherwise. Keep one."
        )
    if lengths is None:
        raise RecipeError("speed.max_tokens_per_batch needs training rows with token ids; leave it out.")
    batches = TokenBatches(lengths, max_tokens=max_tokens, seed=seed, processes=processes)
    sizes = batches.rows_in_batches
    longer = int((lengths > max_tokens).sum())
    more = f"; {longer:,} rows are longer, each a batch of its own" if longer else ""
    reason = (
        f"batches of at most {max_tokens:,} tokens, padding included: {len(batches):,} an epoch, "
        f"of {min(sizes):,} to {max(sizes):,} rows{more}"
    )
    return {"max_tokens_per_batch": max_tokens}, reason


def _evaluation(lengths: list[Integers | None]) -> Choice | None:
    if not any(each is not None and len(each) and each.min() < each.max() for each in lengths):
        return None
    return {"evaluation_by_length": True}, "evaluation from the longest row to the shortest, answers in the rows' order"


def _evaluation_rows(recipe: Recipe, lengths: list[Integers | None]) -> Choice | None:
    """Choose the rows of a batch in evaluation: more where all are short, and where no word of a vocabulary is scored.

    Small batches cost what a batch costs beside its products. The longest batch bounds what is held.
    """
    asked = recipe.training.values()
    if "per_device_eval_batch_size" in asked or not isinstance(recipe.task, FEW_LOGITS):
        return None
    if not lengths or any(each is None or not len(each) for each in lengths):
        return None
    longest = max(int(each.max()) for each in lengths if each is not None)
    rows = rows_that_fit(longest)
    if rows <= evaluation_rows(asked, SpeedPlan()):
        return None
    return {"evaluation_rows": rows}, f"{rows} rows a batch in evaluation: the longest has {longest} tokens"


def rows_that_fit(longest: int) -> int:
    """Return the rows of a batch in evaluation whose longest row has so many tokens; 0 where that are fewer than 32."""
    rows = min(MOST_EVALUATION_ROWS, EVALUATION_TOKENS // max(1, longest) // ROUND_ROWS * ROUND_ROWS)
    return rows if rows >= LEAST_EVALUATION_ROWS else 0


def _threads() -> Choice | None:
    cores, processes = usable_cores(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    threads = threads_for(
        cores=cores, processes=processes, present=torch.get_num_threads(), asked=os.environ.get("OMP_NUM_THREADS")
    )
    if threads is None:
        return None
    shared = f"{cores} cores for {processes} processes" if processes > 1 else f"{cores} cores may be used"
    return {"threads": threads}, f"{threads} threads a process: {shared}"


def _left_alone(asked: Mapping[str, Any], *, on_gpu: bool) -> Choice | None:
    """Say what is not chosen, and why: it may be asked for by its own name under `training`."""
    compiling = (
        "torch_compile, whose gain was not measured on a GPU"
        if on_gpu
        else "torch_compile, which gained nothing on a CPU after a long compilation"
    )
    left = [text for name, text in (("torch_compile", compiling),) if name not in asked]
    if "optim" not in asked:
        left.append("the optimizer, for transformers' own default is the fused AdamW")
    return ({}, f"left as it is: {'; '.join(left)}") if left else None
