"""The tables of a comparison as headings and rows: how good each strategy is, what it costs, how fast it learns.

One table with every column would be twice as wide as a terminal. Each of the three stands under a line that says what
its columns are.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hf_fft.report.comparison_units import Unit, unit_of
from hf_fft.report.wording import MISSING, amount_text, rows_in_split, share_text, without_local_paths
from hf_fft.result import Result
from hf_fft.result.comparison import ComparedStrategy, ComparisonRecord, Convergence, DataRequired, Spread

Cells: TypeAlias = list[str]

REASON_CHARACTERS = 70
VERDICTS = {"degenerate": "constant answers"}


@dataclass(frozen=True)
class Part:
    """One of the tables.

    Attributes:
        title: What it answers.
        note: What its columns are, as a sentence without a full stop.
        headings: Of the columns; the first is the strategy.
        rows: Of the strategies. A row shorter than the headings ends with a text that runs across the others.
        baselines: Rows of the baselines, which stand below a line.
    """

    title: str
    note: str
    headings: Cells
    rows: list[Cells]
    baselines: list[Cells]


def comparison_parts(record: ComparisonRecord) -> list[Part]:
    """Return the tables of a comparison; those of cost and speed only once a run has finished."""
    parts = [_how_good(record)]
    if any(one.finished for one in record.strategies if one.kind == "strategy"):
        parts += [_what_it_costs(record), _how_fast(record)]
    return parts


def learning_curve_rows(record: ComparisonRecord) -> tuple[Cells, list[Cells]]:
    """Return headings and rows of the scores by share of the training rows; no rows where there is one share."""
    unit = unit_of(record)
    if len(record.fractions) < 2:
        return [], []
    rows_by_fraction = {point.fraction: point.train_rows for one in record.strategies for point in one.learning_curve}
    headings = [
        f"{rows_by_fraction[share]:,} rows" if share in rows_by_fraction else f"{share:g} of the rows"
        for share in record.fractions
    ]
    rows = []
    for one in record.strategies:
        scores = {point.fraction: point.score for point in one.learning_curve}
        if scores:
            rows.append([one.label, *(unit.spread(scores.get(share)) for share in record.fractions)])
    return ["strategy", *headings], rows


def scored_rows(record: ComparisonRecord) -> int | None:
    """Return how many rows the shown split has, as far as a run or a comparison says it."""
    gains = [one.gain.rows for one in record.strategies if one.gain]
    counts = (rows_in_split(run.result, record.split or "") for run in record.runs)
    return gains[0] if gains else next((count for count in counts if count is not None), None)


def most_rows(record: ComparisonRecord) -> str:
    """Name the rows that the tables' runs were trained on: all, or the largest share that was asked for."""
    share = max(record.fractions)
    return "all rows" if share == 1 else f"{share_text(share, 1)} of the rows"


def reason_of(error: str | None) -> str:
    """Write why a run failed, in one short line."""
    reason = without_local_paths(error or "no reason was kept")
    return textwrap.shorten(reason, REASON_CHARACTERS, placeholder=" …")


def faults(one: ComparedStrategy) -> list[str]:
    """Name what would allow a strategy no verdict, the reference above all, which has none of its own."""
    constant = [VERDICTS["degenerate"]] if one.constant_runs else []
    return [*constant, *(["not tuned"] if one.search is not None and not one.search.tuned else [])]


def finished_results(record: ComparisonRecord) -> list[Result]:
    """Return the results of the runs that finished."""
    return [run.result for run in record.runs if run.result.status == "finished"]


def _how_good(record: ComparisonRecord) -> Part:
    unit = unit_of(record)
    metric = record.metric.name if record.metric else "score"
    headings = ["strategy", f"{record.split} {metric}" if record.split else metric]
    headings += [f"gain, {unit.name_of_gain}", "95 % interval", "verdict"]

    def cells(one: ComparedStrategy) -> Cells:
        return [unit.spread(one.score), *unit.gain_cells(one.gain), _verdict(one, record)]

    return Part("How good", _note_on_scores(record, unit), headings, *_rows(record.strategies, cells))


def _note_on_scores(record: ComparisonRecord, unit: Unit) -> str:
    if record.metric is None:
        return "no run has finished yet" if record.status == "running" else "no run finished"
    count = scored_rows(record)
    rows = f" on {count:,} {record.split} rows" if count is not None else ""
    lower = "" if record.metric.greater_is_better else ", lower is better, so a gain is a decrease"
    trained = "" if max(record.fractions) == 1 else f", trained on {most_rows(record)}"
    several = f", mean ± sd of {len(record.seeds)} seeds" if len(record.seeds) > 1 else ", one seed"
    against = f"; gain over {record.reference}, with its 95 % interval" if record.reference else ""
    return f"{record.metric.name}{rows}{lower}{trained}{several}{against}"


def _verdict(one: ComparedStrategy, record: ComparisonRecord) -> str:
    if one.is_reference:
        return ", ".join(["reference", *faults(one)])
    if one.verdict is None:
        return MISSING
    if one.verdict.concerns not in (None, one.label):
        return "none"
    return VERDICTS.get(one.verdict.kind, one.verdict.kind)


def _what_it_costs(record: ComparisonRecord) -> Part:
    headings = ["strategy", "training s", "×", "peak MiB", "trained parameters", "of all", "saved MiB", "predictions/s"]
    times = f"× is training time over that of {record.reference}" if record.reference else "× is not known"
    note = f"training without evaluation and saving; {times}; memory above the level before the model was loaded"
    part = Part("What it costs", note, headings, *_rows(_finished(record), _cost_cells))
    measured = any(one.train_seconds for one in record.strategies if one.kind == "baseline")
    return part if measured else _without_baselines(part)


def _cost_cells(one: ComparedStrategy) -> Cells:
    # The parameters of a baseline are not those of the model.
    trained, total = (one.trainable_parameters, one.total_parameters) if one.kind == "strategy" else (None, None)
    return [
        _amount(one.train_seconds),
        MISSING if one.time_ratio is None else _not_nothing(one.time_ratio, f"{one.time_ratio:,.1f}"),
        _amount(one.peak_mib),
        MISSING if trained is None else f"{trained:,}",
        MISSING if trained is None or total is None else share_text(trained, total),
        MISSING if one.model_mib is None else amount_text(one.model_mib),
        _amount(one.predictions_per_second),
    ]


def _how_fast(record: ComparisonRecord) -> Part:
    strategies = [one for one in record.strategies if one.kind == "strategy"]
    needed = [one.data_required for one in strategies if one.data_required]
    passing = any(one.convergence and one.convergence.passed is not None for one in strategies)
    headings = ["strategy", "learning rate", "near its best at epoch"]
    notes = ["first epoch within one standard error of its best on validation"]
    if passing:
        headings.append("s until ahead")
        notes.append("training seconds until validation was better than feature_based's best")
    if needed:
        headings.append("rows needed")
        level = unit_of(record).score(needed[0].target)
        notes.append(f"training rows to reach the {level} that feature_based has with {most_rows(record)}")

    def cells(one: ComparedStrategy) -> Cells:
        return [
            _rate(one),
            _epoch(one.convergence),
            *([_seconds_to_pass(one.convergence)] if passing else []),
            *([_rows_needed(one.data_required)] if needed else []),
        ]

    part = Part("How fast it learns", "; ".join(notes), headings, *_rows(_finished(record), cells))
    return _without_baselines(part)


def _rate(one: ComparedStrategy) -> str:
    if one.learning_rate is None:
        return MISSING
    rate = f"{one.learning_rate:.4g}"
    if one.search is None:
        return rate
    return f"{rate} (searched)" if one.search.tuned else f"{rate} (at the edge)"


def _epoch(course: Convergence | None) -> str:
    return MISSING if course is None or course.epoch is None else f"{course.epoch.mean:.1f}".removesuffix(".0")


def _seconds_to_pass(course: Convergence | None) -> str:
    if course is None or course.passed is None:
        return MISSING
    if course.seconds_to_pass is None:
        return "never"
    some = f" ({course.passed} of {course.runs} runs)" if course.passed < course.runs else ""
    return f"{_amount(course.seconds_to_pass)}{some}"


def _rows_needed(required: DataRequired | None) -> str:
    return MISSING if required is None else f"{required.bound} {required.rows:,}"


def _rows(
    strategies: Sequence[ComparedStrategy], cells: Callable[[ComparedStrategy], Cells]
) -> tuple[list[Cells], list[Cells]]:
    """Return the rows of the strategies and those of the baselines."""
    rows: dict[str, list[Cells]] = {"strategy": [], "baseline": []}
    for one in strategies:
        rows[one.kind].append([one.label, *(cells(one) if one.finished else [_no_figures(one)])])
    return rows["strategy"], rows["baseline"]


def _finished(record: ComparisonRecord) -> list[ComparedStrategy]:
    """Return the rows that have costs; why the others have none stands in the first table."""
    return [one for one in record.strategies if one.finished]


def _no_figures(one: ComparedStrategy) -> str:
    return f"failed: {reason_of(one.failures[0])}" if one.failures else "not run yet"


def _without_baselines(part: Part) -> Part:
    return Part(part.title, part.note, part.headings, part.rows, [])


def _amount(spread: Spread | None) -> str:
    return MISSING if spread is None else _not_nothing(spread.mean, amount_text(spread.mean))


def _not_nothing(value: float, text: str) -> str:
    """Write a small figure so that it does not look like none at all."""
    return "< 0.1" if 0 < value < 0.05 else text
