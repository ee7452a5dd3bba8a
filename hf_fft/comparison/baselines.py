"""What costs nothing: the majority, and TF-IDF with logistic regression, scored as the task scores a model.

Started as a process of its own by a comparison: `python -m hf_fft.comparison.baselines REQUEST`. The pretrained model
with an untrained head is none of these: it is an ordinary run of no epochs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from hf_fft.command_line import run_door
from hf_fft.comparison.baseline_models import BASELINES, Answers, golds_of
from hf_fft.data import Splits, load_splits
from hf_fft.data.values import column_values
from hf_fft.errors import HfFftError
from hf_fft.recipe import Recipe, recipe_from
from hf_fft.result import (
    Cost,
    Prediction,
    Result,
    begin_run,
    failed_result,
    open_run_folder,
    write_predictions,
    write_result,
)
from hf_fft.tasks import Task, load_tokenizer, task_for
from hf_fft.training import PeakMemory, with_groups


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the baselines of a request, a JSON file, and return the exit code."""
    parser = argparse.ArgumentParser(prog="hf_fft.comparison.baselines")
    parser.add_argument("request")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--trust-remote-code", action="store_true")
    options = parser.parse_args(arguments)
    return run_door(lambda: _compute(options))


def _compute(options: argparse.Namespace) -> None:
    read: dict[str, tuple[Task, Splits]] = {}
    for wish in json.loads(Path(options.request).read_text(encoding="utf-8"))["baselines"]:
        recipe, folder = recipe_from(wish["recipe"], source="the recipe for this baseline"), Path(wish["folder"])
        with open_run_folder(folder, recipe, overwrite=options.overwrite) as finished:
            if finished is None:
                begin_run(folder, recipe)
                write_result(folder, _result(wish["name"], recipe, folder, read))


def _result(name: str, recipe: Recipe, folder: Path, read: dict[str, tuple[Task, Splits]]) -> Result:
    """Compute one baseline and keep its predictions; one that cannot be computed gives a failed result."""
    try:
        key = recipe.data.model_dump_json()
        if key not in read:
            read[key] = _read(recipe)
        result, predictions = scored_baseline(name, recipe, *read[key])
    except (HfFftError, ValueError) as error:  # scikit-learn says ValueError of texts without a single word
        return failed_result(recipe, error)
    write_predictions(folder, predictions)
    return result


def _read(recipe: Recipe) -> tuple[Task, Splits]:
    task = task_for(recipe.task)
    splits = load_splits(recipe.data, task)
    return task.fitted(splits, load_tokenizer(recipe.model)), splits


def scored_baseline(name: str, recipe: Recipe, task: Task, splits: Splits) -> tuple[Result, list[Prediction]]:
    """Learn from the training rows, answer the other splits, and score the answers by the task's own `score`.

    Raises:
        ValueError: if the texts hold nothing that can be learned from.
    """
    memory = PeakMemory(on_gpu=False)
    started = time.perf_counter()
    baseline = BASELINES[recipe.task.name, name](task, splits.train)
    train_seconds = time.perf_counter() - started
    predictions: dict[str, list[Prediction]] = {}
    metrics: dict[str, dict[str, float | None]] = {}
    seconds = {}
    for split, rows in splits.items():
        if split != "train":
            started = time.perf_counter()
            predictions[split] = _predictions(baseline.answers(rows), task, rows, split)
            scores = task.score(predictions[split])
            metrics[split] = {key: value if math.isfinite(value) else None for key, value in scores.items()}
            seconds[split] = time.perf_counter() - started
    last = next(reversed(predictions), None)
    cost = Cost(
        train_seconds=train_seconds,
        evaluation_seconds=sum(seconds.values()),
        peak_mib=memory.mib(),
        trainable_parameters=baseline.parameters,
        total_parameters=baseline.parameters,
        optimizer_steps=0,
        model_mib=baseline.mib,
        predictions_per_second=len(predictions[last]) / seconds[last] if last else None,
    )
    result = Result(
        status="finished",
        recipe=recipe,
        primary_metric=task.primary_metric,
        metrics=metrics,
        cost=cost,
        data={"splits": {split: {"rows": len(rows)} for split, rows in splits.items()}},
        notes=(f"{name}: no model was fine-tuned; the recipe's model, strategy and training do not apply.",),
    )
    column = recipe.data.group_column
    grouped = [with_groups(some, getattr(splits, split), column) for split, some in predictions.items()]
    return result, [one for some in grouped for one in some]


def _predictions(answers: Answers, task: Task, rows: Dataset, split: str) -> list[Prediction]:
    inputs = {column: column_values(rows, column) for column in task.text_columns()}
    scores = answers.scores or [{}] * len(rows)
    return [
        Prediction(
            split=split,
            row=row,
            inputs={column: values[row] for column, values in inputs.items()},
            gold=gold,
            guess=answers.guesses[row],
            scores=scores[row],
        )
        for row, gold in enumerate(golds_of(task, rows))
    ]


if __name__ == "__main__":
    sys.exit(main())
