"""CSV has the columns of its first row, and loses none of a later one without a word."""

from __future__ import annotations

import io

import pytest

from hf_fft.errors import DataError
from hf_fft.prediction import line_writer


def write(lines, out):
    with line_writer(str(out), io.StringIO()) as told:
        for line in lines:
            told(line)


def test_a_row_with_a_column_that_the_first_has_not_is_refused_in_csv(tmp_path):
    lines = [{"row": 0, "guess": "a", "inputs": {"x": 1}}, {"row": 1, "guess": "b", "inputs": {"x": 1, "y": 2}}]
    with pytest.raises(DataError, match=r"row 2 .* has inputs\.y.*\.jsonl"):
        write(lines, tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())
    write(lines, tmp_path / "out.jsonl")
    write([*lines[:1], {**lines[1], "inputs": {"y": None}}], tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == ["row,guess,inputs.x", "0,a,1", "1,b,"]
