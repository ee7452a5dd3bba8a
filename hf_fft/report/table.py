"""Runs as text: the comparison of strategies with what it means in a few words, and the figures of a single run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from hf_fft.report.wording import (
    MISSING,
    amount_text,
    learning_rate,
    markdown_table,
    part_name,
    place_text,
    plain_table,
    points,
    primary_name,
    rows_in_split,
    score_text,
    share_text,
    shown_split,
)
from hf_fft.result import Result

NamedResult = tuple[str, Result]

REASON_CHARACTERS = 70
MOST_LABELS = 20
VALIDATION_CHOSE = "The validation split also chose the best step: expect slightly worse scores on new texts."


def comparison_table(rows: Sequence[NamedResult]) -> str:
    """Set named runs side by side for the terminal, and say below what the figures mean.

    Scores are of the test split, or of validation where a run has no test scores; the heading says which. A run that
    failed is a row with the reason.
    """
    return "\n".join([plain_table(*_comparison(rows)), "", *comparison_sentences(rows)]).rstrip()


def comparison_markdown(rows: Sequence[NamedResult]) -> str:
    """Write the same table and the same sentences as Markdown."""
    return "\n\n".join([markdown_table(*_comparison(rows)), " ".join(comparison_sentences(rows))]).rstrip() + "\n"


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
    """Say in two lines what the run took; nothing where it was not measured."""
    cost = result.cost
    if cost is None:
        return []
    share = share_text(cost.trainable_parameters, cost.total_parameters)
    return [
        f"Training took {amount_text(cost.train_seconds)} s for {amount_text(cost.optimizer_steps)} steps, evaluation "
        f"{amount_text(cost.evaluation_seconds)} s; peak memory {amount_text(cost.peak_mib)} MiB.",
        f"Trained were {amount_text(cost.trainable_parameters)} of {amount_text(cost.total_parameters)} parameters "
        f"({share}); the saved weights take {amount_text(cost.model_mib)} MiB.",
    ]


def comparison_sentences(rows: Sequence[NamedResult]) -> list[str]:
    """Say in plain words what a comparison shows, and how large a difference would have to be to mean anything."""
    finished = [row for row in rows if row[1].status == "finished"]
    failed = [name for name, result in rows if result.status == "failed"]
    metric, split = _shown(finished)
    sentences = [f"{len(failed)} of {len(rows)} runs failed: {', '.join(failed)}."] if failed else []
    if len(finished) < 2 or metric is None or split is None:
        return sentences
    baseline = _baseline(finished)
    best = _best([row for row in finished if row is not baseline], metric, split)
    if best is None or baseline[1].metrics[split].get(metric) is None:
        return sentences
    sentences += [_difference(best, baseline, metric, split), _chance(best, baseline, metric, split)]
    if len({result.recipe.seed for _, result in finished}) == 1 and not sentences[-1]:
        small = "a small difference" if points(metric, 0.0) is None else "a difference of a point or two"
        sentences.append(f"One seed: {small} may be chance.")
    if split == "validation":
        sentences.append(VALIDATION_CHOSE)
    return [sentence for sentence in sentences if sentence]


def _comparison(rows: Sequence[NamedResult]) -> tuple[list[str], list[list[str]]]:
    finished = [row for row in rows if row[1].status == "finished"]
    metric, split = _shown(finished)
    baseline_name, baseline = _baseline(finished) if finished else ("", None)
    headings = ["strategy", f"{split} {metric}" if split and metric else "score", "training s", f"× {baseline_name}"]
    headings += ["peak MiB", "trained parameters", "of all", "learning rate"]
    if baseline is None:
        headings[3] = "ratio"
    body = []
    for name, result in rows:
        if result.status == "failed":
            reason = " ".join((result.error or "no reason was kept").split())
            body.append([name, f"failed: {textwrap.shorten(reason, REASON_CHARACTERS, placeholder=' …')}"])
        else:
            score = result.metrics.get(split or "", {}).get(metric or "")
            body.append([name, score_text(score), *_cost_cells(result, baseline), _rate_text(result)])
    return headings, body


def _cost_cells(result: Result, baseline: Result | None) -> list[str]:
    cost = result.cost
    if cost is None:
        return [MISSING] * 5
    ratio = _time_ratio(result, baseline)
    return [
        amount_text(cost.train_seconds),
        MISSING if ratio is None else f"{ratio:.1f}",
        amount_text(cost.peak_mib),
        amount_text(cost.trainable_parameters),
        share_text(cost.trainable_parameters, cost.total_parameters),
    ]


def _rate_text(result: Result) -> str:
    rate = learning_rate(result)
    return MISSING if rate is None else f"{rate:g}"


def _time_ratio(result: Result, baseline: Result | None) -> float | None:
    if baseline is None or result.cost is None or baseline.cost is None or not baseline.cost.train_seconds:
        return None
    return result.cost.train_seconds / baseline.cost.train_seconds


def _shown(finished: Sequence[NamedResult]) -> tuple[str | None, str | None]:
    metric = next((name for _, result in finished if (name := primary_name(result))), None)
    return metric, shown_split((result for _, result in finished), metric)


def _baseline(finished: Sequence[NamedResult]) -> NamedResult:
    heads = [row for row in finished if row[1].recipe.strategy.name == "feature_based"]
    return (heads or finished)[0]


def _best(rows: Sequence[NamedResult], metric: str, split: str) -> NamedResult | None:
    scored = [row for row in rows if row[1].metrics[split].get(metric) is not None]
    sign = 1 if _greater_is_better(rows) else -1
    return max(scored, key=lambda row: sign * (row[1].metrics[split][metric] or 0.0), default=None)


def _greater_is_better(rows: Sequence[NamedResult]) -> bool:
    return all(result.primary_metric is None or result.primary_metric.greater_is_better for _, result in rows)


def _difference(best: NamedResult, baseline: NamedResult, metric: str, split: str) -> str:
    ours, theirs = _score(best, metric, split), _score(baseline, metric, split)
    figures = f"({score_text(ours)} against {score_text(theirs)})"
    better = (ours > theirs) == _greater_is_better([best])
    if score_text(ours) == score_text(theirs):
        verdict = f"{best[0]} scores the same as {baseline[0]} {figures}"
    elif _greater_is_better([best]) and (gap := points(metric, abs(ours - theirs))) is not None:
        verdict = f"{best[0]} scores {gap:.1f} points {'more' if better else 'less'} than {baseline[0]} {figures}"
    else:
        direction = f"{'higher' if ours > theirs else 'lower'} ({'better' if better else 'worse'})"
        verdict = f"{best[0]} has a {direction} {metric} than {baseline[0]} {figures}"
    ratio = _time_ratio(best[1], baseline[1])
    return f"{verdict}." if ratio is None else f"{verdict} and takes {_times_text(ratio)} training time."


def _times_text(ratio: float) -> str:
    return "about the same" if 0.95 < ratio < 1.05 else f"{ratio:.1f} times the"


def _chance(best: NamedResult, baseline: NamedResult, metric: str, split: str) -> str:
    """Give the 95 % bound of the difference of two shares of n rows each; only for metrics that are such shares."""
    rows = rows_in_split(best[1], split)
    if rows is None or not _is_share_of_rows(metric, best[1].recipe.task.name):
        return ""
    share = (_score(best, metric, split) + _score(baseline, metric, split)) / 2
    bound = 100 * 1.96 * math.sqrt(max(0.0, 2 * share * (1 - share) / rows))
    if bound < 0.05:
        return ""
    seeds = "One seed, and the" if best[1].recipe.seed == baseline[1].recipe.seed else "The"
    return f"{seeds} {split} split has {rows:,} rows: differences under about {bound:.1f} points may be chance."


def _is_share_of_rows(metric: str, task: str) -> bool:
    """Say whether a metric is the share of rows that are right; the accuracy of words or tokens is not."""
    return metric == "exact_match" or (metric == "accuracy" and task == "text_classification")


def _score(row: NamedResult, metric: str, split: str) -> float:
    return row[1].metrics[split][metric] or 0.0


def _label_part(result: Result) -> list[str]:
    split = shown_split([result], primary_name(result))
    headings, rows = label_rows(result, split or "")
    if len(rows) > MOST_LABELS:
        return [f"The scores of each of the {len(rows)} {part_name(result.recipe.task)}s are in result.json."]
    return [plain_table(headings, rows)] if rows else []
