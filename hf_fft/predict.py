"""Answer rows by a finished run, or score a file: `python -m hf_fft.predict RUN FILE`.

    python -m hf_fft.predict runs/imdb reviews.csv --out predictions.jsonl --columns text=review
    python -m hf_fft.predict runs/imdb reviews.csv --score
    cat lines.txt | python -m hf_fft.predict runs/imdb - --top-k 2
    python -m hf_fft.predict --model NAME --task text_classification reviews.csv --score

Rows come from a file of any format, or from standard input ("-"): a text a line, or JSON lines. A line of output
belongs to each row, in order; a file is written whole or not at all. Exit codes are those of `run`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_fft.command_line import run_door, spare_memory
from hf_fft.errors import DataError, RecipeError

if TYPE_CHECKING:
    from hf_fft.prediction import Row, SavedModel, Wanted
    from hf_fft.result import Prediction

STANDARD_INPUT = "-"
# How often it is said how far it is where standard error is no terminal, as in a log.
SECONDS_IN_A_LOG = 30.0
FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "text", "conll", "squad")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="hf_fft.predict",
        description="Answer rows by a finished run, or by any model; or score a file.",
        usage="%(prog)s RUN FILE [options]\n       %(prog)s --model NAME --task TASK FILE [options]",
    )
    parser.add_argument(
        "places", nargs="+", metavar="RUN FILE", help='run folder, and a file or "-"; FILE after --model'
    )
    parser.add_argument("--out", help='where predictions go: .jsonl, .csv, or "-" for standard output')
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME=COLUMN", help="what the file calls a column: text=review"
    )
    parser.add_argument("--format", choices=FORMATS, help="the file's format, if its extension does not say it")
    parser.add_argument(
        "--top-k", type=int, default=0, metavar="N", help="give the N likeliest with their probabilities"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="P", help="where rows have several labels: give those above P"
    )
    parser.add_argument("--with-inputs", action="store_true", help="give all columns of each row back")
    parser.add_argument("--score", action="store_true", help="print the task's metrics; the file must be labelled")
    parser.add_argument(
        "--model", metavar="NAME", help="a model that hf_fft did not train: Hub name, folder or wheel:…"
    )
    parser.add_argument("--task", help="the task of that model, such as text_classification")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help='as in run: data.options.delimiter=";"'
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="second consent to run a model's own code")
    options = parser.parse_args(arguments)
    try:
        return run_door(lambda: _predict(options))
    except BrokenPipeError:
        # Whoever read the lines has had enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _predict(options: argparse.Namespace) -> None:
    names = _names(options.columns)
    _check(options)
    spare_memory()
    from hf_fft.data.streams import refuse_missing

    if options.places[-1] != STANDARD_INPUT:  # before models' libraries are imported
        refuse_missing(Path(options.places[-1]).expanduser())
    from hf_fft.prediction import STANDARD, Wanted, check_names, format_of

    out = options.out or (None if options.score else STANDARD)
    if out not in (None, STANDARD):
        format_of(out)
    saved = _saved(options)
    check_names(names, saved.task)
    wanted = Wanted(top_k=options.top_k, with_inputs=options.with_inputs, names=names)
    if options.score:
        _score(saved, options, names, wanted, out)
        return
    shown, file = _shown(options), options.places[-1]
    total = None
    if file != STANDARD_INPUT:
        # One walk through all rows first: a fault in the last one should not cost the answers to all others.
        total = sum(1 for _ in _rows(saved, file, names, shown))
        _refuse_empty(total, shown)
    for _ in _written(_rows(saved, file, names, shown), saved, out=out, total=total, shown=shown, wanted=wanted):
        pass


def _check(options: argparse.Namespace) -> None:
    wanted = 1 if options.model else 2
    if len(options.places) != wanted:
        example = "--model NAME --task TASK FILE" if options.model else "RUN FILE"
        raise RecipeError(f"hf_fft.predict takes {example}; found {len(options.places)} names: {options.places}.")
    if bool(options.model) != bool(options.task):
        raise RecipeError("--model and --task go together: a run knows its task, another model does not say it.")
    if options.top_k < 0:
        raise RecipeError(f"--top-k counts labels; it is {options.top_k}.")


def _names(pairs: Sequence[str]) -> dict[str, str]:
    names = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise RecipeError(f"--columns {pair}: write NAME=COLUMN, such as text=review.")
        names[ours] = theirs
    return names


def _saved(options: argparse.Namespace) -> SavedModel:
    from dataclasses import replace

    from hf_fft.prediction import load_named, load_run
    from hf_fft.tasks import TextClassification

    overrides = [*options.set, *([f"data.format={options.format}"] if options.format else [])]
    told: dict[str, Any] = {
        "overrides": overrides,
        "packed": options.score,
        "trust_remote_code": options.trust_remote_code,
    }
    saved = load_named(options.model, options.task, **told) if options.model else load_run(options.places[0], **told)
    if options.threshold is None:
        return saved
    if not isinstance(saved.task, TextClassification):
        raise RecipeError(f"--threshold is for texts with several labels; this model does {saved.task.name}.")
    return replace(saved, task=saved.task.decided_at(options.threshold))


def _shown(options: argparse.Namespace) -> str:
    file = options.places[-1]
    return "standard input" if file == STANDARD_INPUT else Path(file).name


def _rows(saved: SavedModel, file: str, names: dict[str, str], shown: str, *, labelled: bool = False) -> Iterator[Row]:
    from hf_fft.data.streams import stream_input, stream_rows
    from hf_fft.prediction import readable_rows

    data = saved.recipe.data
    rows = (
        stream_input(sys.stdin.buffer, shown, data.format, data.options)
        if file == STANDARD_INPUT
        else stream_rows(Path(file).expanduser(), data.format, data.options)
    )
    return readable_rows(rows, saved.task, names=names, shown=shown, labelled=labelled)


def _score(
    saved: SavedModel, options: argparse.Namespace, names: dict[str, str], wanted: Wanted, out: str | None
) -> None:
    """Print the metrics of a labelled file; labels are looked at before anything is answered."""
    from hf_fft.prediction import STANDARD, golds_of, score, scored_result
    from hf_fft.report import scores_table

    shown = _shown(options)
    rows = list(_rows(saved, options.places[-1], names, shown, labelled=True))
    _refuse_empty(len(rows), shown)
    golds = golds_of(saved, rows, shown=shown)
    predictions = list(_written(rows, saved, out=out, total=len(rows), shown=shown, wanted=wanted))
    scores = score(saved, predictions, golds)
    place = sys.stderr if out == STANDARD else sys.stdout
    print(scores_table(scored_result(saved, scores, shown=shown), shown), file=place)


def _written(
    rows: Iterable[Row], saved: SavedModel, *, out: str | None, total: int | None, shown: str, wanted: Wanted
) -> Iterator[Prediction]:
    """Write the predictions of rows and pass them on."""
    from contextlib import nullcontext

    from transformers.utils.logging import tqdm

    from hf_fft.prediction import answered, line_of, line_writer

    answers = answered(saved, rows, shown=shown)
    seconds = 0.1 if sys.stderr.isatty() else SECONDS_IN_A_LOG
    with (
        tqdm(total=total, unit=" rows", mininterval=seconds, maxinterval=max(10.0, seconds), delay=seconds) as bar,
        line_writer(out, sys.stdout) if out is not None else nullcontext() as write,
    ):
        for row, prediction in answers:
            if write is not None:
                write(line_of(row, prediction, saved.task, wanted))
            bar.update()
            yield prediction


def _refuse_empty(count: int, shown: str) -> None:
    if not count:
        raise DataError(f"{shown}: no rows; at least one is needed.")


if __name__ == "__main__":
    sys.exit(main())
