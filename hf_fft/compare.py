"""Train one recipe by several strategies and lay the results side by side: `python -m hf_fft.compare RECIPE`.

    python -m hf_fft.compare quickstart --strategies full feature_based
    python -m hf_fft.compare imdb --strategies full lora '{"name": "lora", "rank": 4}' --seeds 1 2 3
    python -m hf_fft.compare imdb --fractions 0.01 0.1 0.3 1 --rates 3e-5 1e-4 3e-4 1e-3 3e-3

Each run has a process of its own, one after the other, and a folder of its own. Runs that are finished are kept: the
same command again prints the table, one more seed costs that seed, and a comparison that was stopped goes on. The
strategy that the recipe names keeps its options and its learning rate; the others take their own defaults.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from hf_fft.command_line import add_recipe_arguments, run_door
from hf_fft.comparison import RATES_FRACTION, STRATEGY_NAMES, Settings, SettingsKeywords, Wish, run_comparison
from hf_fft.errors import TrainingError
from hf_fft.recipe import Recipe, load_recipe, recipe_name
from hf_fft.result import Result, write_text
from hf_fft.result.comparison import ComparisonRecord

DEFAULT_STRATEGIES = ("full", "feature_based")
PAGE = "comparison.md"


@dataclass(frozen=True)
class Comparison:
    """Several runs of one recipe.

    Attributes:
        record: What `comparison.json` holds: every run, the table's rows, differences, verdicts.
        folder: Where the runs lie, with `comparison.json`, `comparison.md` and the plots.
    """

    record: ComparisonRecord
    folder: Path

    @property
    def results(self) -> dict[str, Result]:
        """Each run's result by its name: "lora", or "lora, seed 2, fraction 0.1" where there are several."""
        return {run.name: run.result for run in self.record.runs}

    def table(self) -> str:
        """Return the table for a terminal, with the sentences below it."""
        from hf_fft.report.comparison import comparison_table

        return comparison_table(self.record)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="hf_fft.compare", description="Compare strategies on one recipe.")
    add_recipe_arguments(parser)
    parser.add_argument(
        "--strategies",
        nargs="+",
        default=list(DEFAULT_STRATEGIES),
        metavar="STRATEGY",
        help=f"""what to compare: {", ".join(STRATEGY_NAMES)}, or an object: '{{"name": "lora", "rank": 4}}'""",
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[], metavar="N", help="one run of each for every seed; the recipe's own"
    )
    parser.add_argument(
        "--fractions", nargs="+", type=float, default=[1.0], metavar="F", help="shares of the training rows; all"
    )
    parser.add_argument(
        "--rates", nargs="+", type=float, default=[], metavar="R", help="learning rates to try for each, on validation"
    )
    parser.add_argument(
        "--rates-fraction", type=float, default=RATES_FRACTION, metavar="F", help="share of the rows to try them on"
    )
    baselines = parser.add_mutually_exclusive_group()
    baselines.add_argument(
        "--baselines",
        nargs="+",
        metavar="NAME",
        help="majority, tfidf_logistic_regression, untrained_head; those that cost seconds if left out",
    )
    baselines.add_argument("--no-baselines", dest="baselines", action="store_const", const=())
    options = parser.parse_args(arguments)
    return run_door(lambda: _compare(options))


def compare_strategies(
    recipe: Recipe,
    strategies: Sequence[Wish] = DEFAULT_STRATEGIES,
    *,
    output_dir: str | Path | None = None,
    **settings: Unpack[SettingsKeywords],
) -> Comparison:
    """Train a recipe by each strategy, each run in a fresh process, and write the comparison beside the runs.

    Args:
        recipe: What the runs have in common.
        strategies: Names, or objects with `name`, options of the strategy, and the sections `training`,
            `early_stopping` and `model` where they differ: `{"name": "lora", "rank": 4}`.
        output_dir: The comparison's folder; otherwise the recipe's, otherwise `runs/comparison`.
        settings: `seeds`, `fractions`, `rates`, `rates_fraction`, `baselines`, `overwrite`, `trust_remote_code`: see
            `hf_fft.comparison.Settings`.

    Raises:
        RecipeError: if a strategy or a setting makes no sense; nothing has run then.
        RunFolderError: if a run's folder holds another run.
    """
    folder = Path(output_dir or recipe.output_dir or Path("runs") / "comparison")
    record, is_new = run_comparison(recipe, strategies, folder=folder, settings=Settings(**settings))
    if is_new or not (folder / PAGE).exists():
        from hf_fft.report.comparison import comparison_markdown
        from hf_fft.report.comparison_plots import write_comparison_plots

        write_comparison_plots(folder, record)
        # The page comes last, for it says that the pictures are there.
        write_text(folder / PAGE, comparison_markdown(record))
    return Comparison(record, folder)


def _compare(options: argparse.Namespace) -> None:
    recipe = load_recipe(options.recipe, overrides=options.set)
    comparison = compare_strategies(
        recipe,
        options.strategies,
        output_dir=options.output_dir
        or recipe.output_dir
        or Path("runs") / f"{recipe_name(options.recipe)}-comparison",
        seeds=options.seeds,
        fractions=options.fractions,
        rates=options.rates,
        rates_fraction=options.rates_fraction,
        baselines=options.baselines,
        overwrite=options.overwrite,
        trust_remote_code=options.trust_remote_code,
    )
    print(comparison.table())
    print(f"\nThe runs, comparison.json, comparison.md and the plots are in {comparison.folder}.")
    strategies = [one for one in comparison.record.strategies if one.kind == "strategy"]
    if not any(one.finished for one in strategies):
        raise TrainingError("Every run of a strategy failed; the reasons stand in the table.")


if __name__ == "__main__":
    sys.exit(main())
