"""What may stand nowhere in a recipe, whatever the field: secrets, numbers that are none, text that is no text.

These faults are found before the records look at the values, and win over what the records would say about the same
place, so that a secret is never printed back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hf_fft.recipe.fields import Path

DEEPEST = 20
LARGEST_INTEGER = 2**63
# Here the keys are labels and columns, which may be called anything.
NAMED_BY_DATA = (("task", "class_weights"), ("data", "exclude"))
PATH_FIELDS = (
    ("data", "path"),
    ("model",),
    ("model", "name"),
    ("model", "tokenizer"),
    ("output_dir",),
    ("task", "hub_metrics"),
    ("training", "run_name"),
)
SECRET_KEY = re.compile(r"(token|(api|secret|access|private)_?key|secret|password|passwd)$", re.IGNORECASE)
SECRET_VALUE = re.compile(r"hf_[A-Za-z0-9]{20,}")
# Fields of a model's config that name a token of its vocabulary.
VOCABULARY_KEYS = {f"{name}_token" for name in ("bos", "eos", "pad", "unk", "sep", "cls", "mask")}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
NO_SECRETS = "a secret has no place in a recipe; set HF_TOKEN or run `hf auth login`, and take it out"


@dataclass(frozen=True)
class Unwanted:
    """Marks a value that the JSON text held and no recipe may hold, with the reason."""

    reason: str


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a recipe; `breaks` where the records cannot look at the values at all."""

    path: Path
    words: str
    breaks: bool = False


def screened(values: Any) -> list[Fault]:
    """Return the faults that no field is needed to see."""
    faults: list[Fault] = []
    for fault in _walk(values, ()):
        faults.append(fault)
        if fault.breaks:
            break
    return faults


def without_secrets(text: str) -> str:
    """Blot out what looks like a Hugging Face token."""
    return SECRET_VALUE.sub("hf_…", text)


def _walk(value: Any, path: Path) -> Iterator[Fault]:
    words = _wrong_with(value, path)
    if words is not None:
        yield Fault(path, words)
        return
    if len(path) >= DEEPEST and isinstance(value, Mapping | list | tuple):
        yield Fault(path[:3], f"nested too deep; at most {DEEPEST} levels", breaks=True)
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or SURROGATE.search(key):
                yield Fault(path, "a key is not text; every key must be a string of whole characters", breaks=True)
            elif _is_secret(key, inner, path):
                yield Fault((*path, key), NO_SECRETS)
            else:
                yield from _walk(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _walk(inner, (*path, index))


def _is_secret(key: str, value: Any, path: Path) -> bool:
    named_by_recipe = path[:2] not in NAMED_BY_DATA and key not in VOCABULARY_KEYS
    return value is not None and named_by_recipe and SECRET_KEY.search(key) is not None


def _wrong_with(value: Any, path: Path) -> str | None:
    if isinstance(value, Unwanted):
        return value.reason
    if isinstance(value, str):
        return _wrong_with_text(value, path)
    if isinstance(value, float) and not math.isfinite(value):
        return "not a finite number; a recipe holds no NaN and no infinity"
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return "the integer is too large; at most 19 digits"
    return None


def _wrong_with_text(text: str, path: Path) -> str | None:
    if SECRET_VALUE.search(text):
        return NO_SECRETS
    if SURROGATE.search(text):
        return "holds half a character (a lone surrogate); write the text as UTF-8"
    is_path = path in PATH_FIELDS or path[:-1] == ("task", "hub_metrics")
    if is_path and CONTROL.search(text):
        return "holds a control character; a path or name has none"
    return None
