"""How many rows a strategy needs to reach a score, read off its learning curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hf_fft.result import Metric
from hf_fft.result.comparison import DataRequired, LearningPoint


def data_required(curve: Sequence[LearningPoint], metric: Metric, *, target: float) -> DataRequired | None:
    """Return the rows at which a learning curve first reaches the target; None of a curve of a single point.

    Between two measured points the score is taken as linear in the logarithm of the rows.
    """
    if len(curve) < 2:
        return None
    sign = 1 if metric.greater_is_better else -1
    points = sorted((point.train_rows, sign * point.score.mean) for point in curve)
    goal = sign * target
    reached = next((place for place, (_, score) in enumerate(points) if score >= goal), None)
    if reached is None:
        return DataRequired(bound="more than", rows=points[-1][0], target=target)
    rows, score = points[reached]
    if reached == 0 and score > goal:
        return DataRequired(bound="fewer than", rows=rows, target=target)
    if reached > 0:
        below_rows, below = points[reached - 1]
        share = (goal - below) / (score - below)
        rows = round(math.exp(math.log(below_rows) + share * (math.log(rows) - math.log(below_rows))))
    return DataRequired(bound="about", rows=rows, target=target)
