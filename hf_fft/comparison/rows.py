"""The rows of a comparison's table from its runs: means, spreads and failures, as far as results alone tell them.

No predictions are read here and nothing heavy is imported, so this can be written down after every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hf_fft.comparison.choices import Choice
from hf_fft.comparison.plan import PlannedRun, planned_runs, seeds_of
from hf_fft.comparison.settings import Settings
from hf_fft.recipe import Recipe
from hf_fft.result import Metric, Result
from hf_fft.result.comparison import (
    ComparedRun,
    ComparedStrategy,
    ComparisonRecord,
    LearningPoint,
    RateSearch,
    Spread,
)

FEATURE_BASED = "feature_based"
SPLITS = ("test", "validation")


@dataclass(frozen=True)
class Design:
    """All that a comparison is, before anything has run.

    Attributes:
        recipe: What the runs have in common.
        choices: The strategies, with the learning rates that their runs have.
        baselines: By name.
        settings: How often and on how many rows.
        searches: How learning rates were found, by label.
    """

    recipe: Recipe
    choices: Sequence[Choice]
    baselines: Sequence[str]
    settings: Settings
    searches: Mapping[str, RateSearch] = field(default_factory=dict)

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """Every run, in order."""
        return planned_runs(self.recipe, self.choices, baselines=self.baselines, settings=self.settings)


def record_of(design: Design, results: Mapping[str, Result]) -> ComparisonRecord:
    """Return the record of a comparison as far as it has run; differences and verdicts are still missing.

    Args:
        design: What was to run.
        results: What came of it, by the names of the runs.
    """
    runs = [_compared(run, results[run.name]) for run in design.runs if run.name in results]
    finished = [run.result for run in runs if run.result.status == "finished"]
    metric = next((result.primary_metric for result in finished if result.primary_metric is not None), None)
    split = _shown_split(finished, metric)
    rows = [
        *(_strategy_row(choice, runs, design=design, metric=metric, split=split) for choice in design.choices),
        *(_row(name, runs, design=design, metric=metric, split=split) for name in design.baselines),
    ]
    reference = _reference(rows)
    return ComparisonRecord(
        status="running",
        recipe=design.recipe,
        metric=metric,
        split=split,
        reference=reference.label if reference is not None else None,
        seeds=seeds_of(design.recipe, design.settings),
        fractions=tuple(sorted(design.settings.fractions)),
        strategies=tuple(_beside(row, reference) for row in rows),
        runs=tuple(runs),
    )


def main_runs(record: ComparisonRecord, label: str) -> list[ComparedRun]:
    """Return a strategy's finished runs with all rows, or the largest share of them."""
    return [
        run
        for run in record.runs
        if run.label == label and run.fraction == record.fractions[-1] and run.result.status == "finished"
    ]


def score_of(run: ComparedRun, metric: Metric, split: str) -> float | None:
    """Return a run's score; None where it is not a number."""
    return run.result.metrics.get(split, {}).get(metric.name)


def _compared(run: PlannedRun, result: Result) -> ComparedRun:
    return ComparedRun(
        name=run.name,
        label=run.label,
        seed=run.recipe.seed,
        fraction=run.fraction,
        folder=run.folder,
        train_rows=_train_rows(result),
        result=result,
    )


def _train_rows(result: Result) -> int | None:
    splits = result.data.get("splits")
    train = splits.get("train") if isinstance(splits, dict) else None
    rows = train.get("rows") if isinstance(train, dict) else None
    return rows if isinstance(rows, int) else None


def _shown_split(finished: Iterable[Result], metric: Metric | None) -> str | None:
    if metric is None:
        return None
    having = [{split for split in SPLITS if metric.name in result.metrics.get(split, {})} for result in finished]
    shared = set.intersection(*having) if having else set()
    return next((split for split in SPLITS if split in shared), None)


def _strategy_row(choice: Choice, runs: Sequence[ComparedRun], *, design: Design, **shown: Any) -> ComparedStrategy:
    search = design.searches.get(choice.label)
    about = {
        "kind": "strategy",
        "name": choice.recipe.strategy.name,
        "learning_rate": choice.recipe.training.values().get("learning_rate"),
        "rate": "not searched" if search is None else "searched",
        "search": search,
    }
    return _row(choice.label, runs, design=design, **shown).model_copy(update=about)


def _row(
    label: str, runs: Sequence[ComparedRun], *, design: Design, metric: Metric | None, split: str | None
) -> ComparedStrategy:
    largest = max(design.settings.fractions)
    own = [run for run in runs if run.label == label]
    done = [run.result for run in own if run.fraction == largest and run.result.status == "finished"]
    costs = [result.cost for result in done if result.cost is not None]
    return ComparedStrategy(
        label=label,
        name=label,
        kind="baseline",
        planned=sum(run.label == label and run.fraction == largest for run in design.runs),
        finished=len(done),
        failures=tuple(_failure(run, label) for run in own if run.result.status == "failed"),
        learning_curve=_learning_curve(own, metric, split),
        score=Spread.of(result.metrics[split].get(metric.name) for result in done) if metric and split else None,
        train_seconds=Spread.of(cost.train_seconds for cost in costs),
        peak_mib=Spread.of(cost.peak_mib for cost in costs),
        trainable_parameters=costs[0].trainable_parameters if costs else None,
        total_parameters=costs[0].total_parameters if costs else None,
        model_mib=costs[0].model_mib if costs else None,
        predictions_per_second=Spread.of(cost.predictions_per_second for cost in costs),
    )


def _failure(run: ComparedRun, label: str) -> str:
    where = run.name.removeprefix(label).removeprefix(", ") or f"seed {run.seed}"
    return f"{where}: {' '.join((run.result.error or 'no reason was kept').split())}"


def _learning_curve(runs: Sequence[ComparedRun], metric: Metric | None, split: str | None) -> tuple[LearningPoint, ...]:
    if metric is None or split is None:
        return ()
    points = []
    for fraction in sorted({run.fraction for run in runs}):
        some = [run for run in runs if run.fraction == fraction and run.train_rows is not None]
        spread = Spread.of(score_of(run, metric, split) for run in some)
        if spread is not None:
            points.append(LearningPoint(fraction=fraction, train_rows=some[0].train_rows or 0, score=spread))
    return tuple(points)


def _reference(rows: Sequence[ComparedStrategy]) -> ComparedStrategy | None:
    """Return feature_based if a run of it finished, otherwise the first strategy of which one did."""
    done = [row for row in rows if row.kind == "strategy" and row.finished]
    return next((row for row in done if row.name == FEATURE_BASED), done[0] if done else None)


def _beside(row: ComparedStrategy, reference: ComparedStrategy | None) -> ComparedStrategy:
    if reference is None:
        return row
    ours, theirs = row.train_seconds, reference.train_seconds
    ratio = ours.mean / theirs.mean if ours is not None and theirs is not None and theirs.mean else None
    return row.model_copy(update={"is_reference": row.label == reference.label, "time_ratio": ratio})
