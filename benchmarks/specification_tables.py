"""The specification's two tables, measured: MiniLM on its data sets, by every strategy.

    python benchmarks/specification_tables.py run --data FOLDER --runs FOLDER --only ag_news conll2003 --seeds 1
    python benchmarks/specification_tables.py tables

`run` compares strategies on one data set after the other, in the order of `--only`, and writes a summary of each to
benchmarks/results/specification. It may be stopped at any time: the same command goes on where it was, and a further
seed, strategy or fraction costs only itself. `tables` puts the tables into benchmarks/README.md, from the summaries.
The settings of each data set stand in specification_data_sets.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from specification_data_sets import DATA_SETS, STRATEGIES, DataSet
from specification_summary import summary, write_note
from specification_text import put_between_markers, tables

from hf_fft import compare_strategies
from hf_fft.recipe import recipe_from

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "specification"
README = HERE / "README.md"
DATA_VARIABLE = "HF_FFT_BENCHMARK_DATA"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for, or write the tables."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.part == "tables":
        put_between_markers(options.readme, tables(_summaries(options.results)))
        print(f"The tables are in {options.readme}.")
        return
    for name in options.only:
        _refuse_loss(name, options)
    for name in options.only:
        _compare(name, DATA_SETS[name], options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    run = parts.add_parser("run", help="train and compare")
    data = os.environ.get(DATA_VARIABLE)
    run.add_argument(
        "--data", type=Path, default=data, required=data is None, help=f"the folder with the data; or {DATA_VARIABLE}"
    )
    run.add_argument("--runs", type=Path, required=True, help="where the run folders are kept; not in the project")
    run.add_argument("--only", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), help="which data sets, in order")
    run.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES), help="all if left out")
    run.add_argument("--seeds", nargs="+", type=int, default=[1], help="1 if left out")
    run.add_argument("--fractions", nargs="+", type=float, help="shares of the training rows; the data set's own")
    run.add_argument("--rows", type=int, help="cap of each split, to try the script; the summary stays with the runs")
    run.add_argument("--speed", choices=("auto", "off"), default="auto", help="the recipe's section; auto")
    run.add_argument("--note", default="", help="what else the machine did meanwhile; kept with every run")
    written = parts.add_parser("tables", help="write the tables into benchmarks/README.md")
    written.add_argument("--readme", type=Path, default=README)
    for part in (run, written):
        part.add_argument("--results", type=Path, default=RESULTS, help="where the summaries are")
    return parser.parse_args(arguments)


def _compare(name: str, data_set: DataSet, options: argparse.Namespace) -> None:
    folder = options.runs / (name if options.rows is None else f"{name}-{options.rows}-rows")
    values = data_set.recipe(options.data.resolve(), rows=options.rows, speed=options.speed)
    recipe = recipe_from(values, source=f"the recipe for {name}")
    strategies = [one for one in data_set.strategies if one in options.strategies]
    write_note(folder, options.note)
    comparison = compare_strategies(
        recipe,
        [data_set.wish(one) for one in strategies],
        output_dir=folder,
        seeds=options.seeds,
        fractions=_fractions(data_set, options),
    )
    print(f"\n{data_set.title}\n\n{comparison.table()}")
    kept = summary(data_set, comparison, strategies, data=options.data, speed=options.speed)
    file = _file(name, options)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nThe summary is in {file}, the runs are in {folder}.", flush=True)


def _file(name: str, options: argparse.Namespace) -> Path:
    if options.rows is None:
        return options.results / f"{name}.json"
    return options.runs / f"{name}-{options.rows}-rows" / "summary.json"


def _fractions(data_set: DataSet, options: argparse.Namespace) -> Sequence[float]:
    """Return the shares of the training rows; a part of a few rows would have none."""
    return options.fractions or (data_set.fractions if options.rows is None else (1.0,))


def _refuse_loss(name: str, options: argparse.Namespace) -> None:
    """Refuse to replace a summary by one that holds less."""
    file = _file(name, options)
    if not file.exists():
        return
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    fractions = _fractions(DATA_SETS[name], options)
    lost = [
        *(f"--strategies {one}" for one in kept["strategies"] if one not in options.strategies),
        *(f"--seeds {one}" for one in kept["seeds"] if one not in options.seeds),
        *(f"--fractions {one:g}" for one in kept["fractions"] if one not in fractions),
    ]
    if lost:
        sys.exit(
            f"{file} has more than this would write: {', '.join(lost)}. Name it too; runs that are finished in "
            "--runs cost nothing. Or give --results another folder."
        )


def _summaries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the summaries that there are, in the order of the data sets."""
    files = {name: folder / f"{name}.json" for name in DATA_SETS}
    found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}
    if not found:
        sys.exit(f"{folder} holds no summary; make one with the part run.")
    return found


if __name__ == "__main__":
    main()
