"""A run's records as anybody may see them: without the places that only this machine knows."""

from __future__ import annotations

from typing import Any

from hf_fft.recipe import Recipe
from hf_fft.report.wording import place_text, without_local_paths
from hf_fft.result import Result, as_json

# Where it went says nothing of how it was made, and somebody else could not write there.
PRIVATE_SECTIONS = ("hub",)


def public_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's values, of every local path the last part alone."""
    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    values = {key: value for key, value in values.items() if key not in PRIVATE_SECTIONS}
    for section, key in (("model", "name"), ("model", "tokenizer"), ("data", "path")):
        if isinstance(values[section].get(key), str):
            values[section][key] = place_text(values[section][key])
    if "output_dir" in values:
        values["output_dir"] = place_text(values["output_dir"])
    cleaned: dict[str, Any] = without_local_paths(values)
    return cleaned


def public_result(result: Result) -> dict[str, Any]:
    """Return a result's values in the same way."""
    values = as_json(result.model_dump(mode="json", by_alias=True))
    cleaned: dict[str, Any] = without_local_paths({**values, "recipe": public_recipe(result.recipe)})
    return cleaned
