"""Models that answer: one that a run left in its folder, or any other that transformers can load.

Task, tokenizer and model come together here with a trainer, for the trainer's own prediction loop gave the run's stored
predictions: the same batches, precision and decoding give the same answers.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Seq2SeqTrainingArguments, TrainingArguments

from hf_fft.errors import RecipeError, RunFolderError
from hf_fft.recipe import (
    ModelRecipe,
    Recipe,
    TextClassificationRecipe,
    TokenClassificationRecipe,
)
from hf_fft.recipe.override import apply, parse_overrides
from hf_fft.recipe.task_records import LanguageModelingRecipe
from hf_fft.recipe.validate import checked
from hf_fft.result import Result, SpeedPlan, load_result
from hf_fft.tasks import Task, load_tokenizer, task_for
from hf_fft.tasks.pretrained import NO_LIMIT, load_config
from hf_fft.training import AnyTrainer, FullFinetuningSeq2SeqTrainer, FullFinetuningTrainer
from hf_fft.training.arguments import EVAL_ACCUMULATION_STEPS, evaluation_rows

logger = logging.getLogger(__name__)

# What stands in for the data that nobody trains on here.
_NO_DATA = {"path": "-"}


@dataclass(frozen=True)
class SavedModel:
    """A model, and everything that it takes to answer with it.

    Attributes:
        name: What messages call it.
        recipe: What it was trained by, or was asked for by.
        task: The task with everything filled in: labels, lengths, thresholds.
        tokenizer: The model's own.
        trainer: HF's, whose prediction loop answers.
        result: The run's result; None of a model that hf_fft did not train.
    """

    name: str
    recipe: Recipe
    task: Task
    tokenizer: PreTrainedTokenizerBase
    trainer: AnyTrainer
    result: Result | None = None


def load_run(
    folder: str | Path, *, overrides: Sequence[str] = (), packed: bool = False, trust_remote_code: bool = False
) -> SavedModel:
    """Load the model of a finished run, to answer just as it did for the run's own test rows.

    Args:
        folder: The run folder.
        overrides: Changes of its recipe, as texts `path=value`: `task.no_answer_threshold=1.5`.
        packed: Whether a language model reads texts joined, as it may have been trained; otherwise each alone.
        trust_remote_code: Run code that came with the model; the run's recipe has the first consent.

    Raises:
        RunFolderError: if the folder is not that of a finished run.
        RecipeError: if an override makes no sense, or the model cannot be loaded.
    """
    folder = Path(folder)
    result = load_result(folder)
    if result.status != "finished" or not (folder / "model").is_dir():
        reason = result.error or "its model is missing"
        raise RunFolderError(f"{folder} holds no finished run: {reason}. Run its recipe again, or give another folder.")
    values = {**result.recipe.model_dump(mode="json", by_alias=True), "data": _NO_DATA}
    recipe = _changed(values, overrides, source=f"the recipe of {folder}")
    if recipe.model != result.recipe.model:
        raise RecipeError("--set model.…: a run's model is the one in its folder; for another give --model and --task.")
    trusted = recipe.model.trust_remote_code and trust_remote_code
    model = ModelRecipe(name=str((folder / "model").absolute()), trust_remote_code=trusted)
    recipe = recipe if packed else _one_by_one(recipe)
    tokenizer = load_tokenizer(model)
    task = task_for(recipe.task).restored(model, tokenizer)
    loaded, speed = _loaded(task, model, tokenizer), result.speed or SpeedPlan()
    trainer = _trainer(recipe, task, loaded, tokenizer, _precision(recipe, result), speed=speed)
    return SavedModel(str(folder), recipe, task, tokenizer, trainer, result)


def load_named(
    model: str, task: str, *, overrides: Sequence[str] = (), packed: bool = False, trust_remote_code: bool = False
) -> SavedModel:
    """Load any model whose head fits a task; labels and the kind of problem are those of its own configuration.

    Args:
        model: A Hub name, a folder, or `wheel:NAME==VERSION/path/inside`.
        task: A task's name, such as "text_classification".
        overrides: What a recipe would say besides, as texts `path=value`: `task.text_column=review`.

    Raises:
        RecipeError: if there is no such model or task, or the model has no trained head for it.
    """
    values = {"task": {"name": task}, "model": {"name": model}, "data": _NO_DATA}
    recipe = _changed(values, overrides, source=f"what is asked of {model}")
    named = recipe.model.model_copy(update={"trust_remote_code": recipe.model.trust_remote_code and trust_remote_code})
    recipe = recipe if packed else _one_by_one(recipe)
    tokenizer = load_tokenizer(named)
    read = _read_off(recipe, load_config(named), tokenizer)
    restored = task_for(read.task).restored(named, tokenizer)
    loaded = _loaded(restored, named, tokenizer)
    precision = {name: bool(read.training.values().get(name)) for name in ("bf16", "fp16")}
    trainer = _trainer(read, restored, loaded, tokenizer, _possible(precision), speed=SpeedPlan())
    return SavedModel(model, read, restored, tokenizer, trainer)


def _changed(values: dict[str, Any], overrides: Sequence[str], *, source: str) -> Recipe:
    changed, faults = apply(parse_overrides(overrides), values)
    return checked(changed, source=source, earlier=faults)


def _one_by_one(recipe: Recipe) -> Recipe:
    """Let a language model read every text alone: a row's figures must not depend on the rows beside it."""
    if not isinstance(recipe.task, LanguageModelingRecipe):
        return recipe
    return recipe.model_copy(update={"task": recipe.task.model_copy(update={"packing": False})})


def _read_off(recipe: Recipe, config: Any, tokenizer: PreTrainedTokenizerBase) -> Recipe:
    """Fill in what the model's own configuration says: label names, kind of problem, longest input.

    Raises:
        RecipeError: if the recipe names another number of labels than the model's head has.
    """
    task, filled = recipe.task, {}
    if isinstance(task, TextClassificationRecipe):
        if "problem_type" not in task.model_fields_set:
            single = "regression" if config.num_labels == 1 else "single_label_classification"
            filled["problem_type"] = getattr(config, "problem_type", None) or single
        if "max_length" not in task.model_fields_set and tokenizer.model_max_length < NO_LIMIT:
            filled["max_length"] = tokenizer.model_max_length
    names = [str(config.id2label[index]) for index in sorted(config.id2label)]
    is_number = filled.get("problem_type", getattr(task, "problem_type", None)) == "regression"
    if isinstance(task, TextClassificationRecipe | TokenClassificationRecipe) and not is_number:
        filled["labels"] = task.labels or tuple(names)
        if len(filled["labels"]) != len(names):
            raise RecipeError(
                f"task.labels has {len(filled['labels'])} names, and the head of {recipe.model.name} gives "
                f"{len(names)}: {', '.join(names[:20])}. Name each of them, in this order."
            )
    length = min(filled.get("max_length", task.max_length), tokenizer.model_max_length)
    return recipe.model_copy(update={"task": task.model_copy(update={**filled, "max_length": length})})


def _loaded(task: Task, model: ModelRecipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Load the model, and refuse one of which a part would be drawn at random.

    Raises:
        RecipeError: naming that part.
    """
    loaded = task.load_model(model)
    drawn: Sequence[str] = getattr(loaded, "newly_drawn", ())
    if drawn:
        raise RecipeError(
            f"{model.name} was not trained for {task.name}: it has no weights for {', '.join(drawn[:3])}"
            f"{f' and {len(drawn) - 3} more' if len(drawn) > 3 else ''}, and answers would be chance. Give a model "
            "with a trained head, or another --task."
        )
    if loaded.config.get_text_config().pad_token_id is None:
        loaded.config.pad_token_id = tokenizer.pad_token_id
    return loaded


def _precision(recipe: Recipe, result: Result) -> dict[str, bool]:
    """Return the precision of the run, which its predictions were made in, unless it was changed on purpose."""
    asked, before = recipe.training.values(), result.recipe.training.values()
    names = ("bf16", "fp16")
    if result.environment is None or any(asked.get(name) != before.get(name) for name in names):
        return _possible({name: bool(asked.get(name)) for name in names})
    return _possible({name: result.environment.precision.startswith(name) for name in names})


def _possible(precision: dict[str, bool]) -> dict[str, bool]:
    if precision["fp16"] and not torch.accelerator.is_available():
        logger.info("The run computed in fp16, which needs a GPU; here it is float32, so figures differ in rounding.")
        return {**precision, "fp16": False}
    return precision


def _trainer(
    recipe: Recipe,
    task: Task,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    precision: dict[str, bool],
    *,
    speed: SpeedPlan,
) -> AnyTrainer:
    asked = recipe.training.values()
    options: dict[str, Any] = {
        # Must exist; nothing is written there.
        "output_dir": tempfile.gettempdir(),
        "per_device_eval_batch_size": evaluation_rows(recipe.training.values(), speed),
        "eval_accumulation_steps": EVAL_ACCUMULATION_STEPS,
        "label_names": ["labels"],
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": asked.get("use_cpu", False) or not torch.accelerator.is_available(),
        **precision,
    }
    kind: Any = FullFinetuningSeq2SeqTrainer if task.generates else FullFinetuningTrainer
    arguments = (
        Seq2SeqTrainingArguments(**options, predict_with_generate=True)
        if task.generates
        else TrainingArguments(**options)
    )
    trainer: AnyTrainer = kind(
        model,
        arguments,
        processing_class=tokenizer,
        data_collator=task.collator(tokenizer, model),
        compute_loss_func=task.loss,
        preprocess_logits_for_metrics=task.reduce_logits,
    )
    return trainer
