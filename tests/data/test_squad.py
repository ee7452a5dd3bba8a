"""Nested SQuAD JSON becomes rows, or is refused with its place; answers are where they say, or are looked up."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

import pytest
from data_case import recipe, splits_of, write

from hf_fft.data import load_splits, read_source
from hf_fft.data.answers import answer_lists, place_in_context, refuse_lost_answers
from hf_fft.errors import DataError
from hf_fft.tasks import QuestionAnswering

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"real data are not at {SHARED}")

ANSWERABLE = {"id": "q1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}], "is_impossible": False}
UNANSWERABLE = {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": []}
NESTED = {
    "version": "v2.0",
    "data": [
        {"title": "Music", "paragraphs": [{"context": "Ada plays.", "qas": [ANSWERABLE, UNANSWERABLE]}]},
        {"title": "Sleep", "paragraphs": [{"context": "Ben – snores.", "qas": [{**ANSWERABLE, "id": "q3"}]}]},
    ],
}
NESTED["data"][1]["paragraphs"][0]["qas"][0]["answers"] = [
    {"text": "snores", "answer_start": 6},
    {"text": "Ben", "answer_start": 0},
]
ROWS = [
    {
        "id": "q1",
        "title": "Music",
        "context": "Ada plays.",
        "question": "Who?",
        "answers": {"text": ["Ada"], "answer_start": [0]},
    },
    {
        "id": "q2",
        "title": "Music",
        "context": "Ada plays.",
        "question": "Why?",
        "answers": {"text": [], "answer_start": []},
    },
    {
        "id": "q3",
        "title": "Sleep",
        "context": "Ben – snores.",
        "question": "Who?",
        "answers": {"text": ["snores", "Ben"], "answer_start": [6, 0]},
    },
]


@pytest.mark.parametrize(
    ("name", "packed", "values"),
    [
        ("train.json", False, {}),
        ("train.json.gz", True, {}),
        ("train.json", False, {"format": "squad"}),
        ("articles.dat", False, {"format": "squad"}),
    ],
)
def test_nested_json_becomes_rows(name, packed, values, tmp_path):
    content = json.dumps(NESTED).encode()
    write(tmp_path, name, gzip.compress(content) if packed else content)
    rows = read_source(recipe(tmp_path / name, **values))["train"]
    assert [{**row} for row in rows] == ROWS
    assert rows.column_names == ["id", "title", "context", "question", "answers"]


def test_version_1_has_neither_is_impossible_nor_always_a_title(tmp_path):
    nested = copy.deepcopy(NESTED)
    del nested["data"][0]["title"]
    for article in nested["data"]:
        for question in article["paragraphs"][0]["qas"]:
            question.pop("is_impossible")
    rows = read_source(recipe(write(tmp_path, "train.json", json.dumps(nested))))["train"]
    assert rows["title"][:] == ["", "", "Sleep"] and rows["answers"][1] == ROWS[1]["answers"]


def test_files_of_a_split_follow_one_another_and_another_folder_may_hold_the_test(tmp_path):
    write(tmp_path, "here/train_1.json", json.dumps({"data": NESTED["data"][:1]}))
    write(tmp_path, "here/train_2.json", json.dumps({"data": NESTED["data"][1:]}))
    assert [row["id"] for row in read_source(recipe(tmp_path / "here"))["train"]] == ["q1", "q2", "q3"]
    write(tmp_path, "there/new.json", json.dumps(NESTED))
    found = read_source(recipe(tmp_path / "here", splits={"train": "train_1.json", "test": "../there/new.json"}))
    assert {name: len(rows) for name, rows in found.items()} == {"train": 2, "test": 3}


def changed(path, value):
    """Return the nested file with the value at a path of keys changed, or gone where the value is ..."""
    nested = copy.deepcopy(NESTED)
    *way, last = path
    place = nested
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return nested


PARAGRAPH = ("data", 0, "paragraphs", 0)
QUESTION = (*PARAGRAPH, "qas", 0)
MALFORMED = {
    "no paragraphs": (("data", 0, "paragraphs"), ..., ['article 1 ("Music") has no "paragraphs"', "It has title"]),
    "an article that is a text": (("data", 1), "Sleep", ["article 2: an object is needed; found a text"]),
    "no context": ((*PARAGRAPH, "context"), ..., ['article 1 ("Music"), paragraph 1 has no "context"']),
    "questions under a typing error": ((*PARAGRAPH, "qas"), {}, ['paragraph 1: "qas" should be a list; found an ob']),
    "no id": ((*QUESTION, "id"), ..., ['paragraph 1, question 1 has no "id"']),
    "a number for an id": ((*QUESTION, "id"), 7, ['question 1: "id" should be a text; found a whole number']),
    "null for a question": ((*QUESTION, "question"), None, ['question 1 (id "q1")', "found null"]),
    "no answers": ((*QUESTION, "answers"), ..., ['question 1 (id "q1") has no "answers"']),
    "an answer that is a text": ((*QUESTION, "answers", 0), "Ada", ['(id "q1"), answer 1: an object is needed']),
    "an answer without a start": ((*QUESTION, "answers", 0, "answer_start"), ..., ['answer 1 has no "answer_start"']),
    "a start with a fraction": ((*QUESTION, "answers", 0, "answer_start"), 0.5, ["whole number; found the number 0.5"]),
    "a start that is true": ((*QUESTION, "answers", 0, "answer_start"), True, ["whole number; found true or false"]),
    "a start beyond all texts": ((*QUESTION, "answers", 0, "answer_start"), 2**40, ["should be a whole number"]),
    "impossible, with an answer": (
        (*QUESTION, "is_impossible"),
        True,
        ["is_impossible is true, but there are answers"],
    ),
    "possible, without one": ((*PARAGRAPH, "qas", 1, "is_impossible"), False, ['(id "q2")', "but there is no answer"]),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_file_is_refused_with_its_place(fault, tmp_path):
    path, value, words = MALFORMED[fault]
    file = write(tmp_path, "train.json", json.dumps(changed(path, value)))
    with pytest.raises(DataError) as caught:
        read_source(recipe(file))
    assert str(file) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "values", "words"),
    [
        ('{"data": [{"paragraphs": [', {"format": "squad"}, "broken JSON"),
        ('{"data": [], "data": []}', {"format": "squad"}, "data"),
        ("[1]", {"format": "squad"}, 'one object with the key "data"; found a list'),
        ('{"data": []}', {"format": "squad"}, "no questions"),
        ('{"date": []}', {"format": "squad"}, 'no "data"; did you mean "date"'),
        (b'{"data": "\xff"}', {"format": "squad"}, "is not UTF-8"),
        (json.dumps(NESTED), {"format": "squad", "options": {"field": "data"}}, '"field" is not an option'),
    ],
)
def test_what_is_no_squad_file_is_refused(content, values, words, tmp_path):
    with pytest.raises(DataError, match=words):
        read_source(recipe(write(tmp_path, "train.json", content), **values))


def test_half_a_character_is_refused(tmp_path):
    nested = changed((*PARAGRAPH, "context"), "Ada \ud83d plays.")
    with pytest.raises(DataError, match=r"\\ud83d is half a character"):
        read_source(recipe(write(tmp_path, "train.json", json.dumps(nested))))


def test_an_object_with_other_data_is_not_taken_for_squad(tmp_path):
    path = write(tmp_path, "train.json", '{"data": [{"text": "the \\"paragraphs\\" of a law"}]}')
    assert read_source(recipe(path, options={"field": "data"}))["train"]["text"][:] == ['the "paragraphs" of a law']


def test_answers_may_be_a_record_of_lists_or_a_list_of_records():
    lists = splits_of(train={"answers": [{"text": ["a"], "answer_start": [3]}, {"text": [], "answer_start": []}]})
    records = splits_of(train={"answers": [[{"text": "a", "answer_start": 3}], []]})
    typed = [answer_lists(splits, "answers")["train"] for splits in (lists, records)]
    assert typed[0].features == typed[1].features
    assert typed[0]["answers"][:] == typed[1]["answers"][:] == lists["train"]["answers"][:]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([["Ada"], ["Ben"]], "no answers as SQuAD has them"),
        (["Ada", "Ben"], "no answers as SQuAD has them, such as 'Ada'"),
        ([None, {"text": ["a"], "answer_start": [0]}], "1 row of train has no answers"),
        ([{"text": ["a", "b"], "answer_start": [0]}], "no answers as SQuAD has them"),
        (
            [{"text": ["a"], "answer_start": [0.5]}],
            "no answers as SQuAD has them, such as text 'a', answer_start '0.5'",
        ),
        ([{"text": [" "], "answer_start": [0]}], "an empty answer"),
    ],
)
def test_other_answers_are_refused(values, words):
    with pytest.raises(DataError, match=words):
        answer_lists(splits_of(train={"answers": values}), "answers")


@pytest.mark.parametrize(
    ("text", "start", "place"),
    [("owl", 4, 4), ("owl", 3, 4), ("owl", -1, 4), ("owl", 99, 4), ("the", 0, 0), ("the", 1, None), ("cat", 0, None)],
)
def test_an_answer_is_looked_up_where_it_stands_once(text, start, place):
    assert place_in_context(text, "the owl and the fox", start) == place


def test_answers_without_a_place_are_named():
    answers = [{"text": ["owl"], "answer_start": [2]}, {"text": ["an", "cat"], "answer_start": [0, 5]}]
    with pytest.raises(DataError) as caught:
        refuse_lost_answers(["an owl", "an owl, an elk"], answers, ["q1", "q2"], split="test")
    assert "1 answer of test cannot be placed" in str(caught.value) and 'q2 ("cat" at 5)' in str(caught.value)


@needs_real_data
def test_squad_1_has_the_known_questions_also_from_another_folder():
    splits = {"train": "train_articles.json", "validation": "dev_articles.json", "test": "../xquad_en/xquad.en.json"}
    found = load_splits(recipe(SHARED / "squad_v1_subset", splits=splits), QuestionAnswering())
    assert {name: len(rows) for name, rows in found.items()} == {"train": 3939, "validation": 700, "test": 1190}
    assert all(answers["text"] for _, rows in found.items() for answers in rows["answers"])


@needs_real_data
def test_squad_2_has_the_known_questions_and_is_held_out_by_article():
    data = recipe(SHARED / "squad2_dev" / "dev-v2.0.json", group_column="title", test_fraction=0.1)
    found = load_splits(data, QuestionAnswering())
    assert sum(len(rows) for _, rows in found.items()) == 6078
    assert sum(bool(answers["text"]) for _, rows in found.items() for answers in rows["answers"]) == 2910
    titles = [set(rows["title"]) for _, rows in found.items()]
    assert not set.intersection(*titles) and len(set.union(*titles)) == sum(map(len, titles)) == 16
