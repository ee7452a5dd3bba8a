"""Answers for rows that nobody trained on: from a run's model, or from any other with a trained head.

A part of the rows at a time, in their order, by the task's own decoding and metrics.
"""

from hf_fft.prediction.answers import answered, predict
from hf_fft.prediction.inputs import Row, check_names, known_columns, readable_rows
from hf_fft.prediction.lines import Wanted, line_of
from hf_fft.prediction.output import STANDARD, format_of, line_writer
from hf_fft.prediction.saved import SavedModel, load_named, load_run
from hf_fft.prediction.scores import Golds, golds_of, score, scored_result

__all__ = [
    "STANDARD",
    "Golds",
    "Row",
    "SavedModel",
    "Wanted",
    "answered",
    "check_names",
    "format_of",
    "golds_of",
    "known_columns",
    "line_of",
    "line_writer",
    "load_named",
    "load_run",
    "predict",
    "readable_rows",
    "score",
    "scored_result",
]
