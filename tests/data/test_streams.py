"""Rows one by one: the cells that stand in the file, packed or not, and faults in words when the walk meets them."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools

import pytest

from hf_fft.data.streams import stream_input, stream_rows
from hf_fft.errors import DataError


def rows_of(path, named_format=None, **options):
    return list(stream_rows(path, named_format, options))


def said(text: str, named_format=None, **options):
    return list(stream_input(io.BytesIO(text.encode()), "standard input", named_format, options))


def test_cells_stay_the_text_that_they_are(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(b'\xef\xbb\xbfid,text\r\n007,"a, ""b""\nNA"\r\n\r\n2,null\r\n')
    assert rows_of(file) == [{"id": "007", "text": 'a, "b"\nNA'}, {"id": "2", "text": "null"}]
    file.write_text("1;zwei\n")
    assert rows_of(file, delimiter=";", column_names=["id", "text"]) == [{"id": "1", "text": "zwei"}]
    file.write_bytes("text\ncafé\n".encode("latin-1"))
    assert rows_of(file, encoding="latin-1") == [{"text": "café"}]


def test_a_row_comes_before_the_rest_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"b": [2]}\nbroken\n')
    walk = stream_rows(tmp_path / "a.jsonl", None, {})
    assert list(itertools.islice(walk, 2)) == [{"a": 1}, {"b": [2]}]
    with pytest.raises(DataError, match="line 3: broken JSON"):
        next(walk)


def test_standard_input_is_lines_of_text_or_of_json():
    assert said("a b\n\n c \n") == [{"text": "a b"}, {"text": ""}, {"text": " c "}]
    assert said('{"text": "a"}\n\n{"text": "b"}\n') == [{"text": "a"}, {"text": "b"}]
    assert said("[1, 2]\n") == [{"text": "[1, 2]"}] and said("") == []
    assert said("# sent_id = 3\nEU B-ORG\nfell O\n\n-DOCSTART- -X-\nA O\n", "conll") == [
        {"tokens": ["EU", "fell"], "tags": ["B-ORG", "O"]},
        {"tokens": ["A"], "tags": ["O"]},
    ]
    assert said("EU\nfell\n\nA\n", "conll") == [{"tokens": ["EU", "fell"]}, {"tokens": ["A"]}]


def test_what_cannot_be_read_is_said_in_words(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(b"not packed")
    (tmp_path / "b.csv.bz2").write_bytes(bz2.compress(b"text\na\n" * 1000)[:-9])
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"text\na\n" * 1000)[:-9])
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and no more")
    for name in ("a.csv.gz", "b.csv.bz2", "c.csv.gz", "d.parquet"):
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            rows_of(tmp_path / name)
    (tmp_path / "e.csv").write_bytes("text\ncafé\n".encode("latin-1"))
    faults = {
        "0xe9 is not utf-8": ("e.csv", {}),
        "unknown encoding": ("e.csv", {"encoding": "latin-one"}),
        '"delimeter" is not an option of csv files that are read row by row; did you mean "delimiter"': (
            "e.csv",
            {"delimeter": ";"},
        ),
        "a value that cannot be used": ("e.csv", {"encoding": "latin-1", "quotechar": "ab"}),
        "extension does not say the format": ("f", {}),
        "There is no file": ("g.csv", {}),
    }
    (tmp_path / "f").write_text("x")
    for fault, (name, options) in faults.items():
        with pytest.raises(DataError, match=fault):
            rows_of(tmp_path / name, **options)
    with pytest.raises(DataError, match=r'There is no file .*/h\.cvs; did you mean "h\.csv"\? Correct the path\.'):
        (tmp_path / "h.csv").touch()
        rows_of(tmp_path / "h.cvs")
    (tmp_path / "h.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match="line 3: 1 cell, but the header has 2"):
        rows_of(tmp_path / "h.csv")
    with pytest.raises(DataError, match="begins at its end"):
        said("x", "parquet")
