"""Good sources: every format, compression and way to name splits; and the Hub, as far as it can be asked offline."""

from __future__ import annotations

import bz2
import gzip
import os

import datasets
import pytest
from data_case import json_lines, recipe, splits_of, write
from datasets import Dataset
from datasets.exceptions import DatasetNotFoundError

from hf_fft.data import read_source
from hf_fft.errors import DataError

ROWS = [{"text": "good", "label": "yes"}, {"text": "bad", "label": "no"}]
CSV = "text,label\ngood,yes\nbad,no\n"
FORMATS = {
    "train.csv": CSV.encode(),
    "train.csv.gz": gzip.compress(CSV.encode()),
    "train.csv.bz2": bz2.compress(CSV.encode()),
    "train.tsv": CSV.replace(",", "\t").encode(),
    "train.jsonl": json_lines(ROWS).encode(),
    "train.ndjson.gz": gzip.compress(json_lines(ROWS).encode()),
    "bracket[1]*.jsonl": json_lines(ROWS).encode(),
    "lines.json": json_lines(ROWS).encode(),
    "array.json": ("[" + ",\n".join(json_lines(ROWS).splitlines()) + "]").encode(),
    "mark.csv": b"\xef\xbb\xbf" + CSV.encode(),
    "mark.jsonl": b"\xef\xbb\xbf" + json_lines(ROWS).encode(),
}


def read_rows(path, **values):
    return list(read_source(recipe(path, **values))["train"])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(name, tmp_path):
    assert read_rows(write(tmp_path, name, FORMATS[name])) == ROWS


def test_parquet_and_text(tmp_path):
    Dataset.from_list(ROWS).to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == ROWS
    assert read_rows(write(tmp_path, "a.txt", "one\ntwo\n")) == [{"text": "one"}, {"text": "two"}]


def test_format_and_options_overrule_the_extension(tmp_path):
    path = write(tmp_path, "a.dat", "text;label\ncafé;yes\n".encode("latin-1"))
    rows = read_rows(path, format="csv", options={"delimiter": ";", "encoding": "latin-1"})
    assert rows == [{"text": "café", "label": "yes"}]


def test_rows_under_a_field(tmp_path):
    path = write(tmp_path, "a.json", '{"version": 1, "data": [{"text": "a"}, {"text": "b"}]}')
    assert read_rows(path, options={"field": "data"}) == [{"text": "a"}, {"text": "b"}]


def test_words_for_nothing_stay_words_and_cells_stay_text(tmp_path):
    words = ["NA", "null", "None", "nan", "", "007", "1.0", "True"]
    rows = read_rows(write(tmp_path, "a.csv", "text,label\n" + "".join(f"{word},1\n" for word in words)))
    assert [row["text"] for row in rows] == words


def test_a_late_word_does_not_change_the_type_of_a_long_column(tmp_path):
    content = "text,label\n" + "some words,1\n" * 60_000 + "last,x\n"
    rows = read_source(recipe(write(tmp_path, "a.csv", content)))["train"]
    assert (len(rows), rows[0]["label"], rows[-1]["label"]) == (60_001, "1", "x")


def test_a_file_without_header_with_a_cell_of_two_lines(tmp_path):
    path = write(tmp_path, "a.tsv", '"one\ntwo"\tyes\nthree\tno\n')
    rows = read_rows(path, options={"column_names": ["text", "label"]})
    assert rows == [{"text": "one\ntwo", "label": "yes"}, {"text": "three", "label": "no"}]


def test_quotes_that_mean_nothing(tmp_path):
    path = write(tmp_path, "a.tsv", 'text\tlabel\n"open\tyes\n')
    assert read_rows(path, options={"quoting": 3}) == [{"text": '"open', "label": "yes"}]


def test_a_very_long_cell_and_an_index_column(tmp_path):
    path = write(tmp_path, "a.csv", ",text\n0," + "x" * 300_000 + "\n")
    row = read_rows(path)[0]
    assert (row["Unnamed: 0"], len(row["text"])) == ("0", 300_000)


def test_unusual_options_are_read_unchecked_with_a_warning(tmp_path, caplog):
    path = write(tmp_path, "a.csv", "text,label\ngood,yes\n# note\n")
    assert read_rows(path, options={"comment": "#"}) == ROWS[:1]
    assert "not checked" in caplog.text


def test_names_in_a_folder_say_the_split(tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("train-1.jsonl", "train-2.jsonl", "my_dev_set.jsonl", "TEST.v2.jsonl", "unsup.jsonl", "retrain.md"):
        write(tmp_path, name, json_lines([{"text": name}]))
    found = {split: [row["text"] for row in rows] for split, rows in read_source(recipe(tmp_path)).items()}
    assert found == {
        "train": ["train-1.jsonl", "train-2.jsonl"],
        "validation": ["my_dev_set.jsonl"],
        "test": ["TEST.v2.jsonl"],
    }
    assert "retrain.md, unsup.jsonl" in caplog.text


def test_a_recipe_names_the_file_of_each_split(tmp_path):
    for name in ("a.jsonl", "train.jsonl"):
        write(tmp_path, name, json_lines([{"text": name}]))
    found = read_source(recipe(tmp_path, splits={"train": "a.jsonl", "test": "train.jsonl"}))
    assert {split: rows[0]["text"] for split, rows in found.items()} == {"train": "a.jsonl", "test": "train.jsonl"}


def test_a_rewritten_file_is_read_anew_even_with_the_same_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path = write(tmp_path, "train.csv.gz", gzip.compress(b"text\none\n", mtime=0))
    before = path.stat()
    assert read_rows(path) == [{"text": "one"}]
    write(tmp_path, "train.csv.gz", gzip.compress(b"text\ntwo\n", mtime=0))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert read_rows(path) == [{"text": "two"}]
    assert not (tmp_path / "cache").exists()


def hub(monkeypatch, answer):
    def load_dataset(path, **_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    load_dataset.__signature__ = __import__("inspect").signature(datasets.load_dataset)
    monkeypatch.setattr("hf_fft.data.hub.load_dataset", load_dataset)


HUB_FAULTS = {
    "missing": (DatasetNotFoundError("Dataset 'a/b' doesn't exist on the Hub"), ["not found", "spelling", "wheel:"]),
    "script": (
        RuntimeError("Dataset scripts are no longer supported, but found b.py"),
        ["never run", "convert/parquet"],
    ),
    "offline": (ConnectionError("Couldn't reach 'a/b' on the Hub"), ["not in the cache", "HF_HUB_OFFLINE", "wheel:"]),
    "configuration": (ValueError("Config name is missing.\nPlease pick one: ['x']"), ["['x']", "data.config_name"]),
    "other": (ValueError("Odd"), ["cannot be loaded: Odd"]),
}


@pytest.mark.parametrize("case", HUB_FAULTS)
def test_what_fails_on_the_hub_comes_back_in_words(case, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    error, words = HUB_FAULTS[case]
    hub(monkeypatch, error)
    with pytest.raises(DataError) as caught:
        read_source(recipe("a/b"))
    for word in words:
        assert word in str(caught.value)


def test_the_real_hub_is_not_reached_offline(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    with pytest.raises(DataError, match="as a Hub name it is not in the cache, and HF_HUB_OFFLINE keeps from the Hub"):
        read_source(recipe("hf-fft-tests/nowhere"))


def test_splits_of_the_hub(monkeypatch, tmp_path, caplog):
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    hub(monkeypatch, splits_of(train={"a": [1]}, dev={"a": [2]}, unsupervised={"a": [3]}))
    assert set(read_source(recipe("a/b"))) == {"train", "validation"}
    assert "unsupervised" in caplog.text
    named = read_source(recipe("a/b", splits={"train": "dev", "test": "unsupervised"}))
    assert {split: rows[0]["a"] for split, rows in named.items()} == {"train": 2, "test": 3}
    with pytest.raises(DataError, match='no split "unsupervized"; did you mean "unsupervised"'):
        read_source(recipe("a/b", splits={"train": "unsupervized"}))
    with pytest.raises(DataError, match="names no train split"):
        read_source(recipe("a/b", splits={"test": "dev"}))
    with pytest.raises(DataError, match=r"data.options.token cannot be set"):
        read_source(recipe("a/b", options={"token": "x"}))
