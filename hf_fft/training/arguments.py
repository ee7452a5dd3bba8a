"""From a recipe's `training` to HF's TrainingArguments: their own names, and the few defaults that are ours.

Ours stand where HF's would make a measured run wrong or useless: the best weights on validation are kept, the log has
some twenty lines an epoch whatever the data's size, nothing is hidden from it, and nothing is pushed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import Seq2SeqTrainingArguments, TrainingArguments, get_scheduler

from hf_fft.errors import RecipeError
from hf_fft.recipe import Recipe
from hf_fft.result import Metric, SpeedPlan
from hf_fft.strategies import Strategy
from hf_fft.tasks import Task
from hf_fft.training.speed.batches import token_lengths, training_sampler
from hf_fft.training.tracking import check_trackers

LOG_LINES_PER_EPOCH = 20
LEAST_EVALUATION_ROWS = 32
# Predictions move from the device to memory every so many batches; HF would keep them all on the device.
EVAL_ACCUMULATION_STEPS = 32


def training_arguments(
    recipe: Recipe,
    strategy: Strategy,
    task: Task,
    *,
    output_dir: Path,
    training_items: Dataset,
    validates: bool,
    speed: SpeedPlan,
) -> TrainingArguments:
    """Build HF's arguments for a run.

    Args:
        training_items: The encoded training split; by the steps of its epoch the log's interval is chosen.
        validates: Whether there is a validation split to choose the best weights by.
        speed: What was chosen to be fast; it says nothing that the recipe says.

    Raises:
        RecipeError: if this machine cannot do what the recipe asks.
        MissingExtraError: if a tracker is not installed.
    """
    asked = recipe.training.values()
    check_precision(asked)
    check_trackers(asked)
    ours: dict[str, Any] = {
        "learning_rate": strategy.default_learning_rate,
        "per_device_eval_batch_size": evaluation_rows(asked, speed),
        "eval_accumulation_steps": EVAL_ACCUMULATION_STEPS,
        "logging_nan_inf_filter": False,
        "restore_callback_states_from_checkpoint": True,
        "report_to": "none",
        "run_name": output_dir.parent.name,  # what trackers call it: like the run folder
        "save_total_limit": 1,
        **({"bf16": True} if speed.bf16 else {}),
        **_keeping_the_best(asked, task.primary_metric, validates=validates),
    }
    fixed: dict[str, Any] = {
        "output_dir": str(output_dir),
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        # For a question-answering head Trainer would look for start_positions and end_positions (transformers 5.23).
        "label_names": ["labels"],
        "use_cpu": asked.get("use_cpu", not torch.accelerator.is_available()),
    }
    kind = TrainingArguments
    if task.generates:
        # What is written, and how long, stands in the model's generation_config, which the task fills.
        kind, fixed["predict_with_generate"] = Seq2SeqTrainingArguments, True
    try:
        arguments = kind(**{**ours, **asked, **fixed})
    except (ValueError, TypeError, ImportError) as error:
        raise RecipeError(f"training: {error}") from error
    if "logging_steps" not in asked and "logging_strategy" not in asked:
        batches = batches_per_epoch(arguments, training_items, speed)
        arguments.logging_steps = max(1, steps_per_epoch(arguments, batches) // LOG_LINES_PER_EPOCH)
    _check_schedule(arguments)
    return arguments


def evaluation_rows(asked: Mapping[str, Any], speed: SpeedPlan) -> int:
    """Return the rows of a batch in evaluation and prediction.

    Args:
        asked: What the recipe says under `training`.
        speed: What was chosen where it says nothing.
    """
    usual = max(LEAST_EVALUATION_ROWS, asked.get("per_device_train_batch_size", 8))
    return int(asked.get("per_device_eval_batch_size", speed.evaluation_rows or usual))


def trains_on_gpu(recipe: Recipe) -> bool:
    """Say whether a recipe trains on a CUDA device here."""
    return torch.cuda.is_available() and not recipe.training.values().get("use_cpu", False)


def check_precision(asked: dict[str, Any]) -> None:
    """Refuse a precision that this machine does not have, before anything is loaded.

    Raises:
        RecipeError: fp16 without a GPU; or fp16 and bf16 together.
    """
    on_cpu = asked.get("use_cpu", False) or not torch.accelerator.is_available()
    if asked.get("fp16") and on_cpu:
        raise RecipeError(
            "training.fp16 needs a GPU and this run is on a CPU, where half-precision gradients have no scaler. "
            'Use "bf16": true instead: it works on CPUs, fast on those with AVX512-BF16 or AMX.'
        )
    if asked.get("fp16") and asked.get("bf16"):
        raise RecipeError("training.fp16 and training.bf16 exclude each other; keep one.")


def batches_per_epoch(arguments: TrainingArguments, training_items: Dataset, speed: SpeedPlan) -> int:
    """Return the batches that each process takes in an epoch."""
    lengths = token_lengths(training_items) if speed.max_tokens_per_batch is not None else None
    if lengths is not None:
        return len(training_sampler(speed, arguments, lengths))
    return math.ceil(len(training_items) / (arguments.train_batch_size * arguments.world_size))


def steps_per_epoch(arguments: TrainingArguments, batches: int) -> int:
    """Return the optimizer steps of an epoch of so many batches."""
    return max(1, math.ceil(batches / arguments.gradient_accumulation_steps))


def steps_in_all(arguments: TrainingArguments, batches: int) -> int:
    """Return the optimizer steps that a run will take, whose epochs have so many batches."""
    if arguments.max_steps > 0:
        return arguments.max_steps
    return math.ceil(arguments.num_train_epochs * steps_per_epoch(arguments, batches))


def _keeping_the_best(asked: dict[str, Any], metric: Metric, *, validates: bool) -> dict[str, Any]:
    """Evaluate and save at the same steps, since Trainer can only load a best checkpoint that was saved."""
    if not validates:
        return {"eval_strategy": "no", "save_strategy": "no"}
    strategy = asked.get("eval_strategy", "epoch")
    saves = asked.get("save_strategy", strategy)
    best = {"metric_for_best_model": f"eval_{metric.name}", "greater_is_better": metric.greater_is_better}
    if strategy == "no" or saves == "no":
        return {"eval_strategy": strategy, "save_strategy": "no", **best}
    if saves == "steps" and "save_steps" in asked and asked["save_steps"] != asked.get("eval_steps"):
        raise RecipeError(
            f"training.save_steps is {asked['save_steps']:g} and training.eval_steps is not: the best weights can only "
            "be kept if they are saved when they are found. Leave save_steps out."
        )
    intervals = {"save_steps": asked["eval_steps"]} if "eval_steps" in asked else {}
    return {
        "eval_strategy": strategy,
        "save_strategy": saves,
        "load_best_model_at_end": True,
        **best,
        **intervals,
    }


def _check_schedule(arguments: TrainingArguments) -> None:
    """Build the learning-rate schedule once for nothing, so that its faults cost no training."""
    options = arguments.lr_scheduler_kwargs
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    try:
        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer,
            num_warmup_steps=1,
            num_training_steps=10,
            scheduler_specific_kwargs=options if isinstance(options, dict) else None,
        )
    except (ValueError, TypeError) as error:
        name = getattr(arguments.lr_scheduler_type, "value", arguments.lr_scheduler_type)
        raise RecipeError(f'training.lr_scheduler_type "{name}" cannot be used: {error}') from error
