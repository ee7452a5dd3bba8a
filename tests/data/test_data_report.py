"""The report on data: counts that can be checked by hand, and what real data are known to hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_case import TwoColumns, recipe, splits_of

from hf_fft.data import DataReport, class_labels, data_report, label_counts, label_lists, load_splits

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"real data are not at {SHARED}")


def counted(splits):
    return {name: label_counts(rows, "label") for name, rows in splits.items()}


@pytest.fixture
def splits():
    return class_labels(
        splits_of(
            train={"text": ["One  two", "one two", "three", ""], "label": ["b", "a", "a", "a"]},
            test={"text": ["ONE TWO", "one\ntwo", "four"], "label": ["a", "b", "a"]},
        ),
        "label",
    )


def test_rows_labels_repeats_and_shared_texts(splits):
    report = data_report(splits, text_columns=["text"], label_counts=counted(splits))
    train, test = report.splits["train"], report.splits["test"]
    assert (train.rows, train.label_counts, train.duplicates, train.empty_texts) == (4, {"a": 3, "b": 1}, 1, 1)
    assert (test.rows, test.duplicates, test.empty_texts) == (3, 1, 0)
    assert (report.shared_rows, report.shared_texts) == ({"train/test": 2}, {"train/test": 1})


def test_token_lengths(splits):
    lengths = {"train": [1, 2, 3, 10]}
    report = data_report(splits, text_columns=["text"], label_counts={}, token_lengths=lengths, max_length=3)
    found = report.splits["train"].token_lengths
    assert (found.median, found.longest, found.share_truncated) == (2.5, 10, 0.25)
    assert report.splits["test"].token_lengths is None
    assert report.splits["train"].label_counts == {}


def test_both_texts_of_a_pair_count():
    splits = splits_of(train={"one": ["a", "a", "a"], "two": ["b", "c", "b"]})
    assert data_report(splits, text_columns=["one", "two"], label_counts={}).splits["train"].duplicates == 1


def test_labels_of_lists_are_counted_by_name():
    splits = label_lists(splits_of(train={"text": ["a", "b"], "label": [["x", "y"], ["x"]]}), "label")
    report = data_report(splits, text_columns=["text"], label_counts=counted(splits))
    assert report.splits["train"].label_counts == {"x": 2, "y": 1}


def test_the_report_survives_json_and_reads_as_lines(splits):
    report = data_report(
        splits,
        text_columns=["text"],
        label_counts=counted(splits),
        token_lengths={"train": [4, 5]},
        max_length=4,
    )
    assert DataReport.model_validate_json(report.model_dump_json()) == report
    assert report.lines() == [
        "train: 4 rows (a 3, b 1)",
        "  repeating the text of an earlier row: 1 row",
        "  with an empty text: 1 row",
        "  tokens: median 4, 95th percentile 5, longest 5; 50.0% of rows are longer than 4",
        "test: 3 rows (a 2, b 1)",
        "  repeating the text of an earlier row: 1 row",
        "in train and in test: 2 rows of test (different texts: 1); its scores may flatter",
    ]


@needs_real_data
def test_imdb_has_the_known_rows_and_shared_texts():
    splits = load_splits(recipe(SHARED / "imdb", validation_fraction=0.0), TwoColumns())
    report = data_report(splits, text_columns=["text"], label_counts=counted(splits))
    assert {name: part.label_counts for name, part in report.splits.items()} == {
        "train": {"0": 12_500, "1": 12_500},
        "test": {"0": 12_500, "1": 12_500},
    }
    assert (report.shared_rows, report.shared_texts) == ({"train/test": 123}, {"train/test": 123})


@needs_real_data
def test_ag_news_has_the_known_rows_and_shared_texts():
    options = {"column_names": ["text", "label"]}
    splits = load_splits(recipe(SHARED / "ag_news", options=options, validation_fraction=0.0), TwoColumns())
    report = data_report(splits, text_columns=["text"], label_counts=counted(splits))
    assert {name: part.rows for name, part in report.splits.items()} == {"train": 10_001, "test": 7_600}
    assert list(report.splits["test"].label_counts.values()) == [1_900] * 4
    assert (report.shared_rows, report.shared_texts) == ({"train/test": 9}, {"train/test": 8})
