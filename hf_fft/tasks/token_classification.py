"""Token classification: a tag for every word, and the entities that the tags spell.

The model is an `AutoModelForTokenClassification` over sub-words. A word's first sub-word carries its tag and answers
for it (arXiv:1810.04805, section 5.3). A sentence longer than `max_length` tokens is split into overlapping windows;
each word is trained and answered in one of them, the one that shows most around it. Inside, entities are spelled in
BIO, whatever the data's scheme.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from torch import Tensor
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_fft.data import (
    DataReport,
    Splits,
    count_types,
    data_report,
    entity_type,
    join_tag,
    require_words,
    spell_entities,
    tag_lists,
)
from hf_fft.data.values import column_values
from hf_fft.data.wording import listed
from hf_fft.metrics import entity_scores, greater_is_better, tag_scores
from hf_fft.recipe import ModelRecipe, TokenClassificationRecipe
from hf_fft.result import Metric, Prediction
from hf_fft.tasks import losses
from hf_fft.tasks.encoding import length_of_each_row
from hf_fft.tasks.labels import name_labels, names_in_config
from hf_fft.tasks.pretrained import as_model_recipe, load_config, load_pretrained, refuse_other_label_order
from hf_fft.tasks.task import Task
from hf_fft.tasks.windows import NO_WORD, first_tokens
from hf_fft.tasks.words import encode_words, read_words


class TokenClassification(Task):
    """Predict a tag for every word. Build it from a recipe's record, or from that record's fields."""

    name: ClassVar[str] = "token_classification"
    auto_model: ClassVar[Any] = AutoModelForTokenClassification
    recipe: TokenClassificationRecipe

    def __init__(self, recipe: TokenClassificationRecipe | None = None, **fields: Any) -> None:
        self.recipe = recipe or TokenClassificationRecipe(**fields)

    @property
    def primary_metric(self) -> Metric:
        """F1 of entities, or accuracy where tags are plain, unless the recipe names another."""
        name = self.recipe.primary_metric or ("f1" if self.spells_entities else "accuracy")
        return Metric(name=name, greater_is_better=greater_is_better(name))

    @property
    def labels(self) -> Sequence[str]:
        """The tags in the model's order, known once the task is fitted or the recipe names them."""
        return self.recipe.labels or ()

    @property
    def spells_entities(self) -> bool:
        """Whether the tags spell entities; true until the labels say otherwise."""
        return self.recipe.tag_scheme != "plain" and (not self.labels or spell_entities(self.labels))

    def required_columns(self) -> Sequence[str]:
        """Return the columns of words and of tags."""
        return [self.recipe.tokens_column, self.recipe.tags_column]

    def text_columns(self) -> Sequence[str]:
        """Return the column of words."""
        return [self.recipe.tokens_column]

    def stratify_column(self) -> str | None:
        """Return None: a sentence has no single label to balance hold-outs by."""
        return None

    def type_columns(self, splits: DatasetDict) -> DatasetDict:
        """Check words and tags; tags become lists of `ClassLabel`, in BIO where they spell entities."""
        require_words(splits, self.recipe.tokens_column)
        return tag_lists(
            splits,
            tokens=self.recipe.tokens_column,
            tags=self.recipe.tags_column,
            scheme=self.recipe.tag_scheme,
            labels=self.recipe.labels,
        )

    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> TokenClassification:
        """Fill in the labels and the model's own limit, and make the tokenizer read words as in running text.

        Raises:
            RecipeError: if the recipe's primary metric does not exist, or the tokenizer knows no words.
        """
        read_words(tokenizer)
        max_length = min(self.recipe.max_length, tokenizer.model_max_length)
        filled = {
            "max_length": max_length,
            "window_overlap": self._overlap(max_length),
            "labels": tuple(name_labels(splits.train, self.recipe.tags_column)),
        }
        fitted = TokenClassification(self.recipe.model_copy(update=filled))
        example = [Prediction(split="", row=0, inputs={}, gold=[fitted.labels[0]], guess=[fitted.labels[0]])]
        fitted.refuse_unknown_metric(fitted.score(example))
        return fitted

    def load_model(self, model: ModelRecipe | str) -> PreTrainedModel:
        """Load the model with a head for these labels, their names in the config."""
        recipe, labels = as_model_recipe(model), list(self.labels)
        refuse_other_label_order(load_config(recipe), labels, recipe.name)
        return load_pretrained(self.auto_model, recipe, names_in_config(labels))

    def preprocess(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, split: str = "train") -> Dataset:
        """Encode words and tags.

        Columns: the tokenizer's own, `length`, `row`, `words` (for each token the word that the item answers for, or
        -1), `text_tokens` (of the whole sentence) and, for tagged rows, `labels`.
        """
        read_words(tokenizer)
        return rows.map(
            self._encode,
            batched=True,
            with_indices=True,
            fn_kwargs={"tokenizer": tokenizer},
            remove_columns=rows.column_names,
            desc="Encoding",
        )

    def collator(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> Any:
        """Return HF's collator that pads each batch to its longest item, always on the right.

        Trainer pads gathered predictions on the right too, and a token must keep its place.
        """
        padder = copy.copy(tokenizer)
        padder.padding_side = "right"
        return DataCollatorForTokenClassification(padder)

    def loss(
        self,
        outputs: Any,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return the mean cross-entropy over the tagged tokens of the whole effective batch."""
        tokens = losses.token_losses(losses.logits_of(outputs), labels, label_smoothing=label_smoothing)
        return losses.mean_over_tokens(tokens, labels, num_items_in_batch)

    def reduce_logits(self, logits: Any, labels: Tensor) -> Tensor:
        """Keep the number of the likeliest label: four bytes a token, however many labels there are."""
        scores = logits[0] if isinstance(logits, tuple) else logits
        # Not 16 bits: neither gloo nor NCCL gathers those.
        return scores.argmax(dim=-1).to(torch.int32)

    def postprocess(
        self, rows: Dataset, encoded: Dataset, output: EvalPrediction, *, split: str = "validation"
    ) -> list[Prediction]:
        """Return one prediction a row: a tag for each word, None for a word that has no token."""
        sentences = column_values(rows, self.recipe.tokens_column)
        guesses: list[list[str | None]] = [[None] * len(words) for words in sentences]
        answers = np.asarray(output.predictions)
        for row, words, ids in zip(encoded["row"], encoded["words"], answers, strict=True):
            for place in first_tokens(words):
                guesses[row][words[place]] = self.labels[ids[place]]
        golds = self.golds(rows)
        column = self.recipe.tokens_column
        return [
            Prediction(split=split, row=row, inputs={column: words}, gold=golds[row], guess=guesses[row])
            for row, words in enumerate(sentences)
        ]

    def golds(self, rows: Dataset) -> list[Any]:
        """Return the tags of each row's words; None of rows without tags."""
        column = self.recipe.tags_column
        if column not in rows.column_names:
            return super().golds(rows)
        names = name_labels(rows, column)
        return [[names[tag] for tag in tags] for tags in column_values(rows, column)]

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Score entities strictly, or plain tags one by one; a word without an answer is a miss."""
        gold, guess = [one.gold for one in predictions], [one.guess for one in predictions]
        if not self.spells_entities:
            return tag_scores(gold, guess, self.labels)
        return entity_scores(gold, guess, self._types())

    def report(self, splits: Splits, encoded: Splits) -> DataReport:
        """Describe entities by type, token lengths before cutting, duplicates, shared rows, and words that are lost."""
        counts = {name: count_types(self.golds(rows), spells=self.spells_entities) for name, rows in splits.items()}
        return data_report(
            splits,
            text_columns=self.text_columns(),
            label_counts=counts,
            token_lengths=length_of_each_row(encoded, "text_tokens"),
            max_length=self.recipe.max_length,
            findings={
                name: [*self._lost_words(rows, getattr(encoded, name)), *_unseen(counts, name)]
                for name, rows in splits.items()
            },
        )

    def _overlap(self, max_length: int) -> int:
        asked = self.recipe.window_overlap
        return max_length // 4 if asked is None else min(asked, max_length // 2)

    def _types(self) -> list[str]:
        types = (entity_type(label) for label in self.labels)
        return list(dict.fromkeys(kind for kind in types if kind is not None))

    def _lost_words(self, rows: Dataset, encoded: Dataset) -> list[str]:
        """Say how many words have no token, and how many sentences no word."""
        sizes = [len(words) for words in column_values(rows, self.recipe.tokens_column)]
        answered = Counter[int]()
        for row, words in zip(encoded["row"], encoded["words"], strict=True):
            answered[row] += len(first_tokens(words))
        lost = [size - answered[row] for row, size in enumerate(sizes) if size > answered[row]]
        findings = []
        if lost:
            words, sentences = _counted(sum(lost), "word"), _counted(len(lost), "sentence")
            why = "cut off, since the tokenizer has no token for them"
            findings.append(f"{why}: {words} of {sentences}; all count as misses")
        if empty := sizes.count(0):
            findings.append(f"without a single word: {_counted(empty, 'row')}")
        return findings

    def _encode(
        self, rows: Mapping[str, list[Any]], indices: list[int], *, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, list[Any]]:
        sentences = rows[self.recipe.tokens_column]
        items = encode_words(
            sentences, tokenizer, max_length=self.recipe.max_length, overlap=self._overlap(self.recipe.max_length)
        )
        encoded: dict[str, list[Any]] = {name: [item.columns[name] for item in items] for name in items[0].columns}
        encoded["length"] = [len(item.words) for item in items]
        encoded["row"] = [indices[item.source] for item in items]
        encoded["words"] = [item.words for item in items]
        encoded["text_tokens"] = [item.sentence_tokens for item in items]
        if self.recipe.tags_column in rows:
            tags = rows[self.recipe.tags_column]
            encoded["labels"] = [self._token_labels(item.words, tags[item.source]) for item in items]
        return encoded

    def _token_labels(self, words: Sequence[int], tags: Sequence[int]) -> list[int]:
        """Return a label for the first token of each word, or for all of them, and -100 elsewhere."""
        labels = [losses.IGNORED] * len(words)
        if self.recipe.subwords == "all":
            for place, word in enumerate(words):
                if word != NO_WORD:
                    labels[place] = self._inside(tags[word])
        for place in first_tokens(words):
            labels[place] = tags[words[place]]
        return labels

    def _inside(self, tag: int) -> int:
        """Return the label of a word's further tokens: its entity goes on."""
        kind = entity_type(self.labels[tag]) if self.spells_entities else None
        inside = self.labels[tag] if kind is None else join_tag("I", kind)
        return self.labels.index(inside) if inside in self.labels else tag


def _unseen(counts: Mapping[str, Mapping[str, int]], split: str) -> list[str]:
    """Say which types hold-outs and caps left to a split and took from train: what they can only miss."""
    unseen = {kind: count for kind, count in counts[split].items() if kind not in counts["train"]}
    told = listed(f"{kind} {count:,}" for kind, count in unseen.items())
    return (
        [f"of kinds that train no longer shows after hold-outs and caps: {told}; they can only be missed"]
        if unseen
        else []
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
