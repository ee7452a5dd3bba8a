"""Prediction: `Trainer.predict` of plain transformers in fp32, rows in the order of the data, against ours.

MiniLM with a new head on Rotten Tomatoes; the quickstart recipe's task, encoded once and the same for all. Each variant
lives in a process of its own and predicts the same rows. Plain is shown with transformers' default of 8 rows a batch,
and with 32. Ours is the recipe's trainer: as it comes, and with fp32 asked for, which leaves the order of length alone.

    python benchmarks/predict.py --rows 1600 --repeats 5
    python benchmarks/predict.py --batches 16 32 64 128        # ours with other batches: which is the best default?
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import Apart, Variant, finish, interleaved, median, options, paired, spread, table

from hf_fft.command_line import MEMORY_ENVIRONMENT

PLAIN = ("plain, 8 rows a batch", "plain, 32 rows a batch")
OURS, OURS_FP32 = "ours", "ours in fp32"


def build(name: str, rows: int, batch: int | None) -> Variant:
    """Return what predicts the rows once, and says how many tokens a second that was."""
    import numpy as np
    from transformers import Trainer, TrainingArguments, set_seed

    from hf_fft.pipeline import fill_in, prepare, trainer_for
    from hf_fft.recipe import load_recipe

    changes = [f"data.max_test_rows={rows}", "data.max_train_rows=200", "data.max_validation_rows=100"]
    if name == OURS_FP32:
        changes.append("training.bf16=false")
    if batch is not None:
        changes.append(f"training.per_device_eval_batch_size={batch}")
    prepared = prepare(fill_in(load_recipe("quickstart", overrides=changes))[0])
    items = prepared.encoded.test
    tokens = sum(map(len, items["input_ids"]))
    folder = tempfile.mkdtemp()
    trainer: Any
    if name in PLAIN:
        arguments = TrainingArguments(
            folder, per_device_eval_batch_size=8 if name == PLAIN[0] else 32, use_cpu=True, disable_tqdm=True
        )
        set_seed(prepared.recipe.seed)  # the head that ours gets
        model = prepared.task.load_model(prepared.recipe.model)
        trainer = Trainer(model, arguments, processing_class=prepared.tokenizer)
    else:
        trainer = trainer_for(prepared, Path(folder))
        trainer.args.disable_tqdm, trainer.compute_metrics = True, None  # its metrics are those of validation

    def predict() -> dict[str, Any]:
        trainer.predict(items.select(range(min(64, len(items)))))  # the process was idle while others ran
        started = time.perf_counter()
        output = trainer.predict(items)
        seconds = time.perf_counter() - started
        return {
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "rows_per_second": len(items) / seconds,
            "guesses": np.argmax(output.predictions, axis=-1).tolist(),
        }

    return predict


def main() -> None:
    """Measure, and print the table and the ratios."""
    parser = options(__doc__, repeats=5)
    parser.add_argument("--rows", type=int, default=1600, help="test rows to predict (1600)")
    parser.add_argument("--batches", type=int, nargs="+", help="compare these batches of ours instead")
    arguments = parser.parse_args()
    if arguments.batches:
        compare_batches(arguments)
        return
    names = (*PLAIN, OURS, OURS_FP32)
    runs = interleaved({name: _apart(name, arguments.rows, None) for name in names}, arguments)
    show(runs)
    gold = runs[PLAIN[0]][0]["guesses"]
    agreeing = sum(one == other for one, other in zip(gold, runs[OURS][0]["guesses"], strict=True)) / len(gold)
    finish(
        {
            "ratio_plain_predict": paired(runs[PLAIN[0]], runs[OURS]),
            "ratio_plain_predict_batch_32": paired(runs[PLAIN[1]], runs[OURS]),
            "ratio_plain_predict_fp32": paired(runs[PLAIN[0]], runs[OURS_FP32]),
            "same_guesses": agreeing,
            "rows": len(gold),
        },
        runs,
    )


def _apart(name: str, rows: int, batch: int | None) -> Apart:
    return Apart(build, name, rows, batch, environment={} if name in PLAIN else MEMORY_ENVIRONMENT)


def compare_batches(arguments: argparse.Namespace) -> None:
    """Measure ours with several batches."""
    runs = interleaved(
        {f"ours, {batch} rows a batch": _apart(OURS, arguments.rows, batch) for batch in arguments.batches},
        arguments,
    )
    show(runs)
    finish({name: median(every, "rows_per_second") for name, every in runs.items()}, runs)


def show(runs: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table."""
    header = ["variant", "seconds", "from–to", "rows/s", "tokens/s"]
    figures = ("rows_per_second", "tokens_per_second")
    lines = [
        [name, median(every), spread(every), *(median(every, figure) for figure in figures)]
        for name, every in runs.items()
    ]
    print(table(header, lines))


if __name__ == "__main__":
    main()
