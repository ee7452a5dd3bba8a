"""A trained trainer becomes a result: cost, curves and the machine it ran on."""

from __future__ import annotations

import datetime
import math
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from hf_fft.recipe import Recipe
from hf_fft.result import Cost, Curves, Environment, EvaluationPoint, Metric, Result, TrainingPoint
from hf_fft.training.build import device_of, precision_of
from hf_fft.training.callbacks import CostMeter
from hf_fft.training.scoring import Scored
from hf_fft.training.speed.cores import processor_name
from hf_fft.training.speed.plan import bf16_units
from hf_fft.training.trainer import AnyTrainer

PACKAGES = ("hf_fft", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "scikit-learn")


def result_of(
    trainer: AnyTrainer,
    *,
    recipe: Recipe,
    metric: Metric,
    scored: Mapping[str, Scored],
    cost: Cost,
    data: dict[str, JsonValue],
    notes: tuple[str, ...],
) -> Result:
    """Put together the result of a finished run."""
    return Result(
        status="finished",
        recipe=recipe,
        primary_metric=metric,
        metrics={name: {key: finite(value) for key, value in one.metrics.items()} for name, one in scored.items()},
        cost=cost,
        curves=curves_of(trainer.state.log_history),
        data=data,
        environment=environment_of(trainer),
        best_step=trainer.state.best_global_step,
        speed=trainer.speed,
        notes=notes,
    )


def trainable_parameters(trainer: AnyTrainer) -> int:
    """Count the parameters that learned, at the end of training and before anything is merged."""
    assert trainer.model is not None
    if not trainer.state.global_step:
        return 0
    return sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)


def cost_of(
    trainer: AnyTrainer,
    scored: Mapping[str, Scored],
    *,
    trainable_parameters: int,
    peak_mib: float,
    model_folder: Path,
) -> Cost:
    """Return what the run took; the trainer holds the whole model."""
    meter = next(one for one in trainer.callback_handler.callbacks if isinstance(one, CostMeter))
    assert trainer.model is not None
    return Cost(
        train_seconds=meter.train_seconds,
        evaluation_seconds=meter.evaluation_seconds + sum(one.seconds for one in scored.values()),
        peak_mib=peak_mib,
        trainable_parameters=trainable_parameters,
        total_parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        optimizer_steps=trainer.state.global_step,
        model_mib=sum(file.stat().st_size for file in model_folder.glob("*.safetensors")) / 2**20,
        predictions_per_second=_per_second(list(scored.values())),
    )


def _per_second(scored: list[Scored]) -> float | None:
    """Return the speed on the split that was scored last: test where there is one."""
    if not scored or not scored[-1].seconds:
        return None
    return len(scored[-1].predictions) / scored[-1].seconds


def curves_of(log: list[dict[str, Any]]) -> Curves:
    """Read the curves out of Trainer's log; "eval_" in front of a metric's name goes."""
    training = tuple(
        TrainingPoint(
            step=line["step"],
            epoch=float(line["epoch"]),
            loss=finite(line["loss"]),
            grad_norm=finite(line.get("grad_norm")),
            learning_rates=line.get("learning_rates", {}),
        )
        for line in log
        if "loss" in line
    )
    evaluation = tuple(
        EvaluationPoint(
            step=line["step"],
            epoch=float(line["epoch"]),
            metrics=_evaluation_metrics(line),
            train_seconds=line.get("train_seconds"),
        )
        for line in log
        if "eval_loss" in line
    )
    return Curves(training=training, evaluation=evaluation)


def environment_of(trainer: AnyTrainer) -> Environment:
    """Describe the machine, for figures are comparable only beside it."""
    units = bf16_units()
    return Environment(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        device=device_of(trainer),
        processor=f"{processor_name()}, {units}" if units else processor_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        python=platform.python_version(),
        versions={package: _version(package) for package in PACKAGES},
        precision=precision_of(trainer),
        processes=trainer.args.world_size,
    )


def finite(value: float | None) -> float | None:
    """Return a number, or None for what is none: JSON knows no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)


def _evaluation_metrics(line: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        key.removeprefix("eval_"): finite(value)
        for key, value in line.items()
        if key.startswith("eval_") and isinstance(value, int | float) and not key.endswith("_per_second")
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # hf_fft itself, run from a checkout that nobody installed
        return "not installed"
