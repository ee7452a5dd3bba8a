"""Turns of phrase that the messages of this room share.

An error about data should name the rows, list what is there, and guess what was meant. These functions only build text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return `; did you mean "text"?` where a choice is close to `name`, otherwise nothing."""
    choices = list(choices)
    for choice in choices:
        if choice != name and choice.strip().casefold() == name.strip().casefold():
            return f'; did you mean "{choice}"?'
    close = get_close_matches(name, [choice for choice in choices if choice != name], n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def listed(items: Iterable[object], limit: int = 20) -> str:
    """Join items by commas; beyond `limit` only count them."""
    texts = [str(item) for item in items]
    if not texts:
        return "nothing"
    rest = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {rest:,} more" if rest > 0 else "")


def rows_named(indices: Sequence[int], limit: int = 5) -> str:
    """Name rows by number, counted from 1, out of indices counted from 0."""
    numbers = listed((index + 1 for index in indices), limit)
    return f"{'row' if len(indices) == 1 else 'rows'} {numbers} (counted from 1)"
