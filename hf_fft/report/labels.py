"""Names written beside points and lines, so that a picture needs no legend: none covers another, nor a point.

matplotlib places no labels by itself. These functions look at the picture as it is laid out, so they come last, when
the axes hold all that they will hold.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

LABEL_CHARACTERS = 28
LABEL_POINTS = 10
LINE_HEIGHT = 1.35
POINT_PIXELS = 6
# Where a label may stand, the best places first: beside the point, above and below it, at its corners.
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
DISTANCES = (8, 16, 28, 44, 64, 90)
SIDES = {1: ("left", "bottom"), 0: ("center", "center"), -1: ("right", "top")}


@dataclass(frozen=True)
class Label:
    """A name and what it belongs to.

    Attributes:
        text: What is written; long names are broken into lines.
        x: Where the point is, or the line ends, in the axes' data.
        y: The same.
        colour: Of the text.
        reach: Half the width and half the height of the point's error bars, which labels keep off too.
    """

    text: str
    x: float
    y: float
    colour: str
    reach: tuple[float, float] = (0.0, 0.0)

    @property
    def wrapped(self) -> str:
        """The text in lines of bounded length."""
        return "\n".join(textwrap.wrap(self.text, LABEL_CHARACTERS))


def label_points(axes: Axes, labels: Sequence[Label], *, levels: Sequence[float] = ()) -> None:
    """Write each name near its point, where it covers least; a thin line leads to names that stand farther off.

    `levels` are the heights of lines across the axes, which names keep off too.
    """
    _lay_out(axes)
    taken = [_around_point(axes, label) for label in labels] + [_around_level(axes, level) for level in levels]
    for label in labels:
        taken.append(_box(axes, _best_place(axes, label, taken)))


def label_line_ends(axes: Axes, labels: Sequence[Label]) -> None:
    """Write each name to the right of the axes, at the height of its line's end or as near as the others allow."""
    _lay_out(axes)
    ordered = sorted(labels, key=lambda label: label.y)
    pixels = axes.get_window_extent().height
    to_height = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_height.transform((label.x, label.y))[1]) for label in ordered]
    figure = axes.get_figure()
    assert figure is not None, "axes to be labelled belong to a figure"
    line = LABEL_POINTS * LINE_HEIGHT * figure.dpi / 72 / pixels
    sizes = [line * (1 + label.wrapped.count("\n")) for label in ordered]
    for label, height in zip(ordered, spread_apart(wanted, sizes), strict=True):
        axes.annotate(
            label.wrapped,
            (label.x, label.y),
            (1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize=LABEL_POINTS,
            color=label.colour,
            annotation_clip=False,
            arrowprops=_lead(label.colour, (0, 0.5)),
        )


def spread_apart(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Move rising positions as little as keeps things of these sizes from overlapping, inside 0 to 1 if they fit."""
    clusters: list[tuple[float, list[float]]] = []
    for place, size in zip(wanted, sizes, strict=True):
        clusters.append((place, [size]))
        while len(clusters) > 1 and _top(clusters[-2]) > _bottom(clusters[-1]):
            upper, lower = clusters.pop(), clusters.pop()
            clusters.append(_merged(lower, upper))
    positions: list[float] = []
    for cluster in clusters:
        low = min(max(_bottom(cluster), 0.0), max(0.0, 1.0 - sum(cluster[1])))
        for size in cluster[1]:
            positions.append(low + size / 2)
            low += size
    return positions


def _top(cluster: tuple[float, list[float]]) -> float:
    return cluster[0] + sum(cluster[1]) / 2


def _bottom(cluster: tuple[float, list[float]]) -> float:
    return cluster[0] - sum(cluster[1]) / 2


def _merged(lower: tuple[float, list[float]], upper: tuple[float, list[float]]) -> tuple[float, list[float]]:
    """Join two clusters around the mean of what their members wanted."""
    many, more = len(lower[1]), len(upper[1])
    return (lower[0] * many + upper[0] * more) / (many + more), lower[1] + upper[1]


def _best_place(axes: Axes, label: Label, taken: Sequence[Bbox]) -> Annotation:
    """Try the places around a point and keep the first that is free, or the one that covers least."""
    best: tuple[float, Annotation] | None = None
    for distance, direction in product(DISTANCES, DIRECTIONS):
        note = _note(axes, label, distance, direction)
        covered = _covered(axes, note, taken)
        if best is None or covered < best[0]:
            if best is not None:
                best[1].remove()
            best = (covered, note)
        else:
            note.remove()
        if covered == 0:
            break
    assert best is not None, "there are places to try"
    return best[1]


def _note(axes: Axes, label: Label, distance: float, direction: tuple[int, int]) -> Annotation:
    from matplotlib.patheffects import withStroke

    right, up = direction
    step = distance / math.hypot(right, up)
    return axes.annotate(
        label.wrapped,
        (label.x, label.y),
        (step * right, step * up),
        textcoords="offset points",
        ha=SIDES[right][0],
        va=SIDES[up][1],
        fontsize=LABEL_POINTS,
        color=label.colour,
        annotation_clip=False,
        path_effects=[withStroke(linewidth=3, foreground="white")],
        arrowprops=None if distance <= DISTANCES[1] else _lead(label.colour, ((1 - right) / 2, (1 - up) / 2)),
    )


def _lead(colour: str, start: tuple[float, float]) -> dict[str, Any]:
    """Describe the thin line from a place on a label's edge, (0, 0) its lower left, to what it names."""
    look = {"color": colour, "linewidth": 0.6, "alpha": 0.6}
    return {"arrowstyle": "-", "relpos": start, "shrinkA": 1, "shrinkB": 4, **look}


def _covered(axes: Axes, note: Annotation, taken: Sequence[Bbox]) -> float:
    """Return how much of other things a label covers, and of itself lies outside the axes, in square pixels."""
    from matplotlib.transforms import Bbox

    box = _box(axes, note)
    inside = Bbox.intersection(box, axes.get_window_extent())
    outside = box.width * box.height - (inside.width * inside.height if inside else 0.0)
    overlaps = (Bbox.intersection(box, other) for other in taken)
    covered = outside + sum(one.width * one.height for one in overlaps if one)
    return covered if covered > 1 else 0.0


def _box(axes: Axes, note: Annotation) -> Bbox:
    """Return where a label's text is; the line that leads to it may cross what it likes."""
    from matplotlib.text import Text

    renderer = _renderer(axes)
    # An annotation's text is moved to its place only when it is drawn (matplotlib 3.10).
    note.update_positions(renderer)
    return Text.get_window_extent(note, renderer)


def _around_level(axes: Axes, level: float) -> Bbox:
    from matplotlib.transforms import Bbox

    window = axes.get_window_extent()
    y = axes.transData.transform((axes.get_xlim()[0], level))[1]
    return Bbox.from_extents(window.x0, y - 2, window.x1, y + 2)


def _around_point(axes: Axes, label: Label) -> Bbox:
    from matplotlib.transforms import Bbox

    wide, high = label.reach
    x, y = axes.transData.transform((label.x, label.y))
    end_x, end_y = axes.transData.transform((label.x + wide, label.y + high))
    across, along = max(POINT_PIXELS, abs(end_x - x) + 2), max(POINT_PIXELS, abs(end_y - y) + 2)
    return Bbox.from_extents(x - across, y - along, x + across, y + along)


def _lay_out(axes: Axes) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes to be labelled belong to a figure"
    figure.draw_without_rendering()


def _renderer(axes: Axes) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = axes.get_figure(root=True)
    assert figure is not None, "axes to be labelled belong to a figure"
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    return canvas.get_renderer()
