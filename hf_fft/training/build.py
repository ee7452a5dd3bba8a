"""Where a task and a strategy meet: one recipe, one trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, TrainingArguments, set_seed

from hf_fft.data import Splits
from hf_fft.errors import RecipeError
from hf_fft.recipe import AutoSpeedRecipe, Recipe, TextClassificationRecipe
from hf_fft.strategies import Strategy
from hf_fft.tasks import Task
from hf_fft.training.arguments import training_arguments
from hf_fft.training.callbacks import CostMeter
from hf_fft.training.frozen_prefix.callback import attach_frozen_prefix
from hf_fft.training.speed.batches import token_lengths
from hf_fft.training.speed.fast_model import quicken, quicken_prepared
from hf_fft.training.speed.plan import plan_speed, with_choice
from hf_fft.training.trainer import AnyTrainer, FullFinetuningSeq2SeqTrainer, FullFinetuningTrainer

# Strategies under which layers are frozen from the bottom up. LoRA's adapters sit in every layer.
PREFIX_STRATEGIES = frozenset({"feature_based", "gradual_unfreezing", "probe_then_full"})
PREFIX_INTENDED = "what frozen layers give is computed once a row and kept, if a probe of the model allows it"


def build_trainer(
    recipe: Recipe,
    task: Task,
    strategy: Strategy,
    *,
    splits: Splits,
    encoded: Splits,
    tokenizer: PreTrainedTokenizerBase,
    output_dir: Path,
) -> AnyTrainer:
    """Plan for speed, load the model under the recipe's seed, and build the trainer that fine-tunes it.

    Raises:
        RecipeError: if options of the recipe exclude each other.
        StrategyError: if the strategy makes no sense for the model.
    """
    validates = splits.validation is not None
    _check_early_stopping(recipe, validates=validates)
    # What can only be chosen for the loaded model is added to the plan below, by `with_choice`.
    speed = plan_speed(recipe, encoded)
    arguments = training_arguments(
        recipe,
        strategy,
        task,
        output_dir=output_dir,
        training_items=encoded.train,
        validates=validates,
        speed=speed,
    )
    _check_smoothing(recipe)
    set_seed(recipe.seed)
    model = task.load_model(recipe.model)
    if model.config.get_text_config().pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if speed.threads is not None:  # before attention is measured with them
        torch.set_num_threads(speed.threads)
    quick = isinstance(recipe.speed, AutoSpeedRecipe) and _on_cpu_as_it_is(arguments)
    if quick:
        speed = quicken(model, speed, tokens=_usual_length(encoded.train))
    collator = task.collator(tokenizer, model)
    trainer = _built(
        recipe,
        FullFinetuningSeq2SeqTrainer if task.generates else FullFinetuningTrainer,
        model,
        arguments,
        strategy=strategy,
        speed=speed,
        train_dataset=encoded.train,
        eval_dataset=encoded.validation,
        processing_class=tokenizer,
        data_collator=collator,
        compute_loss_func=task.loss,
        compute_metrics=task.compute_metrics(splits.validation, encoded.validation)
        if splits.validation is not None and encoded.validation is not None
        else None,
        preprocess_logits_for_metrics=task.reduce_logits,
        callbacks=[CostMeter(), *task.callbacks(collator), *_early_stopping(recipe)],
    )
    if quick:
        assert trainer.model is not None
        trainer.speed = quicken_prepared(trainer.model, trainer.speed, strategy.name, arguments.world_size)
    changing = "the inputs of its rows change from epoch to epoch" if task.callbacks(collator) else None
    _use_frozen_prefix(trainer, recipe, why_not=changing)
    # Now rather than at the first step, so that --check and a mistyped recipe cost no training.
    trainer.optimizer_class_and_options(model)
    return trainer


def _on_cpu_as_it_is(arguments: TrainingArguments) -> bool:
    """Say whether a model trains on a CPU and is not compiled."""
    return arguments.device.type == "cpu" and not arguments.torch_compile


def _use_frozen_prefix(trainer: AnyTrainer, recipe: Recipe, *, why_not: str | None) -> None:
    """Let a trainer whose strategy freezes layers use what they give again, where the recipe leaves it to the plan."""
    plan = recipe.speed
    if isinstance(plan, AutoSpeedRecipe) and plan.frozen_prefix and trainer.strategy.name in PREFIX_STRATEGIES:
        attach_frozen_prefix(trainer, plan.max_cache_gib, why_not=why_not)
        trainer.speed = with_choice(trainer.speed, PREFIX_INTENDED)


def _usual_length(rows: Dataset) -> int:
    """Return the median length of the rows in tokens; 0 where they have none."""
    lengths = token_lengths(rows)
    return 0 if lengths is None or not len(lengths) else int(np.median(lengths))


def _built(
    recipe: Recipe,
    kind: type[FullFinetuningTrainer] | type[FullFinetuningSeq2SeqTrainer],
    *positional: Any,
    **named: Any,
) -> AnyTrainer:
    try:
        return kind(*positional, **named)
    except RuntimeError as error:
        if "report_to" in recipe.training.values() and "installed" in str(error):
            raise RecipeError(f"training.report_to: {error}") from error
        raise


def _early_stopping(recipe: Recipe) -> list[EarlyStoppingCallback]:
    if recipe.early_stopping is None:
        return []
    return [EarlyStoppingCallback(recipe.early_stopping.patience, recipe.early_stopping.threshold)]


def _check_early_stopping(recipe: Recipe, *, validates: bool) -> None:
    if recipe.early_stopping is None:
        return
    if not validates:
        raise RecipeError("early_stopping needs a validation split; set data.validation_fraction above 0.")
    if recipe.training.values().get("eval_strategy") == "no":
        raise RecipeError('early_stopping needs evaluations; training.eval_strategy is "no". Use "epoch" or "steps".')


def _check_smoothing(recipe: Recipe) -> None:
    smoothing = recipe.training.values().get("label_smoothing_factor", 0.0)
    if not smoothing or not isinstance(recipe.task, TextClassificationRecipe):
        return
    if recipe.task.problem_type != "single_label_classification":
        raise RecipeError(
            f"training.label_smoothing_factor {smoothing} has no meaning for {recipe.task.problem_type}: only a choice "
            "of one label can be smoothed. Leave it out."
        )


def precision_of(trainer: AnyTrainer) -> str:
    """Name the precision of the matrix products."""
    mixed = trainer.accelerator.mixed_precision
    return "float32" if mixed == "no" else f"{mixed} autocast over float32 weights"


def device_of(trainer: AnyTrainer) -> str:
    """Name the device that trained."""
    device = trainer.args.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
