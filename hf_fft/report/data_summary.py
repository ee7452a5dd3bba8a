"""The data report of a run as Markdown: how many rows, which labels, how long, and what the splits share."""

from __future__ import annotations

from typing import Any

from hf_fft.report.wording import MISSING, amount_text, listed, markdown_table, share_text
from hf_fft.result import Result

HEADINGS = [
    "split",
    "rows",
    "repeated texts",
    "empty texts",
    "median tokens",
    "longest, tokens",
    "longer than max_length",
]


def data_summary(result: Result) -> str:
    """Write what the run kept of its data report."""
    splits = _records(result.data.get("splits"))
    if not splits:
        return "No data report was kept."
    table = markdown_table(*_without_empty_columns([_split_row(name, report) for name, report in splits.items()]))
    labels = [_label_line(name, counts) for name, one in splits.items() if (counts := one.get("label_counts"))]
    findings = [f"{name}: {finding}" for name, one in splits.items() for finding in one.get("findings") or ()]
    return "\n\n".join([table, *labels, *findings, *_shared_lines(result)])


def _split_row(name: str, report: dict[str, Any]) -> list[str]:
    lengths = report.get("token_lengths") or {}
    figures = [report.get(key) for key in ("rows", "duplicates", "empty_texts")]
    figures += [lengths.get(key) for key in ("median", "longest")]
    cut = lengths.get("share_truncated")
    return [
        name,
        *(MISSING if figure is None else amount_text(figure) for figure in figures),
        MISSING if cut is None else share_text(cut, 1),
    ]


def _without_empty_columns(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out what no split has: where texts are joined into blocks, none is longer than max_length."""
    kept = [place for place in range(len(HEADINGS)) if any(row[place] != MISSING for row in rows)]
    return [HEADINGS[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _label_line(split: str, counts: dict[str, int]) -> str:
    return f"Labels in {split}: {listed(f'{label} {count:,}' for label, count in counts.items())}."


def _shared_lines(result: Result) -> list[str]:
    shared = result.data.get("shared_rows")
    pairs = shared.items() if isinstance(shared, dict) else ()
    return [
        f"Rows of {later} with a text that also stands in {earlier}: {count:,}. Scores on {later} may be too good."
        for pair, count in pairs
        if isinstance(count, int) and count
        for earlier, _, later in [pair.partition("/")]
    ]


def _records(value: Any) -> dict[str, dict[str, Any]]:
    records = value.items() if isinstance(value, dict) else ()
    return {name: record for name, record in records if isinstance(record, dict)}
