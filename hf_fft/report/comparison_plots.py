"""A comparison as pictures: scores against training time, by training rows and by epoch, each strategy in one colour.

Every picture is written as PNG and as SVG. Names stand beside what they name; a strategy that failed is named below the
picture, so that its absence is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

from hf_fft.report.comparison_columns import most_rows
from hf_fft.report.comparison_units import Unit, unit_of
from hf_fft.report.labels import Label, label_line_ends, label_points
from hf_fft.report.plots import COLOURS, MOST_MARKED_POINTS, STYLE
from hf_fft.report.wording import listed
from hf_fft.result.comparison import ComparedRun, ComparedStrategy, ComparisonRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTS_FOLDER = "plots"
FORMATS = ("png", "svg")
# One more than there are colours, so that no two strategies of a comparison look the same.
MARKERS = "osD^vPX"
LINES = ("-", "--", ":")
QUIET = "#777777"
BARS: Any = {"capsize": 3, "elinewidth": 1.2}
LOG_SCALE_FROM_RATIO = 10
# A baseline farther from the strategies than so many times their own range would press them together.
BASELINE_REACH = 1.5
# Counts of rows that lie nearer than this share of the axis would be written over one another.
CLOSEST_TICKS = 0.07
# Curves by training rows are drawn this share of the axis apart, so that the bars of one share stand side by side.
SIDE_STEP = 0.0045

Point: TypeAlias = tuple[float, float]


def write_comparison_plots(folder: str | Path, record: ComparisonRecord) -> list[Path]:
    """Draw the pictures of a comparison into `plots/` in its folder, as PNG and SVG, and return their paths.

    Pictures that would be empty are not drawn: without a finished run none, without several shares of the training
    rows no learning curves, without evaluations no scores by epoch.
    """
    import matplotlib

    paths = []
    for name, _ in comparison_plot_titles(record):
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
            figure = DRAWERS[name](record)
            for extension in FORMATS:
                path = Path(folder) / PLOTS_FOLDER / f"{name}.{extension}"
                path.parent.mkdir(parents=True, exist_ok=True)
                figure.savefig(path)
                paths.append(path)
    return paths


def comparison_plot_titles(record: ComparisonRecord) -> list[tuple[str, str]]:
    """Return the file name, without extension, and the title of each picture that there is something to draw for."""
    metric = record.metric.name if record.metric else "score"
    split = record.split or "test"
    drawn = [
        (bool(_timed(record)), "score_by_time", f"{split} {metric} against training time"),
        (bool(_learning(record)), "learning_curves", f"{split} {metric} by training rows"),
        (bool(_courses(record)), "score_by_epoch", f"validation {metric} by epoch"),
    ]
    return [(name, f"{title[:1].upper()}{title[1:]}") for there, name, title in drawn if there]


def _draw_by_time(record: ComparisonRecord) -> Figure:
    figure, axes, unit = _canvas(record, "score_by_time")
    labels, several = [], len(record.seeds) > 1
    for place, one in _timed(record):
        assert one.score is not None and one.train_seconds is not None, "only measured strategies are drawn"
        x, y, reach = one.train_seconds, one.score, (one.train_seconds.sd or 0.0, one.score.sd or 0.0)
        look = {"color": _colour(place), "marker": _marker(place), **BARS}
        axes.errorbar(x.mean, y.mean, xerr=x.sd, yerr=y.sd, **look)
        labels.append(Label(_name(one), x.mean, y.mean, _colour(place), reach))
    bars = f", mean ± sd of {len(record.seeds)} seeds" if several else ""
    axes.set(xlabel=f"training seconds{bars}", ylabel=_axis_name(record, record.split))
    _scale_time(axes, [label.x for label in labels])
    levels, beyond = _draw_baselines(axes, record, unit, labels)
    label_points(axes, labels, levels=levels)
    _add_note(figure, [*_absent(record, [one.label for _, one in _timed(record)]), *beyond])
    return figure


def _draw_learning_curves(record: ComparisonRecord) -> Figure:
    figure, axes, _ = _canvas(record, "learning_curves")
    labels = []
    curves = _learning(record)
    counts = sorted({point.train_rows for _, one in curves for point in one.learning_curve})
    span = math.log(counts[-1] / counts[0])
    for turn, (place, one) in enumerate(curves):
        shift = math.exp(SIDE_STEP * span * (turn - (len(curves) - 1) / 2))
        rows = [point.train_rows * shift for point in one.learning_curve]
        scores = [point.score.mean for point in one.learning_curve]
        spreads = [point.score.sd or 0.0 for point in one.learning_curve]
        look = {"color": _colour(place), "marker": _marker(place), "linestyle": _line(place), **BARS}
        axes.errorbar(rows, scores, yerr=spreads if any(spreads) else None, **look)
        labels.append(Label(_name(one), rows[-1], scores[-1], _colour(place)))
    labels += _draw_baseline_curves(axes, record)
    _scale_rows(axes, counts)
    bars = f", mean ± sd of {len(record.seeds)} seeds" if len(record.seeds) > 1 else ""
    axes.set(xlabel=f"training rows{bars}", ylabel=_axis_name(record, record.split))
    label_line_ends(axes, labels)
    _add_note(figure, [*_draw_target(axes, record), *_absent(record, [one.label for _, one in curves])])
    return figure


def _draw_by_epoch(record: ComparisonRecord) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, axes, _ = _canvas(record, "score_by_epoch")
    labels, earliest = [], math.inf
    courses = _courses(record)
    for place, one, runs in courses:
        for run in runs if len(runs) > 1 else []:
            axes.plot(*zip(*run, strict=True), color=_colour(place), linewidth=0.7, alpha=0.35)
        mean = _mean_course(runs)
        marker = _marker(place) if len(mean) <= MOST_MARKED_POINTS else None
        axes.plot(*zip(*mean, strict=True), color=_colour(place), linestyle=_line(place), marker=marker)
        labels.append(Label(_name(one), *mean[-1], _colour(place)))
        earliest = min(earliest, mean[0][0])
    several = " (thick: mean over seeds, thin: each seed)" if any(len(runs) > 1 for *_, runs in courses) else ""
    axes.set(xlabel=f"epoch{several}", ylabel=_axis_name(record, "validation"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    label_line_ends(axes, labels)
    _add_note(figure, [*_shade_probe(axes, earliest), *_absent(record, [one.label for _, one, _ in courses])])
    return figure


DRAWERS: dict[str, Callable[[ComparisonRecord], Figure]] = {
    "score_by_time": _draw_by_time,
    "learning_curves": _draw_learning_curves,
    "score_by_epoch": _draw_by_epoch,
}


def _canvas(record: ComparisonRecord, name: str) -> tuple[Figure, Axes, Unit]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(dict(comparison_plot_titles(record))[name])
    return figure, axes, unit_of(record)


def _timed(record: ComparisonRecord) -> list[tuple[int, ComparedStrategy]]:
    return [(place, one) for place, one in _placed(record) if one.score and one.train_seconds]


def _learning(record: ComparisonRecord) -> list[tuple[int, ComparedStrategy]]:
    curves = [(place, one) for place, one in _placed(record) if one.learning_curve]
    return curves if any(len(one.learning_curve) > 1 for _, one in curves) else []


def _courses(record: ComparisonRecord) -> list[tuple[int, ComparedStrategy, list[list[Point]]]]:
    """Return each strategy with the validation scores by epoch of its runs with all rows."""
    most = max(record.fractions)
    courses = []
    for place, one in _placed(record):
        runs = [run for run in record.runs if run.label == one.label and run.fraction == most]
        points = [course for run in runs if (course := _course(run, record))]
        if points:
            courses.append((place, one, points))
    return courses


def _placed(record: ComparisonRecord) -> list[tuple[int, ComparedStrategy]]:
    """Return the strategies with their places, which choose their colours in all pictures."""
    return list(enumerate(one for one in record.strategies if one.kind == "strategy"))


def _course(run: ComparedRun, record: ComparisonRecord) -> list[Point]:
    name = record.metric.name if record.metric else ""
    points = ((point.epoch, point.metrics.get(name)) for point in run.result.curves.evaluation)
    return [(epoch, score) for epoch, score in points if score is not None]


def _mean_course(runs: Sequence[Sequence[Point]]) -> list[Point]:
    """Average runs where all have an evaluation: a mean over those that are left would jump where one ends."""
    courses = [{round(epoch, 3): score for epoch, score in run} for run in runs]
    shared = sorted(set.intersection(*(set(course) for course in courses)))
    return [(epoch, fmean(course[epoch] for course in courses)) for epoch in shared] or list(runs[0])


def _scale_time(axes: Axes, seconds: Sequence[float]) -> None:
    if min(seconds) > 0 and max(seconds) > LOG_SCALE_FROM_RATIO * min(seconds):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:,g}")
        axes.set_xlim(min(seconds) / 1.6, max(seconds) * 1.6)
    else:
        axes.set_xlim(0, 1.15 * max(seconds) or 1.0)


def _scale_rows(axes: Axes, rows: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    span = math.log(rows[-1] / rows[0]) or 1.0
    kept = [rows[-1]]
    for count in reversed(rows[:-1]):
        if math.log(kept[-1] / count) > CLOSEST_TICKS * span:
            kept.append(count)
    axes.set_xticks(kept, [f"{count:,}" for count in kept])
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_baselines(
    axes: Axes, record: ComparisonRecord, unit: Unit, labels: Sequence[Label]
) -> tuple[list[float], list[str]]:
    """Draw the baselines near the strategies; return their levels, and words for those that are too far away."""
    scored = [(one.label, one.score.mean) for one in record.strategies if one.kind == "baseline" and one.score]
    ends = [label.y + side * label.reach[1] for label in labels for side in (-1, 1)]
    low, high = min(ends), max(ends)
    reach = BASELINE_REACH * (high - low) if len(labels) > 1 and high > low else math.inf
    near = [(name, level) for name, level in scored if low - reach <= level <= high + reach]
    for _, level in near:
        axes.axhline(level, color=QUIET, linestyle="--", linewidth=1, zorder=1)
    low, high = min([low, *(level for _, level in near)]), max([high, *(level for _, level in near)])
    room = 0.12 * (high - low) or 0.02 * abs(high) or 0.1
    axes.set_ylim(low - room, high + room)
    right = axes.get_xlim()[1]
    label_line_ends(axes, [Label(name, right, level, QUIET) for name, level in near])
    far = [f"{name} {unit.score(level)}" for name, level in scored if (name, level) not in near]
    return [level for _, level in near], [f"Outside the picture: {listed(far)}."] if far else []


def _shade_probe(axes: Axes, earliest: float) -> list[str]:
    """Shade the epochs before the first, in which the head alone was trained, and return words for it."""
    if earliest > 0:
        return []
    left, right = axes.get_xlim()
    axes.axvspan(left, 0, color="#f0f0f0", zorder=0, linewidth=0)
    axes.set_xlim(left, right)
    return ["Shaded: the head alone learns, on a frozen backbone."]


def _draw_baseline_curves(axes: Axes, record: ComparisonRecord) -> list[Label]:
    labels = []
    for one in record.strategies:
        if one.kind == "baseline" and len(one.learning_curve) > 1:
            rows = [point.train_rows for point in one.learning_curve]
            scores = [point.score.mean for point in one.learning_curve]
            axes.plot(rows, scores, color=QUIET, linestyle=":", marker=".")
            labels.append(Label(one.label, rows[-1], scores[-1], QUIET))
    return labels


def _draw_target(axes: Axes, record: ComparisonRecord) -> list[str]:
    """Draw the level that `rows needed` counts the rows to, and return words for it."""
    targets = [one.data_required.target for one in record.strategies if one.data_required]
    if not targets:
        return []
    axes.axhline(targets[0], color=QUIET, linestyle="--", linewidth=1, zorder=1)
    return [f"Dashed: feature_based with {most_rows(record)}."]


def _add_note(figure: Figure, sentences: Sequence[str]) -> None:
    if sentences:
        figure.supxlabel(" ".join(sentences), x=0.01, ha="left", fontsize="small", color=QUIET, wrap=True)


def _absent(record: ComparisonRecord, drawn: Sequence[str]) -> list[str]:
    absent = [one for _, one in _placed(record) if one.label not in drawn]
    words = [f"{one.label} (failed)" if one.failures else one.label for one in absent]
    return [f"Not drawn: {listed(words)}."] if words else []


def _name(one: ComparedStrategy) -> str:
    if one.constant_runs:
        return f"{one.label} (constant answers)"
    untuned = one.search is not None and not one.search.tuned
    return f"{one.label} (not tuned)" if untuned else one.label


def _axis_name(record: ComparisonRecord, split: str | None) -> str:
    metric = record.metric
    if metric is None:
        return "score"
    lower = "" if metric.greater_is_better else ", lower is better"
    return f"{split} {metric.name}{lower}" if split else f"{metric.name}{lower}"


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]


def _line(place: int) -> str:
    return LINES[(place // len(COLOURS)) % len(LINES)]
