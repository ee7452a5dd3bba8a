"""Where a recipe's file lies: one of the user's, or one that came with hf_fft.

The shipped recipes stand in `recipes/` at the top of the repository, and inside the package in a wheel.
"""

from __future__ import annotations

import os
from pathlib import Path

from hf_fft.errors import RecipeError
from hf_fft.recipe.words import near_miss, shown

PACKAGE = Path(__file__).parent.parent
SUFFIX = ".json"
SCHEMA = "recipe.schema.json"


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that came with hf_fft."""
    return sorted(_shipped_files())


def recipe_file(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file that a path, or the bare name of a shipped recipe, means; a local file comes first.

    Raises:
        RecipeError: if there is none, naming the shipped recipes.
    """
    text = os.fspath(name_or_path)
    path = os.path.expanduser(text)
    if os.path.basename(path) != path or (path.endswith(SUFFIX) and os.path.isfile(path)):
        if os.path.isfile(path):
            return Path(path)
        raise RecipeError(_nothing_there(text, path))
    file = _shipped_files().get(recipe_name(text))
    if file is None:
        raise RecipeError(_nothing_there(text, path))
    return file


def recipe_name(name_or_path: str | os.PathLike[str]) -> str:
    """Return the name of a recipe: its file's name without folder and `.json`."""
    return os.path.basename(os.fspath(name_or_path)).removesuffix(SUFFIX)


def _shipped_files() -> dict[str, Path]:
    folder = PACKAGE / "recipes"
    # In a checkout or an editable install the recipes stand beside the package, together with pyproject.toml; in
    # site-packages a folder of that name would be somebody else's.
    if not folder.is_dir() and (PACKAGE.parent / "pyproject.toml").is_file():
        folder = PACKAGE.parent / "recipes"
    files = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
    return {recipe_name(file): file for file in files if not file.name.endswith(SCHEMA)}


def _nothing_there(text: str, path: str) -> str:
    what = "is a folder, not a recipe" if os.path.isdir(path) else "is neither a file nor a shipped recipe"
    names = shipped_recipes()
    meant = near_miss(recipe_name(text), names)
    advice = f"did you mean {shown(meant)}? " if meant else ""
    return (
        f"{shown(text)} {what}; {advice}shipped recipes: {', '.join(names) or 'none'}; or give the path of a .json file"
    )
