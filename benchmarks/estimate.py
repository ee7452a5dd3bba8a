"""How far estimated peak memory is from the measured one, on models, lengths and batch sizes of many kinds.

Every case is a run of a few steps on a random model and made-up rows, in a process of its own, and in another process
the estimate that `--check` shows of it. What is compared is the figure of `--check` and the run's `cost.peak_mib`. Two
figures are judged: the estimate with its steps on trial, which `--check` shows, and the one by counting alone, which
refuses runs and prices remedies. The first has no constants. The second has two for each kind of device, `ALLOWANCES`
in hf_fft/training/estimate/memory_estimate.py: they are fitted here on the cases marked "fit", printed, and judged on
the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import finish, options, table

MIB = 2**20
# Hidden size, layers, heads, inner size, words.
SIZES = {
    "tiny": (128, 2, 2, 512, 2_000),
    "mini": (256, 4, 4, 1024, 8_000),
    "small": (384, 4, 6, 1536, 16_000),
    "minilm": (384, 6, 12, 1536, 30_522),
}


@dataclass(frozen=True)
class Case:
    """One run: a model, the longest row, the batch, and what differs from the defaults."""

    model: str
    size: str
    tokens: int
    rows: int
    strategy: str = "full"
    speed: str = "auto"
    task: str = "text_classification"
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Everything about it in a line."""
        other = [self.strategy, f"speed {self.speed}", *(f"{key} {value}" for key, value in self.training.items())]
        return f"{self.model}-{self.size} {self.rows} × {self.tokens}, {', '.join(other)}"


FP32, BF16 = {"bf16": False}, {"bf16": True}
CALIBRATION = (
    Case("bert", "tiny", 64, 16, training=FP32),
    Case("bert", "mini", 128, 16, training=BF16),
    Case("bert", "small", 64, 32, speed="off", training=FP32),
    Case("distilbert", "mini", 96, 16, "feature_based", training=FP32),
    Case("bert", "minilm", 128, 8, "lora", training=BF16),
    Case("gpt2", "mini", 64, 16, task="causal_language_modeling", training=FP32),
)
JUDGED = (
    Case("bert", "mini", 32, 64, training=FP32),
    Case("bert", "tiny", 256, 8, training=BF16),
    Case("bert", "minilm", 48, 32, training=BF16),
    Case("bert", "minilm", 128, 16, training=FP32),
    Case("bert", "minilm", 256, 4, speed="off", training=FP32),
    Case("bert", "minilm", 96, 24, "feature_based", training=BF16),
    Case("bert", "small", 160, 12, "lora", training=FP32),
    Case("distilbert", "small", 200, 8, training=BF16),
    Case("distilbert", "minilm", 32, 48, "lora", training=BF16),
    Case("distilbert", "mini", 256, 16, speed="off", training=FP32),
    Case("gpt2", "small", 128, 8, task="causal_language_modeling", training=BF16),
    Case("gpt2", "mini", 40, 40, training=FP32),
    Case("bert", "small", 80, 8, training={**FP32, "gradient_accumulation_steps": 4}),
    Case("bert", "minilm", 128, 16, training={**BF16, "activation_checkpointing": True}),
    Case("bert", "minilm", 64, 16, training={**BF16, "optim": "adafactor"}),
    Case("bert", "small", 112, 16, "gradual_unfreezing", training=BF16),
)


def main() -> None:
    """Run every case and print the table, the constants that fit, and how far the estimates are off."""
    parser = options(__doc__, repeats=1)
    parser.add_argument("--only", metavar="TEXT", help="only the judged cases with this in their name, and no fit")
    parser.add_argument("--steps", type=int, default=24, help="optimizer steps of each run (24)")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "RECIPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(*arguments.child)
        return
    cases = [("judged", one) for one in JUDGED if arguments.only is None or arguments.only in one.name]
    if arguments.only is None:
        cases = [("fit", one) for one in CALIBRATION] + cases
    with tempfile.TemporaryDirectory() as folder:
        found = [_measured(Path(folder), part, case, arguments) for part, case in cases]
    fitted = _fit([one for one in found if one["part"] == "fit"])
    header = ["case", "part", "measured MiB", "estimate", "error", "counted tensors", "counted", "error", "time error"]
    print(table(header, [_row(one) for one in found]))
    if fitted is not None:
        share, fixed_mib = fitted
        print(f'\nALLOWANCES["cpu"] that fits the cases marked fit: Allowance({share:.2f}, {fixed_mib:.0f} * 2**20)')
    judged = [one for one in found if one["part"] == "judged"]
    finish(
        {
            "worst_error_percent": max(abs(one["error"]) for one in judged),
            "median_error_percent": statistics.median(abs(one["error"]) for one in judged),
            "worst_counted_error_percent": max(abs(one["counted_error"]) for one in judged),
            "median_time_error_percent": statistics.median(abs(one["time_error"]) for one in judged),
            "cases": len(judged),
        }
    )


def _measured(folder: Path, part: str, case: Case, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one case and its estimate, each `repeats` times in fresh processes, and lay the medians side by side."""
    text = json.dumps(_recipe(folder, case, steps=arguments.steps))
    runs, checks = [], []
    for _ in range(arguments.repeats):
        runs.append(_in_a_process("run", text))
        checks.append(_in_a_process("check", text))
    peak = statistics.median(run["peak_mib"] for run in runs)
    estimate, counted, tensors = (
        statistics.median(one[key] for one in checks) for key in ("peak", "counted", "tensors")
    )
    seconds, expected = (statistics.median(one["seconds"] for one in several) for several in (runs, checks))
    print(f"{case.name}: {estimate:.0f} of {peak:.0f} MiB", file=sys.stderr, flush=True)
    return {
        "case": case.name,
        "part": part,
        "peak": peak,
        "estimate": estimate,
        "error": 100 * (estimate / peak - 1),
        "tensors": tensors,
        "counted": counted,
        "counted_error": 100 * (counted / peak - 1),
        "time_error": 100 * (expected / seconds - 1),
    }


def _row(one: dict[str, Any]) -> list[Any]:
    errors = [f"{one[key]:+.1f} %" for key in ("error", "counted_error", "time_error")]
    sizes = [f"{one[key]:,.0f}" for key in ("peak", "estimate", "tensors", "counted")]
    return [one["case"], one["part"], sizes[0], sizes[1], errors[0], sizes[2], sizes[3], errors[1], errors[2]]


def _fit(found: list[dict[str, Any]]) -> tuple[float, float] | None:
    """Return share and MiB of the straight line from counted tensors to measured peaks, by least squares."""
    if len(found) < 2:
        return None
    line = statistics.linear_regression([one["tensors"] for one in found], [one["peak"] for one in found])
    return line.slope - 1, line.intercept


def _in_a_process(what: str, recipe: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, recipe]
    environment = dict(os.environ)
    if json.loads(recipe)["speed"] == "auto":
        from hf_fft.command_line import MEMORY_ENVIRONMENT

        environment = {**MEMORY_ENVIRONMENT, **environment}  # as the command line has it
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if answer.returncode:
        sys.exit(f"{' '.join(command)}\n{answer.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return figures


def _child(what: str, text: str) -> None:
    values = json.loads(text)
    from hf_fft.recipe import recipe_from

    with tempfile.TemporaryDirectory() as folder:
        figures = (_run if what == "run" else _check)(recipe_from(values), Path(folder))
    print(json.dumps(figures))


def _run(recipe: Any, folder: Path) -> dict[str, float]:
    from hf_fft import fine_tune

    cost = fine_tune(recipe, folder / "run").cost
    assert cost is not None
    return {"peak_mib": cost.peak_mib, "seconds": cost.train_seconds}


def _check(recipe: Any, folder: Path) -> dict[str, float]:
    from dataclasses import replace

    from hf_fft.pipeline import fill_in, prepare, trainer_for
    from hf_fft.training import PeakMemory, trains_on_gpu
    from hf_fft.training.estimate.preview import tried

    filled, notes = fill_in(recipe)
    prepared = prepare(filled, notes)
    memory = PeakMemory(on_gpu=trains_on_gpu(filled))
    estimate, time = tried(trainer_for(prepared, folder / "checkpoints"), prepared.encoded, memory)
    counted = replace(estimate, measured=None)
    return {
        "peak": estimate.peak / MIB,
        "counted": counted.peak / MIB,
        "tensors": estimate.tensors / MIB,
        "seconds": time.training_seconds,
    }


def _recipe(folder: Path, case: Case, *, steps: int) -> dict[str, Any]:
    accumulated = case.training.get("gradient_accumulation_steps", 1)
    return {
        "task": {"name": case.task, "max_length": case.tokens},
        "model": {"name": _model(folder, case)},
        "data": {"path": _rows(folder, case, count=case.rows * steps * accumulated)},
        "strategy": {"name": case.strategy},
        "training": {
            "num_train_epochs": 1,
            "per_device_train_batch_size": case.rows,
            "use_cpu": True,
            "disable_tqdm": True,
            **case.training,
        },
        "speed": case.speed,
    }


def _rows(folder: Path, case: Case, *, count: int) -> str:
    """Write rows of half to whole length; the first one is the longest."""
    place, words = folder / f"{case.name}-rows".replace("/", "-"), random.Random(f"{case.tokens}-{case.rows}")
    place.mkdir()
    for name, number in (("train", count), ("validation", case.rows)):
        with (place / f"{name}.jsonl").open("w") as stream:
            for row in range(number):
                length = case.tokens - 2 if row == 0 else words.randint(case.tokens // 2, case.tokens - 2)
                text = " ".join(f"w{words.randrange(1_900)}" for _ in range(length))
                stream.write(json.dumps({"text": text, "label": "ab"[row % 2]}) + "\n")
    return str(place)


def _model(folder: Path, case: Case) -> str:
    """Save a random model with a tokenizer of words, once."""
    place = folder / f"{case.model}-{case.size}"
    if not place.exists():
        _save_model(case, place)
    return str(place)


def _save_model(case: Case, place: Path) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    hidden, layers, heads, inner, words = SIZES[case.size]
    common = {"vocab_size": words, "pad_token_id": 0}
    bert = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    distilbert = {"dim": hidden, "n_layers": layers, "n_heads": heads, "hidden_dim": inner}
    gpt2 = {"n_embd": hidden, "n_layer": layers, "n_head": heads, "n_inner": inner, "n_positions": 512}
    torch.manual_seed(0)
    made: dict[str, Any] = {
        "bert": lambda: transformers.BertModel(
            transformers.BertConfig(**common, **bert, intermediate_size=inner, max_position_embeddings=512)
        ),
        "distilbert": lambda: transformers.DistilBertModel(
            transformers.DistilBertConfig(**common, **distilbert, max_position_embeddings=512)
        ),
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(**common, **gpt2, bos_token_id=2, eos_token_id=3)
        ),
    }
    made[case.model]().save_pretrained(place)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = [*special, *(f"w{number}" for number in range(words - len(special)))]
    raw = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True)),
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(place)


if __name__ == "__main__":
    main()
