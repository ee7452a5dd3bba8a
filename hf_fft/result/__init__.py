"""What came out of a run: its records, and the folder that keeps them."""

from hf_fft.result.folder import RECIPE_FILE, begin_run, failed_result, finished_run, open_run_folder
from hf_fft.result.records import (
    Cost,
    Curves,
    Environment,
    EvaluationPoint,
    Metric,
    Prediction,
    Result,
    SpeedPlan,
    TrainingPoint,
)
from hf_fft.result.store import (
    PREDICTIONS_FILE,
    RESULT_FILE,
    as_json,
    load_result,
    lock,
    read_predictions,
    write_json,
    write_predictions,
    write_result,
    write_text,
)

__all__ = [
    "PREDICTIONS_FILE",
    "RECIPE_FILE",
    "RESULT_FILE",
    "Cost",
    "Curves",
    "Environment",
    "EvaluationPoint",
    "Metric",
    "Prediction",
    "Result",
    "SpeedPlan",
    "TrainingPoint",
    "as_json",
    "begin_run",
    "failed_result",
    "finished_run",
    "load_result",
    "lock",
    "open_run_folder",
    "read_predictions",
    "write_json",
    "write_predictions",
    "write_result",
    "write_text",
]
