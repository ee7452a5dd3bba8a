"""What FullFinetuningTrainer costs with speed off: the same training by it and by plain Trainer, in pairs.

MiniLM on Rotten Tomatoes in fp32, the same weights, rows, order and arguments; whole calls of `train()` are timed,
after one of each that is not. The order within a pair alternates. The figure is the mean of the pairs' differences in
percent, with its 95 % interval by Student's t.

    python benchmarks/overhead.py --repeats 20 --steps 40        a repeat is a pair
"""

from __future__ import annotations

import copy
import math
import statistics
import tempfile
import time
from typing import Any

from measuring import Variant, finish, interleaved, median, options, spread, table

PLAIN, OURS = "Trainer", "FullFinetuningTrainer"


def trainings(steps: int, batch: int) -> dict[str, Variant]:
    """Return what trains the same model anew, by either trainer."""
    from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

    from hf_fft.pipeline import fill_in, prepare
    from hf_fft.recipe import load_recipe
    from hf_fft.training import FullFinetuningTrainer

    changes = [f"data.max_train_rows={max(100, steps * batch)}", "data.max_validation_rows=100", "data.max_test_rows=0"]
    prepared = prepare(fill_in(load_recipe("quickstart", overrides=changes))[0])
    set_seed(42)
    model = prepared.task.load_model(prepared.recipe.model)

    def training(kind: type[Trainer], **more: Any) -> Variant:
        def train() -> dict[str, float]:
            arguments = TrainingArguments(
                tempfile.mkdtemp(),
                per_device_train_batch_size=batch,
                max_steps=steps,
                save_strategy="no",
                logging_steps=10,
                data_seed=1,
                use_cpu=True,
                disable_tqdm=True,
            )
            trainer = kind(
                copy.deepcopy(model),
                arguments,
                train_dataset=prepared.encoded.train,
                processing_class=prepared.tokenizer,
                **more,
            )
            trainer.remove_callback(PrinterCallback)
            started = time.perf_counter()
            output = trainer.train()
            return {"seconds": time.perf_counter() - started, "loss": output.training_loss}

        return train

    return {PLAIN: training(Trainer), OURS: training(FullFinetuningTrainer, speed=None)}


def main() -> None:
    """Measure, and print the table and the overhead with its interval."""
    parser = options(__doc__, repeats=20)
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of a training (40)")
    parser.add_argument("--batch", type=int, default=16, help="rows of a batch (16)")
    arguments = parser.parse_args()
    variants = trainings(arguments.steps, arguments.batch)
    for variant in variants.values():
        variant()
    runs = interleaved(variants, arguments)
    print(
        table(["trainer", "seconds", "from–to"], [[name, median(every), spread(every)] for name, every in runs.items()])
    )
    assert abs(runs[PLAIN][0]["loss"] - runs[OURS][0]["loss"]) < 1e-3, "the two did not train the same"
    percent = [
        100 * (ours["seconds"] / plain["seconds"] - 1) for plain, ours in zip(runs[PLAIN], runs[OURS], strict=True)
    ]
    low, high = interval(percent)
    print(f"\nIn {len(percent)} pairs: {statistics.mean(percent):+.2f} %, 95 % interval {low:+.2f} to {high:+.2f} %")
    finish(
        {
            "overhead_percent": statistics.mean(percent),
            "overhead_percent_low": low,
            "overhead_percent_high": high,
            "overhead_percent_median": statistics.median(percent),
            "pairs": len(percent),
            "steps": arguments.steps,
        },
        runs,
    )


def interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values) - half, statistics.mean(values) + half


if __name__ == "__main__":
    main()
