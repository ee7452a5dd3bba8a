"""Extractive question answering: the answer is a span of the context, or there is none.

The model is an `AutoModelForQuestionAnswering`, which scores every token as the answer's first and as its last. A
context that does not fit beside its question is read in overlapping windows. A window without the whole answer is
trained on the CLS token, whether the question has an answer elsewhere (SQuAD 1.1, arXiv:1606.05250) or none at all
(SQuAD 2.0, arXiv:1806.03822). Start and end travel as one column `labels`, for Trainer counts and pops that one alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

from hf_fft.data import DataReport, Splits, data_report, require_text
from hf_fft.data.answers import answer_lists, refuse_lost_answers
from hf_fft.data.values import column_values, is_missing, refuse_rows
from hf_fft.errors import RecipeError
from hf_fft.metrics import answer_scores, exact_match, greater_is_better, token_f1
from hf_fft.recipe import ModelRecipe, QuestionAnsweringRecipe
from hf_fft.result import Metric, Prediction
from hf_fft.tasks import losses, spans
from hf_fft.tasks.answer_findings import answer_counts, findings
from hf_fft.tasks.context_windows import ContextParts, encode_questions, refuse_crowded
from hf_fft.tasks.encoding import length_of_each_row
from hf_fft.tasks.pretrained import load_pretrained
from hf_fft.tasks.span_training import SpanCollator, answer_characters, span_losses, window_label
from hf_fft.tasks.task import Task

METRICS = {"f1": token_f1, "exact_match": exact_match}


class QuestionAnswering(Task):
    """Find the answer to a question in a context. Build it from a recipe's record, or from that record's fields."""

    name: ClassVar[str] = "question_answering"
    auto_model: ClassVar[Any] = AutoModelForQuestionAnswering
    recipe: QuestionAnsweringRecipe

    def __init__(self, recipe: QuestionAnsweringRecipe | None = None, **fields: Any) -> None:
        self.recipe = recipe or QuestionAnsweringRecipe(**fields)

    @property
    def primary_metric(self) -> Metric:
        """Token F1, unless the recipe names exact match."""
        name = self.recipe.primary_metric or "f1"
        return Metric(name=name, greater_is_better=greater_is_better(name))

    def required_columns(self) -> Sequence[str]:
        """Return the columns of question, context and answers, and the ids' column if there is one."""
        named = [] if self.recipe.id_column is None else [self.recipe.id_column]
        return [*named, *self.text_columns(), self.recipe.answers_column]

    def text_columns(self) -> Sequence[str]:
        """Return the columns of question and context."""
        return [self.recipe.question_column, self.recipe.context_column]

    def stratify_column(self) -> str | None:
        """Return none: questions have no class label."""
        return None

    def type_columns(self, splits: DatasetDict) -> DatasetDict:
        """Check texts, ids and answers; answers become lists of text and answer_start."""
        require_text(splits, self.text_columns())
        for split, rows in splits.items():
            self._check_ids(rows, split)
        typed = answer_lists(splits, self.recipe.answers_column)
        for split, rows in typed.items():
            contexts, answers = (
                column_values(rows, column) for column in (self.recipe.context_column, self.recipe.answers_column)
            )
            refuse_lost_answers(contexts, answers, self._names(rows), split=split)
        return typed

    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> QuestionAnswering:
        """Fill in the model's own limit, and whether the training rows have questions without an answer.

        Raises:
            RecipeError: if the tokenizer cannot say where its tokens stand, or the primary metric does not exist.
        """
        if not tokenizer.is_fast:
            raise RecipeError(
                f"question_answering needs a tokenizer of the tokenizers library, which knows the characters behind "
                f"each token; {type(tokenizer).__name__} is not one. Choose a model that has one."
            )
        self.refuse_unknown_metric(METRICS)
        max_length = min(self.recipe.max_length, tokenizer.model_max_length)
        filled: dict[str, Any] = {
            "max_length": max_length,
            "window_overlap": min(self.recipe.window_overlap, max_length // 2),
        }
        if self.recipe.no_answers is None:
            golds = column_values(splits.train, self.recipe.answers_column)
            chosen = self.recipe.no_answer_threshold is not None
            filled["no_answers"] = chosen or not all(gold["text"] for gold in golds)
        return QuestionAnswering(self.recipe.model_copy(update=filled))

    def load_model(self, model: ModelRecipe | str) -> PreTrainedModel:
        """Load the model with a head that scores starts and ends."""
        return load_pretrained(self.auto_model, model, {"num_labels": 2})

    def preprocess(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, split: str = "train") -> Dataset:
        """Encode questions and contexts as windows.

        Columns: the tokenizer's own, `length`, `row`, `text_tokens` (before cutting), `cls`, `context_start`,
        `char_starts`, `char_ends` (see `encode_questions`) and, for rows with answers, `labels`: start and end.
        """
        return rows.map(
            self._encode,
            batched=True,
            with_indices=True,
            fn_kwargs={"tokenizer": tokenizer, "split": split},
            remove_columns=rows.column_names,
            desc="Encoding",
        )

    def collator(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> Any:
        """Return what pads a batch on the right and appends to each label its window's length."""
        return SpanCollator(tokenizer)

    def loss(
        self,
        outputs: Any,
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Return Σ (start loss + end loss) / 2 ÷ windows; labels (batch, 2) or, with the windows' lengths, (batch, 3).

        Padding takes no part in the softmax, so that the loss of a window does not depend on its neighbours; without
        the lengths it does, as in HF's own heads.
        """
        logits = self.reduce_logits((outputs["start_logits"], outputs["end_logits"]), labels)
        return losses.mean_over_batch(span_losses(logits, labels, label_smoothing), labels, num_items_in_batch)

    def reduce_logits(self, logits: Any, labels: Tensor) -> Tensor:
        """Keep start and end logits, as (batch, tokens, 2) in float32; some models return much more."""
        return torch.stack((logits[0], logits[1]), dim=-1).float()

    def postprocess(
        self, rows: Dataset, encoded: Dataset, output: EvalPrediction, *, split: str = "validation"
    ) -> list[Prediction]:
        """Return one prediction a question: the best legal span of its windows, or no answer, "".

        `gold` is the list of right answers, empty if there is none. `n_best` holds the best answers with their
        probabilities, "" standing for none. Where there may be none, `scores["no_answer"]` is by how much none
        outscores the best span.
        """
        contexts = column_values(rows, self.recipe.context_column)
        questions = column_values(rows, self.recipe.question_column)
        names, golds = self._ids(rows), self.golds(rows)
        ranked = self._ranked(contexts, encoded, output)
        return [
            Prediction(
                split=split,
                row=row,
                inputs={
                    **({} if names is None else {str(self.recipe.id_column): names[row]}),
                    self.recipe.question_column: questions[row],
                    self.recipe.context_column: contexts[row],
                },
                gold=golds[row],
                guess=self._guess(answers, ranked.margins[row]),
                scores={"no_answer": float(ranked.margins[row])} if self.recipe.no_answers else {},
                n_best=self._probabilities(answers, ranked.nulls[row]),
                place=self._place(answers, ranked.margins[row]),
            )
            for row, answers in enumerate(ranked.answers)
        ]

    def tuned(self, rows: Dataset, encoded: Dataset, output: EvalPrediction) -> QuestionAnswering:
        """Choose the no-answer threshold that the primary metric is highest at; the recipe's own stays.

        Rows that all have answers, or all have none, say nothing about a threshold: it is 0 then.
        """
        golds = self.golds(rows)
        if not self.recipe.no_answers or self.recipe.no_answer_threshold is not None:
            return self
        if None in golds or len({bool(gold) for gold in golds}) < 2:
            return QuestionAnswering(self.recipe.model_copy(update={"no_answer_threshold": 0.0}))
        ranked = self._ranked(column_values(rows, self.recipe.context_column), encoded, output)
        metric = METRICS[self.primary_metric.name]
        firsts = [next(iter(answers), "") for answers in ranked.answers]
        earned = [metric(first, gold or []) for first, gold in zip(firsts, golds, strict=True)]
        threshold = spans.best_threshold(ranked.margins, earned, [float(not gold) for gold in golds])
        return QuestionAnswering(self.recipe.model_copy(update={"no_answer_threshold": threshold}))

    def golds(self, rows: Dataset) -> list[Any]:
        """Return each question's right answers, each once; None of rows without the column."""
        if self.recipe.answers_column not in rows.column_names:
            return super().golds(rows)
        return [list(dict.fromkeys(gold["text"])) for gold in column_values(rows, self.recipe.answers_column)]

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Score exact match and token F1 as SQuAD does, and apart for questions with and without an answer."""
        return answer_scores([one.guess for one in predictions], [one.gold for one in predictions])

    def report(self, splits: Splits, encoded: Splits) -> DataReport:
        """Describe questions with and without answers, lengths, repeated rows, and answers that cannot be guessed."""
        return data_report(
            splits,
            text_columns=self.text_columns(),
            label_counts={
                name: answer_counts(column_values(rows, self.recipe.answers_column)) for name, rows in splits.items()
            },
            token_lengths=length_of_each_row(encoded, "text_tokens"),
            max_length=self.recipe.max_length,
            findings={
                name: findings(self.recipe, rows, getattr(encoded, name), self._names(rows))
                for name, rows in splits.items()
            },
        )

    def _ranked(self, contexts: Sequence[str], encoded: Dataset, output: EvalPrediction) -> _Ranked:
        logits, parts = np.asarray(output.predictions), ContextParts(encoded)
        best = spans.best_spans(
            logits,
            parts.start,
            parts.tokens,
            n_best=self.recipe.n_best,
            max_answer_length=self.recipe.max_answer_length,
        )
        candidates = spans.rank_by_question(best, parts.row, len(contexts))
        nulls = spans.null_scores(logits, parts.cls, parts.row, len(contexts))
        starts, ends = (
            array.tolist() for array in parts.characters(candidates.window, candidates.start, candidates.end)
        )
        scores, bounds = candidates.score.tolist(), candidates.bounds.tolist()
        answers = []
        for row, context in enumerate(contexts):
            texts: dict[str, _Span] = {}
            for place in range(bounds[row], bounds[row + 1]):
                text = context[starts[place] : ends[place]]
                start = starts[place] + len(text) - len(text.lstrip())
                if text := text.strip():
                    texts.setdefault(text, _Span(scores[place], start, start + len(text)))
                if len(texts) == self.recipe.n_best:
                    break
            answers.append(texts)
        firsts = np.array([next((span.score for span in texts.values()), -np.inf) for texts in answers])
        return _Ranked(answers, nulls, nulls - firsts)

    def _guess(self, answers: Mapping[str, _Span], margin: float) -> str:
        if self.recipe.no_answers and margin > (self.recipe.no_answer_threshold or 0.0):
            return ""
        return next(iter(answers), "")

    def _place(self, answers: Mapping[str, _Span], margin: float) -> list[int] | None:
        span = answers.get(self._guess(answers, margin))
        return None if span is None else [span.start, span.end]

    def _probabilities(self, answers: Mapping[str, _Span], null: float) -> dict[str, float]:
        scored = {text: span.score for text, span in answers.items()}
        if self.recipe.no_answers:
            scored[""] = float(null)
        if not scored:
            return {}
        texts = sorted(scored, key=lambda text: -scored[text])
        chances = spans.probabilities(np.array([scored[text] for text in texts], dtype=np.float64))
        return dict(zip(texts, chances.tolist(), strict=True))

    def _ids(self, rows: Dataset) -> list[Any] | None:
        known = self.recipe.id_column is not None and self.recipe.id_column in rows.column_names
        return column_values(rows, str(self.recipe.id_column)) if known else None

    def _names(self, rows: Dataset) -> list[str]:
        """Return what messages call the questions: their ids, or their rows counted from 1."""
        ids = self._ids(rows)
        return [f"row {row + 1}" for row in range(len(rows))] if ids is None else [str(name) for name in ids]

    def _check_ids(self, rows: Dataset, split: str) -> None:
        if self.recipe.id_column is None:
            return
        names = column_values(rows, self.recipe.id_column)
        count = Counter(map(str, names))
        refuse_rows(
            names,
            lambda name: is_missing(name) or count[str(name)] > 1,
            split=split,
            column=self.recipe.id_column,
            fault="no id, or one that another row has",
            advice="An id names one question; give each its own, or set task.id_column to null.",
        )

    def _encode(
        self, rows: Mapping[str, list[Any]], indices: list[int], *, tokenizer: PreTrainedTokenizerBase, split: str
    ) -> dict[str, list[Any]]:
        contexts = list(rows[self.recipe.context_column])
        encoded, crowded = encode_questions(
            list(rows[self.recipe.question_column]),
            contexts,
            tokenizer,
            max_length=self.recipe.max_length,
            overlap=self.recipe.window_overlap,
        )
        refuse_crowded([indices[row] for row in crowded], split=split, max_length=self.recipe.max_length)
        source = encoded.pop("source")
        encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
        encoded["row"] = [indices[row] for row in source]
        if self.recipe.answers_column in rows:
            answers = [
                answer_characters(gold, context)
                for gold, context in zip(rows[self.recipe.answers_column], contexts, strict=True)
            ]
            encoded["labels"] = [window_label(encoded, index, answers[row]) for index, row in enumerate(source)]
        return encoded


class _Span(NamedTuple):
    """A span of the context: its score, and the characters from and up to which it reaches."""

    score: float
    start: int
    end: int


@dataclass(frozen=True)
class _Ranked:
    """What the windows of each question add up to.

    Attributes:
        answers: The best answers of each question with their spans, best first.
        nulls: The score of "no answer".
        margins: By how much that is above the best answer's.
    """

    answers: list[dict[str, _Span]]
    nulls: np.ndarray
    margins: np.ndarray
