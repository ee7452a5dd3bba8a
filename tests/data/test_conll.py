"""CoNLL column files: what counts as a column, a sentence, a comment; and what is refused, with the line."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pytest
from data_case import recipe, write

from hf_fft.data import load_splits, read_source
from hf_fft.errors import DataError
from hf_fft.tasks import TokenClassification

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "conll2003"
needs_real_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"real data are not at {SHARED}")
NAMED = {"train": "eng.train", "validation": "eng.testa", "test": "eng.testb"}
TWO = "Ada B-PER\nleft O\n\nOslo B-LOC\n"
ROWS = {"tokens": [["Ada", "left"], ["Oslo"]], "tags": [["B-PER", "O"], ["B-LOC"]]}


def read(folder, content, name="train.conll", **values):
    return read_source(recipe(write(folder, name, content), **values))["train"].to_dict()


@pytest.mark.parametrize(
    "content",
    [
        TWO,
        TWO.replace(" ", "\t"),
        TWO.replace(" ", "   "),
        TWO.replace("\n", "\r\n"),
        "\n\n" + TWO + "\n\n",
        TWO.replace("\n\n", "\n \t\n"),
        TWO.replace(" ", " x y "),
        "-DOCSTART- -X- O O\n\n" + TWO + "\n-DOCSTART-\n",
        TWO.replace("\n\n", "\n-DOCSTART- O\n"),
        "# id = 1\n# text: Ada left\n" + TWO.replace("\n\n", "\n\n# id = 2\n"),
        "# sent_id = 1\n" + TWO.replace(" ", " x y "),
        "\ufeff" + TWO,
    ],
)
def test_the_word_is_the_first_column_and_the_tag_the_last(content, tmp_path):
    assert read(tmp_path, content) == ROWS


@pytest.mark.parametrize(("pack", "ending"), [(gzip.compress, ".gz"), (bz2.compress, ".bz2")])
def test_packed_files_are_unpacked(pack, ending, tmp_path):
    assert read(tmp_path, pack(TWO.encode()), name=f"train.conll{ending}") == ROWS


def test_a_format_named_in_the_recipe_needs_no_extension(tmp_path):
    assert read(tmp_path, TWO, name="eng.train", format="conll") == ROWS


def test_named_columns_are_lists_and_the_delimiter_may_be_any_text(tmp_path):
    options = {"column_names": ["number", "tokens", "tags"], "delimiter": "|"}
    found = read(tmp_path, "1|New York|B-LOC\n2| was |O\n", options=options)
    assert found == {"number": [["1", "2"]], "tokens": [["New York", "was"]], "tags": [["B-LOC", "O"]]}


def test_another_encoding(tmp_path):
    content = "Zürich B-LOC\n".encode("latin-1")
    assert read(tmp_path, content, options={"encoding": "latin-1"})["tokens"] == [["Zürich"]]
    with pytest.raises(DataError, match=r"train\.conll, line 1: byte 1 \(0xfc\) is not utf-8"):
        read(tmp_path, content)


def test_words_that_python_takes_for_white_space_or_line_ends_stay_words(tmp_path):
    odd = ["\xa0", "\u2028", "\x85", "a\u3000b"]
    content = "".join(f"{word} O\n" for word in odd)
    assert read(tmp_path, content)["tokens"] == [odd]


def test_a_hash_is_a_word_where_the_columns_say_so(tmp_path):
    assert read(tmp_path, "# O\n#win B-X\n\nand O\n# O\n")["tokens"] == [["#", "#win"], ["and", "#"]]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("a b O\nc O\n", {}, r'train\.conll, line 2: 2 columns where the first line of words has 3: "c O"'),
        ("a O\n# not a comment here\n", {}, r"line 2: 5 columns"),
        ("#tag O X\na O\n", {}, r"line 1: 3 columns where the first line of words has 2"),
        ("a\tO\n\tO\n", {}, r"line 2: column 1 is empty"),
        ("a\tO\nb\t\n", {}, r"line 2: column 2 is empty"),
        ("word\n", {}, r"has one column; .* to leave such a file out, name the others in data\.splits"),
        ("\n\n", {}, r"no words; at least one sentence"),
        ("", {}, r"is empty"),
        (TWO, {"column_names": ["tokens"]}, r"1 names \(tokens\), but .* has 2 columns"),
        (TWO, {"column_names": ["a", "a"]}, r"names a column twice"),
        (TWO, {"column_names": "tokens tags"}, r"column_names: a list of names is needed"),
        (TWO, {"delimiter": ""}, r"delimiter: a text such as"),
        (TWO, {"encoding": "utf-9"}, r"data\.options\.encoding: unknown encoding"),
        (TWO, {"delimeter": " "}, r'"delimeter" is not an option of the conll loader; did you mean "delimiter"\?'),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(content, options, words, tmp_path):
    with pytest.raises(DataError, match=words):
        read(tmp_path, content, options=options)


def test_files_of_one_split_are_read_one_behind_another(tmp_path):
    write(tmp_path, "train-1.conll", TWO)
    write(tmp_path, "train-2.conll", "Rome\tB-LOC\n")
    assert read_source(recipe(tmp_path))["train"]["tokens"] == [*ROWS["tokens"], ["Rome"]]


@needs_real_data
def test_conll_2003_has_the_published_sentences_and_entities():
    splits = load_splits(recipe(SHARED, format="conll", splits=NAMED), TokenClassification())
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 14_041, "validation": 3_250, "test": 3_453}
    names = splits.train.features["tags"].feature.names
    assert names == ["O", "B-LOC", "I-LOC", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER"]
    begins = {
        name: sum(names[tag].startswith("B-") for tags in rows["tags"] for tag in tags) for name, rows in splits.items()
    }
    assert begins == {"train": 23_499, "validation": 5_942, "test": 5_648}
