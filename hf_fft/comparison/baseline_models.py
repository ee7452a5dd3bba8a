"""What learns from rows in seconds: the majority, each word's most frequent tag, TF-IDF with a linear model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from scipy.sparse import hstack, spmatrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from hf_fft.data.values import column_values
from hf_fft.recipe import TextClassificationRecipe, TokenClassificationRecipe
from hf_fft.tasks import Task
from hf_fft.tasks.labels import name_labels

OUTSIDE = "O"


@dataclass(frozen=True)
class Answers:
    """What a baseline says of the rows of a split, in order.

    Attributes:
        guesses: In the form in which the task's predictions have them.
        scores: The probability of each label; empty where there is none.
    """

    guesses: list[Any]
    scores: list[dict[str, float]]


class Baseline(Protocol):
    """Something that learns from rows in seconds."""

    parameters: int
    mib: float

    def answers(self, rows: Dataset) -> Answers:
        """Answer the rows of a split."""


def golds_of(task: Task, rows: Dataset) -> list[Any]:
    """Return what the data say of every row, in the form in which the task's predictions have it."""
    recipe = task.recipe
    if isinstance(recipe, TokenClassificationRecipe):
        return _tags(rows, recipe.tags_column)
    problem = task.problem  # type: ignore[attr-defined]
    return list(problem.gold(column_values(rows, problem.column)))


class Majority:
    """Give every row the most frequent label, set of labels, or the mean of the numbers."""

    parameters = 0
    mib = 0.0

    def __init__(self, task: Task, train: Dataset) -> None:
        golds = golds_of(task, train)
        if _is_number(task):
            self.guess: Any = float(np.mean(golds))
            self.scores: dict[str, float] = {}
            return
        (self.guess, _), *_ = Counter(map(_hashable, golds)).most_common()
        if isinstance(self.guess, tuple):
            self.guess = list(self.guess)
        counts = Counter(label for gold in golds for label in (gold if isinstance(gold, list) else [gold]))
        self.scores = {label: counts[label] / len(golds) for label in task.recipe.labels or ()}  # type: ignore[union-attr]

    def answers(self, rows: Dataset) -> Answers:
        """Answer every row alike; the scores are the labels' shares of the training rows."""
        return Answers([self.guess] * len(rows), [self.scores] * len(rows))


class MajorityTags:
    """Give every word its most frequent tag in training; a word never seen is outside of all entities."""

    mib = 0.0

    def __init__(self, task: Task, train: Dataset) -> None:
        recipe = task.recipe
        assert isinstance(recipe, TokenClassificationRecipe)
        self.column = recipe.tokens_column
        tags = _tags(train, recipe.tags_column)
        self.tag_of, self.otherwise = most_frequent_tags(column_values(train, self.column), tags)
        self.parameters = len(self.tag_of)

    def answers(self, rows: Dataset) -> Answers:
        """Answer word by word."""
        sentences = column_values(rows, self.column)
        return Answers([[self.tag_of.get(word, self.otherwise) for word in words] for words in sentences], [])


def most_frequent_tags(sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> tuple[dict[str, str], str]:
    """Return each word's most frequent tag, and the tag for other words: O, or the most frequent where O is no tag."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, its_tags in zip(sentences, tags, strict=True):
        for word, tag in zip(words, its_tags, strict=True):
            counts[word][tag] += 1
    every = sum(counts.values(), Counter[str]())
    otherwise = OUTSIDE if OUTSIDE in every or not every else every.most_common(1)[0][0]
    return {word: count.most_common(1)[0][0] for word, count in counts.items()}, otherwise


class TfidfLogisticRegression:
    """Weigh words and pairs of words by TF-IDF and fit a linear model; each text of a pair has its own vocabulary."""

    def __init__(self, task: Task, train: Dataset) -> None:
        self.task, self.is_number = task, _is_number(task)
        self.vectorizers = {
            column: TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True) for column in task.text_columns()
        }
        columns = [one.fit_transform(column_values(train, column)) for column, one in self.vectorizers.items()]
        problem = task.problem  # type: ignore[attr-defined]
        targets = problem.comparable(golds_of(task, train))
        self.model = _linear_model(task).fit(hstack(columns, format="csr"), np.asarray(targets))
        fitted = getattr(self.model, "estimators_", [self.model])
        weights = [array for one in fitted if hasattr(one, "coef_") for array in (one.coef_, one.intercept_)]
        self.parameters = sum(int(np.size(array)) for array in weights)
        self.mib = sum(np.asarray(array).nbytes for array in weights) / 2**20

    def answers(self, rows: Dataset) -> Answers:
        """Answer every row, with the probability of each label."""
        features = self._features(rows)
        if self.is_number:
            return Answers([float(value) for value in self.model.predict(features)], [])
        problem = self.task.problem  # type: ignore[attr-defined]
        shares = np.zeros((features.shape[0], len(problem.labels)))
        # A label that no training row has is in no column that the model knows.
        shares[:, self.model.classes_] = self.model.predict_proba(features)
        guesses = [problem.answer(row) for row in shares]
        return Answers(guesses, [dict(zip(problem.labels, map(float, row), strict=True)) for row in shares])

    def _features(self, rows: Dataset) -> spmatrix:
        return hstack(
            [one.transform(column_values(rows, column)) for column, one in self.vectorizers.items()], format="csr"
        )


def _linear_model(task: Task) -> Any:
    recipe = task.recipe
    assert isinstance(recipe, TextClassificationRecipe)
    if recipe.problem_type == "regression":
        return Ridge()
    classifier = LogisticRegression(max_iter=1000)
    return classifier if recipe.problem_type == "single_label_classification" else OneVsRestClassifier(classifier)


def _is_number(task: Task) -> bool:
    return isinstance(task.recipe, TextClassificationRecipe) and task.recipe.problem_type == "regression"


def _tags(rows: Dataset, column: str) -> list[list[str]]:
    names = name_labels(rows, column)
    return [[names[tag] for tag in tags] for tags in column_values(rows, column)]


def _hashable(gold: Any) -> Any:
    return tuple(gold) if isinstance(gold, list) else gold


BASELINES: dict[tuple[str, str], type] = {
    ("text_classification", "majority"): Majority,
    ("text_classification", "tfidf_logistic_regression"): TfidfLogisticRegression,
    ("token_classification", "majority"): MajorityTags,
}
