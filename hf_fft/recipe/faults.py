"""From pydantic's errors to lines that a person can act on.

Each line is `path: what was found; what is wanted`. Which words go with which of pydantic's error types stands in the
tables at the end of this page. A field that may be several things gives pydantic one error an alternative; the reader
gets one line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hf_fft.recipe.fields import Path, bounds_of, choices_of, field_at, fields_of, kinds_of, value_at
from hf_fft.recipe.records import HUB_REPOSITORY, Recipe
from hf_fft.recipe.screen import Fault
from hf_fft.recipe.unknown import nearest_field, words_for_unknown
from hf_fft.recipe.words import either, found, near_miss, quoted, shown

MOST_LISTED = 14
# Looking for near misses takes its time, and nobody reads on.
MOST_SHOWN = 100


@dataclass(frozen=True)
class Placed:
    """An error at its path in the recipe; `union` is the path of the field with alternatives that it belongs to."""

    path: Path
    union: Path | None
    details: ErrorDetails
    values: Any

    @property
    def type(self) -> str:
        """Pydantic's word for the kind of error."""
        return self.details["type"]

    @property
    def input(self) -> Any:
        """What was found there."""
        return self.details["input"]


def faults_of(error: ValidationError, values: Any) -> list[Fault]:
    """Return one fault for each thing that is wrong."""
    placed = [_place(details, values) for details in error.errors(include_url=False)[:MOST_SHOWN]]
    meant = {(*some.path[:-1], nearest_field(some.path, values)) for some in placed if some.type == "extra_forbidden"}
    faults: list[Fault] = []
    for alternatives in _by_union(placed).values():
        for some in _most_telling(alternatives):
            # A misspelt key has been named already; that its right spelling is missing is the same fault.
            if some.type != "missing" or some.path not in meant:
                faults.append(Fault(_shown_path(some), _words(some, alternatives)))
    if error.error_count() > MOST_SHOWN:
        faults.append(Fault((), f"and more; the first {MOST_SHOWN} are shown"))
    return faults


def _place(details: ErrorDetails, values: Any) -> Placed:
    """Drop from pydantic's location what is not a key of the recipe: the tags of alternatives."""
    path: Path = ()
    union: Path | None = None
    location = details["loc"]
    for depth, key in enumerate(location):
        here = value_at(values, path)
        is_key = isinstance(here, Mapping) and key in here
        is_item = isinstance(here, list | tuple) and isinstance(key, int)
        is_missing = details["type"] == "missing" and depth == len(location) - 1
        if depth == 1 and _comes_in_kinds(path):
            continue
        if is_key or is_item or is_missing:
            path = (*path, key)
        elif union is None:
            union = path
    return Placed(path, union, details, values)


def _comes_in_kinds(path: Path) -> bool:
    field = fields_of(Recipe).get(str(path[0])) if path else None
    return field is not None and len(kinds_of(field)) > 1


def _by_union(placed: list[Placed]) -> dict[Any, list[Placed]]:
    groups: dict[Any, list[Placed]] = {}
    for number, some in enumerate(placed):
        groups.setdefault(some.union if some.union is not None else number, []).append(some)
    return groups


def _most_telling(alternatives: list[Placed]) -> list[Placed]:
    """Return the errors inside the alternative that was meant, or one that stands for all."""
    deepest = max(len(some.path) for some in alternatives)
    inside = [some for some in alternatives if some.union is not None and len(some.path) > len(some.union)]
    if inside and len(alternatives) > 1:
        by_path = {some.path: some for some in inside if len(some.path) == deepest}
        return list(by_path.values())
    right_type = [some for some in alternatives if some.type not in NEEDED and some.type != "literal_error"]
    return (right_type or alternatives)[:1]


def _shown_path(some: Placed) -> Path:
    return (*some.path, "name") if some.type in ("union_tag_invalid", "union_tag_not_found") else some.path


def _words(some: Placed, alternatives: list[Placed]) -> str:
    here = [other for other in alternatives if other.path == some.path]
    if some.type in NEEDED or (some.type == "literal_error" and len(here) > 1):
        return _wrong_type(some, here)
    writer = WRITERS.get(some.type)
    return writer(some) if writer is not None else f"{found(some.input)}; {some.details['msg'].lower()}"


def _wrong_type(some: Placed, alternatives: list[Placed]) -> str:
    choices = [choice for other in alternatives if other.type == "literal_error" for choice in _choices(other)]
    meant = near_miss(some.input, choices)
    if meant is not None:
        return f"{shown(some.input)} is not one of the choices; did you mean {shown(meant)}?"
    types = [NEEDED[other.type] for other in alternatives if other.type in NEEDED]
    return f"{found(some.input)}; {either([*map(shown, choices), *types])} is needed"


def _choices(some: Placed) -> list[str]:
    return [choice for choice in choices_of(field_at(some.path, some.values)) if isinstance(choice, str)]


def _wrong_word(some: Placed) -> str:
    choices = _choices(some)
    if not isinstance(some.input, str):
        return f"{found(some.input)}; one of {_listed(choices)} is needed"
    section = some.path[0] if some.path[1:] == ("name",) else None
    return _not_one_of(some.input, choices, f"a {section}" if section else "one of the choices")


def _wrong_kind(some: Placed) -> str:
    kinds = list(kinds_of(fields_of(Recipe)[str(some.path[0])]))
    name = value_at(some.values, (*some.path, "name"))
    if not isinstance(name, str):
        return f"{found(name)}; one of {_listed(kinds)} is needed"
    return _not_one_of(name, kinds, f"a {some.path[0]}")


def _not_one_of(word: str, choices: list[str], what: str) -> str:
    meant = near_miss(word, choices)
    advice = f"did you mean {shown(meant)}?" if meant else f"there are {_listed(choices)}"
    return f"{shown(word)} is not {what}; {advice}"


def _listed(choices: list[str]) -> str:
    more = ", …" if len(choices) > MOST_LISTED else ""
    return quoted(choices[:MOST_LISTED]) + more


def _kind_missing(some: Placed) -> str:
    return f"missing; one of {_listed(list(kinds_of(fields_of(Recipe)[str(some.path[0])])))} is needed"


def _missing(some: Placed) -> str:
    field = field_at(some.path, some.values)
    description = (field.description or "").rstrip(".") if field is not None else ""
    return f"missing; it is needed: {description}" if description else "missing; it is needed"


def _out_of_range(some: Placed) -> str:
    direction = "low" if some.type.startswith("greater") else "high"
    bounds = bounds_of(field_at(some.path, some.values))
    return f"{shown(some.input)} is too {direction}; {' and '.join(map(_bound_words, bounds))}"


def _bound_words(bound: Gt | Ge | Lt | Le) -> str:
    word, attribute = next(words for type_, words in BOUND_WORDS.items() if isinstance(bound, type_))
    return f"{word} {getattr(bound, attribute)}"


def _wrong_form(some: Placed) -> str:
    pattern = some.details["ctx"]["pattern"]
    return f"{shown(some.input)} has the wrong form; {PATTERNS.get(pattern, pattern)} is needed"


def _does_not_fit(some: Placed) -> str:
    return str(some.details["ctx"]["error"])


NEEDED: dict[str, str] = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
    "none_required": "null",
    "finite_number": "a finite number",
    "invalid-json-value": "a JSON value",
}
BOUND_WORDS: dict[type, tuple[str, str]] = {
    Gt: ("above", "gt"),
    Ge: ("at least", "ge"),
    Lt: ("below", "lt"),
    Le: ("at most", "le"),
}
PATTERNS: dict[str, str] = {
    "^[0-9a-f]{64}$": "a SHA-256 of 64 digits 0-9, a-f",
    HUB_REPOSITORY: "user/name or organization/name in letters, digits and _, with single . and - between them,",
}
WRITERS: dict[str, Callable[[Placed], str]] = {
    "missing": _missing,
    "extra_forbidden": lambda some: words_for_unknown(some.path, some.values),
    "literal_error": _wrong_word,
    "union_tag_invalid": _wrong_kind,
    "union_tag_not_found": _kind_missing,
    "greater_than": _out_of_range,
    "greater_than_equal": _out_of_range,
    "less_than": _out_of_range,
    "less_than_equal": _out_of_range,
    "string_too_short": lambda some: "empty; leave it out, or name something",
    "string_too_long": lambda some: f"longer than {some.details['ctx']['max_length']} characters",
    "string_pattern_mismatch": _wrong_form,
    "value_error": _does_not_fit,
}
