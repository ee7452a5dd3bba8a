"""What the data look like: a record for the run folder, and a few lines for a reader.

Two texts count as equal if they differ only in case and white space. Repeated rows inside a split weigh more than they
should; texts that a later split shares with an earlier one make its score look better than it is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Protocol

import numpy
from datasets import ClassLabel, Dataset
from pydantic import Field

from hf_fft.data.values import column_values
from hf_fft.recipe.record import Record


class NamedSplits(Protocol):
    """Anything that yields splits by name: `Splits`, or a `DatasetDict`."""

    def items(self) -> Iterable[tuple[str, Dataset]]:
        """Yield name and rows."""


class TokenLengths(Record):
    """How long the texts of a split are, in tokens; `share_truncated` is the share of rows beyond `max_length`."""

    median: float
    percentile_95: float
    longest: int
    max_length: int | None = None
    share_truncated: float | None = None


class SplitReport(Record):
    """One split: its rows, labels by name, rows whose text stood there before, empty texts, and lengths.

    `findings` are what the task had to say besides, in words: answers that are not where they should be, words cut off.
    """

    rows: int
    label_counts: dict[str, int]
    duplicates: int
    empty_texts: int
    token_lengths: TokenLengths | None = None
    findings: tuple[str, ...] = Field((), strict=False)


class DataReport(Record):
    """All splits, and what they share.

    Keys of `shared_rows` and `shared_texts` are `earlier/later`. Rows are those of the later split whose text also
    stands in the earlier one; texts counts each such text once.
    """

    splits: dict[str, SplitReport]
    shared_rows: dict[str, int]
    shared_texts: dict[str, int]

    def lines(self) -> list[str]:
        """Return the report as plain lines."""
        lines = []
        for name, split in self.splits.items():
            lines.append(f"{name}: {split.rows:,} rows{_labels(split.label_counts)}")
            if split.duplicates:
                lines.append(f"  repeating the text of an earlier row: {_rows(split.duplicates)}")
            if split.empty_texts:
                lines.append(f"  with an empty text: {_rows(split.empty_texts)}")
            if split.token_lengths is not None:
                lines.append(f"  {_lengths(split.token_lengths)}")
            lines += [f"  {finding}" for finding in split.findings]
        for pair, count in self.shared_rows.items():
            earlier, later = pair.split("/")
            if count:
                texts = f" (different texts: {self.shared_texts[pair]:,})" if self.shared_texts[pair] != count else ""
                lines.append(f"in {earlier} and in {later}: {_rows(count)} of {later}{texts}; its scores may flatter")
        return lines


def data_report(
    splits: NamedSplits,
    *,
    text_columns: Sequence[str],
    label_counts: Mapping[str, Mapping[str, int]],
    token_lengths: Mapping[str, Sequence[int]] | None = None,
    max_length: int | None = None,
    findings: Mapping[str, Sequence[str]] | None = None,
) -> DataReport:
    """Describe the splits.

    Args:
        text_columns: Columns of texts, or of lists of words.
        label_counts: How often each label stands in a split, by split.
        token_lengths: The untruncated length of every row, by split.
        findings: What else there is to say, by split.
    """
    counts: dict[str, Counter[bytes]] = {}
    reports = {}
    for name, rows in splits.items():
        texts = list(zip(*(map(_as_text, column_values(rows, column)) for column in text_columns), strict=True))
        counts[name] = Counter(map(_digest, texts))
        lengths = (token_lengths or {}).get(name)
        reports[name] = SplitReport(
            rows=len(rows),
            label_counts=dict(label_counts.get(name, {})),
            duplicates=len(rows) - len(counts[name]),
            empty_texts=sum(not all(part.strip() for part in parts) for parts in texts),
            token_lengths=_token_lengths(lengths, max_length) if lengths is not None and len(lengths) else None,
            findings=tuple((findings or {}).get(name, ())),
        )
    shared = {(one, two): counts[one].keys() & counts[two].keys() for one, two in combinations(counts, 2)}
    return DataReport(
        splits=reports,
        shared_rows={f"{one}/{two}": sum(counts[two][key] for key in both) for (one, two), both in shared.items()},
        shared_texts={f"{one}/{two}": len(both) for (one, two), both in shared.items()},
    )


def _as_text(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _digest(parts: Sequence[str]) -> bytes:
    """Return a short digest of a row's texts, equal for texts that differ only in case and white space."""
    plain = "\0".join(" ".join(part.split()).casefold() for part in parts)
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def label_counts(rows: Dataset, column: str) -> dict[str, int]:
    """Count the labels of a column of `ClassLabel`, or of lists of it, by name."""
    feature = rows.features[column]
    inner = getattr(feature, "feature", feature)
    if not isinstance(inner, ClassLabel):
        return {}
    values = column_values(rows, column)
    count = Counter(values if inner is feature else (label for labels in values for label in labels))
    return {name: count[index] for index, name in enumerate(inner.names)}


def _token_lengths(lengths: Sequence[int], max_length: int | None) -> TokenLengths:
    array = numpy.asarray(lengths)
    return TokenLengths(
        median=float(numpy.median(array)),
        percentile_95=float(numpy.percentile(array, 95)),
        longest=int(array.max()),
        max_length=max_length,
        share_truncated=None if max_length is None else float((array > max_length).mean()),
    )


def _labels(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:20])
    more = f" and {len(counts) - 20} more labels" if len(counts) > 20 else ""
    return f" ({shown}{more})" if shown else ""


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _lengths(lengths: TokenLengths) -> str:
    cut = (
        ""
        if lengths.share_truncated is None
        else f"; {lengths.share_truncated:.1%} of rows are longer than {lengths.max_length:,}"
    )
    return (
        f"tokens: median {lengths.median:.0f}, 95th percentile {lengths.percentile_95:.0f}, "
        f"longest {lengths.longest:,}{cut}"
    )
