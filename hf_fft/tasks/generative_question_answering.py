"""Generative question answering: an answer in the model's own words, to a question about a context.

It is text generation with a prompt of question and context. Answers come as SQuAD's records, as lists of texts or as
one text; a question may have none, and the model then learns to write nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from datasets import Dataset, DatasetDict, List, Value

from hf_fft.data.values import column_values, refuse_rows, with_column
from hf_fft.metrics import answer_scores, rouge_scores
from hf_fft.recipe.task_records import GenerativeQuestionAnsweringRecipe
from hf_fft.result import Metric, Prediction
from hf_fft.tasks.prompts import Prompt
from hf_fft.tasks.text_generation import TextGeneration


class GenerativeQuestionAnswering(TextGeneration):
    """Write answers to questions. Build it from a recipe's record, or from that record's fields."""

    name: ClassVar[str] = "generative_question_answering"
    metrics: ClassVar[Sequence[str]] = ("exact_match", "f1", "rougeL")
    recipe: GenerativeQuestionAnsweringRecipe

    @classmethod
    def record(cls, **fields: Any) -> GenerativeQuestionAnsweringRecipe:
        """Build the task's record from its fields."""
        return GenerativeQuestionAnsweringRecipe(**fields)

    @property
    def primary_metric(self) -> Metric:
        """Token F1, unless the recipe names another."""
        return Metric(name=self.recipe.primary_metric or "f1")

    @property
    def prompt(self) -> Prompt:
        """The recipe's prompt, in which {question} and {context} mean the columns that the recipe names so."""
        own = self.recipe.prompt == type(self.recipe).model_fields["prompt"].default
        columns = {"question": self.recipe.question_column, "context": self.recipe.context_column}
        prompt = Prompt(self.recipe.prompt).with_columns(columns)
        return Prompt(prompt.template + "\n") if own and self.ends_with_line_break else prompt

    @property
    def target_column(self) -> str:
        """The column that holds the lists of answers once the columns are typed."""
        return self.recipe.answers_column

    def required_columns(self) -> Sequence[str]:
        """Return the columns that the prompt names, the answers, and the ids' column if there is one."""
        named = [] if self.recipe.id_column is None else [self.recipe.id_column]
        return [*named, *super().required_columns()]

    def references_as_lists(self, splits: DatasetDict) -> DatasetDict:
        """Turn the answers into lists of texts, empty where a question has none.

        Raises:
            DataError: if a value holds something else than answers.
        """
        column = self.target_column
        typed = {}
        for split, rows in splits.items():
            if column not in rows.column_names:
                typed[split] = rows
                continue
            values = [_answer_texts(value) for value in column_values(rows, column)]
            refuse_rows(
                values,
                lambda texts: texts is None or any(not text.strip() for text in texts),
                split=split,
                column=column,
                fault="something else than answers",
                advice='Answers are a text, a list of texts, or {"text": ["…"]}; a list is empty where there is none.',
            )
            typed[split] = with_column(rows, column, values, List(Value("string")))
        return DatasetDict(typed)

    def shown_columns(self, rows: Dataset) -> Sequence[str]:
        """Return the columns that stand in a prediction: what the model read, and the question's id."""
        named = [self.recipe.id_column] if self.recipe.id_column in rows.column_names else []
        return [*filter(None, named), *self.text_columns()]

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Score labelled predictions: SQuAD's exact match and F1, and ROUGE-L.

        Where a question has no answer, all three are 1 for an empty guess and 0 for any other.
        """
        guesses = [prediction.guess for prediction in predictions]
        golds = [prediction.gold for prediction in predictions]
        answered = [(guess, gold) for guess, gold in zip(guesses, golds, strict=True) if gold]
        silent = sum(not guess for guess, gold in zip(guesses, golds, strict=True) if not gold)
        overlap = rouge_scores(*zip(*answered, strict=True))["rougeL"] * len(answered) if answered else 0.0
        return {**answer_scores(guesses, golds), "rougeL": (overlap + silent) / len(predictions)}


def _answer_texts(value: Any) -> list[str] | None:
    """Return a question's answers, or None where the value is no such thing."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        value = [one.get("text") for one in value]
    elif isinstance(value, dict):
        value = value.get("text")
    texts = [value] if isinstance(value, str) else value
    return texts if isinstance(texts, list) and all(isinstance(text, str) for text in texts) else None
