"""Text classification: a label, several labels or a number, for one text or a pair.

The model is an `AutoModelForSequenceClassification`. A text longer than `max_length` is cut, or split into overlapping
windows. Each window is then a training item that weighs one over its document's windows, and the windows' scores are
averaged into one answer a document. That weight travels inside the labels, `[label, weight]`, for Trainer hands a loss
nothing but outputs, labels and a count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset, DatasetDict
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_fft.data import DataReport, Splits, data_report, label_counts, require_text
from hf_fft.errors import RecipeError
from hf_fft.metrics import greater_is_better, hub_metric
from hf_fft.recipe import ModelRecipe, TextClassificationRecipe
from hf_fft.result import Metric, Prediction
from hf_fft.tasks import losses
from hf_fft.tasks.encoding import encode_cut, encode_windows, length_of_each_row, mean_by_row, weigh_windows
from hf_fft.tasks.labels import class_weights, name_labels, names_in_config
from hf_fft.tasks.pretrained import as_model_recipe, load_config, load_pretrained, refuse_other_label_order
from hf_fft.tasks.problem_types import PROBLEM_TYPES, MultiLabel
from hf_fft.tasks.task import Task


class TextClassification(Task):
    """Predict what a text is. Build it from a recipe's record, or from that record's fields."""

    name: ClassVar[str] = "text_classification"
    auto_model: ClassVar[Any] = AutoModelForSequenceClassification
    recipe: TextClassificationRecipe

    def __init__(self, recipe: TextClassificationRecipe | None = None, **fields: Any) -> None:
        self.recipe = recipe or TextClassificationRecipe(**fields)
        self.problem = PROBLEM_TYPES[self.recipe.problem_type](self.recipe)

    @property
    def primary_metric(self) -> Metric:
        """Accuracy, micro F1 or Pearson's correlation, by problem type, unless the recipe names another."""
        name = self.recipe.primary_metric or self.problem.primary_metric
        return Metric(name=name, greater_is_better=greater_is_better(name))

    @property
    def label_column(self) -> str:
        """The column that holds the gold answers once the columns are typed."""
        return self.problem.column

    def required_columns(self) -> Sequence[str]:
        """Return the text columns and the label columns."""
        return [*self.text_columns(), *(self.recipe.label_columns or (self.recipe.label_column,))]

    def text_columns(self) -> Sequence[str]:
        """Return the text column, and the pair's column if there is one."""
        return [column for column in (self.recipe.text_column, self.recipe.text_pair_column) if column is not None]

    def stratify_column(self) -> str | None:
        """Return the label column where each row has one label."""
        return self.label_column if self.recipe.problem_type == "single_label_classification" else None

    def type_columns(self, splits: DatasetDict) -> DatasetDict:
        """Check texts and labels; labels become `ClassLabel`, lists of it, or float32."""
        require_text(splits, self.text_columns())
        return self.problem.type_column(splits)

    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> TextClassification:
        """Fill in the label names, the class weights (of mean 1 over the training rows) and the model's own limit.

        Raises:
            RecipeError: if the recipe's primary metric does not exist, or a Hub metric cannot be had.
        """
        filled: dict[str, Any] = {"max_length": min(self.recipe.max_length, tokenizer.model_max_length)}
        if self._windows:  # windows shorter than asked for must still move on
            filled["window_overlap"] = min(self.recipe.window_overlap, filled["max_length"] // 2)
        if self.problem.has_labels:
            filled["labels"] = tuple(name_labels(splits.train, self.label_column))
        if self.recipe.class_weights is not None:
            filled["class_weights"] = class_weights(splits.train, self.label_column, self.recipe.class_weights)
        fitted = TextClassification(self.recipe.model_copy(update=filled))
        fitted.refuse_unknown_metric(fitted._metrics(fitted.problem.examples(), fitted.problem.examples()))
        return fitted

    def load_model(self, model: ModelRecipe | str) -> PreTrainedModel:
        """Load the model with a head for these labels, its `problem_type` and label names in the config."""
        recipe = as_model_recipe(model)
        changes: dict[str, Any] = {"problem_type": self.recipe.problem_type}
        if not self.problem.has_labels:
            return load_pretrained(self.auto_model, recipe, {**changes, "num_labels": 1})
        labels = list(self.problem.labels)
        refuse_other_label_order(load_config(recipe), labels, recipe.name)
        return load_pretrained(self.auto_model, recipe, {**changes, **names_in_config(labels)})

    def preprocess(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, split: str = "train") -> Dataset:
        """Encode texts and labels.

        Columns: the tokenizer's own, `length`, `row`, `text_tokens` (before cutting) and, for labelled rows, `labels`.
        """
        encoded = rows.map(
            self._encode,
            batched=True,
            with_indices=True,
            fn_kwargs={"tokenizer": tokenizer},
            remove_columns=rows.column_names,
            desc="Encoding",
        )
        return weigh_windows(encoded) if self._windows and "labels" in encoded.column_names else encoded

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
        targets, weights = (labels[:, :-1], labels[:, -1]) if self._windows else (labels, None)
        rows = self.problem.row_losses(losses.logits_of(outputs), targets, label_smoothing=label_smoothing)
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
        scores = self.problem.scores(np.asarray(output.predictions, dtype=np.float64))
        scores = mean_by_row(scores, np.asarray(encoded["row"]), len(rows))
        golds = self.golds(rows)
        texts = {column: list(rows[column]) for column in self.text_columns()}
        return [
            Prediction(
                split=split,
                row=row,
                inputs={column: values[row] for column, values in texts.items()},
                gold=golds[row],
                guess=self.problem.answer(row_scores),
                scores=self._named(row_scores),
            )
            for row, row_scores in enumerate(scores)
        ]

    def decided_at(self, threshold: float) -> TextClassification:
        """Return the task with another probability from which a label is given.

        Raises:
            RecipeError: if rows have one label or a number, where no threshold decides.
        """
        if not isinstance(self.problem, MultiLabel):
            raise RecipeError(
                f"A threshold decides where a row may have several labels; this model was trained for "
                f"{self.recipe.problem_type}. Leave it out."
            )
        if not 0 <= threshold <= 1:
            raise RecipeError(f"A threshold is a probability between 0 and 1; it is {threshold:g}.")
        decided = TextClassification(self.recipe)
        decided.problem = MultiLabel(self.recipe)
        decided.problem.threshold = threshold
        return decided

    def golds(self, rows: Dataset) -> list[Any]:
        """Return label names, lists of them, or numbers; None of rows without labels."""
        labelled = self.label_column in rows.column_names
        return self.problem.gold(list(rows[self.label_column])) if labelled else super().golds(rows)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Score labelled predictions with scikit-learn, and with the recipe's Hub metrics."""
        gold = self.problem.comparable([prediction.gold for prediction in predictions])
        guess = self.problem.comparable([prediction.guess for prediction in predictions])
        return self._metrics(gold, guess)

    def report(self, splits: Splits, encoded: Splits) -> DataReport:
        """Describe label counts, token lengths, duplicates and rows that two splits share."""
        return data_report(
            splits,
            text_columns=self.text_columns(),
            label_counts={name: label_counts(rows, self.label_column) for name, rows in splits.items()}
            if self.problem.has_labels
            else {},
            token_lengths=length_of_each_row(encoded, "text_tokens"),
            max_length=self.recipe.max_length,
        )

    def _metrics(self, gold: list[Any], guess: list[Any]) -> dict[str, float]:
        scores = self.problem.metrics(gold, guess)
        for name in self.recipe.hub_metrics:
            scores |= hub_metric(name)(predictions=guess, references=gold)
        return scores

    @property
    def _windows(self) -> bool:
        return self.recipe.long_text == "windows"

    def _named(self, scores: np.ndarray) -> dict[str, float]:
        if not self.problem.has_labels:
            return {}
        return dict(zip(self.problem.labels, map(float, scores), strict=True))

    def _encode(
        self, rows: Mapping[str, list[Any]], indices: list[int], *, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, list[Any]]:
        texts = list(rows[self.recipe.text_column])
        if self._windows:
            overlap = self.recipe.window_overlap
            encoded = encode_windows(texts, tokenizer, max_length=self.recipe.max_length, overlap=overlap)
        else:
            pairs = list(rows[self.recipe.text_pair_column]) if self.recipe.text_pair_column else None
            encoded = encode_cut(texts, pairs, tokenizer, max_length=self.recipe.max_length)
        source = encoded.pop("source", range(len(texts)))
        encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
        encoded["row"] = [indices[index] for index in source]
        if self.label_column in rows:
            labels = self.problem.vectors(list(rows[self.label_column]))
            encoded["labels"] = [labels[index] for index in source]
        return encoded
