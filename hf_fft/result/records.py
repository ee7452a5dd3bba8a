"""What stays of a run: predictions, cost, curves, environment, and the result that holds them.

All frozen. `result.json` is a `Result` and nothing else, so that other programs can read it; its keys are an interface.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, JsonValue

from hf_fft.recipe.record import Record
from hf_fft.recipe.records import Recipe


@dataclass(frozen=True)
class Prediction:
    """One row's gold answer beside the model's: what metrics, `predictions.jsonl` and error analysis all read.

    Attributes:
        split: The split that the row belongs to.
        row: Its place in that split, from 0.
        inputs: The columns that the model read.
        gold: What the data say: a label, a list of labels, or a number. None where the data do not say.
        guess: What the model says, in the same form.
        scores: Probability of each label; empty for regression. For question answering, "no_answer" is by how much
            no answer outscores the best span.
        n_best: The best answers to a question with their probabilities, "" for none; empty in other tasks.
        place: From and up to which character of the context the answer to a question reaches; None where there is
            none, and in other tasks.
        group: What the row belongs to, by `data.group_column`; None where the recipe names none.
    """

    split: str
    row: int
    inputs: dict[str, Any]
    gold: Any
    guess: Any
    scores: dict[str, float] = field(default_factory=dict)
    n_best: dict[str, float] = field(default_factory=dict)
    place: list[int] | None = None
    group: Any = None


class Metric(Record):
    """A metric's name and its direction: what "best" means."""

    name: str
    greater_is_better: bool = True


class Cost(Record):
    """What a run took. Evaluation and saving are not counted in `train_seconds`."""

    train_seconds: float
    evaluation_seconds: float
    peak_mib: float = Field(description="Peak memory above the level before the model was loaded.")
    trainable_parameters: int
    total_parameters: int
    optimizer_steps: int
    model_mib: float = Field(description="Size of the saved weights.")
    predictions_per_second: float | None = Field(
        None, description="Rows of test (of validation without one), read, answered and scored, in a second."
    )


class TrainingPoint(Record):
    """One line of the training log."""

    step: int
    epoch: float
    loss: float | None
    grad_norm: float | None = None
    learning_rates: dict[str, float] = Field({}, description="The rate of every parameter group, head first.")


class EvaluationPoint(Record):
    """One evaluation on the validation split."""

    step: int
    epoch: float
    metrics: dict[str, float | None]
    train_seconds: float | None = Field(None, description="Training so far, without evaluation and saving.")


# Its lower and its upper end.
Interval: TypeAlias = Annotated[tuple[float, float], Field(strict=False)]


class Curves(Record):
    """How the run went."""

    training: tuple[TrainingPoint, ...] = Field((), strict=False)
    evaluation: tuple[EvaluationPoint, ...] = Field((), strict=False)


class Environment(Record):
    """Where the run was made: what one needs to compare figures."""

    date: str
    device: str
    processor: str
    cores: int
    memory_gib: float
    python: str
    versions: dict[str, str]
    precision: str
    processes: int = 1


class SpeedPlan(Record):
    """What a run does to be fast, chosen before it began; the defaults are plain Trainer.

    Nothing in it changes what is computed beyond the stated precision.
    """

    bf16: bool = Field(False, description="Matrix products in bfloat16 by autocast, over float32 weights.")
    batches_by_length: bool = Field(False, description="Rows of like length in a batch; by seed and epoch.")
    max_tokens_per_batch: int | None = Field(None, description="Batches of so many tokens instead of so many rows.")
    attention: str | None = Field(None, description="The attention implementation; None for the model's own choice.")
    cheap_dropout: bool = Field(False, description="Dropout's random numbers from a faster generator.")
    evaluation_by_length: bool = Field(False, description="Evaluate in order of length, answers in the rows' order.")
    evaluation_rows: int | None = Field(None, description="Rows of a batch in evaluation; None for the usual ones.")
    frozen_prefix: bool = Field(False, description="What frozen layers compute is computed once a row and kept.")
    threads: int | None = Field(None, description="Threads of one process; None for torch's own choice.")
    reasons: tuple[str, ...] = Field((), strict=False, description="Why, in words, a line a choice.")


class Result(Record):
    """A run's outcome: `status` is part of it, so that a failed run is a row like any other."""

    status: Literal["finished", "failed"]
    recipe: Recipe
    primary_metric: Metric | None = None
    metrics: dict[str, dict[str, float | None]] = Field({}, description="Metrics by split.")
    intervals: dict[str, dict[str, Interval]] = Field(
        {}, description="By split and metric: where the score lies with 95 % if the rows are a sample of many."
    )
    cost: Cost | None = None
    curves: Curves = Curves()
    data: dict[str, JsonValue] = Field({}, description="The data report.")
    environment: Environment | None = None
    best_step: int | None = None
    speed: SpeedPlan | None = Field(None, description="What the run did to be fast; None before there were plans.")
    notes: tuple[str, ...] = Field((), strict=False, description="What the run decided by itself, in words.")
    error: str | None = None
