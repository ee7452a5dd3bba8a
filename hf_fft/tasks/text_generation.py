"""Text generation: a text for a text, by an encoder-decoder or by a decoder alone.

The model is an `AutoModelForSeq2SeqLM` or an `AutoModelForCausalLM`, as its config says; an encoder can be made into an
encoder-decoder (`architecture` "warm_started"). Rows that read alike are one row with several references: each of them
is a training item, and in evaluation the input is written for once and scored against them all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from torch import Tensor
from torch.nn import functional
from transformers import DataCollatorForSeq2Seq, EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

from hf_fft.data import DataReport, Splits, data_report
from hf_fft.errors import RecipeError
from hf_fft.metrics.generation import GENERATION_METRICS, generation_scores
from hf_fft.recipe import ModelRecipe
from hf_fft.recipe.task_records import GenerativeQuestionAnsweringRecipe, TextGenerationRecipe
from hf_fft.result import Metric, Prediction
from hf_fft.tasks.encoding import length_of_each_row
from hf_fft.tasks.generation_findings import cut_prompts, cut_targets, lost_capitals, reference_counts
from hf_fft.tasks.generation_inputs import EncoderDecoderInputs, GenerationInputs, end_token_id
from hf_fft.tasks.generation_lengths import check_lengths, longest_prompt, longest_text, possible_lengths
from hf_fft.tasks.generation_models import inputs_for
from hf_fft.tasks.generation_settings import check_generation, set_generation
from hf_fft.tasks.losses import IGNORED, logits_of
from hf_fft.tasks.pretrained import as_model_recipe, load_pretrained, load_tokenizer
from hf_fft.tasks.prompts import ROWS_READ, Prompt, merge_rows, sources_as_text, targets_as_lists
from hf_fft.tasks.task import Task
from hf_fft.tasks.warm_start import load_warm_started, start_token_id

AnyRecipe: TypeAlias = TextGenerationRecipe | GenerativeQuestionAnsweringRecipe


class TextGeneration(Task):
    """Write a text for a text. Build it from a recipe's record, or from that record's fields."""

    name: ClassVar[str] = "text_generation"
    generates: ClassVar[bool] = True
    metrics: ClassVar[Sequence[str]] = GENERATION_METRICS
    recipe: AnyRecipe

    def __init__(
        self,
        recipe: AnyRecipe | None = None,
        *,
        inputs: GenerationInputs | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        **fields: Any,
    ) -> None:
        self.recipe = recipe or self.record(**fields)
        self._inputs = inputs
        self._tokenizer = tokenizer

    @classmethod
    def record(cls, **fields: Any) -> AnyRecipe:
        """Build the task's record from its fields."""
        return TextGenerationRecipe(**fields)

    @property
    def primary_metric(self) -> Metric:
        """BLEU, unless the recipe names another: unlike ROUGE it reads every script that has spaces."""
        return Metric(name=self.recipe.primary_metric or "bleu")

    @property
    def prompt(self) -> Prompt:
        """What the model reads of a row: the recipe's prompt, or the source alone."""
        assert isinstance(self.recipe, TextGenerationRecipe)
        if self.recipe.prompt is not None:
            return Prompt(self.recipe.prompt)
        source = Prompt.of_column(self.recipe.source_column)
        return Prompt(source.template + "\n") if self.ends_with_line_break else source

    @property
    def ends_with_line_break(self) -> bool:
        """Whether a prompt of our own ends with a line break: a decoder needs a sign that it is to write now."""
        return self._inputs is not None and self._inputs.decoder_only and not self.recipe.chat_template

    @property
    def target_column(self) -> str:
        """The column that holds the lists of references once the columns are typed."""
        assert isinstance(self.recipe, TextGenerationRecipe)
        return self.recipe.target_column

    @property
    def inputs(self) -> GenerationInputs:
        """How the model reads and writes.

        Raises:
            RecipeError: if the task has not been told its model.
        """
        if self._inputs is None:
            raise RecipeError(f"{self.name} depends on its model: call task.for_model(name), and use what it returns.")
        return self._inputs

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the task was fitted with."""
        assert self._tokenizer is not None, "the task is not fitted"
        return self._tokenizer

    def for_model(self, model: ModelRecipe | str) -> TextGeneration:
        """Return the task as this model can do it: with an encoder and a decoder, or with a decoder alone.

        Raises:
            RecipeError: if it cannot write, or the recipe's settings for writing cannot be used.
        """
        check_generation(self.recipe.generation)
        inputs = inputs_for(self.recipe, as_model_recipe(model))
        return type(self)(self.recipe, inputs=inputs, tokenizer=self._tokenizer)

    def auto_model_for(self, model: ModelRecipe | str) -> Any:
        """Return `AutoModelForSeq2SeqLM` or `AutoModelForCausalLM`, as the model's config says."""
        return inputs_for(self.recipe, as_model_recipe(model)).auto_model

    def required_columns(self) -> Sequence[str]:
        """Return the columns that the prompt names, and the target."""
        return [*self.text_columns(), self.target_column]

    def text_columns(self) -> Sequence[str]:
        """Return the columns that the prompt names."""
        return list(self.prompt.columns)

    def stratify_column(self) -> str | None:
        """Return nothing: texts have no shares to keep."""
        return None

    def type_columns(self, splits: DatasetDict) -> DatasetDict:
        """Turn sources into texts and targets into lists of texts, and make rows that read alike one row."""
        typed = self.references_as_lists(sources_as_text(splits, self.prompt))
        return DatasetDict(
            {
                split: merge_rows(rows, self.prompt, self.target_column)
                if self.target_column in rows.column_names
                else rows
                for split, rows in typed.items()
            }
        )

    def references_as_lists(self, splits: DatasetDict) -> DatasetDict:
        """Turn the target column into lists of texts.

        Raises:
            DataError: if a row has no text to write.
        """
        return targets_as_lists(splits, self.target_column)

    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> TextGeneration:
        """Fill in the lengths that model and tokenizer allow, and keep the tokenizer for decoding.

        The tokenizer gives no token types any more.

        Raises:
            RecipeError: if tokenizer, lengths or primary metric do not fit.
        """
        return self._fitted(tokenizer)

    def restored(self, model: ModelRecipe | str, tokenizer: PreTrainedTokenizerBase) -> TextGeneration:
        """Return the task as it was for its saved model; a warm-started one is saved as an encoder-decoder."""
        warm = self.recipe.architecture == "warm_started"
        recipe = self.recipe.model_copy(update={"architecture": "encoder_decoder"}) if warm else self.recipe
        return type(self)(recipe).for_model(model)._fitted(tokenizer)

    def _fitted(self, tokenizer: PreTrainedTokenizerBase) -> TextGeneration:
        inputs = self.inputs
        end_token_id(tokenizer)
        if self.recipe.architecture == "warm_started":
            inputs = EncoderDecoderInputs(start_token_id(tokenizer), positions=inputs.positions)
        if self.recipe.chat_template and not tokenizer.chat_template:
            raise RecipeError("task.chat_template is set and the tokenizer has none; leave it out and use task.prompt.")
        filled = {**possible_lengths(self.recipe, inputs, tokenizer), "prompt": self.prompt.template}
        if self.recipe.architecture == "pretrained":
            filled["architecture"] = "decoder_only" if inputs.decoder_only else "encoder_decoder"
        # Saved with the tokenizer: `generate` refuses the token types of a model that does not know them.
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        fitted = type(self)(self.recipe.model_copy(update=filled), inputs=inputs, tokenizer=tokenizer)
        check_lengths(fitted.recipe, inputs)
        fitted.refuse_unknown_metric(self.metrics)
        return fitted

    def load_model(self, model: ModelRecipe | str) -> PreTrainedModel:
        """Load or build the model, with the recipe's settings for writing in its generation_config."""
        recipe = as_model_recipe(model)
        inputs = self._inputs or inputs_for(self.recipe, recipe)
        tokenizer = self._tokenizer or load_tokenizer(recipe)
        if self.recipe.architecture == "warm_started":
            loaded: PreTrainedModel = load_warm_started(recipe, tokenizer)
        else:
            loaded = load_pretrained(inputs.auto_model, recipe, {})
        set_generation(loaded, self.recipe.generation, tokenizer, max_new_tokens=longest_text(self.recipe))
        return loaded

    def preprocess(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, split: str = "train") -> Dataset:
        """Encode prompts and targets: in training every reference is an item, elsewhere every row is one.

        Columns: `input_ids`, `attention_mask`, `length`, `row`, `prompt_tokens` (before cutting) and, for rows with
        targets, `labels` and `target_tokens` (before cutting).
        """
        return rows.map(
            self._encode,
            batched=True,
            with_indices=True,
            fn_kwargs={"tokenizer": tokenizer, "every_reference": split == "train"},
            remove_columns=rows.column_names,
            desc="Encoding",
        )

    def collator(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> Any:
        """Return HF's collator, which pads labels with -100 and lets an encoder-decoder make its decoder's inputs.

        It pads on the right, whatever the tokenizer does: models with absolute positions count from the left.
        """
        right = copy.copy(tokenizer)
        right.padding_side = "right"
        return DataCollatorForSeq2Seq(right, model=model)

    def loss(
        self,
        outputs: Any,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return the summed cross-entropy of the targets' tokens ÷ their number in the whole effective batch."""
        logits = logits_of(outputs)
        if self.inputs.decoder_only:
            logits, labels = logits[:, :-1], labels[:, 1:]
        # The scored tokens alone: a decoder's prompt would otherwise cost a row of the vocabulary's size a token.
        scored = labels.ne(IGNORED)
        total = functional.cross_entropy(
            logits[scored].float(), labels[scored], reduction="sum", label_smoothing=label_smoothing
        )
        items = scored.sum() if num_items_in_batch is None else num_items_in_batch
        return total / torch.as_tensor(items, device=total.device).clamp(min=1)

    def reduce_logits(self, logits: Any, labels: Tensor) -> Tensor:
        """Return what was written, token ids already: the trainer generates instead of keeping logits."""
        return logits[0] if isinstance(logits, tuple) else logits

    def postprocess(
        self, rows: Dataset, encoded: Dataset, output: EvalPrediction, *, split: str = "validation"
    ) -> list[Prediction]:
        """Return one prediction a row: the written text without special tokens, beside all references."""
        guesses = self._decode(np.asarray(output.predictions))
        assert len(guesses) == len(rows), f"{len(guesses)} texts were written for {len(rows)} rows"
        golds = self.golds(rows)
        columns = {column: list(rows[column]) for column in self.shown_columns(rows)}
        return [
            Prediction(
                split=split,
                row=row,
                inputs={column: values[row] for column, values in columns.items()},
                gold=golds[row],
                guess=guess,
            )
            for row, guess in enumerate(guesses)
        ]

    def shown_columns(self, rows: Dataset) -> Sequence[str]:
        """Return the columns that stand in a prediction."""
        return self.text_columns()

    def golds(self, rows: Dataset) -> list[Any]:
        """Return the references of each row; None of rows without any column of them."""
        return list(rows[self.target_column]) if self.target_column in rows.column_names else super().golds(rows)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Score labelled predictions with sacrebleu and rouge_score."""
        return generation_scores(
            [prediction.guess for prediction in predictions], [prediction.gold for prediction in predictions]
        )

    def report(self, splits: Splits, encoded: Splits) -> DataReport:
        """Describe prompt lengths, references, duplicates, what was cut, and rows that two splits share."""
        lengths = length_of_each_row(encoded, "prompt_tokens")
        return data_report(
            splits,
            text_columns=self.text_columns(),
            label_counts={},
            token_lengths=lengths,
            max_length=longest_prompt(self.recipe, self.inputs),
            findings={
                name: self._findings(rows, getattr(encoded, name), lengths[name], scored=name != "train")
                for name, rows in splits.items()
            },
        )

    def _findings(self, rows: Dataset, items: Dataset, lengths: Sequence[int], *, scored: bool) -> list[str]:
        found = cut_prompts(lengths, longest_prompt(self.recipe, self.inputs), decoder_only=self.inputs.decoder_only)
        if self.target_column not in rows.column_names:
            return found
        references = list(rows[self.target_column])
        rows_read = list(rows[ROWS_READ]) if ROWS_READ in rows.column_names else [1] * len(rows)
        found += reference_counts(references, rows_read) + cut_targets(items["target_tokens"], self.recipe)
        return found + (lost_capitals(references, self.tokenizer) if scored and "bleu" in self.metrics else [])

    def _encode(
        self,
        rows: Mapping[str, list[Any]],
        indices: list[int],
        *,
        tokenizer: PreTrainedTokenizerBase,
        every_reference: bool,
    ) -> dict[str, list[Any]]:
        prompts, prompt_tokens = self.inputs.prompts(
            self.prompt.fill_all(rows), tokenizer, max_tokens=longest_prompt(self.recipe, self.inputs)
        )
        if self.target_column not in rows:
            items = [self.inputs.item(prompt, None) for prompt in prompts]
            source, extra = list(range(len(prompts))), {}
        else:
            # No reference means that there is nothing to write: the model learns to stop at once.
            references = [several or [""] for several in rows[self.target_column]]
            chosen = references if every_reference else [several[:1] for several in references]
            source = [index for index, several in enumerate(chosen) for _ in several]
            targets, target_tokens = self.inputs.targets(
                [text for several in chosen for text in several],
                tokenizer,
                max_tokens=self.recipe.max_target_length,
            )
            items = [self.inputs.item(prompts[index], target) for index, target in zip(source, targets, strict=True)]
            extra = {"target_tokens": target_tokens}
        return {
            **{column: [item[column] for item in items] for column in items[0]},
            "length": [len(item["input_ids"]) for item in items],
            "row": [indices[index] for index in source],
            "prompt_tokens": [prompt_tokens[index] for index in source],
            **extra,
        }

    def _decode(self, written: np.ndarray) -> list[str]:
        """Turn token ids into texts; -100, with which batches are joined, never reaches the tokenizer."""
        ids = np.where(written < 0, self.tokenizer.pad_token_id, written)
        return [str(text).strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
