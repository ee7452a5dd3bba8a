"""What comes out of a comparison: runs side by side, what they cost, how sure the differences are, and a verdict.

`comparison.json` is a `ComparisonRecord` and nothing else. It is written after every run (`status` "running", without
differences and verdicts) and once more at the end, so a comparison that was stopped leaves a readable one. Everything
is computed before it comes here: what reads it (`hf_fft.report.comparison_table(record)`,
`comparison_markdown(record)` and `write_comparison_plots(folder, record)`) only writes and draws.

Scores are those of `metric` on `split`. Gains are turned so that more is better, whatever the metric's direction.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import Field

from hf_fft.recipe.record import Record
from hf_fft.recipe.records import Recipe
from hf_fft.result.records import Metric, Result

Item = TypeVar("Item")
# Strict records would refuse a list where a tuple stands; the items stay strict.
Many: TypeAlias = Annotated[tuple[Item, ...], Field(strict=False)]

VerdictKind: TypeAlias = Literal["better", "worse", "undecided", "not tuned", "degenerate", "failed"]


class Spread(Record):
    """A figure over several runs of one strategy."""

    mean: float
    sd: float | None = Field(None, description="Sample standard deviation over the runs; none of a single run.")
    runs: int = Field(1, description="How many runs have this figure.")

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Return the spread of those figures that there are; None where there is none."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        sd = statistics.stdev(known) if len(known) > 1 else None
        return cls(mean=statistics.fmean(known), sd=sd, runs=len(known))


class ComparedRun(Record):
    """One run: a strategy or a baseline, a seed, a share of the training rows."""

    name: str = Field(description='Unique: "full"; "full, seed 2, fraction 0.1" where there are several.')
    label: str = Field(description="The row of the table that it belongs to: ComparedStrategy.label.")
    seed: int
    fraction: float = Field(1.0, description="Share of the training rows.")
    folder: str = Field(description="The run folder, from the comparison's own, with forward slashes.")
    train_rows: int | None = Field(None, description="Rows trained on; none of a failed run.")
    constant: bool = Field(False, description="Whether it gives every row the same answer.")
    result: Result = Field(description="Its result.json whole; a failed run has status, recipe and error alone.")


class RateTried(Record):
    """One learning rate of a search."""

    learning_rate: float
    score: float | None = Field(None, description="Best on validation; none where the run failed or gave no number.")
    error: str | None = None


class RateSearch(Record):
    """How a strategy's learning rate was chosen: on validation alone, with a part of the training rows, one seed."""

    tried: Many[RateTried] = Field(description="In rising order.")
    fraction: float
    seed: int
    chosen: float | None = Field(None, description="None where no rate gave a score.")
    tuned: bool = Field(False, description="False where the best lies at an edge of those tried: no verdict then.")


class Convergence(Record):
    """How soon runs come near their best, over the runs with all rows (or the largest fraction).

    An epoch counts from the beginning of training, a probe of the head included.
    """

    epoch: Spread | None = Field(
        None, description="First evaluation within one standard error of the run's best on validation."
    )
    seconds_to_pass: Spread | None = Field(
        None,
        description="Training seconds until validation was above feature_based's best of the same seed, over the "
        "runs that got there. None of feature_based itself, without it, or where no run did.",
    )
    passed: int | None = Field(None, description="How many runs got there; none where the question has no meaning.")
    runs: int = Field(description="Of how many.")


class LearningPoint(Record):
    """What a strategy reaches with a share of the training rows."""

    fraction: float
    train_rows: int
    score: Spread


class DataRequired(Record):
    """How many training rows a strategy needs to reach what feature_based reaches with all of them.

    Interpolated in the logarithm of the rows between the fractions that were run. "fewer than": already with the
    smallest share; "more than": not even with all.
    """

    bound: Literal["about", "fewer than", "more than"]
    rows: int
    target: float = Field(description="feature_based's mean score with all rows.")


class Gain(Record):
    """How much better a strategy scores than the reference on the test rows, by a paired bootstrap over rows and seeds.

    All four figures are in the metric's own units, turned so that more is better. `decided` reads the p-value that is
    corrected for how many strategies there are (Holm); baselines are corrected apart, so that a free baseline takes no
    strategy's chance.
    """

    estimate: float
    low: float = Field(description="Lower end of the 95 % interval, uncorrected.")
    high: float = Field(description="Upper end.")
    p_value: float
    corrected_p_value: float
    decided: bool = Field(description="Whether the corrected p-value is below 0.05 and the interval leaves out zero.")
    rows: int
    clusters: int | None = Field(None, description="Groups drawn as wholes (data.group_column); none: rows alone.")
    seeds: int = Field(description="Runs of the strategy that enter; with one, the chance of the seed is not covered.")
    reference_seeds: int = Field(description="Runs of the reference that enter.")
    mcnemar_p_value: float | None = Field(
        None, description="Exact, of the first seed that both have; only where the metric is accuracy or exact_match."
    )
    mcnemar_seed: int | None = None


class Verdict(Record):
    """What follows for a strategy against the reference. Weigh `Gain.estimate` against the costs here.

    "better" and "worse" are decided; with "undecided" the data do not decide. "not tuned" (a rate search ended at an
    edge), "degenerate" (constant answers) and "failed" (no finished run) allow none; `concerns` then says whose fault
    it is, for an untuned reference makes the comparison as unfair as an untuned strategy.
    """

    kind: VerdictKind
    concerns: str | None = Field(None, description="Label of the strategy that allows no verdict: this, or reference.")
    cost: Literal["less", "same", "more"] | None = Field(
        None, description='Training time against the reference; within 5 % it is "same".'
    )
    time_ratio: float | None = None
    extra_train_seconds: float | None = Field(None, description="Negative where it trains shorter.")
    memory_ratio: float | None = None


class ComparedStrategy(Record):
    """One row of the table. Spreads are over the finished runs with all rows (or the largest fraction)."""

    label: str = Field(description='"lora", "lora rank=4", "majority".')
    kind: Literal["strategy", "baseline"] = "strategy"
    name: str = Field(description='The strategy\'s or baseline\'s own name: "lora" of "lora rank=4".')
    is_reference: bool = False
    learning_rate: float | None = None
    rate: Literal["searched", "not searched"] | None = Field(None, description="None for baselines.")
    search: RateSearch | None = None
    planned: int = Field(description="Runs with all rows (or the largest fraction) that belong to it.")
    finished: int = 0
    failures: Many[str] = Field((), description='Of all its runs: "seed 2, fraction 0.1: the reason".')
    constant_runs: int = Field(0, description="Finished runs, with all rows, that give every row the same answer.")
    score: Spread | None = None
    train_seconds: Spread | None = None
    time_ratio: float | None = Field(None, description="Mean training seconds over the reference's.")
    peak_mib: Spread | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    model_mib: float | None = None
    predictions_per_second: Spread | None = None
    convergence: Convergence | None = None
    learning_curve: Many[LearningPoint] = Field((), description="By rising fraction; one point without --fractions.")
    data_required: DataRequired | None = Field(None, description="None without feature_based or with one fraction.")
    gain: Gain | None = Field(None, description="Against the reference; none where it cannot be computed: see notes.")
    verdict: Verdict | None = Field(None, description="None for the reference, and while the comparison is running.")


class ComparisonRecord(Record):
    """A comparison: what was compared, every run, and what follows."""

    status: Literal["running", "finished"]
    recipe: Recipe = Field(description="The recipe that all runs have in common.")
    metric: Metric | None = Field(None, description="The task's primary metric; none before a run has finished.")
    split: str | None = Field(None, description='Where scores come from: "test", or "validation" where there is none.')
    reference: str | None = Field(None, description="Label: feature_based if it finished, else the first that did.")
    seeds: Many[int] = ()
    fractions: Many[float] = Field((1.0,), description="In rising order; the table shows the last.")
    strategies: Many[ComparedStrategy] = Field((), description="Rows: strategies as asked for, then baselines.")
    runs: Many[ComparedRun] = Field((), description="All runs that were tried so far, in the order of the plan.")
    notes: Many[str] = Field((), description="What could not be computed and why, in words.")

    def strategy(self, label: str) -> ComparedStrategy:
        """Return the row with a label."""
        return next(one for one in self.strategies if one.label == label)
