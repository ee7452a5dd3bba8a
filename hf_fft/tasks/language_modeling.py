"""What masked and causal language modelling share: raw text in, the loss of every token out.

Texts are joined and cut into blocks of exactly `max_length` tokens, or stand alone. Either way every token knows the
row that it came from, so each row has a loss of its own, and tables and error lists read the same numbers. A row whose
text is empty makes no item and has no loss.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from torch import Tensor
from torch.nn import functional
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

from hf_fft.data import DataReport, Splits, data_report, require_text
from hf_fft.data.values import column_values
from hf_fft.errors import DataError, RecipeError
from hf_fft.metrics import greater_is_better, language_modeling_scores
from hf_fft.recipe import CausalLanguageModelingRecipe, MaskedLanguageModelingRecipe, ModelRecipe
from hf_fft.result import Metric, Prediction
from hf_fft.tasks import blocks, losses
from hf_fft.tasks.pretrained import as_model_recipe, load_config, load_pretrained
from hf_fft.tasks.task import Task


class LanguageModeling(Task):
    """Guess words of raw text.

    Attributes:
        metric_names: What `score` returns.
        special_tokens: How many special tokens a text gets that stands alone; known once the task is fitted.
    """

    metric_names: ClassVar[tuple[str, ...]]
    recipe: MaskedLanguageModelingRecipe | CausalLanguageModelingRecipe
    special_tokens: int = 0

    @property
    def primary_metric(self) -> Metric:
        """Perplexity, unless the recipe names another."""
        name = self.recipe.primary_metric or "perplexity"
        return Metric(name=name, greater_is_better=greater_is_better(name))

    @property
    def saved_max_length(self) -> None:
        """None: blocks say how training was cut, not how long a text the model may read afterwards."""
        return None

    @abstractmethod
    def other_kind(self, config: Any) -> str | None:
        """Say what a model is, by its configuration, that this task cannot train, and what to do instead."""

    @abstractmethod
    def frame(self, tokenizer: PreTrainedTokenizerBase) -> blocks.Frame:
        """Return the special tokens that stand around and between texts."""

    @abstractmethod
    def fixed(
        self, items: blocks.Tokens, tokenizer: PreTrainedTokenizerBase, *, split: str
    ) -> Mapping[str, blocks.Integers]:
        """Return the columns that are fixed before training, as flat arrays: `labels`, and `input_ids` if changed."""

    @abstractmethod
    def token_losses(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss of each guess, (batch, guesses): they belong to the last labels, as many as there are."""

    def required_columns(self) -> Sequence[str]:
        """Return the text column."""
        return [self.recipe.text_column]

    def text_columns(self) -> Sequence[str]:
        """Return the text column."""
        return [self.recipe.text_column]

    def stratify_column(self) -> None:
        """Return None: raw text has no labels."""
        return None

    def type_columns(self, splits: DatasetDict) -> DatasetDict:
        """Check that the column holds text."""
        require_text(splits, self.text_columns())
        return splits

    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> Self:
        """Fill in the model's own limit.

        Raises:
            RecipeError: if the recipe's primary metric does not exist.
        """
        self.refuse_unknown_metric(self.metric_names)
        length = min(self.recipe.max_length, tokenizer.model_max_length)
        fitted = type(self)(self.recipe.model_copy(update={"max_length": length}))  # type: ignore[call-arg]
        fitted.special_tokens = self.frame(tokenizer).tokens_a_text()
        return fitted

    def restored(self, model: ModelRecipe | str, tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return the task as it was, with the tokenizer's special tokens counted."""
        restored = type(self)(self.recipe)  # type: ignore[call-arg]
        restored.special_tokens = self.frame(tokenizer).tokens_a_text()
        return restored

    def for_model(self, model: ModelRecipe | str) -> LanguageModeling:
        """Return the task itself; a model of another kind is refused here, before its data are encoded.

        Raises:
            RecipeError: saying which task the model is for.
        """
        recipe = as_model_recipe(model)
        config = load_config(recipe)
        kind = self.other_kind(config)
        if config.is_encoder_decoder:
            kind = 'is an encoder-decoder. Its own task is "text_generation".'
        if kind is not None:
            raise RecipeError(f'model "{recipe.name}" cannot learn {self.name}: it {kind}')
        return self

    def load_model(self, model: ModelRecipe | str) -> PreTrainedModel:
        """Load the model with its language-modelling head; a checkpoint without one gets a new one.

        Raises:
            RecipeError: if the model is of another kind.
        """
        self.for_model(model)
        return load_pretrained(self.auto_model, as_model_recipe(model), {})

    def preprocess(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, split: str = "train") -> Dataset:
        """Make items of the texts.

        Columns: `input_ids`; `token_rows`, the row of every token and -1 for special tokens; `row`, the one that the
        item begins with; `length`; and `labels` where they are fixed. With one text an item, `text_tokens` is its
        length before cutting.

        Raises:
            DataError: if the split holds nothing to guess.
        """
        texts = blocks.text_tokens(rows, self.recipe.text_column, tokenizer)
        frame = self.frame(tokenizer)
        items, first = blocks.items_of(texts, frame, max_length=self.recipe.max_length, packing=self.recipe.packing)
        columns = {"row": first, "length": items.lengths()}
        if not self.recipe.packing:
            columns["text_tokens"] = texts.lengths()[first] + frame.tokens_a_text()
        fixed = self.fixed(items, tokenizer, split=split) if len(first) else {}
        lists = {"input_ids": items.ids, "token_rows": items.rows, **fixed}
        guesses = lists["labels"] != losses.IGNORED if "labels" in lists else items.rows != blocks.NO_ROW
        if not guesses.any():
            raise DataError(
                f"{split} holds too little text: it has no word to guess. Bring more text, or raise "
                "data.validation_fraction or data.test_fraction."
            )
        return blocks.as_dataset(lists, items.bounds, **columns)

    def loss(
        self,
        outputs: Any,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return the mean cross-entropy of the guessed tokens of the whole effective batch."""
        token_losses = self.token_losses(losses.logits_of(outputs), labels, label_smoothing=label_smoothing)
        return losses.mean_over_tokens(token_losses, labels, num_items_in_batch)

    def reduce_logits(self, logits: Any, labels: Tensor) -> Tensor:
        """Keep each token's loss and whether the likeliest guess is right: (batch, tokens, 2) and no vocabulary."""
        logits = logits[0] if isinstance(logits, tuple) else logits
        token_losses = self.token_losses(logits, labels)
        guesses = token_losses.shape[1]
        shift = labels.shape[1] - guesses
        right = logits[:, :guesses].argmax(dim=-1) == labels[:, shift:]
        return functional.pad(torch.stack([token_losses, right.float()], dim=-1), (0, 0, shift, 0))

    def postprocess(
        self, rows: Dataset, encoded: Dataset, output: EvalPrediction, *, split: str = "validation"
    ) -> list[Prediction]:
        """Return the mean loss of each row's guessed tokens, their number, and the share guessed right.

        A row without a guessed token has only their number, 0.
        """
        scored = np.asarray(output.label_ids) != losses.IGNORED
        losses_and_right = np.asarray(output.predictions, dtype=np.float64)[scored]
        token_rows, _ = blocks.flat_column(encoded, "token_rows")
        labels, _ = blocks.flat_column(encoded, "labels")
        owners = token_rows[labels != losses.IGNORED]
        assert len(owners) == len(losses_and_right), "a token was lost on the way"
        counts = np.bincount(owners, minlength=len(rows))
        sums = [np.bincount(owners, weights=values, minlength=len(rows)) for values in losses_and_right.T]
        texts = column_values(rows, self.recipe.text_column)
        sizes = self.scored_bytes(texts, encoded, counts)
        return [
            Prediction(
                split=split,
                row=row,
                inputs={self.recipe.text_column: text},
                gold=None,
                guess=None,
                scores=_row_scores(int(counts[row]), *(float(column[row]) for column in sums))
                | ({} if sizes is None else {"bytes": float(sizes[row])}),
            )
            for row, text in enumerate(texts)
        ]

    def scored_bytes(self, texts: Sequence[str], encoded: Dataset, scored: blocks.Integers) -> np.ndarray | None:
        """Return how many bytes of each text its guessed tokens make up, if the task says so."""
        return None

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Return the means over all guessed tokens, and perplexity: e to the power of the mean loss."""
        scored = [prediction.scores for prediction in predictions if prediction.scores["tokens"]]
        return language_modeling_scores(
            [scores["loss"] for scores in scored],
            [scores["tokens"] for scores in scored],
            accuracies=[scores["accuracy"] for scores in scored],
            sizes=[scores["bytes"] for scores in scored if "bytes" in scores] or None,
        )

    def report(self, splits: Splits, encoded: Splits) -> DataReport:
        """Describe token lengths, duplicates and texts that two splits share; empty texts are only counted."""
        texts = {name: _with_text(rows, self.recipe.text_column) for name, rows in splits.items()}
        return data_report(
            texts,
            text_columns=self.text_columns(),
            label_counts={},
            token_lengths={name: self._text_lengths(items) for name, items in encoded.items()},
            max_length=None if self.recipe.packing else self.recipe.max_length,
            findings={
                name: self._findings(len(rows) - len(texts[name]), getattr(encoded, name))
                for name, rows in splits.items()
            },
        )

    def text_tokens(self, encoded: Dataset, rows: int) -> blocks.Integers:
        """Count the tokens of each of the rows, special ones and cutting left out."""
        if self.recipe.packing:
            owners, _ = blocks.flat_column(encoded, "token_rows")
            return np.bincount(owners[owners != blocks.NO_ROW], minlength=rows)
        counts = np.zeros(rows, dtype=np.int64)
        counts[np.asarray(encoded["row"])] = np.asarray(encoded["text_tokens"]) - self.special_tokens
        return counts

    def _text_lengths(self, encoded: Dataset) -> list[int]:
        if not self.recipe.packing:
            return list(encoded["text_tokens"])
        counts = self.text_tokens(encoded, 0)
        return counts[counts > 0].tolist()

    def _findings(self, empty: int, encoded: Dataset) -> list[str]:
        """Say what became of the texts."""
        longest = self.recipe.max_length
        findings = [f"{_counted(empty, 'text')} with nothing in it left out"] if empty else []
        if self.recipe.packing:
            return [*findings, f"joined and cut into {_counted(len(encoded), 'block')} of up to {longest} tokens"]
        cut = int((np.asarray(encoded["text_tokens"]) > longest).sum())
        return findings + ([f"{_counted(cut, 'text')} cut after {longest} tokens; the rest is not read"] if cut else [])


def _row_scores(count: int, loss: float, right: float) -> dict[str, float]:
    return {"loss": loss / count, "accuracy": right / count, "tokens": count} if count else {"tokens": 0}


def _with_text(rows: Dataset, column: str) -> Dataset:
    return rows.select([row for row, text in enumerate(column_values(rows, column)) if text.strip()])


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
