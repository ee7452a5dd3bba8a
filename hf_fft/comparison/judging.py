"""The second half of a comparison: what the saved predictions say of differences, convergence and constant answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hf_fft.analysis import Difference, RowStatistics, holm, mcnemar, paired_bootstrap, row_statistics
from hf_fft.analysis.convergence import best_of, first_epoch_near_best, seconds_to_pass, standard_error
from hf_fft.analysis.data_required import data_required
from hf_fft.analysis.degenerate import is_constant
from hf_fft.analysis.verdict import verdict
from hf_fft.comparison.rows import FEATURE_BASED, main_runs, score_of
from hf_fft.result import EvaluationPoint, Metric, Prediction, read_predictions
from hf_fft.result.comparison import (
    ComparedRun,
    ComparedStrategy,
    ComparisonRecord,
    Convergence,
    DataRequired,
    Gain,
    Spread,
)

SIGNIFICANT = 0.05
RIGHT_OR_WRONG = ("accuracy", "exact_match")


@dataclass(frozen=True)
class Read:
    """What is kept of a run's predictions, whose texts would fill the memory.

    Attributes:
        shown: Those of the split that the table shows, in the order of the rows, without inputs.
        constant: Whether they are all the same.
        error: Standard error of the metric on validation; None where it cannot be computed.
    """

    shown: list[Prediction]
    constant: bool
    error: float | None


def judged(record: ComparisonRecord, folder: Path) -> ComparisonRecord:
    """Return a comparison whose runs are all through, with everything that follows from them.

    Args:
        record: As `record_of` makes it.
        folder: The comparison's own; predictions are read from its run folders.
    """
    if record.metric is None or record.split is None or record.reference is None:
        return record.model_copy(update={"status": "finished", "notes": _nothing_to_compare(record)})
    metric, split = record.metric, record.split
    finished = [run for one in record.strategies for run in main_runs(record, one.label)]
    read = {run.name: _read(folder / run.folder, record.recipe.task.name, metric, split) for run in finished}
    record = _with_constants(record, read)
    rows = _statistics(record.recipe.task.name, metric, {name: one.shown for name, one in read.items()})
    if rows is not None and not _repeat_the_scores(rows, finished, metric, split):
        rows = None
    gains = _gains(record, rows, read) if rows is not None else {}
    reference = next(one for one in record.strategies if one.is_reference)
    strategies = []
    for one in record.strategies:
        changes = {
            "convergence": _convergence(one, record, read),
            "data_required": _data_required(one, record),
            "gain": gains.get(one.label),
            "verdict": None if one.is_reference else verdict(one, reference, gains.get(one.label)),
        }
        strategies.append(one.model_copy(update=changes))
    notes = [] if rows is not None else [_no_interval(metric, read)]
    return record.model_copy(update={"status": "finished", "strategies": tuple(strategies), "notes": tuple(notes)})


def _read(folder: Path, task: str, metric: Metric, split: str) -> Read:
    every = sorted(read_predictions(folder), key=lambda one: one.row)
    shown = [one for one in every if one.split == split]
    validation = [one for one in every if one.split == "validation"]
    statistics = row_statistics(task, metric.name, validation) if validation else None
    return Read(
        shown=[replace(one, inputs={}) for one in shown],
        constant=is_constant(shown),
        error=standard_error(statistics) if statistics is not None else None,
    )


def _with_constants(record: ComparisonRecord, read: Mapping[str, Read]) -> ComparisonRecord:
    runs = tuple(
        run.model_copy(update={"constant": run.name in read and read[run.name].constant}) for run in record.runs
    )
    record = record.model_copy(update={"runs": runs})
    strategies = tuple(
        one.model_copy(update={"constant_runs": sum(run.constant for run in main_runs(record, one.label))})
        for one in record.strategies
    )
    return record.model_copy(update={"strategies": strategies})


def _statistics(
    task: str, metric: Metric, predictions: Mapping[str, Sequence[Prediction]]
) -> dict[str, RowStatistics] | None:
    """Return the rows' statistics of every run; None for a metric that is no sum over rows, or rows that differ.

    They are taken of all runs at once, so that all count the same labels, those that only one run ever says included.
    """
    places = {tuple((one.row, repr(one.gold)) for one in some) for some in predictions.values()}
    joined = row_statistics(task, metric.name, [one for some in predictions.values() for one in some])
    if joined is None or len(places) != 1:
        return None
    parts = np.split(joined.values, len(predictions))
    return {name: RowStatistics(values, joined.combine) for name, values in zip(predictions, parts, strict=True)}


def _repeat_the_scores(
    rows: Mapping[str, RowStatistics], runs: Sequence[ComparedRun], metric: Metric, split: str
) -> bool:
    """Say whether the sums give every run the score that it reported; an interval of another metric would mislead."""
    scores = {run.name: score_of(run, metric, split) for run in runs}
    return all(score is None or np.isclose(rows[name].score(), score) for name, score in scores.items())


def _gains(
    record: ComparisonRecord, rows: Mapping[str, RowStatistics], read: Mapping[str, Read]
) -> dict[str, Gain | None]:
    """Compare every strategy with the reference; strategies and baselines are corrected for their number apart."""
    assert record.reference is not None and record.metric is not None
    reference = main_runs(record, record.reference)
    groups = [one.group for one in read[reference[0].name].shown]
    clusters = None if any(group is None for group in groups) else groups
    gains: dict[str, Gain | None] = {}
    for kind in ("strategy", "baseline"):
        others = [one.label for one in record.strategies if one.kind == kind and not one.is_reference and one.finished]
        differences = {}
        for label in others:
            ours = [rows[run.name] for run in main_runs(record, label)]
            differences[label] = paired_bootstrap(ours, [rows[run.name] for run in reference], clusters=clusters)
        known = {label: one for label, one in differences.items() if not np.isnan([one.estimate, one.p_value]).any()}
        corrected = holm([one.p_value for one in known.values()])
        for (label, one), p_value in zip(known.items(), corrected, strict=True):
            gain = _gain(one, p_value, record.metric, main_runs(record, label), reference)
            size = {"rows": len(groups), "clusters": None if clusters is None else len({str(one) for one in clusters})}
            right = _mcnemar(record.metric, main_runs(record, label), reference, rows)
            gains[label] = gain.model_copy(update={**size, **right})
    return gains


def _gain(
    difference: Difference,
    corrected: float,
    metric: Metric,
    ours: Sequence[ComparedRun],
    theirs: Sequence[ComparedRun],
) -> Gain:
    sign = 1 if metric.greater_is_better else -1
    low, high = sorted((sign * difference.low, sign * difference.high))
    return Gain(
        estimate=sign * difference.estimate,
        low=low,
        high=high,
        p_value=float(difference.p_value),
        corrected_p_value=float(corrected),
        decided=bool(corrected < SIGNIFICANT and (low > 0 or high < 0)),
        rows=0,
        seeds=len(ours),
        reference_seeds=len(theirs),
    )


def _mcnemar(
    metric: Metric, ours: Sequence[ComparedRun], theirs: Sequence[ComparedRun], rows: Mapping[str, RowStatistics]
) -> dict[str, float | int]:
    """Test one seed that both have, where the metric is a share of rows that are right."""
    by_seed = {run.seed: run for run in theirs}
    pair = next(((run, by_seed[run.seed]) for run in ours if run.seed in by_seed), None)
    if metric.name not in RIGHT_OR_WRONG or pair is None:
        return {}
    one, other = (rows[run.name].values for run in pair)
    if one.shape[1] != 2 or not (one[:, 1] == 1).all():
        return {}  # the accuracy of words: those of one sentence stand or fall together
    return {"mcnemar_p_value": mcnemar(one[:, 0] == 1, other[:, 0] == 1), "mcnemar_seed": pair[0].seed}


def _convergence(one: ComparedStrategy, record: ComparisonRecord, read: Mapping[str, Read]) -> Convergence | None:
    assert record.metric is not None
    metric, runs = record.metric, main_runs(record, one.label)
    points = {run.name: _evaluations(run) for run in runs}
    if one.kind == "baseline" or not any(points.values()):
        return None
    over_seeds = Spread.of(best_of(some, metric) for some in points.values())
    spread = over_seeds.sd if over_seeds is not None else None
    epochs = [
        first_epoch_near_best(points[run.name], metric, standard_error=_first(read[run.name].error, spread))
        for run in runs
    ]
    targets = _targets(one, record)
    passed = [
        seconds_to_pass(points[run.name], metric, target=target)
        for run in runs
        if (target := targets.get(run.seed)) is not None
    ]
    return Convergence(
        epoch=Spread.of(epochs),
        seconds_to_pass=Spread.of(passed),
        passed=sum(seconds is not None for seconds in passed) if passed else None,
        runs=len(passed) or len(runs),
    )


def _targets(one: ComparedStrategy, record: ComparisonRecord) -> dict[int, float | None]:
    """Return feature_based's best on validation by seed; nothing for itself, or where it did not run."""
    head = next((row for row in record.strategies if row.name == FEATURE_BASED and row.finished), None)
    if head is None or head.label == one.label or record.metric is None:
        return {}
    return {run.seed: best_of(_evaluations(run), record.metric) for run in main_runs(record, head.label)}


def _evaluations(run: ComparedRun) -> Sequence[EvaluationPoint]:
    return run.result.curves.evaluation


def _data_required(one: ComparedStrategy, record: ComparisonRecord) -> DataRequired | None:
    head = next((row for row in record.strategies if row.name == FEATURE_BASED and row.score is not None), None)
    if head is None or head.score is None or head.label == one.label or record.metric is None:
        return None
    return data_required(one.learning_curve, record.metric, target=head.score.mean)


def _first(one: float | None, other: float | None) -> float | None:
    return one if one is not None else other


def _nothing_to_compare(record: ComparisonRecord) -> tuple[str, ...]:
    if record.reference is None:
        return ("No run of a strategy finished, so there is nothing to compare.",)
    return ("The runs have no split in common on which the metric was a number, so there is nothing to compare.",)


def _no_interval(metric: Metric, read: Mapping[str, Read]) -> str:
    sizes = {len(one.shown) for one in read.values()}
    if len(sizes) > 1:
        return "The runs were not scored on the same rows, so their differences have no interval and no verdict."
    return (
        f"Differences of {metric.name} have no interval and no verdict: what chance does to this metric is not "
        "computed here."
    )
