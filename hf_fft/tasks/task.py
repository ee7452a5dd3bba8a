"""What a task is: rows become tensors, logits become answers, answers become scores.

A task holds its part of the recipe and nothing that a run changes, so its pieces work one by one in anybody's script
with a plain `transformers.Trainer`: `compute_loss_func=task.loss`, `data_collator=task.collator(...)`,
`compute_metrics=task.compute_metrics(...)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from datasets import Dataset, DatasetDict
from torch import Tensor
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from hf_fft.data import DataReport, Splits
from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import RecipeError
from hf_fft.recipe import ModelRecipe, TaskRecipe
from hf_fft.result import Metric, Prediction


class Task(ABC):
    """One kind of problem."""

    name: ClassVar[str]
    auto_model: ClassVar[Any]
    generates: ClassVar[bool] = False  # whether answers are written by `model.generate`
    recipe: TaskRecipe

    def auto_model_for(self, model: ModelRecipe | str) -> Any:
        """Return the `AutoModelFor…` class that loads a model for this task."""
        return self.auto_model

    def for_model(self, model: ModelRecipe | str) -> Task:
        """Return the task as this model can do it; most tasks are the same for all."""
        return self

    @property
    @abstractmethod
    def primary_metric(self) -> Metric:
        """The metric that "best" means: in early stopping, in the choice of the saved model, in tables."""

    @property
    def saved_max_length(self) -> int | None:
        """The limit of the saved tokenizer, so that a pipeline cuts where training cut; None keeps the model's own."""
        return self.recipe.max_length

    @abstractmethod
    def required_columns(self) -> Sequence[str]:
        """Return the columns that every split must have."""

    @abstractmethod
    def text_columns(self) -> Sequence[str]:
        """Return the columns that the model reads."""

    @abstractmethod
    def stratify_column(self) -> str | None:
        """Return the column of class labels that hold-outs are balanced by, if there is one."""

    @abstractmethod
    def type_columns(self, splits: DatasetDict) -> DatasetDict:
        """Check the columns that the task reads and give them their types.

        Raises:
            DataError: naming split, rows and values that the task cannot use.
        """

    @abstractmethod
    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> Task:
        """Return the task with everything filled in that only data and tokenizer can say: labels, weights, length."""

    def restored(self, model: ModelRecipe | str, tokenizer: PreTrainedTokenizerBase) -> Task:
        """Return a fitted task, built again from its recipe, as it was for its saved model and tokenizer."""
        return self

    @abstractmethod
    def load_model(self, model: ModelRecipe | str) -> PreTrainedModel:
        """Load the model with a head for this task; a new head is drawn from torch's seed."""

    @abstractmethod
    def preprocess(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, split: str = "train") -> Dataset:
        """Turn the rows of a split into model inputs. The column `row` says which row an item came from."""

    @abstractmethod
    def collator(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> Any:
        """Return what joins items into a batch."""

    @abstractmethod
    def loss(
        self,
        outputs: Any,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return the loss of a micro-batch, exact under accumulation: Trainer's `compute_loss_func`."""

    def callbacks(self, collator: Any) -> Sequence[TrainerCallback]:
        """Return what has to happen during training; `collator` is the one that the trainer uses."""
        return ()

    @abstractmethod
    def reduce_logits(self, logits: Any, labels: Tensor) -> Tensor:
        """Keep of a batch's outputs only what the scores need: Trainer's `preprocess_logits_for_metrics`."""

    @abstractmethod
    def postprocess(
        self, rows: Dataset, encoded: Dataset, output: EvalPrediction, *, split: str = "validation"
    ) -> list[Prediction]:
        """Turn what the model gave for the encoded items into one prediction a row, in the order of the rows."""

    def tuned(self, rows: Dataset, encoded: Dataset, output: EvalPrediction) -> Task:
        """Return the task with everything filled in that is chosen on the validation split, such as a threshold."""
        return self

    @abstractmethod
    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Return the metrics of labelled predictions."""

    def golds(self, rows: Dataset) -> list[Any]:
        """Return what typed rows say is right, in the form of guesses; None of rows that do not say."""
        return [None] * len(rows)

    @abstractmethod
    def report(self, splits: Splits, encoded: Splits) -> DataReport:
        """Describe the data as this task sees them."""

    def refuse_unknown_metric(self, known: Iterable[str]) -> None:
        """Check that the primary metric is one that this task scores; those of single labels are not told.

        Raises:
            RecipeError: with what may have been meant.
        """
        name, names = self.primary_metric.name, list(known)
        if name not in names:
            meant = did_you_mean(name, names) or "."
            told = listed([one for one in names if "/" not in one], limit=30)
            raise RecipeError(f'task.primary_metric: "{name}" is not a metric here{meant} There are {told}.')

    def compute_metrics(self, rows: Dataset, encoded: Dataset) -> Callable[[EvalPrediction], dict[str, float]]:
        """Return Trainer's `compute_metrics` for validation: `score(postprocess(...))`, so no two tables disagree."""

        def metrics(output: EvalPrediction) -> dict[str, float]:
            tuned = self.tuned(rows, encoded, output)
            return tuned.score(tuned.postprocess(rows, encoded, output))

        return metrics
