"""A recipe's file, read and checked.

`load_recipe` finds the file, reads it strictly, makes its paths absolute, puts the overrides in and checks the whole.
A bad recipe costs no import of torch or transformers, creates nothing, and names all of its faults at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hf_fft.errors import RecipeError
from hf_fft.recipe.json_text import LARGEST_BYTES, parse_json
from hf_fft.recipe.override import apply, parse_overrides
from hf_fft.recipe.paths import with_absolute_paths
from hf_fft.recipe.records import Recipe
from hf_fft.recipe.shipped import recipe_file, recipe_name, shipped_recipes
from hf_fft.recipe.validate import checked, recipe_from

__all__ = ["load_recipe", "recipe_from", "recipe_name", "shipped_recipes"]


def load_recipe(name_or_path: str | os.PathLike[str], *, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a JSON file, or a shipped one by its bare name: `load_recipe("imdb")`.

    `overrides` are texts `path=value`. Paths are relative to the file, those of overrides to the working directory.

    Raises:
        RecipeError: if there is no such recipe, or naming everything that is wrong with it.
    """
    wanted = parse_overrides(overrides)
    file = recipe_file(name_or_path)
    source = os.fspath(name_or_path)
    values = parse_json(_content(file), source)
    values, faults = apply(wanted, with_absolute_paths(values, os.path.abspath(file.parent)))
    return checked(values, source=source, earlier=faults)


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{file} cannot be read: {error.strerror}") from None
