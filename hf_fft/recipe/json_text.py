"""Strict JSON: bytes in, plain values out.

Python's `json` lets pass what a recipe must not hold: the last of two equal keys wins, NaN and Infinity are numbers,
and 1e999 is infinite. Here such a value is replaced by a mark that says what is wrong with it, so that it can be
reported with its path, beside all the other faults.
"""

from __future__ import annotations

import json
import math
from typing import Any

from hf_fft.errors import RecipeError
from hf_fft.recipe.screen import DEEPEST, Unwanted

LARGEST_BYTES = 2**20
MOST_DIGITS = 19


def parse_json(content: bytes, source: str) -> Any:
    """Return the values of a JSON document, with `Unwanted` in place of what no recipe may hold.

    Raises:
        RecipeError: if the bytes are no JSON document in UTF-8, or more than 1 MiB.
    """
    if len(content) > LARGEST_BYTES:
        raise RecipeError(f"{source} is larger than 1 MiB; a recipe is a page of JSON")
    try:
        return strict_loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{source} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except json.JSONDecodeError as error:
        what = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise RecipeError(f"{source} is not JSON: {what}") from None
    except RecursionError:
        raise RecipeError(f"{source} is nested too deep; at most {DEEPEST} levels") from None


def strict_loads(text: str) -> Any:
    """Return the values of a JSON text, with `Unwanted` marks.

    Raises:
        json.JSONDecodeError: if it is not JSON.
        RecursionError: if it is nested deeper than Python can read.
    """
    return json.loads(
        text,
        object_pairs_hook=_without_duplicates,
        parse_constant=lambda name: Unwanted(f"{name} is not a number; a recipe holds finite numbers only"),
        parse_float=_finite,
        parse_int=_bounded,
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        values[key] = Unwanted("stands twice in the same object; keep one") if key in values else value
    return values


def _finite(digits: str) -> float | Unwanted:
    number = float(digits)
    return number if math.isfinite(number) else Unwanted("too large for a number; a recipe holds finite numbers only")


def _bounded(digits: str) -> int | Unwanted:
    if len(digits.lstrip("-")) > MOST_DIGITS:
        return Unwanted("the integer is too large; at most 19 digits")
    return int(digits)
