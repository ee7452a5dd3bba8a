"""Which strategies are compared: a name, or a small object, so that two settings of one strategy can meet.

    lora
    {"name": "lora", "rank": 4}
    {"name": "full", "layer_decay": 0.8, "training": {"learning_rate": 1e-4}}

What stands beside `name` is an option of the strategy, but for `training`, `early_stopping` and `model`, which change
these sections of the recipe. The rest (task, data, seed) is what a comparison has in common.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hf_fft.errors import RecipeError
from hf_fft.recipe import DEFAULT_LEARNING_RATES, Recipe, recipe_from
from hf_fft.recipe.json_text import strict_loads
from hf_fft.recipe.paths import with_absolute_paths
from hf_fft.recipe.records import expand_names
from hf_fft.recipe.words import near_miss, shown

STRATEGY_NAMES = tuple(DEFAULT_LEARNING_RATES)
CHANGEABLE_SECTIONS = ("training", "early_stopping", "model")
COMMON_SECTIONS = ("task", "data", "seed", "output_dir", "strategy")
LONGEST_LABEL = 60

Wish: TypeAlias = str | Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """One strategy of a comparison.

    Attributes:
        label: Its name in the table, unique: "lora", "lora rank=4".
        recipe: The whole recipe, its learning rate filled in.
        names_rate: Whether the wish itself names a learning rate, so that none is to be searched.
    """

    label: str
    recipe: Recipe
    names_rate: bool = False

    @property
    def folder(self) -> str:
        """The label as the name of a folder."""
        return re.sub(r"[^\w.=+-]+", "-", self.label).strip("-")


def choices_of(recipe: Recipe, wishes: Sequence[Wish]) -> list[Choice]:
    """Return what is compared, in the order asked for.

    The strategy that the recipe names keeps its options and its learning rate; the others take their own defaults.

    Raises:
        RecipeError: if a strategy is unknown, an option does not fit, or one is wished for twice.
    """
    if not wishes:
        raise RecipeError(f"No strategy to compare. There are {', '.join(STRATEGY_NAMES)}.")
    choices = [_choice(recipe, _read(wish)) for wish in wishes]
    seen: dict[str, str] = {}
    for choice in choices:
        if choice.folder.lower() in seen:
            raise RecipeError(f'Two strategies would both be called "{choice.label}". Leave one out.')
        seen[choice.folder.lower()] = choice.label
    return choices


def for_strategy(recipe: Recipe, wish: Wish) -> Recipe:
    """Return the recipe with another strategy; options and learning rate that were meant for its own are left behind.

    Raises:
        RecipeError: if there is no such strategy, or an option does not fit.
    """
    return _choice(recipe, _read(wish)).recipe


def _read(wish: Wish) -> dict[str, Any]:
    """Return a wish as an object with a name that exists."""
    if isinstance(wish, str) and wish.lstrip().startswith("{"):
        try:
            wish = strict_loads(wish)
        except (json.JSONDecodeError, RecursionError) as error:
            raise RecipeError(f"--strategies {shown(wish)} is not JSON ({error}); quote it: '{EXAMPLE}'") from error
    values = {"name": wish} if isinstance(wish, str) else dict(wish)
    name = values.get("name")
    if name not in STRATEGY_NAMES:
        near = near_miss(name, STRATEGY_NAMES)
        meant = f"; did you mean {shown(near)}?" if near else "."
        raise RecipeError(f"{shown(name)} is not a strategy{meant} There are {', '.join(STRATEGY_NAMES)}.")
    for section in COMMON_SECTIONS:
        if section in values:
            raise RecipeError(
                f'strategy "{name}": {section} is the same for all that are compared. A strategy may change its own '
                f"options, {', '.join(CHANGEABLE_SECTIONS)}."
            )
    return values


def _choice(recipe: Recipe, wish: dict[str, Any]) -> Choice:
    name, label = wish["name"], _label(wish)
    options = {key: value for key, value in wish.items() if key not in CHANGEABLE_SECTIONS}
    sections = expand_names({key: value for key, value in wish.items() if key in CHANGEABLE_SECTIONS})
    values = recipe.model_dump(mode="json", by_alias=True)
    if name == recipe.strategy.name:
        options = {**recipe.strategy.model_dump(mode="json", by_alias=True, exclude_unset=True), **options}
    else:
        values["training"].pop("learning_rate", None)
    changed = sections.get("training")
    if changed is None or isinstance(changed, Mapping):
        sections["training"] = {
            "learning_rate": DEFAULT_LEARNING_RATES[name],
            **values["training"],
            **(changed or {}),
        }
    values = with_absolute_paths({**values, **sections, "strategy": options, "output_dir": None}, os.getcwd())
    names_rate = isinstance(changed, Mapping) and "learning_rate" in changed
    return Choice(label, recipe_from(values, source=f'strategy "{label}"'), names_rate)


def _label(wish: Mapping[str, Any]) -> str:
    """Return the name and what is changed, short: `full layer_decay=0.8 learning_rate=0.0001`."""
    parts = [wish["name"]]
    for key, value in wish.items():
        inside = value if key in CHANGEABLE_SECTIONS and isinstance(value, Mapping) else {key: value}
        prefix = "" if key == "training" or inside is not value else f"{key}."
        parts += [f"{prefix}{name}={_short(one)}" for name, one in inside.items() if name != "name"]
    label = " ".join(parts)
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_short, value))
    if isinstance(value, bool) or value is None or isinstance(value, Mapping):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


EXAMPLE = '{"name": "lora", "rank": 4}'
