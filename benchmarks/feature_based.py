"""Training a head alone for ten epochs: plain Trainer with a frozen backbone in fp32, one forward pass, and ours.

MiniLM on Rotten Tomatoes; the pooler and the classifier learn. Each variant lives in a process of its own. Plain is
`transformers.Trainer` over the same parameters, with dynamic padding, in fp32; its epochs cost the same each, so one is
timed and counted ten times unless --plain-epochs says more. The forward pass is one over the training rows in the
plan's precision, in order of length. Ours begins with an empty cache; the second run has another seed and another rate.
Steps with a head alone are so short that the rows of a batch decide how much of them is Trainer's own loop.

    python benchmarks/feature_based.py
    python benchmarks/feature_based.py --rows 800 --epochs 2 --repeats 1      # to try it
    python benchmarks/feature_based.py --batch 32
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import Apart, Variant, finish, interleaved, median, options, paired, spread, table

from hf_fft.command_line import MEMORY_ENVIRONMENT

PLAIN, FORWARD, OURS = "plain, frozen, fp32", "one forward pass", "ours"
FORWARD_TOKENS = 2048


def build(name: str, rows: int | None, epochs: int, plain_epochs: int, batch: int) -> Variant:
    """Return what runs a variant once."""
    if name == PLAIN:
        return _plain(rows, epochs, plain_epochs, batch)
    return _forward(rows, batch) if name == FORWARD else _ours(rows, epochs, batch)


def _plain(rows: int | None, epochs: int, plain_epochs: int, batch: int) -> Variant:
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

    prepared = _prepared(rows, epochs, batch)

    def run() -> dict[str, Any]:
        set_seed(prepared.recipe.seed)
        model = prepared.task.load_model(prepared.recipe.model)
        head = prepared.strategy._head(model)
        for parameter_name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter_name in head)
        arguments = TrainingArguments(
            tempfile.mkdtemp(), num_train_epochs=plain_epochs, per_device_train_batch_size=batch, learning_rate=1e-3,
            use_cpu=True, disable_tqdm=True, save_strategy="no", logging_steps=100_000,
        )  # fmt: skip
        collator = DataCollatorWithPadding(prepared.tokenizer)
        trainer = Trainer(model, arguments, train_dataset=prepared.encoded.train, data_collator=collator)
        started = time.perf_counter()
        trainer.train()
        seconds = (time.perf_counter() - started) * epochs / plain_epochs
        return {"seconds": seconds, "accuracy": None, "threads": torch.get_num_threads()}

    return run


def _forward(rows: int | None, batch: int) -> Variant:
    import torch

    prepared = _prepared(rows, 1, batch)
    trainer, dataset = _trainer(prepared), prepared.encoded.train
    lengths = dataset["length"][:]
    order, groups = sorted(range(len(dataset)), key=lengths.__getitem__, reverse=True), []
    while order:
        count = max(1, FORWARD_TOKENS // lengths[order[0]])
        groups.append(order[:count])
        order = order[count:]
    loader = trainer.get_train_dataloader()
    batches = [loader.collate_fn(loader.dataset.__getitems__(group)) for group in groups]

    def run() -> None:
        trainer.model.eval()
        with torch.no_grad(), trainer.accelerator.autocast():
            for inputs in batches:
                trainer.model(**{key: value for key, value in inputs.items() if key != "labels"})

    return run


def _ours(rows: int | None, epochs: int, batch: int) -> Variant:
    prepared = _prepared(rows, epochs, batch)

    def run() -> dict[str, Any]:
        cache = tempfile.mkdtemp()
        try:
            first, trainer = _trained(prepared, cache)
            again = prepared.recipe.with_values({"seed": 7, "training.learning_rate": 5e-4})
            second, _ = _trained(_with_recipe(prepared, again), cache)
        finally:
            shutil.rmtree(cache)
        assert trainer.speed.frozen_prefix, trainer.speed.reasons
        return {"seconds": first, "second_seconds": second, "accuracy": _accuracy(prepared, trainer)}

    return run


def _trained(prepared: Any, cache: str) -> tuple[float, Any]:
    """Train with what frozen layers gave kept in a folder; models and data stay where they are."""
    trainer, before = _trainer(prepared), os.environ.get("HF_FFT_CACHE")
    os.environ["HF_FFT_CACHE"] = cache
    try:
        started = time.perf_counter()
        trainer.train()
        return time.perf_counter() - started, trainer
    finally:
        os.environ.pop("HF_FFT_CACHE")
        if before is not None:
            os.environ["HF_FFT_CACHE"] = before


def _prepared(rows: int | None, epochs: int, batch: int) -> Any:
    from hf_fft.pipeline import fill_in, prepare
    from hf_fft.recipe import load_recipe

    recipe = load_recipe("quickstart").with_values(
        {
            "strategy": {"name": "feature_based"}, "data.max_train_rows": rows, "training.num_train_epochs": epochs,
            "training.learning_rate": 1e-3, "training.per_device_train_batch_size": batch,
            "training.eval_strategy": "no", "training.disable_tqdm": True, "training.logging_steps": 100_000,
        }
    )  # fmt: skip
    return prepare(*fill_in(recipe))


def _with_recipe(prepared: Any, recipe: Any) -> Any:
    import dataclasses

    return dataclasses.replace(prepared, recipe=recipe)


def _trainer(prepared: Any) -> Any:
    from hf_fft.pipeline import trainer_for

    return trainer_for(prepared, Path(tempfile.mkdtemp()))


def _accuracy(prepared: Any, trainer: Any) -> float:
    from hf_fft.training import score_splits

    _, scored = score_splits(trainer, prepared.task, prepared.splits, prepared.encoded)
    return float(scored["test"].metrics["accuracy"])


def main() -> None:
    """Measure, and print the table and the ratios."""
    parser = options(__doc__, repeats=3)
    parser.add_argument("--rows", type=int, help="training rows (all, 9,745)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs (10)")
    parser.add_argument("--plain-epochs", type=int, default=1, help="epochs of plain Trainer that are timed (1)")
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch, for all variants (32)")
    arguments = parser.parse_args()
    settings = (arguments.rows, arguments.epochs, arguments.plain_epochs, arguments.batch)
    variants = {
        name: Apart(build, name, *settings, environment={} if name == PLAIN else MEMORY_ENVIRONMENT)
        for name in (PLAIN, FORWARD, OURS)
    }
    runs = interleaved(variants, arguments)
    ours = runs[OURS]
    lines = [[name, median(every), spread(every)] for name, every in runs.items()]
    second = ["ours, second run", median(ours, "second_seconds"), spread(ours, "second_seconds")]
    print(table(["variant", "seconds", "from–to"], [*lines, second]))
    seconds = [{"seconds": run["second_seconds"]} for run in ours]
    finish(
        {
            "ratio_plain_frozen": paired(runs[PLAIN], ours),
            "forward_passes": paired(ours, runs[FORWARD]),
            "second_run_ratio": paired(ours, seconds),
            "accuracy": median(ours, "accuracy"),
            "epochs": arguments.epochs,
            "batch": arguments.batch,
        },
        runs,
    )


if __name__ == "__main__":
    main()
