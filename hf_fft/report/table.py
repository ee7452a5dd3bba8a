"""A single run as text: its scores by split, those of each label, what it cost."""

from __future__ import annotations

from hf_fft.report.wording import (
    amount_text,
    part_name,
    place_text,
    plain_table,
    primary_name,
    score_text,
    share_text,
    shown_split,
)
from hf_fft.result import Result, SpeedPlan

MOST_LABELS = 20
VALIDATION_CHOSE = "The validation split also chose the best step: expect slightly worse scores on new texts."


def result_table(result: Result) -> str:
    """Show one run for the terminal: its scores by split, the scores of each label, what it cost, what it decided."""
    recipe = result.recipe
    title = (
        f"{recipe.task.name}, {recipe.strategy.name}: {place_text(recipe.model.name)} on {place_text(recipe.data.path)}"
    )
    if result.status == "failed":
        return f"{title}\n\nfailed: {result.error or 'no reason was kept'}"
    notes = [f"- {note}" for note in result.notes]
    parts = [
        title,
        plain_table(*metric_rows(result)),
        *_label_part(result),
        "\n".join(cost_lines(result)),
        "\n".join(notes),
    ]
    return "\n\n".join(part for part in parts if part)


def scores_table(result: Result, split: str) -> str:
    """Show a result's scores by split, and those of each label on one of them."""
    headings, rows = label_rows(result, split)
    return "\n\n".join([plain_table(*metric_rows(result)), *([plain_table(headings, rows)] if rows else [])])


def metric_rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the scores by split, without the labels' own; the primary metric is the first."""
    splits = list(result.metrics)
    names = dict.fromkeys(name for scores in result.metrics.values() for name in scores if "/" not in name)
    primary = primary_name(result)
    ordered = sorted(names, key=lambda name: name != primary)
    rows = [[name, *(score_text(result.metrics[split].get(name)) for split in splits)] for name in ordered]
    return ["metric", *splits], rows


def label_rows(result: Result, split: str) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the scores of each label, type or kind on one split; no rows where there are none."""
    parts = {name: name.split("/", maxsplit=1) for name in result.metrics.get(split, {}) if "/" in name}
    kinds = list(dict.fromkeys(kind for kind, _ in parts.values()))
    labels = list(dict.fromkeys(label for _, label in parts.values()))
    scores = result.metrics.get(split, {})
    rows = [[label, *(score_text(scores.get(f"{kind}/{label}")) for kind in kinds)] for label in labels]
    return [f"{part_name(result.recipe.task)} ({split})", *kinds], rows


def cost_lines(result: Result) -> list[str]:
    """Say in two lines what the run took, and in one what it did to be fast; nothing where it was not measured."""
    cost = result.cost
    if cost is None:
        return []
    share = share_text(cost.trainable_parameters, cost.total_parameters)
    return [
        f"Training took {amount_text(cost.train_seconds)} s for {amount_text(cost.optimizer_steps)} steps, evaluation "
        f"{amount_text(cost.evaluation_seconds)} s; peak memory {amount_text(cost.peak_mib)} MiB.",
        f"Trained were {amount_text(cost.trainable_parameters)} of {amount_text(cost.total_parameters)} parameters "
        f"({share}); the saved weights take {amount_text(cost.model_mib)} MiB.",
        *_speed_line(result.speed),
    ]


def _speed_line(plan: SpeedPlan | None) -> list[str]:
    """Name what a run did to be fast; it says at the start why, and `result.json` keeps that."""
    if plan is None:
        return []
    done = {
        "bf16 autocast": plan.bf16,
        "batches of rows of like length": plan.batches_by_length,
        f"batches of at most {amount_text(plan.max_tokens_per_batch or 0)} tokens": plan.max_tokens_per_batch,
        f"{plan.attention} attention": plan.attention,
        "cheap dropout": plan.cheap_dropout,
        "evaluation by length": plan.evaluation_by_length,
        "frozen layers computed once a row": plan.frozen_prefix,
    }
    names = [name for name, is_done in done.items() if is_done]
    return [f"To be fast: {', '.join(names)}."] if names else []


def _label_part(result: Result) -> list[str]:
    split = shown_split([result], primary_name(result))
    headings, rows = label_rows(result, split or "")
    if len(rows) > MOST_LABELS:
        return [f"The scores of each of the {len(rows)} {part_name(result.recipe.task)}s are in result.json."]
    return [plain_table(headings, rows)] if rows else []
