"""Full fine-tuning against plain Trainer: padded as `run_glue.py` does, with dynamic padding, and tuned by hand.

    python benchmarks/full.py                        MiniLM on Rotten Tomatoes, 32 rows a step
    python benchmarks/full.py --long imdb/train.jsonl.gz    and on long rows: reviews cut at 256 tokens
    python benchmarks/full.py --accuracy             test accuracy over three seeds, tuned Trainer beside ours

Each run is a fresh process, since an allocator's settings and the peak of memory are a process's own. What is timed is
Trainer's whole loop from the fifth step to the last. FLOP of a real token (padding not counted): 6 × the parameters
outside the embeddings, and 12 × layers × length × width for attention's two products. What a run computes for the first
position alone (the head, and in ours the last layer but for its keys and values) is counted once a row. They are laid
beside the rate of a 2048³ product of bfloat16 matrices measured in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import finish, interleaved, median, options, paired, spread, table

WARM_UP_STEPS = 5
BATCH = 32
PLAIN: dict[str, dict[str, Any]] = {
    "padded_fp32": {"optim": "adamw_torch"},
    "dynamic_fp32": {"optim": "adamw_torch"},
    "tuned": {"bf16": True, "train_sampling_strategy": "group_by_length", "optim": "adamw_torch_fused"},
}
OURS = "hf_fft"


def main() -> None:
    """Run the parts that were asked for."""
    parser = options(__doc__, repeats=3)
    parser.add_argument("--steps", type=int, default=45, help="optimizer steps of a run, five of them not timed (45)")
    parser.add_argument("--against", nargs="+", choices=PLAIN, default=list(PLAIN), help="which of them (all)")
    parser.add_argument("--long", metavar="FILE", help="JSON lines with text and label for the part on long rows")
    parser.add_argument("--long-steps", type=int, default=105, help="steps of a run on long rows (105)")
    parser.add_argument("--long-repeats", type=int, default=2, help="runs of each variant on long rows (2)")
    parser.add_argument("--accuracy", action="store_true", help="train for accuracy instead of timing")
    parser.add_argument("--rows", type=int, default=4000, help="training rows with --accuracy (4000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_child(json.loads(arguments.child))))
    elif arguments.accuracy:
        _accuracies(arguments)
    else:
        _speeds(arguments)


def _speeds(arguments: argparse.Namespace) -> None:
    short = {"recipe": {"data.max_train_rows": arguments.steps * BATCH}, "max_length": 128}
    runs = interleaved(
        {name: lambda name=name: _in_process({**short, "variant": name}) for name in (*arguments.against, OURS)},
        arguments,
    )
    _print(runs)
    ours, rate = runs[OURS], "seconds_a_token"
    figures = {f"ratio_{name}": paired(runs[name], ours, rate) for name in arguments.against}
    figures["bf16_rate_share"] = median(ours, "rate_share")
    if arguments.long:
        changes = {
            "data.path": str(Path(arguments.long).resolve()), "data.sha256": None, "data.exclude": {},
            "data.group_column": None, "data.test_fraction": 0.05, "data.max_test_rows": 100,
            "data.max_train_rows": arguments.long_steps * BATCH, "task.label_column": "label", "task.labels": None,
            "task.max_length": 256,
        }  # fmt: skip
        long = {"recipe": changes, "max_length": 256}
        arguments.repeats = arguments.long_repeats
        long_runs = interleaved(
            {name: lambda name=name: _in_process({**long, "variant": name}) for name in ("tuned", OURS)}, arguments
        )
        print()
        _print(long_runs)
        figures["ratio_tuned_long"] = paired(long_runs["tuned"], long_runs[OURS], rate)
        figures["peak_ratio_long"] = paired(long_runs[OURS], long_runs["tuned"], "peak_mib")
        runs = {**runs, **{f"{name}, long rows": some for name, some in long_runs.items()}}
    finish(figures, runs)


def _accuracies(arguments: argparse.Namespace) -> None:
    from statistics import mean, stdev

    found: dict[str, list[dict[str, Any]]] = {"tuned": [], OURS: []}
    for seed in arguments.seeds:
        for name, some in found.items():
            changes = {
                "data.max_train_rows": arguments.rows, "data.max_test_rows": 2000, "seed": seed,
                "training.num_train_epochs": 2,
            }  # fmt: skip
            some.append(_in_process({"variant": name, "recipe": changes, "max_length": 128, "accuracy": True}))
            print(f"{name}, seed {seed}: {some[-1]}", file=sys.stderr, flush=True)
    rows = [
        [name, mean(one["accuracy"] for one in some), stdev([one["accuracy"] for one in some] or [0.0])]
        for name, some in found.items()
    ]
    print(table(["variant", "test accuracy", "sd over seeds"], rows))
    finish({f"accuracy_{name}": value for name, value, _ in rows} | {f"sd_{name}": value for name, _, value in rows})


def _print(runs: dict[str, list[dict[str, Any]]]) -> None:
    rows = [
        [name, 1 / median(some, "seconds_a_token"), spread(some, "tokens_a_second"), median(some, "rate_share"),
         median(some, "bf16_gflops"), median(some, "peak_mib")]
        for name, some in runs.items()
    ]  # fmt: skip
    print(table(["variant", "real tokens/s", "spread", "share of bf16 rate", "bf16 GFLOP/s", "peak MiB"], rows))


def _in_process(request: dict[str, Any]) -> dict[str, Any]:
    """Make one run in a fresh process; ours is started as the doors start it."""
    from hf_fft.command_line import MEMORY_ENVIRONMENT

    environment = {**(MEMORY_ENVIRONMENT if request["variant"] == OURS else {}), **os.environ}
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(request)], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _child(request: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import set_seed

    from hf_fft.pipeline import fill_in, prepare, trainer_for
    from hf_fft.recipe import load_recipe
    from hf_fft.training import PeakMemory

    changes = {
        "training.per_device_train_batch_size": BATCH, "training.num_train_epochs": 1, "training.eval_strategy": "no",
        "training.learning_rate": 1e-4, "data.max_validation_rows": 100, "data.max_test_rows": 100,
        **request["recipe"],
    }  # fmt: skip
    ours = request["variant"] == OURS
    recipe = load_recipe("quickstart").with_values(changes)
    filled, notes = fill_in(recipe)
    prepared = prepare(filled, notes)
    memory = PeakMemory(on_gpu=torch.cuda.is_available())
    set_seed(recipe.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_for(prepared, Path(folder)) if ours else _plain(request, prepared, folder)
        clock = _Clock(prepared.encoded.train)
        trainer.add_callback(clock.callback())
        trainer.train()
        if request.get("accuracy"):
            trainer.compute_metrics = None  # of validation's rows
            output = trainer.predict(prepared.encoded.test)
            return {"accuracy": float((output.predictions.argmax(-1) == output.label_ids).mean())}
    return clock.figures(trainer.model, memory.mib())


def _plain(request: dict[str, Any], prepared: Any, folder: str) -> Any:
    """Return plain Trainer over the same rows."""
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    padded = request["variant"] == "padded_fp32"
    recipe = prepared.recipe.training.values()
    model = prepared.task.load_model(prepared.recipe.model)
    arguments = TrainingArguments(
        folder, per_device_train_batch_size=BATCH, num_train_epochs=recipe["num_train_epochs"], use_cpu=True,
        learning_rate=recipe["learning_rate"], save_strategy="no", logging_steps=100, report_to="none",
        seed=prepared.recipe.seed, warmup_steps=0.1, **PLAIN[request["variant"]],
    )  # fmt: skip
    collator = DataCollatorWithPadding(
        prepared.tokenizer, padding="max_length" if padded else True, max_length=request["max_length"]
    )
    return Trainer(model, arguments, data_collator=collator, train_dataset=prepared.encoded.train)


class _Clock:
    """Time Trainer's loop after the warm-up, and count the real tokens that it met."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.started, self.ended, self.steps = rows, 0.0, 0.0, 0

    def callback(self) -> Any:
        from transformers import TrainerCallback

        clock = self

        class Callback(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
                clock.ended, clock.steps = time.perf_counter(), state.global_step
                if state.global_step == WARM_UP_STEPS:
                    clock.started = clock.ended

        return Callback()

    def figures(self, model: Any, peak_mib: float) -> dict[str, Any]:
        lengths = [len(ids) for ids in self.rows["input_ids"]]
        # One epoch: every row once. The warm-up's share is taken out by its number of steps, the same for all.
        share = (self.steps - WARM_UP_STEPS) / self.steps
        tokens, seconds = sum(lengths) * share, self.ended - self.started
        config, rate = model.config, _bf16_flops()
        rows = len(lengths) * share
        squares = sum(length**2 for length in lengths) * share
        a_token, a_row = _weights(model)
        last = tokens if _is_narrowed(model) else squares
        attention = 12 * config.hidden_size * ((config.num_hidden_layers - 1) * squares + last)
        flop = 6 * (a_token * tokens + a_row * rows) + attention
        return {
            "tokens_a_second": tokens / seconds, "seconds_a_token": seconds / tokens, "seconds": seconds,
            "rate_share": flop / seconds / rate, "bf16_gflops": rate / 1e9, "peak_mib": peak_mib,
        }  # fmt: skip


def _is_narrowed(model: Any) -> bool:
    """Say whether a BERT's last layer has another forward than its class's."""
    return "forward" in vars(model.base_model.encoder.layer[-1])


def _weights(model: Any) -> tuple[int, int]:
    """Return how many weights of matrices work for every token, and how many for the first one of a row."""
    last = f"encoder.layer.{model.config.num_hidden_layers - 1}."
    a_token = a_row = 0
    for name, weight in model.named_parameters():
        if weight.ndim < 2 or "embeddings" in name:
            continue
        reads_all = last not in name or not _is_narrowed(model) or ".key." in name or ".value." in name
        if reads_all and ".pooler." not in name and not name.startswith("classifier."):
            a_token += weight.numel()
        else:
            a_row += weight.numel()
    return a_token, a_row


def _bf16_flops() -> float:
    """Return the rate of a product of two 2048² matrices of bfloat16, the median of ten."""
    import statistics

    import torch

    one, other = (torch.randn(2048, 2048).bfloat16() for _ in range(2))
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - started)
    return 2 * 2048**3 / statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
