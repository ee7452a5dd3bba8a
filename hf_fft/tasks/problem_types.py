"""One label, several labels, or a number: what differs between transformers' three problem types.

Each says how a row's label becomes a vector, how far logits are from it, and what answer the logits give.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import DatasetDict
from scipy.special import expit, softmax
from torch import Tensor

from hf_fft.data import class_labels, label_columns, label_lists, numbers
from hf_fft.errors import RecipeError
from hf_fft.metrics import multi_label_scores, regression_scores, single_label_scores
from hf_fft.recipe import TextClassificationRecipe
from hf_fft.tasks import losses
from hf_fft.tasks.labels import multi_hot

# Where several 0/1 columns hold the labels, the joined column takes this name.
JOINED_LABELS = "joined_labels"
DECISION_THRESHOLD = 0.5


class ProblemType(ABC):
    """What a label is, for one recipe."""

    primary_metric: ClassVar[str]
    has_labels: ClassVar[bool] = True

    def __init__(self, recipe: TextClassificationRecipe) -> None:
        self.recipe = recipe

    @property
    def labels(self) -> tuple[str, ...]:
        """The label names, in the model's order.

        Raises:
            RecipeError: if neither the recipe nor the data have said them yet.
        """
        if self.recipe.labels is None:
            raise RecipeError(
                "The label names are not known yet: set task.labels, or call task.fitted(splits, tokenizer)."
            )
        return self.recipe.labels

    @property
    def column(self) -> str:
        """The column that holds the gold answers once the columns are typed."""
        return self.recipe.label_column

    @abstractmethod
    def type_column(self, splits: DatasetDict) -> DatasetDict:
        """Check the label column and give it its type."""

    @abstractmethod
    def vectors(self, values: list[Any]) -> list[Any]:
        """Turn typed labels into what the loss compares with."""

    @abstractmethod
    def row_losses(self, logits: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
        """Return one loss a row: logits (batch, labels), targets (batch,) or (batch, labels)."""

    @abstractmethod
    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return what logits, (items, labels), say: probabilities, or the number itself."""

    @abstractmethod
    def answer(self, scores: np.ndarray) -> Any:
        """Return the answer that one row's scores give."""

    @abstractmethod
    def gold(self, values: list[Any]) -> list[Any]:
        """Return typed labels in the form of answers."""

    @abstractmethod
    def comparable(self, answers: Sequence[Any]) -> list[Any]:
        """Return answers as the numbers that metrics compare."""

    @abstractmethod
    def metrics(self, gold: list[Any], guess: list[Any]) -> dict[str, float]:
        """Score comparable answers."""

    @abstractmethod
    def examples(self) -> list[Any]:
        """Return a few comparable answers, by which one can ask for the metrics' names."""


class SingleLabel(ProblemType):
    """Exactly one label a row."""

    primary_metric: ClassVar[str] = "accuracy"

    def type_column(self, splits: DatasetDict) -> DatasetDict:
        """Make the column a `ClassLabel`."""
        return class_labels(splits, self.column, self.recipe.labels)

    def vectors(self, values: list[Any]) -> list[Any]:
        """Keep the label numbers."""
        return values

    def row_losses(self, logits: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
        """Return cross-entropy, weighted by class."""
        if targets.is_floating_point():  # beside a window's weight, label numbers travel as floats
            left_out = losses.ignored(targets)
            targets = targets.masked_fill(left_out, losses.IGNORED).long().squeeze(1)
        weights = self.recipe.class_weights
        tensor = torch.tensor([weights[name] for name in self.labels]) if isinstance(weights, dict) else None
        return losses.single_label_losses(logits, targets, class_weights=tensor, label_smoothing=label_smoothing)

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return softmax."""
        return softmax(logits, axis=1)

    def answer(self, scores: np.ndarray) -> str:
        """Return the likeliest label."""
        return self.labels[int(scores.argmax())]

    def gold(self, values: list[Any]) -> list[Any]:
        """Return the names of label numbers."""
        return [self.labels[value] for value in values]

    def comparable(self, answers: Sequence[Any]) -> list[Any]:
        """Return label numbers."""
        return [self.labels.index(answer) for answer in answers]

    def metrics(self, gold: list[Any], guess: list[Any]) -> dict[str, float]:
        """Return accuracy and its kin."""
        return single_label_scores(gold, guess, self.labels)

    def examples(self) -> list[Any]:
        """Return every label number once."""
        return list(range(len(self.labels)))


class MultiLabel(ProblemType):
    """Any number of labels a row."""

    primary_metric: ClassVar[str] = "f1_micro"
    threshold: float = DECISION_THRESHOLD

    @property
    def column(self) -> str:
        """The label column, or the one that 0/1 columns are joined into."""
        return JOINED_LABELS if self.recipe.label_columns else self.recipe.label_column

    def type_column(self, splits: DatasetDict) -> DatasetDict:
        """Make the column a list of `ClassLabel`."""
        if self.recipe.label_columns:
            splits = label_columns(splits, self.recipe.label_columns, into=JOINED_LABELS)
        return label_lists(splits, self.column, self.recipe.labels)

    def vectors(self, values: list[Any]) -> list[Any]:
        """Return 0.0 and 1.0 for every label."""
        return multi_hot(values, len(self.labels)).tolist()

    def row_losses(self, logits: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
        """Return binary cross-entropy, averaged over the labels."""
        return losses.multi_label_losses(logits, targets)

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the sigmoid of each label."""
        return expit(logits)

    def answer(self, scores: np.ndarray) -> list[str]:
        """Return the labels whose probability reaches the threshold: those that are likelier than not."""
        return [label for label, score in zip(self.labels, scores, strict=True) if score >= self.threshold]

    def gold(self, values: list[Any]) -> list[Any]:
        """Return lists of names, in the labels' order."""
        return [[self.labels[number] for number in sorted(row)] for row in values]

    def comparable(self, answers: Sequence[Any]) -> list[Any]:
        """Return 0 and 1 for every label."""
        number = {label: index for index, label in enumerate(self.labels)}
        return multi_hot([[number[name] for name in row] for row in answers], len(self.labels)).astype(int).tolist()

    def metrics(self, gold: list[Any], guess: list[Any]) -> dict[str, float]:
        """Return the F1 scores."""
        return multi_label_scores(np.asarray(gold), np.asarray(guess), self.labels)

    def examples(self) -> list[Any]:
        """Return each label alone."""
        return np.eye(len(self.labels), dtype=int).tolist()


class Regression(ProblemType):
    """A number."""

    primary_metric: ClassVar[str] = "pearson"
    has_labels: ClassVar[bool] = False

    def type_column(self, splits: DatasetDict) -> DatasetDict:
        """Make the column float32."""
        return numbers(splits, self.column)

    def vectors(self, values: list[Any]) -> list[Any]:
        """Keep the numbers."""
        return [float(value) for value in values]

    def row_losses(self, logits: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
        """Return the squared error."""
        return losses.regression_losses(logits, targets.reshape(len(logits)))

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the number."""
        return logits

    def answer(self, scores: np.ndarray) -> float:
        """Return the number."""
        return float(scores[0])

    def gold(self, values: list[Any]) -> list[Any]:
        """Return the numbers."""
        return self.vectors(values)

    def comparable(self, answers: Sequence[Any]) -> list[Any]:
        """Return the numbers."""
        return list(answers)

    def metrics(self, gold: list[Any], guess: list[Any]) -> dict[str, float]:
        """Return correlations and errors."""
        return regression_scores(gold, guess)

    def examples(self) -> list[Any]:
        """Return three numbers."""
        return [0.0, 1.0, 2.0]


PROBLEM_TYPES: dict[str, type[ProblemType]] = {
    "single_label_classification": SingleLabel,
    "multi_label_classification": MultiLabel,
    "regression": Regression,
}
