"""What FullFinetuningTrainer costs with speed off: plain Trainer and it take turns, step by step.

MiniLM on Rotten Tomatoes in fp32, the same weights, rows, order, random numbers and arguments. A repeat is a pair of
fresh processes, one for each trainer. Each waits after an optimizer step until the other has taken its own, so that a
machine that wanders wanders for both. What is timed is Trainer's loop from the end of a step to
the end of the next one, the fetching of the batch and all callbacks included. The figure is the mean of the pairs'
differences in percent, with its 95 % interval by Student's t.

    python benchmarks/overhead.py --repeats 15 --steps 30
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import statistics
import tempfile
import time
from typing import Any

from measuring import finish, interleaved, median, options, spread, table

PLAIN, OURS = "Trainer", "FullFinetuningTrainer"
WARM_UP_STEPS = 5


class Training:
    """A training in a process of its own, which takes one step at a time."""

    def __init__(self, name: str, steps: int, batch: int, seed: int) -> None:
        """Start the process; it stands still after each step, the first and the last too."""
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_train, args=(there, name, steps, batch, seed), daemon=True)
        self._process.start()
        there.close()

    def step(self) -> float:
        """Let it take a step; return the seconds."""
        self._here.send("step")
        return self._here.recv()

    def end(self) -> float:
        """Let the training end, whose steps have been taken; return its loss."""
        self._here.send("end")
        loss = self._here.recv()
        self._process.join()
        return loss


def _train(pipe: Any, name: str, steps: int, batch: int, seed: int) -> None:
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

    from hf_fft.pipeline import fill_in, prepare
    from hf_fft.recipe import load_recipe
    from hf_fft.training import FullFinetuningTrainer

    changes = [f"data.max_train_rows={max(100, steps * batch)}", "data.max_validation_rows=100", "data.max_test_rows=0"]
    prepared = prepare(fill_in(load_recipe("quickstart", overrides=changes))[0])
    set_seed(42)
    arguments = TrainingArguments(
        tempfile.mkdtemp(), per_device_train_batch_size=batch, max_steps=steps, save_strategy="no", logging_steps=10,
        data_seed=seed, use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = (Trainer if name == PLAIN else FullFinetuningTrainer)(
        prepared.task.load_model(prepared.recipe.model),
        arguments,
        train_dataset=prepared.encoded.train,
        processing_class=prepared.tokenizer,
    )
    trainer.remove_callback(PrinterCallback)

    class Turns(TrainerCallback):
        """The last callback, so that a step ends when all others are done."""

        started = 0.0

        def on_step_end(self, args: Any, state: Any, *parts: Any, **more: Any) -> None:
            if state.global_step > 1:
                pipe.send(time.perf_counter() - self.started)
            pipe.recv()
            self.started = time.perf_counter()

    trainer.add_callback(Turns())
    pipe.send(trainer.train().training_loss)


def pair(steps: int, batch: int, number: int) -> dict[str, float]:
    """Train by both in turns; return the mean seconds of a step of each, and ours above plain's in percent.

    A step that follows the other's is slower than one that follows its own. Who begins alternates from turn to turn and
    from pair to pair, and each pair has an order of rows of its own, so that neither gets the longer batches.
    """
    trainings = {name: Training(name, steps, batch, number) for name in (PLAIN, OURS)}
    seconds: dict[str, list[float]] = {PLAIN: [], OURS: []}
    for turn in range(steps - 1):
        for name in (PLAIN, OURS) if (turn + number) % 2 else (OURS, PLAIN):
            seconds[name].append(trainings[name].step())
    losses = [training.end() for training in trainings.values()]
    assert abs(losses[0] - losses[1]) < 1e-3, f"the two did not train the same: {losses}"
    means = {name: statistics.mean(some[WARM_UP_STEPS:]) for name, some in seconds.items()}
    return {**means, "percent": 100 * (means[OURS] / means[PLAIN] - 1)}


def interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values) - half, statistics.mean(values) + half


def main() -> None:
    """Measure, and print the table and the overhead with its interval."""
    parser = options(__doc__, repeats=15)
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps of a training (30)")
    parser.add_argument("--batch", type=int, default=16, help="rows of a batch (16)")
    arguments = parser.parse_args()
    numbers = itertools.count()
    runs = interleaved({"pair": lambda: pair(arguments.steps, arguments.batch, next(numbers))}, arguments)
    rows = [[name, median(runs["pair"], name), spread(runs["pair"], name)] for name in (PLAIN, OURS)]
    print(table(["trainer", "seconds a step", "from–to"], rows))
    percent = [run["percent"] for run in runs["pair"]]
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


if __name__ == "__main__":
    main()
