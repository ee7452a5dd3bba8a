"""Columns and labels: what is accepted, what it becomes, and the words for what is not."""

from __future__ import annotations

import pytest
from data_case import splits_of
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from hf_fft.data import class_labels, label_columns, label_lists, numbers, require_columns, require_text
from hf_fft.errors import DataError


def hub_labels(names, **values):
    features = Features({"label": ClassLabel(names=names)})
    return DatasetDict({split: Dataset.from_dict({"label": ids}, features=features) for split, ids in values.items()})


def labelled(*train, **others):
    return splits_of(train={"label": list(train)}, **{name: {"label": values} for name, values in others.items()})


def ids_and_names(splits, split="train"):
    return list(splits[split]["label"]), splits[split].features["label"].names


def test_a_missing_column_is_named_with_what_there_is():
    with pytest.raises(DataError) as caught:
        require_columns(
            splits_of(train={"text": ["a"], "lable": ["b"]}),
            ["text", "label"],
            task="text_classification",
            hint="Set task.label_column.",
        )
    expected = (
        "text_classification needs the columns text, label; the data have text, lable; "
        'did you mean "lable"? Set task.label_column.'
    )
    assert str(caught.value) == expected


def test_a_column_missing_in_one_split_names_the_split():
    splits = splits_of(train={"text": ["a"], "label": ["b"]}, test={"text": ["a"]})
    with pytest.raises(DataError, match=r"the test split has text.*To leave test out"):
        require_columns(splits, ["label"], task="t", hint="")


BAD_TEXTS = {
    "null": (["a", None, "b", None], ["2 rows of train have no text (null): rows 2, 4"]),
    "all null": ([None, None], ["2 rows of train have no text"]),
    "numbers": ([1, 2], ["should hold text", "numbers (int64)"]),
    "floats": ([1.5, 2.5], ["numbers (float64)"]),
    "lists": ([["a"], ["b"]], ["it holds lists"]),
    "written numbers": (["1", "2.5"], ["every value in it is a number"]),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_bad_text_column_is_refused(case):
    values, words = BAD_TEXTS[case]
    with pytest.raises(DataError) as caught:
        require_text(splits_of(train={"text": values}), ["text"])
    for word in words:
        assert word in str(caught.value)


def test_good_texts_pass():
    require_text(splits_of(train={"text": ["a", "", "2"]}), ["text"])


GOOD_LABELS = {
    "texts are sorted": ((["b", "a", "b"], None), ([1, 0, 1], ["a", "b"])),
    "integers sort as numbers": (([10, 9, 2], None), ([2, 1, 0], ["2", "9", "10"])),
    "digits sort as numbers": ((["10", "9"], None), ([1, 0], ["9", "10"])),
    "negative numbers": (([1, -1, 0], None), ([2, 0, 1], ["-1", "0", "1"])),
    "whole floats": (([1.0, 0.0], None), ([1, 0], ["0", "1"])),
    "whole floats as text": ((["1.0", "0.0"], None), ([1, 0], ["0", "1"])),
    "true and false": (([True, False], None), ([1, 0], ["False", "True"])),
    "names in the recipe's order": ((["no", "yes"], ["yes", "no"]), ([1, 0], ["yes", "no"])),
    "integers count into names": (([1, 0], ["no", "yes"]), ([1, 0], ["no", "yes"])),
    "digits count into names": ((["1", "0"], ["no", "yes"]), ([1, 0], ["no", "yes"])),
    "false is the first name": (([True, False], ["no", "yes"]), ([1, 0], ["no", "yes"])),
    "a number that is a name is that name": (([1, 0], ["1", "0"]), ([0, 1], ["1", "0"])),
    "version-like texts stay": ((["1.5", "x"], None), ([0, 1], ["1.5", "x"])),
}


@pytest.mark.parametrize("case", GOOD_LABELS)
def test_labels_become_class_labels(case):
    (values, names), expected = GOOD_LABELS[case]
    assert ids_and_names(class_labels(labelled(*values), "label", names)) == expected


def test_all_splits_get_the_names_of_train_and_keep_their_columns():
    splits = splits_of(train={"a": [1, 2], "label": ["x", "y"], "b": [3, 4]}, test={"a": [1], "label": ["y"], "b": [3]})
    typed = class_labels(splits, "label")
    assert ids_and_names(typed, "test") == ([1], ["x", "y"])
    assert typed["train"].column_names == ["a", "label", "b"]
    assert list(typed["train"]["b"]) == [3, 4]


def test_labels_of_the_hub_stay_or_take_the_recipes_names():
    splits = hub_labels(["neg", "pos"], train=[0, 1, 1], test=[1])
    assert ids_and_names(class_labels(splits, "label"), "test") == ([1], ["neg", "pos"])
    assert ids_and_names(class_labels(splits, "label", ["pos", "neg"])) == ([1, 0, 0], ["pos", "neg"])
    assert ids_and_names(class_labels(splits, "label", ["bad", "good"])) == ([0, 1, 1], ["bad", "good"])


BAD_LABELS = {
    "null": (labelled("a", None, "b"), None, ["1 row of train has no label: row 2"]),
    "empty cell": (labelled("a", "", "b", " "), None, ["2 rows of train have no label: rows 2, 4"]),
    "not a number": (labelled(1.0, float("nan"), 0.0), None, ["no label: row 2"]),
    "half": (labelled(1.0, 1.5, 2.0), None, ["not whole", "1.5", "regression"]),
    "lists": (labelled(["a"], ["b"]), None, ["something else than one label", "multi_label_classification"]),
    "one class": (labelled("a", "a"), None, ["only one label, a"]),
    "one class of given two": (labelled("a", "a"), ["a", "b"], ["only one label"]),
    "nearly one a row": (labelled(*map(str, range(30))), None, ["30 different values in 30 rows", "hardly labels"]),
    "too many": (labelled(*map(str, range(1_001)), *["1"] * 2_000), None, ["1,001 different values", "regression"]),
    "unseen in train": (labelled("a", "b", test=["a", "c", "c"]), None, ["never shows", '"c" (2 rows)', "a, b"]),
    "unseen but for case": (labelled("Pos", "neg", test=["pos "]), None, ['"pos " (1 row); did you mean "Pos"?']),
    "not in names": (labelled("a", "b", "d"), ["a", "b"], ["not in task.labels (a, b)", '"d" (1 row)']),
    "beyond names": (labelled(0, 1, 2), ["no", "yes"], ["not in task.labels", '"2" (1 row)']),
    "no labels on the Hub": (
        hub_labels(["a", "b"], train=[0, 1], test=[-1, -1]),
        None,
        ["test split has no", "splits"],
    ),
    "holes on the Hub": (hub_labels(["a", "b"], train=[0, 1, -1]), None, ["1 row of train has no label: row 3"]),
    "other names on the Hub": (hub_labels(["a", "b"], train=[0, 1]), ["a", "c"], ["not in task.labels", '"b"']),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels_are_refused(case):
    splits, names, words = BAD_LABELS[case]
    with pytest.raises(DataError) as caught:
        class_labels(splits, "label", names)
    for word in words:
        assert word in str(caught.value)


def test_labels_of_mixed_kinds_in_json_are_refused(tmp_path):
    from data_case import recipe, write

    from hf_fft.data import read_source

    path = write(tmp_path, "a.jsonl", '{"label": "a"}\n{"label": 1}\n')
    with pytest.raises(DataError, match="a number where others have text, such as '1': row 2"):
        class_labels(read_source(recipe(path)), "label")


def test_labels_that_differ_in_case_only_are_told(caplog):
    class_labels(labelled("Pos", "pos", "neg"), "label")
    assert "differ only in case" in caplog.text


def test_lists_of_labels():
    typed = label_lists(labelled(["b", "a"], [], ["a", "a"], test=[["b"]]), "label")
    assert list(typed["train"]["label"]) == [[1, 0], [], [0]]
    assert typed["test"].features["label"] == List(ClassLabel(names=["a", "b"]))
    numbered = label_lists(labelled([0], [1, 0]), "label", ["x", "y"])
    assert list(numbered["train"]["label"]) == [[0], [1, 0]]


BAD_LISTS = {
    "one text": (labelled("a, b", "a"), ["no list of labels but one value", "'a, b'", "single_label_classification"]),
    "null": (labelled(["a"], None, ["b"]), ["no list of labels: row 2"]),
    "null inside": (labelled(["a", None], ["b"]), ["an empty label in the list", "row 1"]),
    "unseen": (labelled(["a"], ["b"], test=[["z"]]), ["never shows", '"z" (1 row)']),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_bad_lists_of_labels_are_refused(case):
    splits, words = BAD_LISTS[case]
    with pytest.raises(DataError) as caught:
        label_lists(splits, "label")
    for word in words:
        assert word in str(caught.value)


def test_columns_of_flags_become_one_column():
    splits = splits_of(train={"text": ["a", "b", "c"], "sport": [1, 0, 0], "money": ["True", "0", "1"]})
    typed = label_columns(splits, ["sport", "money"], "labels")["train"]
    assert typed.column_names == ["text", "labels"]
    assert list(typed["labels"]) == [[0, 1], [], [1]]
    assert typed.features["labels"] == List(ClassLabel(names=["sport", "money"]))


def test_bad_flags_are_refused():
    with pytest.raises(DataError, match=r'"sport": 1 row of train has something else than 0, 1.*: row 2'):
        label_columns(splits_of(train={"sport": [1, 2], "money": [0, 1]}), ["sport", "money"], "labels")
    with pytest.raises(DataError, match='a column "text", but train has one already'):
        label_columns(splits_of(train={"text": ["x"], "sport": [1]}), ["sport"], "text")


@pytest.mark.parametrize("values", [[1, 2], [1.0, 2.0], ["1", " 2.0 "], ["1e0", "+2"]])
def test_numbers_become_short_floats(values):
    typed = numbers(splits_of(train={"label": values}), "label")["train"]
    assert typed.features["label"] == Value("float32")
    assert list(typed["label"]) == [1.0, 2.0]


BAD_NUMBERS = {
    "null": (labelled(1.0, None), ["1 row of train has no number: row 2"]),
    "not a number": (labelled(1.0, float("nan")), ["no number: row 2"]),
    "infinite": (labelled(1.0, float("inf")), ["something else than a finite number, such as 'inf': row 2"]),
    "words": (labelled("1.5", "high"), ["'high': row 2", "single_label_classification"]),
    "empty cell": (labelled("1.5", ""), ["no number: row 2"]),
    "flags": (labelled(True, False), ["something else than a finite number"]),
    "classes": (hub_labels(["a", "b"], train=[0, 1]), ["holds the classes a, b"]),
}


@pytest.mark.parametrize("case", BAD_NUMBERS)
def test_bad_numbers_are_refused(case):
    splits, words = BAD_NUMBERS[case]
    with pytest.raises(DataError) as caught:
        numbers(splits, "label")
    for word in words:
        assert word in str(caught.value)
