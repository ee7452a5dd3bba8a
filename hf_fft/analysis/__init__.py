"""What results mean: arrays and records from saved predictions; draws nothing."""

from hf_fft.analysis.significance import Difference, holm, mcnemar, paired_bootstrap, score_intervals
from hf_fft.analysis.statistics import RowStatistics, right_rows, row_statistics

__all__ = [
    "Difference",
    "RowStatistics",
    "holm",
    "mcnemar",
    "paired_bootstrap",
    "right_rows",
    "row_statistics",
    "score_intervals",
]
