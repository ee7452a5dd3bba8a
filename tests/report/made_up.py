"""Results of runs that never were, for the tests of tables, pictures and cards."""

from hf_fft.recipe.records import Recipe
from hf_fft.result import Cost, Curves, Environment, EvaluationPoint, Metric, Result, SpeedPlan, TrainingPoint

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
        "speed": SpeedPlan(bf16=True, batches_by_length=True, evaluation_by_length=True, reasons=("made up",)),
        "notes": ('learning rate 5e-05: the default of strategy "full".',),
    }
    return Result(**{**values, **fields})


def made_up_failure(error="torch.OutOfMemoryError: CUDA out of memory."):
    return Result(status="failed", recipe=made_up_recipe(), error=error)


ROWS = (("train", 12_000), ("test", 1_500))
# What each task but the first scores, and by what it chooses: name of the metric, its values at three evaluations.
SCORES = {
    "token_classification": (
        ("f1", (0.61, 0.873, 0.868)),
        {"precision": 0.86, "recall": 0.88, "accuracy": 0.972, "f1_macro": 0.84, "f1/PER": 0.95, "f1/LOC": None},
    ),
    "question_answering": (
        ("f1", (0.5, 0.71, 0.7)),
        {"exact_match": 0.66, "exact_match/HasAns": 0.6, "exact_match/NoAns": 0.72, "f1/HasAns": 0.7, "f1/NoAns": 0.72},
    ),
    "generative_question_answering": (("f1", (0.3, 0.45, 0.44)), {"exact_match": 0.31}),
    "text_generation": (
        ("bleu", (12.31, 27.432, 26.9)),
        {"chrf": 48.21, "rouge1": 0.52, "rouge2": 0.3, "rougeL": 0.44, "rougeLsum": 0.45, "exact_match": 0.02},
    ),
    "masked_language_modeling": (("perplexity", (13_412.7, 311.64, 96.214)), {"loss": 4.5666, "accuracy": 0.31}),
    "causal_language_modeling": (("perplexity", (31.2, 22.41, 21.87)), {"loss": 3.085, "bits_per_byte": 0.9712}),
}


def made_up_result_of(task, *, best=None, strategy="full", **fields):
    """A result of another task, whose test score in the primary metric is `best` or that of the last evaluation."""
    (metric, course), others = SCORES[task]
    recipe = made_up_recipe(strategy)
    recipe = Recipe.model_validate({**recipe.model_dump(by_alias=True), "task": {"name": task}})
    curves = made_up_curves()
    evaluation = [
        EvaluationPoint(step=point.step, epoch=point.epoch, metrics={"loss": point.metrics["loss"], metric: value})
        for point, value in zip(curves.evaluation, course, strict=True)
    ]
    scores = {metric: course[-1] if best is None else best, **others}
    splits = {name: {"rows": rows, "label_counts": {}, "duplicates": 0, "empty_texts": 0} for name, rows in ROWS}
    values = {
        "recipe": recipe,
        "primary_metric": Metric(name=metric, greater_is_better=metric != "perplexity"),
        "metrics": {"test": scores},
        "curves": Curves(training=curves.training, evaluation=tuple(evaluation)),
        "data": {"splits": splits},
    }
    return made_up_result(strategy, **{**values, **fields})
