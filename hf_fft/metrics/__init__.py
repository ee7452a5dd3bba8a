"""Numbers: pure functions over what is right (gold) and what a model says (guess), and a door to the Hub's metrics."""

from hf_fft.metrics.classification import (
    SMALLER_IS_BETTER,
    greater_is_better,
    multi_label_scores,
    regression_scores,
    single_label_scores,
)
from hf_fft.metrics.hub import hub_metric

__all__ = [
    "SMALLER_IS_BETTER",
    "greater_is_better",
    "hub_metric",
    "multi_label_scores",
    "regression_scores",
    "single_label_scores",
]
