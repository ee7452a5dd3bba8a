"""What a comparison shows, in sentences: each difference with its interval, and a verdict that weighs it against cost.

A sentence claims what an interval decides and nothing else. Where the data do not decide, where a learning rate was not
tuned or a model gives every row the same answer, there is no verdict, and a sentence says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from hf_fft.report.comparison_columns import faults, finished_results, reason_of
from hf_fft.report.comparison_units import Unit, p_text, times_text, unit_of
from hf_fft.result import Result
from hf_fft.result.comparison import ComparedStrategy, ComparisonRecord, Gain, Verdict


def comparison_sentences(record: ComparisonRecord) -> list[str]:
    """Say in plain words what the differences to the reference are and how sure they are, one strategy a sentence."""
    if record.status == "running":
        return ["The comparison is not finished: the figures are those so far, and the same command again goes on."]
    compared = [one for one in _strategies(record) if one.gain and _allows_verdict(one)]
    bases = {_basis(one.gain, record) for one in compared if one.gain}
    shared = len(compared) > 1 and len(bases) == 1
    sentences = [_difference(one, record, basis=not shared) for one in compared]
    if shared:
        sentences.insert(0, f"Differences are over {bases.pop()}{_correction(record)}.")
    return [*sentences, *_about_baselines(record)]


def caution_sentences(record: ComparisonRecord) -> list[str]:
    """Say what the figures do not cover and what went wrong on the way."""
    sentences = [*_about_failures(record), *record.notes]
    sentences += _about_seeds(record)
    if record.split == "validation":
        sentences.append("Scores are on validation, which also chose the best step: expect a little less on new texts.")
    if record.status == "finished" and _strategies(record) and all(one.search is None for one in _strategies(record)):
        sentences.append(
            "Learning rates were not searched: each is the recipe's or its strategy's default; --rates tries others."
        )
    places = {_place(result) for result in finished_results(record)} - {None}
    if len(places) > 1:
        sentences.append("The runs were made on different machines or versions: do not compare their seconds.")
    return sentences


def verdict_sentences(record: ComparisonRecord) -> list[str]:
    """Weigh gains against costs where the data decide; say why there is no verdict where they do not."""
    if record.status == "running":
        return []
    judged = [one for one in _strategies(record) if one.verdict]
    if not judged:
        return ["No verdict: it takes two strategies that finished."]
    reference = next((one for one in record.strategies if one.is_reference), None)
    if reference is not None and faults(reference):
        return [f"No verdict, for the others are measured by {reference.label}: {_fault(reference)}"]
    weighed = [*_about_winners(judged, record), *_about_losers(judged, record)]
    seeds = "On one seed" if len(record.seeds) == 1 else "Verdict"
    if weighed:
        weighed[0] = f"{seeds}: {weighed[0]}"
    return [*weighed, *_about_silence(judged, record, alone=not weighed)]


def _strategies(record: ComparisonRecord) -> list[ComparedStrategy]:
    return [one for one in record.strategies if one.kind == "strategy"]


def _allows_verdict(one: ComparedStrategy) -> bool:
    return one.verdict is None or one.verdict.concerns is None


def _difference(one: ComparedStrategy, record: ComparisonRecord, *, basis: bool) -> str:
    unit, gain, reference = unit_of(record), one.gain, record.reference or ""
    assert gain is not None, "only strategies with a gain are compared"
    sure = p_text(gain.corrected_p_value)
    if basis:
        sure = f"{_basis(gain, record)}, {sure}{_correction(record, after=True)}"
    if gain.decided:
        lead = unit.lead(one.label, reference, gain.estimate)
        return f"{lead}, 95 % interval {unit.interval_size(gain)} ({sure})."
    alone = gain.low > 0 or gain.high < 0
    though = ", which leaves out zero, but not clearly enough after the correction" if alone else ""
    return (
        f"{one.label} and {reference}: the data do not decide. The gain is {unit.gain(gain.estimate, signed=True)} "
        f"{unit.name_of_gain}, 95 % interval {unit.interval(gain)}{though} ({sure})."
    )


def _basis(gain: Gain, record: ComparisonRecord) -> str:
    seeds = f"{gain.seeds} {'seed' if gain.seeds == 1 else 'seeds'}"
    if gain.seeds != gain.reference_seeds:
        seeds += f" against {gain.reference_seeds}"
    groups = "" if gain.clusters is None else f" in {gain.clusters:,} groups"
    return f"{seeds}, {gain.rows:,} {record.split} rows{groups}"


def _correction(record: ComparisonRecord, *, after: bool = False) -> str:
    """Name Holm's correction where there is something to correct."""
    count = sum(one.gain is not None for one in _strategies(record))
    if count < 2:
        return ""
    return (
        f" after Holm's correction for {count} comparisons"
        if after
        else f"; p is corrected for {count} comparisons (Holm)"
    )


def _about_baselines(record: ComparisonRecord) -> list[str]:
    """Name the baselines that feature_based is not shown to beat, and the strategies that score no more than one."""
    unit, sentences = unit_of(record), []
    baselines = [one for one in record.strategies if one.kind == "baseline" and one.score]
    for one in baselines:
        if one.gain and one.gain.estimate > 0 and one.gain.decided:
            sentences.append(f"The baseline {unit.lead(one.label, record.reference or '', one.gain.estimate)}.")
        elif one.gain and not one.gain.decided:
            sentences.append(f"The data do not decide between the baseline {one.label} and {record.reference}.")
    sign = 1 if unit.metric.greater_is_better else -1
    best = max(baselines, key=lambda one: sign * (one.score.mean if one.score else 0.0), default=None)
    if best is None or best.score is None:
        return sentences
    level = sign * best.score.mean
    others = [one for one in _strategies(record) if one.score and not one.is_reference]
    behind = [one.label for one in others if one.score and sign * one.score.mean <= level]
    if behind:
        sentences.append(f"No better score than the baseline {best.label}: {', '.join(behind)}.")
    return sentences


def _about_failures(record: ComparisonRecord) -> list[str]:
    sentences = []
    for one in record.strategies:
        if one.failures and one.finished:
            runs = f"{len(one.failures)} {'run' if len(one.failures) == 1 else 'runs'} of {one.label} failed"
            sentences.append(f"{runs}, and the figures are of the others ({reason_of(one.failures[0])}).")
    return sentences


def _about_seeds(record: ComparisonRecord) -> list[str]:
    """Say whose intervals do not cover the chance of the seed: a single seed shows nothing of it."""
    gains = [one.gain for one in _strategies(record) if one.gain]
    single = [one.label for one in _strategies(record) if one.gain and one.gain.seeds == 1]
    if not gains or (not single and gains[0].reference_seeds > 1):
        return []
    if len(record.seeds) == 1:
        return [
            "One seed: the intervals cover the chance of the test rows, not that of the seed; --seeds 1 2 3 adds it."
        ]
    names = _joined([*single, *([record.reference or ""] if gains[0].reference_seeds == 1 else [])])
    return [f"Only one seed of {names} finished, so the chance of the seed is not covered there."]


def _place(result: Result) -> tuple[object, ...] | None:
    where = result.environment
    return None if where is None else (where.device, where.cores, where.precision, tuple(where.versions.items()))


def _about_winners(judged: Sequence[ComparedStrategy], record: ComparisonRecord) -> list[str]:
    """Weigh the strategies that are better than the reference, the largest gain first."""
    unit = unit_of(record)
    winners = sorted(_of_kind(judged, "better"), key=_estimate, reverse=True)
    if not winners:
        return []
    first, *others = winners
    parts = [f"{first.label} {unit.change(_estimate(first))} {record.reference} {_price(first.verdict)}"]
    parts += [_beside(one, first, unit) for one in others]
    sentences = [f"{'; '.join(parts)}."]
    if others:
        sentences.append("Which of these is the better one was not tested: each is measured by the reference alone.")
    return sentences


def _beside(one: ComparedStrategy, best: ComparedStrategy, unit: Unit) -> str:
    """Set a smaller gain beside the largest: it keeps something only if it costs less."""
    ratio, most = (item.verdict.time_ratio if item.verdict else None for item in (one, best))
    gain = unit.gain(_estimate(one))
    times = "" if ratio is None else f" at {times_text(ratio).removesuffix(' the')}"
    if unit.points_per_unit is None:
        return f"{one.label} {unit.change(_estimate(one)).removesuffix(' against')}{times}"
    cheaper = ratio is not None and most is not None and ratio < most
    return f"{one.label} {f'keeps {gain} of them' if cheaper else f'gains {gain}'}{times}"


def _about_losers(judged: Sequence[ComparedStrategy], record: ComparisonRecord) -> list[str]:
    unit = unit_of(record)
    return [
        f"{one.label} {unit.change(_estimate(one))} {record.reference} {_price(one.verdict)}."
        for one in _of_kind(judged, "worse")
    ]


def _about_silence(judged: Sequence[ComparedStrategy], record: ComparisonRecord, *, alone: bool) -> list[str]:
    """Say where there is no verdict, why, and what would help."""
    sentences = []
    undecided = _of_kind(judged, "undecided")
    for names, why in (
        ([one.label for one in undecided if one.gain], "the data do not decide."),
        ([one.label for one in undecided if not one.gain], "the difference has no interval."),
    ):
        more = " More test rows, or more seeds, would narrow the interval." if alone and "data" in why else ""
        sentences += [f"No verdict on {_joined(names)}: {why}{more}"] if names else []
    for kind in ("not tuned", "degenerate", "failed"):
        sentences += [f"No verdict on {one.label}: {_fault(one)}" for one in _of_kind(judged, kind)]
    return sentences


def _fault(one: ComparedStrategy) -> str:
    """Say why a strategy allows no verdict, and what to do."""
    if one.finished == 0:
        return "no run finished."
    if one.search is not None and not one.search.tuned:
        return _not_tuned(one)
    verb = "gives" if one.constant_runs == 1 else "give"
    which = "it gives" if one.finished == 1 else f"{one.constant_runs} of its {one.finished} runs {verb}"
    return f"{which} every row the same answer. Try a lower learning rate, more warm-up or more epochs."


def _not_tuned(one: ComparedStrategy) -> str:
    assert one.search is not None, "a rate that was not searched is not called untuned"
    rates = [tried.learning_rate for tried in one.search.tried]
    chosen = one.search.chosen
    if chosen is None:
        return "not tuned, for no learning rate that was tried gave a score."
    side, where = ("lowest", "lower") if chosen == min(rates) else ("highest", "higher")
    return f"not tuned. Its best learning rate, {chosen:g}, is the {side} of those tried: add {where} ones to --rates."


def _of_kind(judged: Sequence[ComparedStrategy], kind: str) -> list[ComparedStrategy]:
    return [one for one in judged if one.verdict and one.verdict.kind == kind]


def _estimate(one: ComparedStrategy) -> float:
    return one.gain.estimate if one.gain else 0.0


def _price(verdict: Verdict | None) -> str:
    if verdict is None or verdict.time_ratio is None:
        return "at a cost that was not measured"
    memory = verdict.memory_ratio
    room = "" if memory is None or 0.95 < memory < 1.05 else f" and {times_text(memory)} memory"
    return f"for {times_text(verdict.time_ratio)} training time{room}"


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
