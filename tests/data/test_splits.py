"""Hold-outs, exclusions and caps: what comes back, that it comes back the same, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest
from data_case import TwoColumns, json_lines, recipe, write

from hf_fft.data import load_splits
from hf_fft.errors import DataError

ROWS = [{"text": f"text {i}", "label": "ab"[i % 4 == 0], "group": f"g{i % 10}"} for i in range(100)]


@pytest.fixture
def data_file(tmp_path):
    return write(tmp_path, "all.jsonl", json_lines(ROWS))


def texts(rows):
    return list(rows["text"])


def load(path, **values):
    return load_splits(recipe(path, **values), TwoColumns())


def test_validation_is_held_out_of_train_with_the_same_shares(data_file):
    splits = load(data_file, validation_fraction=0.2)
    assert [name for name, _ in splits.items()] == ["train", "validation"]
    assert splits.test is None
    assert Counter(splits.validation["label"]) == {0: 15, 1: 5}
    assert sorted(texts(splits.train) + texts(splits.validation)) == sorted(row["text"] for row in ROWS)
    assert texts(splits.train) == sorted(texts(splits.train), key=lambda text: int(text.split()[1]))


def test_test_is_held_out_first(data_file):
    splits = load(data_file, validation_fraction=0.5, test_fraction=0.2)
    assert [len(rows) for _, rows in splits.items()] == [40, 40, 20]
    assert len(set(texts(splits.train)) | set(texts(splits.validation)) | set(texts(splits.test))) == 100


def test_the_seed_decides_alone(data_file):
    one, same, other = (load(data_file, split_seed=seed, test_fraction=0.1) for seed in (1, 1, 2))
    assert [texts(rows) for _, rows in one.items()] == [texts(rows) for _, rows in same.items()]
    assert texts(one.validation) != texts(other.validation)


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_in_one_split_only(data_file, seed):
    splits = load(data_file, group_column="group", validation_fraction=0.2, test_fraction=0.2, split_seed=seed)
    groups = [set(rows["group"]) for _, rows in splits.items()]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 10


def test_no_validation_if_none_is_asked_for(data_file):
    assert load(data_file, validation_fraction=0.0).validation is None


def test_what_came_is_not_held_out_again(tmp_path):
    for name in ("train", "valid", "test"):
        write(tmp_path, f"{name}.jsonl", json_lines(ROWS[:20]))
    splits = load(tmp_path, test_fraction=0.5)
    assert [len(rows) for _, rows in splits.items()] == [20, 20, 20]


def test_a_share_of_the_training_rows_is_a_part_of_every_larger_share_and_of_the_cap(data_file):
    options = {"max_train_rows": 60, "test_fraction": 0.1}
    whole, half, tenth = (load(data_file, train_fraction=share, **options) for share in (1.0, 0.5, 0.1))
    assert [len(one.train) for one in (whole, half, tenth)] == [60, 30, 6]
    assert set(texts(tenth.train)) < set(texts(half.train)) < set(texts(whole.train))
    for split in ("validation", "test"):
        assert texts(getattr(tenth, split)) == texts(getattr(whole, split))
    assert set(texts(load(data_file, max_train_rows=30, test_fraction=0.1).train)) == set(texts(half.train))


def test_no_test_rows_at_all_leave_the_others_as_they_are(data_file):
    with_test, without = (load(data_file, test_fraction=0.2, max_test_rows=cap) for cap in (None, 0))
    assert with_test.test is not None and without.test is None
    assert texts(without.train) == texts(with_test.train) and texts(without.validation) == texts(with_test.validation)


def test_caps_take_a_sample_in_order_and_a_larger_one_keeps_the_smaller(data_file):
    small, large = (load(data_file, max_train_rows=cap, max_validation_rows=5) for cap in (20, 40))
    assert (len(small.train), len(large.train), len(small.validation)) == (20, 40, 5)
    assert set(texts(small.train)) < set(texts(large.train))
    numbers = [int(text.split()[1]) for text in texts(small.train)]
    assert numbers == sorted(numbers)
    assert numbers != list(range(20))


def test_excluded_rows_are_gone(data_file):
    splits = load(data_file, exclude={"group": ["g1", "g3"]})
    assert not {"g1", "g3"} & set(splits.train["group"])
    assert len(splits.train) + len(splits.validation) == 80


def test_numbers_in_exclude_match_the_text_of_a_csv_file(tmp_path):
    content = "text,label,stars\n" + "".join(f"t{i},{'ab'[i % 2]},{i % 5}\n" for i in range(40))
    assert set(load(write(tmp_path, "a.csv", content), exclude={"stars": [3]}).train["stars"]) == set("0124")


def test_a_label_with_one_row_stays_in_train(tmp_path, caplog):
    path = write(tmp_path, "a.jsonl", json_lines([*ROWS, {"text": "x", "label": "rare", "group": "g"}]))
    for seed in range(5):
        assert 2 in load(path, split_seed=seed).train["label"]
    assert "single row" in caplog.text


def test_too_few_rows_for_all_labels_are_held_out_by_chance(tmp_path, caplog):
    path = write(tmp_path, "a.jsonl", json_lines(ROWS[:8]))
    assert len(load(path, validation_fraction=0.1).validation) == 1
    assert "by chance alone" in caplog.text


BAD_SPLITS = {
    "column to exclude": ({"exclude": {"grup": ["g1"]}}, ["data.exclude needs", 'did you mean "group"']),
    "value to exclude": ({"exclude": {"group": ["g11"]}}, ['no row has the value "g11"', "did you mean"]),
    "group column": ({"group_column": "grups"}, ["data.group_column needs the columns grups"]),
    "all of a label excluded": ({"exclude": {"label": ["a"]}}, ["only one label, b"]),
    "everything excluded": ({"exclude": {"label": ["a", "b"]}}, ["train split has no rows"]),
    "cap leaves one label": ({"max_train_rows": 1}, ["After hold-outs and caps", "only one label", "max_train_rows"]),
}


@pytest.mark.parametrize("case", BAD_SPLITS)
def test_what_cannot_be_divided_is_refused(case, data_file):
    values, words = BAD_SPLITS[case]
    with pytest.raises(DataError) as caught:
        load(data_file, **values)
    for word in words:
        assert word in str(caught.value)


def test_a_cap_that_drops_a_label_of_validation_is_refused(tmp_path):
    rows = [{"text": f"t{i}", "label": "abc"[i % 3] if i < 6 else "ab"[i % 2]} for i in range(60)]
    write(tmp_path, "train.jsonl", json_lines(rows))
    write(tmp_path, "dev.jsonl", json_lines(rows[:6]))
    with pytest.raises(DataError, match='validation has labels that train no longer shows: "c"'):
        load(tmp_path, max_train_rows=4, split_seed=1)


def test_bad_groups_are_refused(tmp_path):
    path = write(tmp_path, "a.jsonl", json_lines([{**row, "group": "same"} for row in ROWS]))
    with pytest.raises(DataError, match="one group only"):
        load(path, group_column="group")
    path = write(
        tmp_path, "b.jsonl", json_lines([{**row, "group": row["group"] if i else None} for i, row in enumerate(ROWS)])
    )
    with pytest.raises(DataError, match="no group: row 1"):
        load(path, group_column="group")


def test_a_single_row_cannot_be_divided(tmp_path):
    class Plain(TwoColumns):
        def type_columns(self, splits):
            return splits

        def stratify_column(self):
            return None

    path = write(tmp_path, "a.jsonl", json_lines(ROWS[:1]))
    with pytest.raises(DataError, match="too few to hold out validation"):
        load_splits(recipe(path), Plain())


def test_a_missing_column_names_the_task(tmp_path):
    path = write(tmp_path, "a.csv", "review,label\na,b\n")
    with pytest.raises(
        DataError, match="text_classification needs the columns text, label; the data have review, label"
    ):
        load(path)
