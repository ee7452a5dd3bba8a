"""From plain values to a Recipe, or to one error that names everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from hf_fft.errors import RecipeError
from hf_fft.recipe.faults import faults_of
from hf_fft.recipe.fields import Path, fields_of
from hf_fft.recipe.records import Recipe, expand_names
from hf_fft.recipe.screen import Fault, screened, without_secrets
from hf_fft.recipe.words import dotted, printable


def recipe_from(values: Any, *, source: str = "the recipe") -> Recipe:
    """Return the recipe that plain values, as JSON gives them, describe.

    Paths stay as they are written; `load_recipe` makes those of a file absolute.

    Raises:
        RecipeError: naming every fault, under the name `source`.
    """
    return values if isinstance(values, Recipe) else checked(values, source=source)


def checked(values: Any, *, source: str, earlier: Iterable[Fault] = ()) -> Recipe:
    """Return the recipe, or raise what is wrong with it together with the faults that were found earlier.

    Raises:
        RecipeError: naming every fault.
    """
    faults = [*earlier, *screened(values)]
    recipe = None
    if not any(fault.breaks for fault in faults):
        values = expand_names(values)
        try:
            recipe = Recipe.model_validate(values)
        except ValidationError as error:
            faults += [fault for fault in faults_of(error, values) if not _is_under(fault.path, faults)]
    if faults or recipe is None:
        raise _error(sorted(faults, key=_order), source)
    return recipe


def _is_under(path: Path, faults: list[Fault]) -> bool:
    return any(path[: len(fault.path)] == fault.path for fault in faults if fault.path)


def _order(fault: Fault) -> int:
    """Put misspelt sections first, since they explain other faults, and then keep the order of the records."""
    sections = list(fields_of(Recipe))
    if not fault.path:
        return len(sections)
    return sections.index(str(fault.path[0])) if fault.path[0] in sections else -1


def _error(faults: list[Fault], source: str) -> RecipeError:
    lines = tuple(
        without_secrets(printable(f"{dotted(fault.path) or 'the recipe'}: {fault.words}")) for fault in faults
    )
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    return RecipeError("\n  ".join([f"{without_secrets(printable(source))} has {count}:", *lines]), lines)
