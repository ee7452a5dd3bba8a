"""How right predictions are where the rows say what is: by the task's own metrics, over all rows at once.

Labels are typed when all rows have been read, for the scheme of tags and the references of rows that read alike show
only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetDict

from hf_fft.errors import DataError
from hf_fft.prediction.inputs import Row
from hf_fft.prediction.saved import SavedModel
from hf_fft.result import Prediction, Result
from hf_fft.tasks.language_modeling import LanguageModeling
from hf_fft.training.outcome import finite

# Which row a typed row came from: rows that read alike become one.
_SOURCE = "row of the source"


@dataclass(frozen=True)
class Golds:
    """What is right: `values`, in the form of guesses, each of the row of the source that `sources` names."""

    sources: list[int]
    values: list[Any]


def golds_of(saved: SavedModel, rows: Sequence[Row], *, shown: str) -> Golds:
    """Return what labelled rows say is right; raw text says it by itself.

    Raises:
        DataError: if labels are missing, or not among those that the model knows.
    """
    if isinstance(saved.task, LanguageModeling):
        return Golds(list(range(len(rows))), [None] * len(rows))
    typed = saved.task.type_columns(DatasetDict({shown: _labelled(rows, shown)}))[shown]
    return Golds(list(typed[_SOURCE]), saved.task.golds(typed))


def score(saved: SavedModel, predictions: Sequence[Prediction], golds: Golds) -> dict[str, float]:
    """Return the task's metrics of predictions."""
    return saved.task.score(
        [replace(predictions[source], gold=gold) for source, gold in zip(golds.sources, golds.values, strict=True)]
    )


def scored_result(saved: SavedModel, scores: dict[str, float], *, shown: str) -> Result:
    """Return scores as a result, beside the run's own on test, for what shows results."""
    of_run = {} if saved.result is None else {f"the run's {name}": own for name, own in saved.result.metrics.items()}
    return Result(
        status="finished",
        recipe=saved.recipe,
        primary_metric=saved.task.primary_metric,
        metrics={shown: {name: finite(value) for name, value in scores.items()}, **of_run},
    )


def _labelled(rows: Sequence[Row], shown: str) -> Dataset:
    records = [{**row.inputs, **row.labels} for row in rows]
    # A name of its own is the one column that a row may lack.
    columns = [column for column in records[0] if all(column in one for one in records)]
    values = {column: [one[column] for one in records] for column in columns}
    try:
        return Dataset.from_dict({**values, _SOURCE: list(range(len(rows)))})
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{shown}: a column of {', '.join(rows[0].labels)} holds values of several kinds ({error}). Write all "
            "labels in one way."
        ) from error
