"""Runs that never were: a fake process writes the folder that a real one would, in no time."""

from __future__ import annotations

import numpy as np

from hf_fft.errors import StrategyError
from hf_fft.recipe import recipe_from
from hf_fft.result import (
    Cost,
    Curves,
    EvaluationPoint,
    Metric,
    Prediction,
    Result,
    begin_run,
    lock,
    write_predictions,
    write_result,
)

TEST_ROWS, VALIDATION_ROWS, TRAIN_ROWS = 200, 100, 1000
SHARES = {"full": 0.85, "feature_based": 0.65, "lora": 0.80, "majority": 0.5, "tfidf_logistic_regression": 0.6}


def made_recipe(**changes):
    values = {
        "task": "text_classification",
        "model": "some/model",
        "data": {"path": "/data/rows.csv"},
        "training": {"num_train_epochs": 2, "learning_rate": 1e-4},
    }
    return recipe_from({**values, **changes})


def predictions(share, *, split="test", rows=TEST_ROWS, seed=0, group=None, constant=False):
    """Predictions of which about this share is right, the same ones for the same seed."""
    gold = ["neg" if row % 2 else "pos" for row in range(rows)]
    right = np.random.default_rng(seed).random(rows) < share
    flipped = {"neg": "pos", "pos": "neg"}
    guesses = ["pos" if constant else one if ok else flipped[one] for one, ok in zip(gold, right, strict=True)]
    return [
        Prediction(split, row, {"text": f"text {row}"}, one, guess, group=group and f"g{row % group}")
        for row, (one, guess) in enumerate(zip(gold, guesses, strict=True))
    ]


def accuracy(some):
    return sum(one.gold == one.guess for one in some) / len(some)


class MadeRuns:
    """Stands in for `run_apart`, `compute_apart` and `check_apart`; remembers what was asked of it."""

    def __init__(self, *, shares=SHARES, fail=(), constant=(), stop_after=None, group=None, by_rate=None, misfits=()):
        self.misfits = misfits
        self.checked: list[str] = []
        self.shares, self.fail, self.constant = shares, fail, constant
        self.stop_after, self.group, self.by_rate = stop_after, group, by_rate
        self.names: list[str] = []

    def run_apart(self, run, folder, *, flags=()):
        if self.stop_after is not None and len(self.names) == self.stop_after:
            raise KeyboardInterrupt
        self.names.append(run.name)
        if run.name in self.fail:
            return Result(status="failed", recipe=run.recipe, error="out of memory")
        return self._written(run, folder)

    def check_apart(self, choices):
        self.checked += [one.label for one in choices]
        for one in choices:
            if one.label in self.misfits:
                raise StrategyError(f"{one.label} cannot train this model")

    def compute_apart(self, runs, folder, *, flags=()):
        return {run.name: self.run_apart(run, folder) for run in runs}

    def _written(self, run, folder):
        target, rate = folder / run.folder, run.recipe.training.values().get("learning_rate")
        share = self.shares[run.label.split()[0]] + 0.05 * np.log10(run.recipe.data.train_fraction)
        if self.by_rate is not None and "/rates/" in run.folder:
            share = self.by_rate[rate]
        seed = run.recipe.seed + len(run.label)
        validation = predictions(share, split="validation", rows=VALIDATION_ROWS, seed=seed)
        test = predictions(
            share, seed=seed, group=self.group, constant=run.name in self.constant or run.label == "majority"
        )
        metrics = {"validation": {"accuracy": accuracy(validation)}, "test": {"accuracy": accuracy(test)}}
        if run.recipe.data.max_test_rows == 0:
            test = []
            del metrics["test"]
        rows = round(TRAIN_ROWS * run.recipe.data.train_fraction)
        result = Result(
            status="finished",
            recipe=run.recipe,
            primary_metric=Metric(name="accuracy"),
            metrics=metrics,
            cost=made_cost(run),
            curves=Curves() if run.kind == "baseline" else made_curves(accuracy(validation)),
            data={"splits": {"train": {"rows": rows}}},
        )
        with lock(target):
            begin_run(target, run.recipe)
            write_predictions(target, [*validation, *test])
            write_result(target, result)
        return result


def made_cost(run):
    seconds = 10.0 if "feature_based" in run.label else 0.1 if run.kind == "baseline" else 40.0
    return Cost(
        train_seconds=seconds,
        evaluation_seconds=1.0,
        peak_mib=100.0,
        trainable_parameters=10,
        total_parameters=1000,
        optimizer_steps=5,
        model_mib=1.0,
        predictions_per_second=50.0,
    )


def made_curves(best):
    points = [
        EvaluationPoint(step=5, epoch=1.0, metrics={"accuracy": best - 0.5}, train_seconds=20.0),
        EvaluationPoint(step=10, epoch=2.0, metrics={"accuracy": best}, train_seconds=40.0),
    ]
    return Curves(evaluation=points)
