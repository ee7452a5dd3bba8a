"""From a comparison to the JSON file that is committed: figures, differences, machine; no text of a row, no folder.

Notes on what else ran on the machine are kept beside the runs with the time from which they hold, so that a run keeps
its own however often the comparison is stopped and goes on.
"""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from specification_data_sets import DataSet

from hf_fft.compare import Comparison
from hf_fft.result.comparison import ComparedRun, ComparedStrategy

NOTES = "notes.json"
# What the bootstrap and the table say of a strategy, as the comparison's own record has it.
FIGURES = (
    "learning_rate",
    "planned",
    "finished",
    "failures",
    "constant_runs",
    "score",
    "train_seconds",
    "time_ratio",
    "peak_mib",
    "trainable_parameters",
    "total_parameters",
    "model_mib",
    "predictions_per_second",
    "convergence",
    "learning_curve",
    "data_required",
    "gain",
    "verdict",
)


def write_note(folder: Path, note: str) -> None:
    """Keep a note on the machine that holds for all runs that end from now on."""
    file = folder / NOTES
    folder.mkdir(parents=True, exist_ok=True)
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    now = datetime.datetime.now(datetime.UTC).timestamp()
    file.write_text(json.dumps([*earlier, {"since": now, "note": note}], indent=2), encoding="utf-8")


def summary(
    data_set: DataSet, comparison: Comparison, strategies: Sequence[str], *, data: Path, speed: str
) -> dict[str, Any]:
    """Return what is kept of a data set's comparison.

    Args:
        data_set: What was compared on.
        comparison: As `compare_strategies` returns it.
        strategies: The names of `STRATEGIES`, in the order in which they were asked for.
        data: The folder with the data, whose name is left out.
        speed: The recipe's section, by name.
    """
    record, folder = comparison.record, comparison.folder
    rows = [one for one in record.strategies if one.kind == "strategy"]
    baselines = [one for one in record.strategies if one.kind == "baseline"]
    names = {one.label: name for one, name in zip(rows, strategies, strict=True)}
    whole = {
        "title": data_set.title,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "machines": _machines(record.runs),
        "speed": speed,
        "metric": record.metric.name if record.metric is not None else None,
        "split": record.split,
        "reference": names.get(record.reference or ""),
        "seeds": list(record.seeds),
        "fractions": list(record.fractions),
        "specification": {
            "row": data_set.printed.row,
            "full": data_set.printed.full,
            "feature_based": data_set.printed.feature_based,
            "gain": data_set.printed.gain,
        },
        "strategies": {names[one.label]: _figures(one, record.runs, folder) for one in rows},
        "baselines": {one.label: _figures(one, record.runs, folder) for one in baselines},
        "notes": list(record.notes),
        "recipe": record.recipe.model_dump(mode="json", by_alias=True, exclude_unset=True),
    }
    folders = {str(data.resolve()): "DATA", str(data): "DATA", str(folder.resolve()): "RUNS", str(folder): "RUNS"}
    return _without(folders, whole)


def _figures(one: ComparedStrategy, runs: Sequence[ComparedRun], folder: Path) -> dict[str, Any]:
    values = one.model_dump(mode="json", by_alias=True)
    return {
        "label": one.label,
        **{name: values[name] for name in FIGURES},
        "runs": [_run(run, folder) for run in runs if run.label == one.label],
    }


def _run(run: ComparedRun, folder: Path) -> dict[str, Any]:
    result = run.result
    figures: dict[str, Any] = {"seed": run.seed, "fraction": run.fraction, "train_rows": run.train_rows}
    if result.status == "failed" or result.cost is None:
        return {**figures, "error": result.error}
    evaluations = [
        {"epoch": point.epoch, "train_seconds": point.train_seconds, "metrics": point.metrics}
        for point in result.curves.evaluation
    ]
    environment = result.environment
    return {
        **figures,
        "metrics": result.metrics,
        "cost": result.cost.model_dump(mode="json"),
        "best_step": result.best_step,
        "evaluations": evaluations,
        "speed_plan": result.speed.model_dump(mode="json") if result.speed is not None else None,
        "date": environment.date if environment is not None else None,
        "beside": _note(folder, (folder / run.folder / "result.json").stat().st_mtime),
    }


def _note(folder: Path, ended: float) -> str | None:
    """Return the note that held when a run ended; None where nothing was said."""
    file = folder / NOTES
    notes = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return next((one["note"] or None for one in reversed(notes) if one["since"] <= ended), None)


def _machines(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """Return each environment once, without its date."""
    found: list[dict[str, Any]] = []
    for run in runs:
        if run.result.environment is not None:
            one = run.result.environment.model_dump(mode="json", exclude={"date"})
            if one not in found:
                found.append(one)
    return found


def _commit() -> str | None:
    """Return the commit that this file belongs to, with "+" if files have been changed since; None outside git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _without(folders: Mapping[str, str], value: Any) -> Any:
    """Return a value with the folders of this machine replaced by a word, in every text."""
    if isinstance(value, str):
        for folder, word in folders.items():
            value = value.replace(folder, word)
        return value
    if isinstance(value, Mapping):
        return {key: _without(folders, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without(folders, one) for one in value]
    return value
