"""What follows from a comparison for one strategy: a kind and the costs, as data; the words are made elsewhere."""

from __future__ import annotations

from typing import Any, Literal

from hf_fft.result.comparison import ComparedStrategy, Gain, Verdict

# Training times that differ by less than this share are the same.
SAME_TIME = 0.05


def verdict(row: ComparedStrategy, reference: ComparedStrategy, gain: Gain | None) -> Verdict:
    """Weigh a strategy's gain on the reference against what it costs.

    There is no verdict where one of the two failed, gives constant answers, or was searched for a rate in vain; a
    baseline is expected to do the second.
    """
    costs = _costs(row, reference)
    for one in (row, reference):
        if kind := _hindrance(one):
            return Verdict(kind=kind, concerns=one.label, **costs)
    if gain is None or not gain.decided:
        return Verdict(kind="undecided", **costs)
    return Verdict(kind="better" if gain.estimate > 0 else "worse", **costs)


def _hindrance(row: ComparedStrategy) -> Literal["failed", "degenerate", "not tuned"] | None:
    if not row.finished:
        return "failed"
    if row.constant_runs and row.kind == "strategy":
        return "degenerate"
    if row.search is not None and not row.search.tuned:
        return "not tuned"
    return None


def _costs(row: ComparedStrategy, reference: ComparedStrategy) -> dict[str, Any]:
    ours, theirs = row.train_seconds, reference.train_seconds
    if ours is None or theirs is None:
        return {}
    costs: dict[str, Any] = {"extra_train_seconds": ours.mean - theirs.mean}
    if theirs.mean > 0:
        ratio = ours.mean / theirs.mean
        costs["time_ratio"] = ratio
        costs["cost"] = "same" if abs(ratio - 1) < SAME_TIME else "more" if ratio > 1 else "less"
    if row.peak_mib is not None and reference.peak_mib is not None and reference.peak_mib.mean > 0:
        costs["memory_ratio"] = row.peak_mib.mean / reference.peak_mib.mean
    return costs
