"""What FullFinetuningTrainer costs with speed off: plain Trainer and it take turns, step by step.

MiniLM on Rotten Tomatoes in fp32, the same weights, rows, order, random numbers and arguments. Each trainer lives in a
process of its own and waits after each optimizer step until the other has taken its own, so that a pair of steps is a
second apart and a machine that wanders wanders for both. Who begins a pair alternates. What is timed is Trainer's
loop from the end of a step to the end of the next one, the fetching of the batch and all callbacks included. The figure
is the mean difference of the pairs in percent of plain's mean step, with its 95 % interval by Student's t.

    python benchmarks/overhead.py --steps 400        a pair a step
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import tempfile
import time
from typing import Any

from measuring import busy_seconds, cores, finish, median, spread, table

PLAIN, OURS = "Trainer", "FullFinetuningTrainer"
WARM_UP_STEPS = 5


class Training:
    """A training in a process of its own, which takes one step at a time."""

    def __init__(self, name: str, steps: int, batch: int) -> None:
        """Start the process; it stands still after its first step."""
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        context.Process(target=_train, args=(there, name, steps, batch), daemon=True).start()
        there.close()

    def step(self) -> dict[str, Any]:
        """Let it take a step; return its `seconds`, and the processor's `own` seconds."""
        self._here.send("step")
        return self._here.recv()

    def loss(self) -> float:
        """Return the loss of the training, which has ended."""
        return self._here.recv()


def _train(pipe: Any, name: str, steps: int, batch: int) -> None:
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

    from hf_fft.pipeline import fill_in, prepare
    from hf_fft.recipe import load_recipe
    from hf_fft.training import FullFinetuningTrainer

    changes = [f"data.max_train_rows={max(100, steps * batch)}", "data.max_validation_rows=100", "data.max_test_rows=0"]
    prepared = prepare(fill_in(load_recipe("quickstart", overrides=changes))[0])
    set_seed(42)
    arguments = TrainingArguments(
        tempfile.mkdtemp(), per_device_train_batch_size=batch, max_steps=steps, save_strategy="no", logging_steps=10,
        data_seed=1, use_cpu=True, disable_tqdm=True,
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

        def __init__(self) -> None:
            self.started, self.own = time.perf_counter(), time.process_time()

        def on_step_end(self, args: Any, state: Any, *parts: Any, **more: Any) -> None:
            if state.global_step > 1:
                own = time.process_time() - self.own
                pipe.send({"seconds": time.perf_counter() - self.started, "own": own})
            if state.global_step < steps:
                pipe.recv()
            self.started, self.own = time.perf_counter(), time.process_time()

    trainer.add_callback(Turns())
    pipe.send(trainer.train().training_loss)


def pairs(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the steps of both, one of each a pair, without those of the warm-up."""
    trainings = {name: Training(name, arguments.steps, arguments.batch) for name in (PLAIN, OURS)}
    steps: dict[str, list[dict[str, Any]]] = {PLAIN: [], OURS: []}
    for turn in range(arguments.steps - 1):
        busy, started = busy_seconds(), time.perf_counter()
        for name in (PLAIN, OURS) if turn % 2 else (OURS, PLAIN):
            steps[name].append(trainings[name].step())
        others = None
        if busy is not None:
            taken = (busy_seconds() or 0.0) - busy - sum(steps[name][-1]["own"] for name in steps)
            others = max(0.0, taken) / ((time.perf_counter() - started) * cores())
        for name in steps:
            steps[name][-1]["others"] = others
    losses = [training.loss() for training in trainings.values()]
    assert abs(losses[0] - losses[1]) < 1e-3, f"the two did not train the same: {losses}"
    return {name: every[WARM_UP_STEPS:] for name, every in steps.items()}


def interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values) - half, statistics.mean(values) + half


def main() -> None:
    """Measure, and print the table and the overhead with its interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--steps", type=int, default=400, help="optimizer steps of each training (400)")
    parser.add_argument("--batch", type=int, default=16, help="rows of a batch (16)")
    steps = pairs(parser.parse_args())
    rows = [[name, 1e3 * median(every), spread(every)] for name, every in steps.items()]
    print(table(["trainer", "ms a step, median", "seconds, from–to"], rows))
    usual = statistics.mean(step["seconds"] for step in steps[PLAIN])
    percent = [
        100 * (ours["seconds"] - plain["seconds"]) / usual
        for plain, ours in zip(steps[PLAIN], steps[OURS], strict=True)
    ]
    mean, (low, high) = statistics.mean(percent), interval(percent)
    print(f"\nIn {len(percent)} pairs: {mean:+.2f} %, 95 % interval {low:+.2f} to {high:+.2f} %")
    figures = {
        "overhead_percent": mean, "overhead_percent_low": low, "overhead_percent_high": high,
        "overhead_percent_median": statistics.median(percent), "pairs": len(percent),
    }  # fmt: skip
    finish(figures, {"all steps": [_together(steps)]})


def _together(steps: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return all pairs as one run, with the share of the cores that others took meanwhile."""
    shares = [step["others"] for step in steps[PLAIN]]
    return {"others": None if None in shares else statistics.mean(shares)}


if __name__ == "__main__":
    main()
