"""`--set path=value` on the command line, and changed values from Python.

An override is applied to the plain values of a recipe before they are checked, so that its faults are reported in the
same list as the file's. The field at the path says how the text is read: as it is where the field takes only text, as
JSON everywhere else.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from hf_fft.errors import RecipeError
from hf_fft.recipe.fields import Path, types_at, value_at
from hf_fft.recipe.json_text import strict_loads
from hf_fft.recipe.paths import with_absolute_paths
from hf_fft.recipe.records import NAMED_SECTIONS, Recipe, expand_names
from hf_fft.recipe.screen import DEEPEST, Fault, without_secrets
from hf_fft.recipe.validate import checked
from hf_fft.recipe.words import shown

EXAMPLE = "an override is path=value, for example training.learning_rate=1e-4"


@dataclass(frozen=True)
class Override:
    """One value to put at one path; text is still to be read, by the field at the path."""

    path: Path
    text: str


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Return what the texts `path=value` ask for.

    Raises:
        RecipeError: naming every text that is no override.
    """
    faults = tuple(without_secrets(words) for words in map(_malformed, texts) if words is not None)
    if faults:
        raise RecipeError("\n".join(faults), faults)
    pairs = [text.partition("=") for text in texts]
    return [Override(tuple(path.strip().split(".")), value) for path, _, value in pairs]


def apply(overrides: Sequence[Override], values: Any, *, base: str | None = None) -> tuple[Any, list[Fault]]:
    """Return the values with the overrides put in, in order, and the faults of those that fit nowhere.

    Paths among the overrides count from `base`, the working directory if absent.
    """
    folder = base if base is not None else os.getcwd()
    faults: list[Fault] = []
    values = copy.copy(values)
    for override in overrides:
        try:
            value = _read(override, values)
            values = _put(values, override.path, _with_absolute_path(override.path, value, folder))
        except _NoPlaceError as error:
            faults.append(error.fault)
    return values, faults


def with_values(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a new recipe with some values changed, by dotted path: `{"training.learning_rate": 1e-4}`.

    Only what was set goes over, so that `strategy.name` may change without the old strategy's defaults in the way.
    A whole section is replaced by a record, a dict or a bare name: `{"strategy": "feature_based"}`.

    Raises:
        RecipeError: if the changed recipe is not one.
    """
    values = recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for section in NAMED_SECTIONS:
        record = getattr(recipe, section)
        if section in values:
            values[section] = {"name": record.name, **values[section]}
    faults: list[Fault] = []
    for path, value in changes.items():
        try:
            values = _put(values, tuple(path.split(".")), _plain(value))
        except _NoPlaceError as error:
            faults.append(error.fault)
    return checked(values, source="the changed recipe", earlier=faults)


class _NoPlaceError(Exception):
    """An override that fits nowhere."""

    def __init__(self, path: Path, words: str) -> None:
        super().__init__(words)
        self.fault = Fault(path, words)


def _malformed(text: str) -> str | None:
    path, equals, _ = text.partition("=")
    if not equals:
        return f"--set {shown(text)} has no =; {EXAMPLE}"
    if not all(part.strip() for part in path.split(".")):
        return f"--set {shown(path)} names no field; {EXAMPLE}"
    if path.count(".") >= DEEPEST:
        return f"--set {shown(path)} is nested too deep; {EXAMPLE}"
    return None


def _read(override: Override, values: Any) -> Any:
    """Return the override's value, typed as the field at its path wants it: JSON, or the text as it is."""
    types = types_at(override.path, expand_names(values))
    if len(override.path) == 1 and override.path[0] in NAMED_SECTIONS:
        types = {str, dict}
    try:
        value = strict_loads(override.text)
    except (json.JSONDecodeError, RecursionError):
        if str not in types and override.text.lstrip().startswith(("{", "[")):
            raise _NoPlaceError(override.path, "the override is not JSON; quote it: --set 'path=[1, 2]'") from None
        return override.text
    # Where text is wanted, 2024 is a name like any other; but null, or a list, may be wanted beside text.
    is_wanted = type(value) in types or (isinstance(value, list) and tuple in types)
    return value if is_wanted or str not in types else override.text


def _with_absolute_path(path: Path, value: Any, base: str) -> Any:
    """Return the value with paths counted from `base`, if the field holds any."""
    alone: Any = value
    for key in reversed(path):
        alone = {key: alone}
    return value_at(with_absolute_paths(alone, base), path)


def _put(values: Any, path: Path, value: Any) -> Any:
    """Return the values with one changed; sections on the way are copied, or begun where there are none."""
    if not isinstance(values, dict):
        return values
    key, rest = str(path[0]), path[1:]
    if not rest:
        return {**values, key: value}
    section = values.get(key)
    if isinstance(section, str) and key in NAMED_SECTIONS:
        section = {"name": section}
    if section is not None and not isinstance(section, dict):
        raise _NoPlaceError(path, f"cannot be set: {shown(key)} holds a value, not a section")
    return {**values, key: _put(section or {}, rest, value)}


def _plain(value: Any) -> Any:
    """Return a value from Python as JSON has it."""
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value
