"""What follows for a strategy, as data."""

from __future__ import annotations

import pytest

from hf_fft.analysis.verdict import verdict
from hf_fft.result.comparison import ComparedStrategy, Gain, RateSearch, Spread


def row(label, *, seconds=10.0, **fields):
    values = {"name": label, "planned": 1, "finished": 1, "train_seconds": Spread(mean=seconds)}
    return ComparedStrategy(label=label, **{**values, "peak_mib": Spread(mean=seconds * 10), **fields})


def gain(estimate, *, decided=True):
    numbers = {"low": estimate - 0.01, "high": estimate + 0.01, "p_value": 0.001, "corrected_p_value": 0.002}
    return Gain(estimate=estimate, decided=decided, rows=100, seeds=3, reference_seeds=3, **numbers)


HEAD = row("feature_based")
EDGE = RateSearch(tried=[], fraction=0.3, seed=1, chosen=1e-3, tuned=False)


def test_a_decided_gain_is_better_or_worse_at_its_cost():
    better = verdict(row("full", seconds=35.0), HEAD, gain(0.05))
    assert (better.kind, better.cost, better.time_ratio, better.memory_ratio) == ("better", "more", 3.5, 3.5)
    assert better.extra_train_seconds == 25.0
    worse = verdict(row("lora", seconds=5.0), HEAD, gain(-0.05))
    assert (worse.kind, worse.cost) == ("worse", "less")
    assert verdict(row("lora", seconds=10.2), HEAD, gain(0.05)).cost == "same"


def test_without_a_decided_gain_there_is_none():
    assert verdict(row("full"), HEAD, gain(0.05, decided=False)).kind == "undecided"
    assert verdict(row("full"), HEAD, None).kind == "undecided"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [({"finished": 0}, "failed"), ({"constant_runs": 1}, "degenerate"), ({"search": EDGE}, "not tuned")],
)
def test_what_allows_no_verdict_names_whose_fault_it_is(fields, kind):
    ours = verdict(row("full", **fields), HEAD, gain(0.05))
    assert (ours.kind, ours.concerns) == (kind, "full")
    theirs = verdict(row("full"), row("feature_based", **fields), gain(0.05))
    assert (theirs.kind, theirs.concerns) == (kind, "feature_based")


def test_a_baseline_may_be_constant_and_a_reference_that_took_no_time_has_no_ratio():
    assert verdict(row("majority", kind="baseline", constant_runs=1), HEAD, gain(-0.1)).kind == "worse"
    assert verdict(row("full"), row("feature_based", seconds=0.0), gain(0.1)).time_ratio is None
