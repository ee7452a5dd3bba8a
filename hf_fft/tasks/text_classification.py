"""Text classification: one label, several labels or a number, for one text or a pair, by `AutoModelForSequenceClassification`.

A text longer than the model's window is cut, or split into overlapping windows. Each window is then a training item that
weighs one over its document's windows, and the windows' scores are averaged into one answer a document. That weight travels
inside the labels, `[label, weight]`, for Trainer hands a loss nothing but outputs, labels and a count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from scipy.special import expit, softmax
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_fft.data import (
    DataReport,
    Splits,
    class_labels,
    data_report,
    label_columns,
    label_lists,
    numbers,
    require_text,
)
from hf_fft.errors import RecipeError
from hf_fft.metrics import (
    greater_is_better,
    hub_metric,
    multi_label_scores,
    regression_scores,
    single_label_scores,
)
from hf_fft.recipe import ModelRecipe, TextClassificationRecipe
from hf_fft.result import Metric, Prediction
from hf_fft.tasks import losses
from hf_fft.tasks.encoding import encode_cut, encode_windows
from hf_fft.tasks.labels import class_weights, multi_hot, name_labels
from hf_fft.tasks.pretrained import as_model_recipe, load_config, load_pretrained, refuse_other_label_order
from hf_fft.tasks.task import Task

PRIMARY_METRICS = {
    "single_label_classification": "accuracy",
    "multi_label_classification": "f1_micro",
    "regression": "pearson",
}
# Where several 0/1 columns hold the labels, the joined column takes this name.
JOINED_LABELS = "labels"
DECISION_THRESHOLD = 0.5


class TextClassification(Task):
    """Predict what a text is. Build it from a recipe's record, or from that record's fields."""

    name: ClassVar[str] = "text_classification"
    auto_model: ClassVar[Any] = AutoModelForSequenceClassification

    def __init__(self, recipe: TextClassificationRecipe | None = None, **fields: Any) -> None:
        self.recipe = recipe or TextClassificationRecipe(**fields)

    @property
    def primary_metric(self) -> Metric:
        """Accuracy, micro F1 or Pearson's correlation, by problem type, unless the recipe names another."""
        name = self.recipe.primary_metric or PRIMARY_METRICS[self.recipe.problem_type]
        return Metric(name=name, greater_is_better=greater_is_better(name))

    @property
    def label_column(self) -> str:
        """The column that holds the gold answers once the columns are typed."""
        return JOINED_LABELS if self.recipe.label_columns else self.recipe.label_column

    def required_columns(self) -> Sequence[str]:
        """Return the text columns and the label columns."""
        return [*self.text_columns(), *(self.recipe.label_columns or (self.recipe.label_column,))]

    def text_columns(self) -> Sequence[str]:
        """Return the text column, and the pair's column if there is one."""
        return [column for column in (self.recipe.text_column, self.recipe.text_pair_column) if column is not None]

    def stratify_column(self) -> str | None:
        """Return the label column where each row has one label."""
        return self.label_column if self._single else None

    def type_columns(self, splits: DatasetDict) -> DatasetDict:
        """Check texts and labels; labels become `ClassLabel`, lists of it, or float32."""
        require_text(splits, self.text_columns())
        if self._regression:
            return numbers(splits, self.recipe.label_column)
        if self.recipe.label_columns:
            joined = label_columns(splits, self.recipe.label_columns, into=JOINED_LABELS)
            return label_lists(joined, JOINED_LABELS, self.recipe.labels)
        if self._single:
            return class_labels(splits, self.recipe.label_column, self.recipe.labels)
        return label_lists(splits, self.recipe.label_column, self.recipe.labels)

    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> TextClassification:
        """Fill in the label names, the class weights (of mean 1 over the training rows) and the model's own limit."""
        filled: dict[str, Any] = {"max_length": min(self.recipe.max_length, tokenizer.model_max_length)}
        if not self._regression:
            filled["labels"] = tuple(name_labels(splits.train, self.label_column))
        if self.recipe.class_weights is not None:
            filled["class_weights"] = class_weights(splits.train, self.label_column, self.recipe.class_weights)
        return TextClassification(self.recipe.model_copy(update=filled))

    def load_model(self, model: ModelRecipe | str) -> PreTrainedModel:
        """Load the model with a head for these labels, its `problem_type` and label names in the config."""
        recipe = as_model_recipe(model)
        if self._regression:
            return load_pretrained(self.auto_model, recipe, {"num_labels": 1, "problem_type": "regression"})
        labels = list(self._labels)
        refuse_other_label_order(load_config(recipe), labels, recipe.name)
        names = {
            "id2label": dict(enumerate(labels)),
            "label2id": {label: index for index, label in enumerate(labels)},
            "problem_type": self.recipe.problem_type,
        }
        return load_pretrained(self.auto_model, recipe, names)

    def preprocess(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
        """Encode texts and labels.

        Columns: the tokenizer's own, `length`, `row`, `text_tokens` (before cutting) and, where rows have labels, `labels`.
        """
        encoded = rows.map(
            self._encode,
            batched=True,
            with_indices=True,
            fn_kwargs={"tokenizer": tokenizer},
            remove_columns=rows.column_names,
            desc="Encoding",
        )
        return _weigh_windows(encoded) if self._windows and "labels" in encoded.column_names else encoded

    def collator(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> Any:
        """Return HF's collator that pads each batch to its longest item."""
        return DataCollatorWithPadding(tokenizer)

    def loss(
        self,
        outputs: Any,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return Σ weight · loss ÷ items, with class weights and window weights of mean 1 over the training items."""
        logits = losses.logits_of(outputs)
        targets, weights = (labels[:, :-1], labels[:, -1]) if self._windows else (labels, None)
        rows = self._row_losses(logits, targets, label_smoothing)
        if weights is not None:
            rows = rows * weights.nan_to_num(0.0)
        return losses.mean_over_batch(rows, labels, num_items_in_batch)

    def reduce_logits(self, logits: Any, labels: Tensor) -> Tensor:
        """Keep the class scores; some models also return hidden states."""
        return logits[0] if isinstance(logits, tuple) else logits

    def postprocess(
        self, rows: Dataset, encoded: Dataset, output: EvalPrediction, *, split: str = "validation"
    ) -> list[Prediction]:
        """Return one prediction a row: softmax, sigmoid or the number itself, averaged over a document's windows."""
        scores = self._scores(np.asarray(output.predictions, dtype=np.float64))
        scores = _mean_by_row(scores, np.asarray(encoded["row"]), len(rows))
        golds = self._gold_answers(rows)
        texts = {column: rows[column] for column in self.text_columns()}
        return [
            Prediction(
                split=split,
                row=row,
                inputs={column: values[row] for column, values in texts.items()},
                gold=golds[row],
                guess=self._answer(row_scores),
                scores={} if self._regression else dict(zip(self._labels, map(float, row_scores), strict=True)),
            )
            for row, row_scores in enumerate(scores)
        ]

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Score labelled predictions with scikit-learn, and with the recipe's Hub metrics."""
        gold, guess = self._comparable(predictions)
        if self._regression:
            scores = regression_scores(gold, guess)
        elif self._single:
            scores = single_label_scores(gold, guess, self._labels)
        else:
            scores = multi_label_scores(np.asarray(gold), np.asarray(guess), self._labels)
        for name in self.recipe.hub_metrics:
            scores |= hub_metric(name)(predictions=guess, references=gold)
        if self.primary_metric.name not in scores:
            known = ", ".join(name for name in scores if "/" not in name)
            raise RecipeError(f'task.primary_metric: "{self.primary_metric.name}" is not among the metrics: {known}.')
        return scores

    def report(self, splits: Splits, encoded: Splits) -> DataReport:
        """Describe label counts, token lengths, duplicates and rows that two splits share."""
        lengths = {name: dict(zip(items["row"], items["text_tokens"], strict=True)) for name, items in encoded.items()}
        return data_report(
            splits,
            text_columns=self.text_columns(),
            label_column=None if self._regression else self.label_column,
            token_lengths={name: list(by_row.values()) for name, by_row in lengths.items()},
            max_length=self.recipe.max_length,
        )

    @property
    def _single(self) -> bool:
        return self.recipe.problem_type == "single_label_classification"

    @property
    def _regression(self) -> bool:
        return self.recipe.problem_type == "regression"

    @property
    def _windows(self) -> bool:
        return self.recipe.long_text == "windows"

    @property
    def _labels(self) -> tuple[str, ...]:
        if self.recipe.labels is None:
            raise RecipeError(
                "The label names are not known yet: set task.labels, or call task.fitted(splits, tokenizer)."
            )
        return self.recipe.labels

    def _encode(
        self, rows: Mapping[str, list[Any]], indices: list[int], *, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, list[Any]]:
        texts = list(rows[self.recipe.text_column])
        if self._windows:
            encoded = encode_windows(
                texts, tokenizer, max_length=self.recipe.max_length, overlap=self.recipe.window_overlap
            )
        else:
            pairs = list(rows[self.recipe.text_pair_column]) if self.recipe.text_pair_column else None
            encoded = encode_cut(texts, pairs, tokenizer, max_length=self.recipe.max_length)
        source = encoded.pop("source", range(len(texts)))
        encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
        encoded["row"] = [indices[index] for index in source]
        if self.label_column in rows:
            labels = self._label_vectors(list(rows[self.label_column]))
            encoded["labels"] = [labels[index] for index in source]
        return encoded

    def _label_vectors(self, values: list[Any]) -> list[Any]:
        if self._regression:
            return [float(value) for value in values]
        return values if self._single else multi_hot(values, len(self._labels)).tolist()

    def _row_losses(self, logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        if self._regression:
            return losses.regression_losses(logits, targets.reshape(len(logits)))
        if not self._single:
            return losses.multi_label_losses(logits, targets)
        if targets.is_floating_point():  # beside a window's weight, label numbers travel as floats
            left_out = losses.ignored(targets)
            targets = targets.masked_fill(left_out, losses.IGNORED).long().squeeze(1)
        weights = self.recipe.class_weights
        tensor = torch.tensor([weights[name] for name in self._labels]) if isinstance(weights, dict) else None
        return losses.single_label_losses(logits, targets, class_weights=tensor, label_smoothing=label_smoothing)

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        """Return what the logits, (items, labels), say: probabilities, or the number itself."""
        if self._regression:
            return logits
        return softmax(logits, axis=1) if self._single else expit(logits)

    def _answer(self, scores: np.ndarray) -> Any:
        if self._regression:
            return float(scores[0])
        if self._single:
            return self._labels[int(scores.argmax())]
        return [label for label, score in zip(self._labels, scores, strict=True) if score >= DECISION_THRESHOLD]

    def _gold_answers(self, rows: Dataset) -> list[Any]:
        if self.label_column not in rows.column_names:
            return [None] * len(rows)
        values = list(rows[self.label_column])
        if self._regression:
            return [float(value) for value in values]
        if self._single:
            return [self._labels[value] for value in values]
        return [[self._labels[number] for number in sorted(numbers)] for numbers in values]

    def _comparable(self, predictions: Sequence[Prediction]) -> tuple[list[Any], list[Any]]:
        """Return gold and guess as numbers: label numbers, 0/1 vectors, or the numbers themselves."""
        if self._regression:
            return [prediction.gold for prediction in predictions], [prediction.guess for prediction in predictions]
        number = {label: index for index, label in enumerate(self._labels)}
        if self._single:
            golds = [number[prediction.gold] for prediction in predictions]
            return golds, [number[prediction.guess] for prediction in predictions]
        sides = [
            [[number[label] for label in answer] for answer in answers]
            for answers in ([one.gold for one in predictions], [one.guess for one in predictions])
        ]
        gold, guess = (multi_hot(side, len(self._labels)).astype(int).tolist() for side in sides)
        return gold, guess


def _weigh_windows(encoded: Dataset) -> Dataset:
    """Append to each item's labels its weight: one over its document's windows, scaled to mean 1 over the items."""
    rows = np.asarray(encoded["row"])
    windows = np.bincount(rows)
    weights = len(rows) / (np.count_nonzero(windows) * windows[rows])
    labels = [[*np.atleast_1d(label), weight] for label, weight in zip(encoded["labels"], weights, strict=True)]
    return encoded.remove_columns("labels").add_column("labels", labels)


def _mean_by_row(scores: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Average the scores, (items, labels), of the items of each row: (count, labels)."""
    summed = np.zeros((count, scores.shape[1]))
    np.add.at(summed, rows, scores)
    return summed / np.bincount(rows, minlength=count)[:, None]
