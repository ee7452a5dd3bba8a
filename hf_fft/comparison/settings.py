"""What a comparison may be told besides its recipe and its strategies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from hf_fft.errors import RecipeError
from hf_fft.recipe import Recipe
from hf_fft.recipe.words import near_miss, shown

RATES_FRACTION = 0.3
FEWEST_RATES = 3
UNTRAINED_HEAD = "untrained_head"
# By task, the ones that cost seconds and are computed without being asked for.
CHEAP_BASELINES: dict[str, tuple[str, ...]] = {
    "text_classification": ("majority", "tfidf_logistic_regression"),
    "token_classification": ("majority",),
}


class SettingsKeywords(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments."""

    seeds: Sequence[int]
    fractions: Sequence[float]
    rates: Sequence[float]
    rates_fraction: float
    baselines: Sequence[str] | None
    overwrite: bool
    trust_remote_code: bool


@dataclass(frozen=True)
class Settings:
    """How often, on how many rows, and against what strategies are compared.

    Attributes:
        seeds: One run of every strategy for each; the recipe's own alone if empty.
        fractions: Shares of the training rows; a smaller one is a part of a larger one.
        rates: Learning rates to try for every strategy; none for the recipe's and the strategies' own.
        rates_fraction: Share of the training rows for that search.
        baselines: Names; those that cost seconds if None.
        overwrite: Train anew what is finished, and replace what another recipe left.
        trust_remote_code: The second of the two wishes without which no code of a model runs.

    Raises:
        RecipeError: for a number out of range or given twice, or fewer than three rates.
    """

    seeds: Sequence[int] = ()
    fractions: Sequence[float] = (1.0,)
    rates: Sequence[float] = ()
    rates_fraction: float = RATES_FRACTION
    baselines: Sequence[str] | None = None
    overwrite: bool = False
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        _refuse("seeds", self.seeds, lambda seed: 0 <= seed < 2**32, "from 0 to below 2³²")
        _refuse("fractions", self.fractions, lambda share: 0 < share <= 1, "above 0 and at most 1")
        _refuse("rates", self.rates, lambda rate: rate > 0, "above 0")
        _refuse("rates-fraction", [self.rates_fraction], lambda share: 0 < share <= 1, "above 0 and at most 1")
        if not self.fractions:
            raise RecipeError("--fractions names no share of the training rows; leave it out for all rows.")
        if 0 < len(self.rates) < FEWEST_RATES:
            raise RecipeError(
                f"--rates has {len(self.rates)} of at least {FEWEST_RATES} rates: with fewer the best one always lies "
                "at an edge, and nobody knows what lies beyond."
            )

    @property
    def flags(self) -> list[str]:
        """What is handed on to every run."""
        wanted = {"--overwrite": self.overwrite, "--trust-remote-code": self.trust_remote_code}
        return [flag for flag, is_wanted in wanted.items() if is_wanted]


def baselines_for(recipe: Recipe, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the baselines of a comparison; without a wish, those that cost seconds.

    Raises:
        RecipeError: for a name that is none, or has no meaning for the task.
    """
    cheap = CHEAP_BASELINES.get(recipe.task.name, ())
    if names is None:
        return cheap
    every = (*dict.fromkeys(name for some in CHEAP_BASELINES.values() for name in some), UNTRAINED_HEAD)
    for name in names:
        if name not in every:
            near = near_miss(name, every)
            meant = f"; did you mean {shown(near)}?" if near else "."
            raise RecipeError(f"{shown(name)} is not a baseline{meant} There are {', '.join(every)}.")
        if name not in (*cheap, UNTRAINED_HEAD):
            raise RecipeError(
                f"The baseline {name} has no meaning for {recipe.task.name}; there are "
                f"{', '.join((*cheap, UNTRAINED_HEAD))}."
            )
    return tuple(dict.fromkeys(names))


def _refuse(option: str, values: Sequence[float], is_good: Callable[[Any], bool], range_words: str) -> None:
    for value in values:
        if not is_good(value):
            raise RecipeError(f"--{option}: {value} is out of range; {range_words}.")
    if len(set(values)) < len(values):
        raise RecipeError(f"--{option} names a value twice: {', '.join(map(str, values))}.")
