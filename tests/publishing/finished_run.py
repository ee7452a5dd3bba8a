"""A finished run folder made by hand, small enough to be published forty times a second; and who uploads it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from hub import LoopbackHub
from safetensors.numpy import save_file

from hf_fft.publishing import Destination
from hf_fft.publishing.exchange import Order, Report
from hf_fft.recipe import Recipe, recipe_from
from hf_fft.result import Metric, Result, write_json, write_result

TEXTS = {"README.md": "---\nlicense: mit\n---\n\n# A model\n", "recipe.json": "{}\n", "result.json": "{}\n"}

# Tries are made at once, and what would have been slept is told.
UPLOADER = """
import sys, time
from hf_fft.publishing.exchange import Order, Report
from hf_fft.publishing.upload import PublishingError, upload
slept = []
time.sleep = slept.append
for line in sys.stdin:
    slept.clear()
    try:
        report = upload(Order.model_validate_json(line))
    except PublishingError as error:
        report = Report(error=str(error))
    print(max(slept, default=0), report.model_dump_json(), flush=True)
"""


def finished_recipe(**changes: object) -> Recipe:
    values = {
        "task": {"name": "text_classification", "labels": ["neg", "pos"]},
        "model": "bert-base-uncased",
        "data": {"path": "stanfordnlp/imdb"},
    }
    return recipe_from({**values, **changes})


def make_run(folder: Path, *, seed: int = 0, **changes: object) -> Path:
    """Write what a finished run leaves, with weights that follow from the seed."""
    recipe = finished_recipe(**changes)
    result = Result(
        status="finished",
        recipe=recipe,
        primary_metric=Metric(name="accuracy"),
        metrics={"test": {"accuracy": 0.875}},
        notes=(f"cached in {folder / 'cache'} (3 MiB)",),
    )
    (folder / "model").mkdir(parents=True)
    weights = np.random.default_rng(seed).normal(size=(40, 40))
    save_file({"classifier.weight": weights}, folder / "model" / "model.safetensors")
    write_json(folder / "model" / "config.json", {"model_type": "bert"})
    write_json(folder / "model" / "tokenizer_config.json", {"model_max_length": 64, "is_local": True})
    (folder / "model" / "training_args.bin").write_bytes(b"secrets")
    write_json(folder / "recipe.json", recipe.model_dump(mode="json", by_alias=True))
    write_result(folder, result)
    return folder


def add_adapter(folder: Path) -> None:
    (folder / "adapter").mkdir()
    save_file({"lora": np.zeros((4, 4))}, folder / "adapter" / "adapter_model.safetensors")
    write_json(folder / "adapter" / "adapter_config.json", {"base_model_name_or_path": "/home/ada/tiny", "r": 4})


def stage(folder: Path, *, seed: int = 0) -> Path:
    """Write a folder as it would be staged."""
    folder.mkdir()
    save_file({"weight": np.random.default_rng(seed).normal(size=(40, 40))}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


class Uploader:
    """The upload by itself, in one process of its own for many orders."""

    def __init__(self, hub: LoopbackHub, home: Path, *, xet: bool) -> None:
        self.slept = 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-c", UPLOADER],
            env=hub.environment(home, xet=xet),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def upload(self, folder: Path, repository: str, **options: object) -> Report:
        place = Destination(repository=repository, **{"deadline_seconds": 600.0, **options})
        order = Order(folder=str(folder), destination=place, message="a model")
        self.process.stdin.write(order.model_dump_json() + "\n")
        self.process.stdin.flush()
        slept, _, report = self.process.stdout.readline().partition(" ")
        self.slept = float(slept)
        return Report.model_validate(json.loads(report))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
