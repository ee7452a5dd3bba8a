"""The model card: what the model is, how well it does, what it cost, how to use it without hf_fft, and the recipe.

The card goes where the model goes, so it holds nothing that only this machine knows: of a local path the last part is
kept. Its head is Hugging Face's own metadata, with the scores as a model-index.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from hf_fft.recipe import is_hub_name
from hf_fft.report.data_summary import data_summary
from hf_fft.report.public import public_recipe
from hf_fft.report.table import VALIDATION_CHOSE, cost_lines, label_rows, metric_rows
from hf_fft.report.usage import usage_of
from hf_fft.report.wording import (
    MISSING,
    listed,
    markdown_table,
    part_name,
    place_text,
    primary_name,
    rows_in_split,
    score_text,
    shown_split,
    without_local_paths,
)
from hf_fft.result import Result

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

STRATEGIES_IN_WORDS = {
    "full": "every parameter was trained",
    "feature_based": "the head was trained on a frozen backbone",
    "gradual_unfreezing": "the head was trained first, then one more layer group from the top at a time",
    "probe_then_full": "the head was trained on a frozen backbone first, then everything",
    "lora": "low-rank matrices beside the linear layers were trained with the head, and are merged into the weights",
}


def model_card(result: Result, *, model: str = "model") -> str:
    """Write the model card of a run, as Markdown with Hugging Face's metadata at the head.

    `model` is what the snippet loads: the folder beside the card, or the model's name on the Hub.
    """
    from huggingface_hub import ModelCard

    split = shown_split([result], primary_name(result)) or ""
    usage = usage_of(result.recipe.task)
    headings, rows = label_rows(result, split)
    card = ModelCard.from_template(
        _metadata(result, model),
        template_str=files("hf_fft.report").joinpath("card.md").read_text(encoding="utf-8"),
        metadata=_metadata(result, model).to_yaml(),
        title=_model_name(result, model),
        summary=_summary(result),
        split=split,
        scores=_scores(result),
        part=part_name(result.recipe.task),
        label_scores=markdown_table(headings, rows) if rows else "",
        scores_note=_scores_note(result, split),
        usage=usage.snippet(result.recipe.task, model),
        usage_note=usage.note(result.recipe.task),
        cost=" ".join(cost_lines(result)) or "It was not measured.",
        environment=_environment(result),
        data=data_summary(result),
        limits=_limits(result),
        notes=without_local_paths(result.notes),
        recipe=json.dumps(public_recipe(result.recipe), indent=2, ensure_ascii=False),
    )
    return str(card).rstrip("\n") + "\n"


def _metadata(result: Result, model: str) -> ModelCardData:
    from huggingface_hub import ModelCardData

    recipe = result.recipe
    evaluations = _evaluations(result)
    return ModelCardData(
        base_model=recipe.model.name if is_hub_name(recipe.model.name) else None,
        datasets=[recipe.data.path] if is_hub_name(recipe.data.path) else None,
        eval_results=evaluations or None,
        library_name="transformers",
        metrics=list(dict.fromkeys(one.metric_type for one in evaluations)) or None,
        model_name=_model_name(result, model),
        pipeline_tag=usage_of(recipe.task).TAG,
        tags=["hf_fft", recipe.strategy.name],
    )


def _evaluations(result: Result) -> list[EvalResult]:
    """Return the shown split's scores, the labels' own left out."""
    from huggingface_hub import EvalResult

    data = result.recipe.data
    primary = primary_name(result)
    split = shown_split([result], primary)
    scores = {name: value for name, value in result.metrics.get(split or "", {}).items() if "/" not in name}
    return [
        EvalResult(
            task_type=usage_of(result.recipe.task).TAG,
            # The Hub takes the type for a data set of its own.
            dataset_type=data.path if is_hub_name(data.path) else "custom",
            dataset_name=place_text(data.path),
            dataset_config=data.config_name,
            dataset_revision=data.revision,
            dataset_split=split,
            metric_type=name,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for name, value in sorted(scores.items(), key=lambda item: item[0] != primary)
        if value is not None
    ]


def _model_name(result: Result, model: str) -> str:
    if model != "model":
        return place_text(model).split("/")[-1]
    recipe = result.recipe
    if recipe.output_dir is not None:
        return place_text(recipe.output_dir).split("/")[-1]
    return f"{place_text(recipe.model.name).split('/')[-1]}-{recipe.strategy.name}"


def _summary(result: Result) -> str:
    recipe = result.recipe
    how = STRATEGIES_IN_WORDS.get(recipe.strategy.name, "see the recipe below")
    names = getattr(recipe.task, "labels", None)
    labels = f" The labels are {listed(names)}." if names else ""
    failed = f" The run failed: {without_local_paths(result.error)}" if result.status == "failed" else ""
    return (
        f"This model {usage_of(recipe.task).what_it_does(recipe.task)}. It is `{place_text(recipe.model.name)}`, "
        f"fine-tuned on `{place_text(recipe.data.path)}` with the strategy `{recipe.strategy.name}` of hf_fft: "
        f"{how}.{labels}{failed}"
    )


def _scores(result: Result) -> str:
    headings, rows = metric_rows(result)
    if not rows:
        return "There are none."
    for split, ends in result.intervals.items():
        headings = [*headings, f"{split}, 95 %"]
        rows = [[*row, _interval_text(ends.get(row[0]))] for row in rows]
    return markdown_table(headings, rows)


def _interval_text(ends: tuple[float, float] | None) -> str:
    return MISSING if ends is None else "–".join(map(score_text, ends))


def _scores_note(result: Result, split: str) -> str:
    once = {"test": "The test split was scored once, after training.", "validation": VALIDATION_CHOSE}.get(split, "")
    drawn = "Intervals are from a thousand draws of the rows, and say nothing of another seed."
    return " ".join(part for part in (once, drawn if result.intervals else "") if part)


def _environment(result: Result) -> str:
    where = result.environment
    if where is None:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    return f"It ran on {where.device} in {where.precision}, {where.date}, with Python {where.python}, {versions}."


def _limits(result: Result) -> str:
    recipe = result.recipe
    rows = rows_in_split(result, "train")
    count = f"{rows:,} rows" if rows is not None else "the training rows"
    longer = usage_of(recipe.task).long_inputs(recipe.task)
    return (
        f"Trained on {count} of `{place_text(recipe.data.path)}` and scored on rows of the same source; texts of "
        f"another kind, time or language may do worse. hf_fft did not check which languages the texts are in. "
        f"Inputs had at most {recipe.task.max_length} tokens; {longer}. What the base model and the data carry of "
        f"errors and bias, this model may carry too."
    )
