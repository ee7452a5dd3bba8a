"""Gradual unfreezing, one epoch a group over all groups: plain Trainer in fp32, ours, and ours without the cache.

MiniLM on Rotten Tomatoes: eight groups from the head to the embeddings. Plain is `transformers.Trainer` in fp32 with
dynamic padding and the same callback that opens the groups. Each variant lives in a process of its own and ours begins
with an empty cache. The first four epochs, in which at most three of the six layers are open, are shown apart.

    python benchmarks/gradual_unfreezing.py
    python benchmarks/gradual_unfreezing.py --rows 160 --repeats 1      # to try it
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import Apart, Variant, finish, interleaved, median, options, paired, spread, table

from hf_fft.command_line import MEMORY_ENVIRONMENT

PLAIN, UNCACHED, OURS = "plain, fp32", "ours without the cache", "ours"
GROUPS, LAYERS = 8, 6


def build(name: str, rows: int, batch: int) -> Variant:
    """Return what runs a variant once."""
    from hf_fft.pipeline import fill_in, prepare
    from hf_fft.recipe import load_recipe

    recipe = load_recipe("quickstart").with_values(
        {
            "strategy": {"name": "gradual_unfreezing", "schedule": "epochs"}, "data.max_train_rows": rows,
            "training.num_train_epochs": GROUPS, "training.learning_rate": 1e-4, "training.eval_strategy": "no",
            "training.per_device_train_batch_size": batch, "training.disable_tqdm": True,
            "training.logging_steps": 100_000,
            "speed": {"name": "auto", "frozen_prefix": name == OURS},
        }
    )  # fmt: skip
    prepared = prepare(*fill_in(recipe))

    def run() -> dict[str, Any]:
        cache, before = tempfile.mkdtemp(), os.environ.get("HF_FFT_CACHE")
        trainer = _plain(prepared, batch) if name == PLAIN else _ours(prepared)
        marks = _Marks()
        # The first callback, so that what ours does when training begins is timed.
        trainer.callback_handler.callbacks.insert(0, marks.callback())
        os.environ["HF_FFT_CACHE"] = cache
        try:
            trainer.train()
        finally:
            os.environ.pop("HF_FFT_CACHE")
            if before is not None:
                os.environ["HF_FFT_CACHE"] = before
            shutil.rmtree(cache)
        assert len(marks.times) == GROUPS + 1
        assert name != OURS or trainer.speed.frozen_prefix, trainer.speed.reasons
        half = 1 + LAYERS // 2
        return {
            "seconds": marks.times[-1] - marks.times[0],
            "first_half_seconds": marks.times[half] - marks.times[0],
            "stages": [after - before for before, after in zip(marks.times, marks.times[1:], strict=False)],
        }

    return run


class _Marks:
    """The times at which training began and epochs ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def callback(self) -> Any:
        from transformers import TrainerCallback

        times = self.times

        class Marks(TrainerCallback):
            def on_train_begin(self, *positional: Any, **named: Any) -> None:
                times.append(time.perf_counter())

            def on_epoch_end(self, *positional: Any, **named: Any) -> None:
                times.append(time.perf_counter())

        return Marks()


def _plain(prepared: Any, batch: int) -> Any:
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

    set_seed(prepared.recipe.seed)
    arguments = TrainingArguments(
        tempfile.mkdtemp(), num_train_epochs=GROUPS, per_device_train_batch_size=batch, learning_rate=1e-4,
        use_cpu=True, disable_tqdm=True, save_strategy="no", logging_steps=100_000,
    )  # fmt: skip
    return Trainer(
        prepared.task.load_model(prepared.recipe.model),
        arguments,
        train_dataset=prepared.encoded.train,
        data_collator=DataCollatorWithPadding(prepared.tokenizer),
        callbacks=list(prepared.strategy.callbacks()),
    )


def _ours(prepared: Any) -> Any:
    from hf_fft.pipeline import trainer_for

    return trainer_for(prepared, Path(tempfile.mkdtemp()))


def _apart(name: str, arguments: argparse.Namespace) -> Apart:
    environment = {} if name == PLAIN else MEMORY_ENVIRONMENT
    return Apart(build, name, arguments.rows, arguments.batch, environment=environment)


def main() -> None:
    """Measure, and print the tables and the ratios."""
    parser = options(__doc__, repeats=3)
    parser.add_argument("--rows", type=int, default=1600, help="training rows (1600)")
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch (32)")
    parser.add_argument("--without-plain", action="store_true", help="ours alone, with the cache and without")
    arguments = parser.parse_args()
    names = (UNCACHED, OURS) if arguments.without_plain else (PLAIN, UNCACHED, OURS)
    runs = interleaved({name: _apart(name, arguments) for name in names}, arguments)
    half = "first_half_seconds"
    lines = [[name, median(every), spread(every), median(every, half)] for name, every in runs.items()]
    print(table(["variant", "seconds", "from–to", "first four stages"], lines))
    print("\nSeconds by stage, first run: head, layers from the top, embeddings\n")
    print(table(["variant", *map(str, range(GROUPS))], [[name, *runs[name][0]["stages"]] for name in names]))
    finish(
        {
            **({} if arguments.without_plain else {"ratio_plain": paired(runs[PLAIN], runs[OURS])}),
            "ratio_uncached": paired(runs[OURS], runs[UNCACHED]),
            "ratio_uncached_half_open": paired(runs[OURS], runs[UNCACHED], half),
            "rows": arguments.rows,
            "batch": arguments.batch,
        },
        runs,
    )


if __name__ == "__main__":
    main()
