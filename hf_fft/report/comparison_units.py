"""How the scores of one comparison are written: fractions and scores up to 100 in points, others in their own unit.

A gain is turned so that more is better, whatever the metric's direction; a sentence turns it back where a metric is
read in its own unit ("its rmse is 0.041 lower").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hf_fft.report.wording import MISSING
from hf_fft.result import Metric
from hf_fft.result.comparison import ComparisonRecord, Gain, Spread

FRACTIONS = re.compile(r"(balanced_)?accuracy|exact_match|(f1|precision|recall)(_\w+)?|rouge\w+")
UP_TO_100 = ("bleu", "chrf")


@dataclass(frozen=True)
class Unit:
    """How one metric is written.

    Attributes:
        metric: Its name and direction.
        decimals: Of its scores.
        points_per_unit: 100 for fractions, 1 for scores up to 100, None for a metric that is not read in points.
    """

    metric: Metric
    decimals: int
    points_per_unit: float | None

    def score(self, value: float | None) -> str:
        """Write a score; a dash where there is none."""
        return MISSING if value is None else f"{value:,.{self.decimals}f}"

    def spread(self, spread: Spread | None) -> str:
        """Write a mean over seeds with its standard deviation, or a single score as it is."""
        if spread is None or spread.sd is None:
            return self.score(spread.mean if spread else None)
        return f"{self.score(spread.mean)} ± {self.score(spread.sd)}"

    def gain(self, value: float, *, signed: bool = False) -> str:
        """Write a gain without its unit, with its sign if wanted: a zero has none."""
        points = self.points_per_unit is not None
        text = f"{value * (self.points_per_unit or 1.0):+,.{1 if points else self.decimals}f}"
        if not text.strip("+-0.,"):
            return text[1:]
        return text if signed else text.removeprefix("+")

    def gain_cells(self, gain: Gain | None) -> list[str]:
        """Write a gain and its 95 % interval for two columns of a table."""
        if gain is None:
            return [MISSING, MISSING]
        return [self.gain(gain.estimate, signed=True), self.interval(gain)]

    def interval(self, gain: Gain) -> str:
        """Write the 95 % interval of a gain; of a decided one in a sentence `interval_size` says the same unsigned."""
        return f"{self.gain(gain.low, signed=True)} to {self.gain(gain.high, signed=True)}"

    def interval_size(self, gain: Gain) -> str:
        """Write the interval of a gain's size, from the end that is nearer to zero."""
        return " to ".join(self.gain(end) for end in sorted((abs(gain.low), abs(gain.high))))

    def amount(self, value: float) -> str:
        """Write the size of a gain with its unit: "7.9 points", "0.041"."""
        size = self.gain(abs(value))
        return size if self.points_per_unit is None else f"{size} points"

    def lead(self, ours: str, theirs: str, estimate: float) -> str:
        """Say that one strategy is better or worse than another, and by how much."""
        word = "better" if estimate > 0 else "worse"
        if self.points_per_unit is not None:
            return f"{ours} is {word} than {theirs} by {self.amount(estimate)}"
        side = "higher" if (estimate > 0) == self.metric.greater_is_better else "lower"
        return f"{ours} is {word} than {theirs}: its {self.metric.name} is {self.amount(estimate)} {side}"

    def change(self, estimate: float) -> str:
        """Say what one strategy does to the score of another, as a verb: "gains 7.9 points over"."""
        if self.points_per_unit is not None:
            return f"gains {self.amount(estimate)} over" if estimate > 0 else f"loses {self.amount(estimate)} against"
        verb = "raises" if (estimate > 0) == self.metric.greater_is_better else "lowers"
        return f"{verb} {self.metric.name} by {self.amount(estimate)} against"

    @property
    def name_of_gain(self) -> str:
        """Name the unit of a gain: "points", or the metric itself."""
        return self.metric.name if self.points_per_unit is None else "points"


def unit_of(record: ComparisonRecord) -> Unit:
    """Return how the scores of a comparison are written; with as many decimals as their size needs."""
    metric = record.metric or Metric(name="score")
    scores = [abs(one.score.mean) for one in record.strategies if one.score]
    largest = max(scores, default=0.0)
    if metric.name in UP_TO_100:
        return Unit(metric, 1, 1.0)
    if FRACTIONS.fullmatch(metric.name) and largest <= 1:
        return Unit(metric, 3, 100.0)
    return Unit(metric, 3 if largest < 10 else 2 if largest < 100 else 1, None)


def times_text(ratio: float) -> str:
    """Write a ratio of training times as a sentence needs it."""
    return "about the same" if 0.95 < ratio < 1.05 else f"{ratio_text(ratio)} times the"


def ratio_text(ratio: float) -> str:
    """Write a ratio with one decimal; small ones with two figures that count."""
    return f"{ratio:,.1f}" if ratio >= 1 else f"{ratio:.2g}"


def p_text(p_value: float) -> str:
    """Write a p-value."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.{3 if p_value < 0.1 else 2}f}"
