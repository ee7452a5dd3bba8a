"""Train one recipe by several strategies and lay the results side by side: `python -m hf_fft.compare RECIPE`.

    python -m hf_fft.compare quickstart --strategies full feature_based

Each strategy runs in a process of its own, one after the other: memory is measured by process, and a run that fails
takes no other with it. Runs that are finished are kept, so the same command again costs nothing. The strategy that the
recipe names keeps its options and its learning rate; the others take their own defaults.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_fft.command_line import add_recipe_arguments, run_door
from hf_fft.errors import RecipeError, TrainingError
from hf_fft.recipe import Recipe, load_recipe, recipe_from, recipe_name
from hf_fft.recipe.paths import with_absolute_paths
from hf_fft.recipe.words import near_miss
from hf_fft.result import Result, load_result, write_json, write_text

STRATEGY_NAMES = ("full", "feature_based", "gradual_unfreezing", "probe_then_full", "lora")
DEFAULT_STRATEGIES = ("full", "feature_based")
REASON_BYTES = 4096


@dataclass(frozen=True)
class Comparison:
    """Several runs of one recipe.

    Attributes:
        results: Each strategy's result, in the order asked for.
        folder: Where the runs lie, with `comparison.json` and `comparison.md`.
    """

    results: dict[str, Result]
    folder: Path

    def table(self) -> str:
        """Return the table for a terminal, with the sentences below it."""
        from hf_fft.report import comparison_table

        return comparison_table(list(self.results.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="hf_fft.compare", description="Compare strategies on one recipe.")
    add_recipe_arguments(parser)
    parser.add_argument(
        "--strategies", nargs="+", default=list(DEFAULT_STRATEGIES), metavar="NAME", help="what to compare"
    )
    options = parser.parse_args(arguments)
    return run_door(lambda: _compare(options))


def compare_strategies(
    recipe: Recipe,
    strategies: Sequence[str] = DEFAULT_STRATEGIES,
    *,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> Comparison:
    """Train a recipe by each strategy, each in a fresh process, and write `comparison.json` and `comparison.md`.

    Raises:
        RecipeError: if a strategy's name is unknown.
    """
    from hf_fft.report import comparison_markdown

    _check_names(strategies)
    folder = Path(output_dir or recipe.output_dir or Path("runs") / "comparison")
    recipes = {name: for_strategy(recipe, name) for name in strategies}
    flags = [
        flag for flag, wanted in (("--overwrite", overwrite), ("--trust-remote-code", trust_remote_code)) if wanted
    ]
    results = {
        name: _run_apart(one, folder / name, title=f"{name} ({number} of {len(recipes)})", flags=flags)
        for number, (name, one) in enumerate(recipes.items(), start=1)
    }
    rows = list(results.items())
    runs = {name: result.model_dump(mode="json", by_alias=True) for name, result in rows}
    write_json(folder / "comparison.json", {"recipe": recipe.model_dump(mode="json", by_alias=True), "runs": runs})
    write_text(folder / "comparison.md", comparison_markdown(rows))
    return Comparison(results, folder)


def for_strategy(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe with another strategy; options and learning rate that were meant for its own are left behind.

    Raises:
        RecipeError: if there is no such strategy.
    """
    values = with_absolute_paths(recipe.model_dump(mode="json", by_alias=True), os.getcwd())
    if name != recipe.strategy.name:
        values["strategy"] = {"name": name}
        values["training"].pop("learning_rate", None)
    return recipe_from({**values, "output_dir": None}, source="the recipe for this comparison")


def _check_names(strategies: Sequence[str]) -> None:
    for name in strategies:
        if name not in STRATEGY_NAMES:
            near = near_miss(name, STRATEGY_NAMES)
            meant = f'; did you mean "{near}"?' if near else "."
            raise RecipeError(f'"{name}" is not a strategy{meant} There are {", ".join(STRATEGY_NAMES)}.')


def _compare(options: argparse.Namespace) -> None:
    recipe = load_recipe(options.recipe, overrides=options.set)
    folder = options.output_dir or recipe.output_dir or Path("runs") / f"{recipe_name(options.recipe)}-comparison"
    comparison = compare_strategies(
        recipe,
        options.strategies,
        output_dir=folder,
        overwrite=options.overwrite,
        trust_remote_code=options.trust_remote_code,
    )
    print(comparison.table())
    print(f"\nThe runs, comparison.json and comparison.md are in {comparison.folder}.")
    if all(result.status == "failed" for result in comparison.results.values()):
        raise TrainingError("Every run failed; the reasons stand in the table.")


def _run_apart(recipe: Recipe, folder: Path, *, title: str, flags: Sequence[str]) -> Result:
    """Run a recipe in a fresh process and read what it left; one that leaves nothing becomes a failed result."""
    print(f"── {title}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "recipe.json"
        write_json(file, recipe.model_dump(mode="json", by_alias=True))
        command = [sys.executable, "-m", "hf_fft.run", str(file), "--output-dir", str(folder), *flags]
        exit_code, last_words = _call(command)
    if exit_code == 0:
        return load_result(folder)
    return Result(status="failed", recipe=recipe, error=last_words or f"the process ended with exit code {exit_code}")


def _call(command: Sequence[str]) -> tuple[int, str]:
    """Run a command, show what it writes to standard error as it comes, and return its exit code and last words."""
    kept = bytearray()

    def pass_on() -> None:
        assert process.stderr is not None
        while chunk := process.stderr.read1(1024):  # type: ignore[attr-defined]
            sys.stderr.buffer.write(chunk)
            sys.stderr.flush()
            kept.extend(chunk)
            del kept[:-REASON_BYTES]

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        reader = threading.Thread(target=pass_on)
        reader.start()
        exit_code = process.wait()
        reader.join()
    lines = [line for line in kept.decode(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return exit_code, lines[-1].strip() if lines else ""


if __name__ == "__main__":
    sys.exit(main())
