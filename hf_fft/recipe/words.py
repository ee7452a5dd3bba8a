"""How values, paths and lists of words are shown in a message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from hf_fft.recipe.fields import Path

LONGEST_SHOWN = 60
PLAIN_KEY = re.compile(r"[\w$-]+")
# In this order: a bool is an int for Python.
TYPE_WORDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a number"),
    (str, "a string"),
)


def dotted(path: Path) -> str:
    """Return a path as it is shown, and as `--set` takes it."""
    return ".".join(key if PLAIN_KEY.fullmatch(key) else shown(key) for key in map(str, path))


def shown(value: Any) -> str:
    """Return a value as JSON, cut where it is long."""
    text = printable(json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__))
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def printable(text: str) -> str:
    """Write out what has no place in UTF-8, so that a message can always be printed."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def found(value: Any) -> str:
    """Say what kind of value stands there."""
    if value is None:
        return "null was found"
    if isinstance(value, Mapping):
        return "an object was found"
    if isinstance(value, list | tuple):
        return "a list was found"
    kind = next((words for type_, words in TYPE_WORDS if isinstance(value, type_)), f"a {type(value).__name__}")
    return f"{shown(value)} is {kind}" if isinstance(value, str | int | float) else f"{kind} was found"


def either(words: Iterable[str]) -> str:
    """Join alternatives: `a, b or c`."""
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def quoted(words: Iterable[Any]) -> str:
    """Join words in quotes, by commas."""
    return ", ".join(shown(word) for word in words)


def near_miss(word: Any, words: Iterable[str]) -> str | None:
    """Return the one of `words` that was probably meant."""
    matches = get_close_matches(word[:LONGEST_SHOWN], list(words), n=1, cutoff=0.7) if isinstance(word, str) else []
    return matches[0] if matches else None
