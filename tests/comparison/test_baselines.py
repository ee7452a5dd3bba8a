"""What costs nothing: answers, scores and costs of the baselines, by the task's own score."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from hf_fft.comparison import baselines
from hf_fft.comparison.baseline_models import most_frequent_tags
from hf_fft.data import load_splits
from hf_fft.recipe import recipe_from
from hf_fft.result import load_result, read_predictions
from hf_fft.tasks import TASKS, load_tokenizer, task_for


def scored(name, values):
    recipe = recipe_from(values)
    task = task_for(recipe.task)
    splits = load_splits(recipe.data, task)
    task = task.fitted(splits, load_tokenizer(recipe.model))
    result, predictions = baselines.scored_baseline(name, recipe, task, splits)
    return result, [one for one in predictions if one.split == "test"], splits, task


@pytest.fixture
def labelled(recipe_values, tmp_path):
    """Write rows with a task of one's own, and return the recipe's values."""

    def labelled(rows, **task):
        for name, some in (("train", rows), ("validation", rows[:8]), ("test", rows[:10])):
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        return {**recipe_values, "task": {**recipe_values["task"], **task}, "data": {"path": str(tmp_path)}}

    return labelled


def test_the_majority_is_the_most_frequent_label_and_its_score_the_share(recipe_values):
    result, predictions, splits, _ = scored("majority", recipe_values)
    names = splits.train.features["label"].names
    (most, count), *_ = Counter(splits.train["label"]).most_common()
    assert {one.guess for one in predictions} == {names[most]}
    assert predictions[0].scores[names[most]] == count / len(splits.train)
    assert result.metrics["test"]["accuracy"] == splits.test["label"].count(most) / len(splits.test)
    assert (result.cost.trainable_parameters, result.primary_metric.name) == (0, "accuracy")
    assert set(result.metrics) == {"validation", "test"}


def test_tfidf_is_scikit_learns(recipe_values):
    result, predictions, splits, _ = scored("tfidf_logistic_regression", recipe_values)
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000)
    ).fit(splits.train["text"], splits.train["label"])
    names = splits.train.features["label"].names
    assert [one.guess for one in predictions] == [names[label] for label in model.predict(list(splits.test["text"]))]
    shares = np.array([list(one.scores.values()) for one in predictions])
    np.testing.assert_allclose(shares, model.predict_proba(list(splits.test["text"])), atol=1e-6)
    assert result.metrics["test"]["accuracy"] > 0.6
    assert result.cost.predictions_per_second > 0 and result.cost.trainable_parameters > 50
    assert result.data["splits"]["train"]["rows"] == 64


def test_several_labels_and_pairs_have_both_baselines(labelled):
    rows = [
        {"text": "good" if row % 2 else "poor", "other": "day" if row % 3 else "night", "label": labels}
        for row in range(30)
        for labels in [["a"] * (row % 2) + ["b"] * (row % 3 == 0)]
    ]
    values = labelled(rows, problem_type="multi_label_classification", text_pair_column="other")
    _, predictions, _, _ = scored("majority", values)
    most = Counter(map(tuple, (row["label"] for row in rows))).most_common(1)[0][0]
    assert {tuple(one.guess) for one in predictions} == {most}
    result, predictions, _, _ = scored("tfidf_logistic_regression", values)
    # The second text alone decides "b": a model of the first would miss it.
    assert result.metrics["test"]["exact_match"] == 1.0 and predictions[0].gold == ["b"]


def test_numbers_have_their_mean_and_a_linear_model(labelled):
    rows = [{"text": "good" if row % 2 else "poor", "label": float(row % 2) * 2 + row / 100} for row in range(30)]
    values = labelled(rows, problem_type="regression")
    result, predictions, _, _ = scored("majority", values)
    mean = np.mean([row["label"] for row in rows])
    assert [one.guess for one in predictions] == pytest.approx([mean] * 10, abs=1e-6)
    assert result.metrics["test"]["pearson"] is None and result.metrics["test"]["rmse"] > 0
    result, predictions, _, _ = scored("tfidf_logistic_regression", values)
    assert result.metrics["test"]["pearson"] > 0.9 and predictions[0].scores == {}


def test_a_word_has_its_most_frequent_tag_and_a_new_one_is_outside():
    words = [["Paris", "is", "Paris"], ["Paris", "sleeps"]]
    tags = [["B-LOC", "O", "B-PER"], ["B-LOC", "O"]]
    assert most_frequent_tags(words, tags) == ({"Paris": "B-LOC", "is": "O", "sleeps": "O"}, "O")
    assert most_frequent_tags([["a", "b", "c"]], [["N", "V", "N"]])[1] == "N"


@pytest.mark.skipif("token_classification" not in TASKS, reason="the task token_classification is not here yet")
def test_tags_are_scored_by_the_task(labelled):
    rows = [{"tokens": ["the", "film", "five"], "tags": ["O", "B-X", "I-X"]} for _ in range(12)]
    values = labelled(rows)
    values["task"] = {"name": "token_classification", "max_length": 32}
    result, predictions, _, _ = scored("majority", values)
    assert result.metrics["test"]["f1"] == 1.0 and predictions[0].guess == ["O", "B-X", "I-X"]


def test_a_request_is_computed_into_run_folders_once_and_a_failure_is_a_result(recipe_values, labelled, tmp_path):
    recipe = recipe_from(recipe_values).with_values({"data.group_column": "label"})
    hopeless = recipe_from(labelled([{"text": "?", "label": "ab"[row % 2]} for row in range(10)]))
    wishes = [
        {"name": name, "recipe": one.model_dump(mode="json", by_alias=True), "folder": str(tmp_path / folder)}
        for name, one, folder in [
            ("majority", recipe, "runs/one"),
            ("tfidf_logistic_regression", hopeless, "runs/two"),
        ]
    ]
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"baselines": wishes}))
    assert baselines.main([str(request)]) == 0
    assert load_result(tmp_path / "runs/one").status == "finished"
    assert {one.group for one in read_predictions(tmp_path / "runs/one")} == {0, 1}
    assert "empty vocabulary" in load_result(tmp_path / "runs/two").error
    before = (tmp_path / "runs/one/result.json").stat().st_mtime_ns
    assert baselines.main([str(request)]) == 0
    assert (tmp_path / "runs/one/result.json").stat().st_mtime_ns == before
