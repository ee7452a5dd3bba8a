"""Results of runs that never were, for the tests of tables, pictures and cards."""

from hf_fft.recipe.records import Recipe
from hf_fft.result import Cost, Curves, Environment, EvaluationPoint, Metric, Result, TrainingPoint

REPORT = {
    "splits": {
        "train": {
            "rows": 12000,
            "label_counts": {"negative": 6100, "positive": 5900},
            "duplicates": 12,
            "empty_texts": 0,
            "token_lengths": {"median": 174.0, "percentile_95": 590.0, "longest": 2470, "share_truncated": 0.25},
        },
        "test": {"rows": 1500, "label_counts": {"negative": 750, "positive": 750}, "duplicates": 0, "empty_texts": 1},
    },
    "shared_rows": {"train/test": 3},
    "shared_texts": {"train/test": 2},
}


def made_up_recipe(strategy="full", **sections):
    task = {"name": "text_classification", "labels": ["negative", "positive"], **sections.pop("task", {})}
    return Recipe.model_validate(
        {
            "task": task,
            "model": "google-bert/bert-base-uncased",
            "data": {"path": "stanfordnlp/imdb"},
            "strategy": strategy,
            "training": {"learning_rate": 5e-5 if strategy == "full" else 1e-3},
            **sections,
        }
    )


def made_up_cost(**figures):
    cost = {
        "train_seconds": 412.0,
        "evaluation_seconds": 31.5,
        "peak_mib": 3210.4,
        "trainable_parameters": 109_483_778,
        "total_parameters": 109_483_778,
        "optimizer_steps": 750,
        "model_mib": 417.7,
    }
    return Cost(**{**cost, **figures})


def made_up_curves(groups=("head", "layers"), steps=750, every=10):
    def rate(step, place):
        return 5e-5 * 0.8**place * min(step / 75, (steps - step) / (steps - 75))

    training = [
        TrainingPoint(
            step=step,
            epoch=3 * step / steps,
            loss=0.15 + 0.55 * 0.995**step + 0.03 * ((step * 7919) % 13 - 6) / 6,
            learning_rates={name: rate(step, place) for place, name in enumerate(groups)},
        )
        for step in range(every, steps + 1, every)
    ]
    evaluation = [
        EvaluationPoint(
            step=step, epoch=3 * step / steps, metrics={"loss": loss, "accuracy": score, "f1_macro": score - 0.02}
        )
        for step, loss, score in ((250, 0.38, 0.84), (500, 0.34, 0.871), (750, 0.37, 0.866))
    ]
    return Curves(training=tuple(training), evaluation=tuple(evaluation))


def made_up_result(strategy="full", accuracy=0.861, **fields):
    scores = {"accuracy": accuracy, "f1_macro": accuracy - 0.003, "matthews_correlation": None}
    by_label = {"f1/negative": 0.87, "f1/positive": 0.85}
    values = {
        "status": "finished",
        "recipe": made_up_recipe(strategy),
        "primary_metric": Metric(name="accuracy"),
        "metrics": {"validation": {**scores, "accuracy": 0.871}, "test": {**scores, **by_label}},
        "cost": made_up_cost(),
        "curves": made_up_curves(),
        "data": REPORT,
        "environment": Environment(
            date="2025-11-23",
            device="NVIDIA H100",
            processor="x86_64",
            cores=16,
            memory_gib=128.0,
            python="3.11.9",
            versions={"transformers": "5.23.0", "torch": "2.13.0"},
            precision="bf16",
        ),
        "best_step": 500,
        "notes": ('learning rate 5e-05: the default of strategy "full".',),
    }
    return Result(**{**values, **fields})


def made_up_failure(error="torch.OutOfMemoryError: CUDA out of memory."):
    return Result(status="failed", recipe=made_up_recipe(), error=error)
