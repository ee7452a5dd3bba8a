"""How figures, names and places are written, so that tables, pictures and cards say the same thing the same way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hf_fft.recipe import TaskRecipe, is_hub_name
from hf_fft.result import Result

MISSING = "–"
LOCAL_PATH = re.compile(
    r"(?<![\w/:.<])(?:file://|~|[A-Za-z]:)?[\\/](?:[^\s\\/'\"`,;:]+[\\/])+(?P<last>[^\s\\/'\"`,;:]*)"
)


# What the part of a metric's name behind the slash stands for, by task: `f1/PER`, `exact_match/HasAns`.
PARTS = {
    "text_classification": "label",
    "token_classification": "type",
    "question_answering": "kind of question",
    "generative_question_answering": "kind of question",
}


def score_text(value: float | None) -> str:
    """Write a score with three decimals, or as many as leave four or five figures; a dash where there is none."""
    if value is None:
        return MISSING
    decimals = next((places for places, limit in ((3, 10), (2, 100), (1, 1000)) if abs(value) < limit), 0)
    return f"{value:,.{decimals}f}"


def part_name(task: TaskRecipe) -> str:
    """Say what a task's metrics are broken down by."""
    return "tag" if getattr(task, "tag_scheme", None) == "plain" else PARTS.get(task.name, "part")


def amount_text(value: float) -> str:
    """Write seconds, MiB or a count: thousands with commas, a decimal only below 100."""
    return f"{value:,.1f}" if abs(value) < 100 and value != int(value) else f"{value:,.0f}"


def share_text(part: float, whole: float) -> str:
    """Write a share as a percentage that never rounds something to nothing."""
    if not whole:
        return MISSING
    percent = 100 * part / whole
    return "< 0.1%" if 0 < percent < 0.05 else f"{percent:.1f}%"


def primary_name(result: Result) -> str | None:
    """Return the name of the metric that "best" means in this run; without one, the first that it has."""
    if result.primary_metric is not None:
        return result.primary_metric.name
    return next((name for scores in result.metrics.values() for name in scores), None)


def shown_split(results: Iterable[Result], metric: str | None) -> str | None:
    """Return the split whose scores stand in a table: test where every run has it, otherwise validation."""
    having = [{split for split, scores in result.metrics.items() if metric in scores} for result in results]
    shared = set.intersection(*having) if having else set()
    return next((split for split in ("test", "validation") if split in shared), min(shared, default=None))


def rows_in_split(result: Result, split: str) -> int | None:
    """Return how many rows the data report counts in a split."""
    splits = result.data.get("splits")
    report = splits.get(split) if isinstance(splits, dict) else None
    rows = report.get("rows") if isinstance(report, dict) else None
    return rows if isinstance(rows, int) else None


def listed(names: Iterable[str], most: int = 20) -> str:
    """Write names with commas between them, and how many there are beyond the first twenty."""
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def place_text(name: str) -> str:
    """Return a model's or data set's place without what only this machine knows: of local paths, the last part."""
    if name.startswith("wheel:") or is_hub_name(name):
        return name
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] or name


def without_local_paths(value: Any) -> Any:
    """Return JSON data whose texts show of every absolute path the last part alone."""
    if isinstance(value, dict):
        return {key: without_local_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_local_paths(item) for item in value]
    return LOCAL_PATH.sub(lambda found: found["last"], value) if isinstance(value, str) else value


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table for the terminal: names to the left, figures to the right.

    A row that is shorter than the headings ends with a text that runs across the remaining columns.
    """
    full = [row for row in rows if len(row) == len(headings)]
    widths = [max(len(row[place]) for row in [headings, *full]) for place in range(len(headings))]
    widths[0] = max([widths[0], *(len(row[0]) for row in rows)])
    lines = []
    for row in [headings, ["-" * width for width in widths], *rows]:
        figures = row[1:] if len(row) < len(headings) else map(str.rjust, row[1:], widths[1:])
        lines.append("  ".join([row[0].ljust(widths[0]), *figures]).rstrip())
    return "\n".join(lines)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out the same table as Markdown."""
    filled = [[*row, *[""] * (len(headings) - len(row))] for row in rows]
    body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [headings, *filled]]
    body.insert(1, [":--", *["--:"] * (len(headings) - 1)])
    return "\n".join(f"| {' | '.join(row)} |" for row in body)
