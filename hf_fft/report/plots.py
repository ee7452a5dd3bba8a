"""How a run went, as pictures: the losses and scores by step, and the learning rate of every parameter group.

matplotlib draws straight into a file's format, without a window and without the global state of pyplot, so that
pictures can be made on a server, beside a training run and in a notebook alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_fft.errors import RunFolderError
from hf_fft.report.wording import primary_name
from hf_fft.result import Result, load_result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib's type names every setting there is.
STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "savefig.dpi": 150,
}
# Okabe and Ito's palette, which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BEST_COLOUR = "#777777"
MOST_MARKED_POINTS = 40
LOG_SCALE_FROM_RATIO = 20

Series = tuple[list[int], list[float]]


class TrainingVisualizer:
    """Draw the curves of a run, given by its folder or by its result.

    Raises:
        RunFolderError: if the folder holds no result.
    """

    def __init__(self, run: str | Path | Result) -> None:
        self.result = run if isinstance(run, Result) else load_result(run)

    def plot_training_curves(self, metrics: Sequence[str] | None = None, save_path: str | Path | None = None) -> Figure:
        """Draw the losses above and the validation scores below, by optimizer step; the best step is marked.

        `metrics` are names from the run's evaluations, "loss" among them; by default the loss and the primary metric.
        The file's extension chooses its format, .png or .svg for example.

        Raises:
            RunFolderError: if the run has no such metric.
        """
        import matplotlib
        from matplotlib.figure import Figure

        names = self._known(metrics)
        scores = [name for name in names if name != "loss"]
        panels = [panel for panel in (["loss"] if "loss" in names else [], scores) if panel]
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(8, 1 + 3 * len(panels)), layout="constrained")
            all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
            for axes, panel in zip(all_axes, panels, strict=True):
                self._draw_losses(axes) if panel == ["loss"] else self._draw_scores(axes, panel)
                self._mark_best_step(axes)
                _place_legend(axes)
            all_axes[-1].set_xlabel("optimizer step")
            self._add_epochs(all_axes[0])
            return _saved(figure, save_path)

    def plot_lr_schedule(self, save_path: str | Path | None = None) -> Figure:
        """Draw the learning rate of every parameter group by optimizer step; groups that move as one share a line.

        The scale is logarithmic only if the groups' highest rates lie more than 20 times apart.
        """
        import matplotlib
        from matplotlib.figure import Figure

        lines = _joined_groups(self._rates())
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(8, 4), layout="constrained")
            axes = figure.subplots()
            self._draw_rates(axes, lines)
            axes.set(title="Learning rate", xlabel="optimizer step", ylabel="learning rate")
            self._add_epochs(axes)
            return _saved(figure, save_path)

    def _known(self, metrics: Sequence[str] | None) -> list[str]:
        evaluated = {name: None for point in self.result.curves.evaluation for name in point.metrics}
        primary = primary_name(self.result)
        if metrics is None:
            return ["loss", *([primary] if primary in evaluated and primary is not None else [])]
        strange = [name for name in metrics if name != "loss" and name not in evaluated]
        if strange or not metrics:
            known = ", ".join(["loss", *(name for name in evaluated if name != "loss" and "/" not in name)])
            raise RunFolderError(f"This run's curves have no {', '.join(strange) or 'names'}; they have {known}.")
        return list(dict.fromkeys(metrics))

    def _draw_losses(self, axes: Axes) -> None:
        training = self.result.curves.training
        steps, losses = [point.step for point in training], [_number(point.loss) for point in training]
        _draw(axes, (steps, losses), label="training", color=COLOURS[0])
        _draw(axes, self._evaluated("loss"), label="validation", color=COLOURS[1], marker="o")
        axes.set(title="Loss", ylabel="loss per item")

    def _draw_scores(self, axes: Axes, names: Sequence[str]) -> None:
        for place, name in enumerate(names):
            _draw(axes, self._evaluated(name), label=name, color=COLOURS[place % len(COLOURS)], marker="o")
        axes.set(title="Validation", ylabel=self._score_label(names))
        values = [value for name in names for value in self._evaluated(name)[1] if math.isfinite(value)]
        if values and min(values) > 0 and max(values) > LOG_SCALE_FROM_RATIO * min(values) and max(values) > 1:
            _set_log_scale(axes)

    def _score_label(self, names: Sequence[str]) -> str:
        metric = self.result.primary_metric
        if len(names) > 1:
            return "score"
        smaller = metric is not None and metric.name == names[0] and not metric.greater_is_better
        return f"{names[0]} (lower is better)" if smaller else names[0]

    def _draw_rates(self, axes: Axes, lines: dict[str, Series]) -> None:
        from matplotlib import colormaps

        peaks = [max(rates) for _, rates in lines.values() if max(rates) > 0]
        logarithmic = bool(peaks) and max(peaks) > LOG_SCALE_FROM_RATIO * min(peaks)
        many = len(lines) > len(COLOURS)
        for place, (label, (steps, rates)) in enumerate(lines.items()):
            shade = colormaps["viridis"](0.92 * place / max(1, len(lines) - 1))
            shown = [rate if rate > 0 or not logarithmic else math.nan for rate in rates]
            _draw(axes, (steps, shown), label=label, color=shade if many else COLOURS[place])
        if logarithmic:
            axes.set_yscale("log")
        else:
            # As a recipe writes it; a power of ten above the axis would stand in the way of the epochs.
            axes.yaxis.set_major_formatter(lambda rate, place: f"{rate:g}")
            axes.set_ylim(bottom=0)
        _place_legend(axes, outside=len(lines) > 3)

    def _rates(self) -> dict[str, Series]:
        """Return the rates by group; a group that is not yet there, or no longer, has the rate 0."""
        points = [point for point in self.result.curves.training if point.learning_rates]
        steps = [point.step for point in points]
        names = dict.fromkeys(name for point in points for name in point.learning_rates)
        return {name: (steps, [point.learning_rates.get(name, 0.0) for point in points]) for name in names}

    def _evaluated(self, name: str) -> Series:
        points = [point for point in self.result.curves.evaluation if name in point.metrics]
        return [point.step for point in points], [_number(point.metrics[name]) for point in points]

    def _mark_best_step(self, axes: Axes) -> None:
        best = self.result.best_step
        if best is not None:
            axes.axvline(best, color=BEST_COLOUR, linestyle="--", linewidth=1.2, label=f"best, step {best:,}", zorder=1)

    def _add_epochs(self, axes: Axes) -> None:
        """Write epochs along the top, where the log tells how many steps an epoch has."""
        from matplotlib.ticker import MaxNLocator

        curves = self.result.curves
        progress = [(point.step, point.epoch) for point in curves.training]
        progress += [(point.step, point.epoch) for point in curves.evaluation]
        step, epoch = max(progress, default=(0, 0.0))
        if step <= 0 or epoch <= 0:
            return
        steps_per_epoch: Any = step / epoch
        top = axes.secondary_xaxis(
            "top", functions=(lambda step: step / steps_per_epoch, lambda epoch: epoch * steps_per_epoch)
        )
        top.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=epoch >= 2))
        top.set_xlabel("epoch")


def write_plots(folder: str | Path, result: Result | None = None) -> list[Path]:
    """Draw a run's pictures into `plots/` in its folder and return their paths.

    Without `result` the folder's own is read.

    Raises:
        RunFolderError: if there is no result.
    """
    visualizer, plots = TrainingVisualizer(result or folder), Path(folder) / "plots"
    paths = [plots / "training_curves.png", plots / "learning_rates.png"]
    visualizer.plot_training_curves(save_path=paths[0])
    visualizer.plot_lr_schedule(save_path=paths[1])
    return paths


def _joined_groups(rates: dict[str, Series]) -> dict[str, Series]:
    """Give groups with the same rates all along one line under their joined names: drawn singly, one would hide all."""
    names_by_course: dict[tuple[float, ...], list[str]] = {}
    for name, (_, course) in rates.items():
        names_by_course.setdefault(tuple(course), []).append(name)
    return {_joined(names): rates[names[0]] for names in names_by_course.values()}


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 3 else f"{names[0]} … {names[-1]} ({len(names)} groups)"


def _draw(axes: Axes, series: Series, **look: Any) -> None:
    """Draw a line, with dots where it has few points: a single point must be seen."""
    steps, values = series
    if not steps:
        return
    finite = sum(math.isfinite(value) for value in values)
    marker = look.pop("marker", "o" if finite < 3 else None)
    axes.plot(steps, values, marker=marker if len(steps) <= MOST_MARKED_POINTS else None, **look)


def _set_log_scale(axes: Axes) -> None:
    """Turn the y axis logarithmic, its ticks written as plain numbers; a perplexity may fall from 10,000 to 20."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, place: f"{value:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _place_legend(axes: Axes, *, outside: bool = False) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if not handles:
        axes.text(0.5, 0.5, "nothing was logged", transform=axes.transAxes, ha="center", color=BEST_COLOUR)
    elif outside:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, fontsize="small")
    else:
        axes.legend(loc="best")


def _saved(figure: Figure, save_path: str | Path | None) -> Figure:
    if save_path is not None:
        path = Path(save_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return figure


def _number(value: float | None) -> float:
    return math.nan if value is None else value
