"""Files that cannot be read as they are, and the words that refuse them: never a shift, never a silent null."""

from __future__ import annotations

import gzip

import pytest
from data_case import json_lines, recipe, write

from hf_fft.data import read_source
from hf_fft.errors import DataError

ROW = '{"text": "good", "label": 1}\n'
BAD_FILES = {
    "surplus cell": ("a.csv", "text,label\ngood,1\nbad, really,0\n", {}, ["a.csv, line 3", "3 cells", "has 2"]),
    "missing cell": ("a.csv", "text,label\n\ngood,1\nbad\n", {}, ["a.csv, line 4", "1 cell,", "(text, label)"]),
    "cells beyond the header": ("a.csv", "text,label\na,1,9\nb,0,8\n", {}, ["line 2", "3 cells"]),
    "ragged after a cell of two lines": ("a.csv", 'text,label\n"a\nb",1\nc\n', {}, ["line 4"]),
    "ragged tsv": ("a.tsv", "text\tlabel\na\tb\tc\n", {}, ["line 2", "3 cells"]),
    "column_names too few": ("a.tsv", "a\tb\n", {"column_names": ["text"]}, ["line 1", "column_names has 1"]),
    "column_names over a header": (
        "a.tsv",
        "text\tlabel\na\tb\n",
        {"column_names": ["text", "label"]},
        ["first record is just these names", "Remove column_names"],
    ),
    "unclosed quote": ("a.csv", 'text,label\n"good,1\nbad,0\n', {}, ["line 2", "never closed", "quoting to 3"]),
    "text behind a quote": ("a.csv", 'text,label\n"He" said,1\n', {}, ["line 2", "double quotes inside"]),
    "column twice": ("a.csv", "text,text\na,b\n", {}, ["named twice: text"]),
    "empty": ("a.csv", "", {}, ["a.csv is empty"]),
    "empty packed": ("a.jsonl.gz", gzip.compress(b""), {}, ["a.jsonl.gz is empty"]),
    "only white space": ("a.csv", "\n\n", {}, ["is empty"]),
    "header only": ("a.csv", "text,label\n", {}, ["header (text, label) but no records"]),
    "latin-1": ("a.csv", "text,label\nok,1\ncafé,0\n".encode("latin-1"), {}, ["line 3", "0xe9", "options.encoding"]),
    "latin-1 json": ("a.jsonl", b'{"text": "caf\xe9"}\n', {}, ["line 1", "0xe9", "options.encoding"]),
    "latin-1 text": ("a.txt", b"ok\ncaf\xe9\n", {}, ["line 2", "options.encoding"]),
    "unknown encoding": ("a.csv", "a,b\n1,2\n", {"encoding": "utf-88"}, ["utf-88", "options.encoding"]),
    "unknown option": ("a.csv", "a,b\n1,2\n", {"delimeter": ";"}, ['"delimeter" is not', 'did you mean "delimiter"']),
    "option of the wrong type": ("a.csv", "a,b\n1,2\n", {"quoting": "none"}, ["csv loader cannot use"]),
    "broken json line": ("a.jsonl", ROW + '{"text": "b", "la\n', {}, ["a.jsonl, line 2", "broken JSON"]),
    "json line is a list": ("a.jsonl", ROW + "[1, 2]\n", {}, ["line 2", "a row is an object", "[1, 2]"]),
    "key lacking": ("a.jsonl", ROW + '{"text": "bad"}\n', {}, ['line 2 lacks "label"', "line 1 has"]),
    "key surplus": ("a.jsonl", ROW + '{"text": "b", "label": 0, "x": 1}\n', {}, ['line 1 lacks "x"', "line 2 has"]),
    "key twice": ("a.jsonl", '{"text": "a", "text": "b"}\n', {}, ["line 1", '"text" stands twice']),
    "lone surrogate": ("a.jsonl", '{"text": "\\ud800"}\n', {}, ["cannot be read", "surrogate"]),
    "broken array": ("a.json", '[{"text": "a"},\n{"text": ]', {}, ["broken JSON at line 2"]),
    "array lacks key": ("a.json", '[{"a": 1, "b": 2}, {"a": 1}]', {}, ['row 2 lacks "b"']),
    "one object": ("a.json", '{"data": [{"text": "a"}]}', {}, ["one object, not rows", "data.options.field"]),
    "wrong field": ("a.json", '{"rows": [{"a": 1}]}', {"field": "row"}, ['no key "row"', 'did you mean "rows"']),
    "not parquet": ("a.parquet", b"junk", {}, ["a.parquet", "cannot be read as parquet"]),
    "not gzip": ("a.csv.gz", b"text,label\na,b\n", {}, ["cannot be unpacked"]),
    "cut gzip": ("a.csv.gz", gzip.compress(b"text,label\na,b\n" * 99)[:-9], {}, ["cannot be unpacked"]),
    "not bz2": ("a.csv.bz2", b"text", {}, ["cannot be unpacked"]),
    "unknown extension": ("a.xlsx", b"PK", {}, ["extension does not say the format", "data.format"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_in_words(case, tmp_path):
    name, content, options, words = BAD_FILES[case]
    path = write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        read_source(recipe(path, options=options))
    for word in words:
        assert word in str(caught.value)


TWO = json_lines([{"text": "a", "label": "x"}])
BAD_FOLDERS = {
    "no train": ({"test.jsonl": TWO, "notes.txt": "x"}, {}, ["no training data", "notes.txt, test.jsonl"]),
    "two formats": ({"train.jsonl": TWO, "train.csv": "a,b\n1,2\n"}, {}, ["different formats", "csv, jsonl"]),
    "packed twice": ({"train.csv": "a\n1\n", "train.csv.gz": "x"}, {}, ["packed and unpacked"]),
    "two splits in a name": ({"train_test.jsonl": TWO}, {}, ["says test, train at once"]),
    "named file missing": (
        {"train.jsonl": TWO, "dev.jsonl": TWO},
        {"splits": {"train": "train.json"}},
        ['no file "train.json"', 'did you mean "train.jsonl"', "dev.jsonl"],
    ),
    "one file for two splits": (
        {"all.jsonl": TWO},
        {"splits": {"train": "all.jsonl", "test": "all.jsonl"}},
        ["one file to two splits"],
    ),
    "only test named": ({"t.jsonl": TWO}, {"splits": {"test": "t.jsonl"}}, ["no training data"]),
    "shards of different columns": (
        {"train-1.csv": "text,label\na,b\n", "train-2.csv": "label,text\nb,a\n"},
        {},
        ["different columns"],
    ),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_folder_is_refused_in_words(case, tmp_path):
    files, values, words = BAD_FOLDERS[case]
    for name, content in files.items():
        write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        read_source(recipe(tmp_path, **values))
    for word in words:
        assert word in str(caught.value)


def test_splits_of_a_single_file_are_refused(tmp_path):
    path = write(tmp_path, "all.jsonl", TWO)
    with pytest.raises(DataError, match=r"is one file. Name its folder"):
        read_source(recipe(path, splits={"train": "all.jsonl"}))


@pytest.mark.parametrize("path", ["no/such/file.csv", "./nothing", "csv", "a b", "data/file name.csv"])
def test_a_path_that_is_nowhere_is_refused_without_asking_the_hub(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hf_fft.data.hub.load_dataset", lambda *_, **__: pytest.fail("asked the Hub"))
    with pytest.raises(DataError, match="neither an existing file or folder nor a name on the Hub"):
        read_source(recipe(path))
