"""A bad recipe is refused with every fault at once, in words, and with nothing else."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bad_recipes import BAD_BYTES, BAD_VALUES, GOOD, OLD_NAMES, REFUSED_UNDER_TRAINING, TOKEN
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_fft.errors import RecipeError
from hf_fft.recipe import Recipe, load_recipe, recipe_from
from hf_fft.recipe.renamed import REFUSED, RENAMED
from hf_fft.recipe.training_source import training_fields

REPOSITORY = Path(__file__).parents[2]


def changed(path, value):
    values = copy.deepcopy(GOOD)
    *sections, last = path.split(".")
    place = values
    for section in sections:
        if not isinstance(place.get(section), dict):
            place[section] = {"name": place[section]} if section in place else {}
        place = place[section]
    place[last] = value
    return values


def refusal(values):
    with pytest.raises(RecipeError) as caught:
        recipe_from(values)
    return caught.value


@pytest.mark.parametrize(("path", "value", "words"), BAD_VALUES, ids=lambda part: str(part)[:40])
def test_a_bad_value_is_one_fault_in_plain_words(path, value, words):
    error = refusal(changed(path, value))
    assert len(error.faults) == 1, error
    assert words in error.faults[0]
    assert str(error).startswith("the recipe has 1 fault:\n  ")


@pytest.mark.parametrize(("name", "words"), REFUSED_UNDER_TRAINING.items())
def test_fields_that_hf_fft_decides_are_refused_with_the_reason(name, words):
    (fault,) = refusal(changed(f"training.{name}", True)).faults
    assert fault.startswith(f"training.{name}: ")
    assert words in fault


EVERYWHERE = [
    (section, name, words)
    for section in ("", "training.", "model.", "task.")
    for name, words in OLD_NAMES.items()
    if f"{section}{name}" != "model.tokenizer"
]


@pytest.mark.parametrize(("section", "name", "words"), EVERYWHERE)
def test_old_and_foreign_names_are_told_their_new_one_wherever_they_stand(section, name, words):
    (fault,) = refusal(changed(f"{section}{name}", 1)).faults
    assert fault.startswith(f"{section}{name}: not a field; ")
    assert words in fault


def test_new_names_exist():
    fields = training_fields()
    for words in [*RENAMED.values(), *REFUSED.values()]:
        for word in words.replace(":", " ").replace(";", " ").replace(",", " ").split():
            if word.startswith("training."):
                assert word.removeprefix("training.") in fields


def test_refused_fields_are_fields_of_transformers():
    assert set(REFUSED) <= set(training_fields())


def test_a_missing_section_says_what_it_is_for():
    faults = refusal({}).faults
    assert [fault.split(":")[0] for fault in faults] == ["task", "model", "data"]
    assert all("missing; it is needed: " in fault for fault in faults)


def test_a_misspelt_section_is_one_fault_and_not_also_missing():
    values = {"task": "text_classification", "modle": "m", "data": {"path": "p"}}
    assert refusal(values).faults == ('modle: not a field; did you mean "model"?',)


def test_every_fault_is_named_at_once_in_the_order_of_the_design():
    values = {
        "task": {"name": "text_clasification"},
        "model": "m",
        "data": {"path": "p", "max_train_rows": "100"},
        "strategy": {"name": "full", "layer_decay": 1.5},
        "trainng": {},
    }
    with pytest.raises(RecipeError) as caught:
        recipe_from(values, source="bad.json")
    assert str(caught.value).splitlines() == [
        "bad.json has 4 faults:",
        '  trainng: not a field; did you mean "training"?',
        '  task.name: "text_clasification" is not a task; did you mean "text_classification"?',
        '  data.max_train_rows: "100" is a string; an integer is needed',
        "  strategy.layer_decay: 1.5 is too high; above 0 and at most 1",
    ]


@pytest.mark.parametrize(("content", "words"), BAD_BYTES, ids=lambda part: repr(part[:30]))
def test_bad_bytes_are_refused_in_words(tmp_path, content, words):
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert words in str(caught.value)


def test_a_duplicate_key_is_reported_beside_the_other_faults(tmp_path):
    file = tmp_path / "bad.json"
    file.write_text('{"task": "text_clasification", "model": "a", "model": "b", "data": {"path": "p"}, "seed": NaN}')
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["task.name", "model", "seed"]


@pytest.mark.parametrize(
    "path",
    ["training.hub_token", "hub_token", "model.token", "data.options.hf_token", "api_key", "model.name", "data.path",
     "task.text_column", "seed", "strategy.name", "training.optim", TOKEN, f"task.{TOKEN}"],
)  # fmt: skip
def test_a_secret_is_never_printed_back(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = changed(path, TOKEN)
    assert TOKEN not in str(refusal(values))
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(GOOD))
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, overrides=[f"{path}={TOKEN}"])
    assert TOKEN not in str(caught.value)
    assert TOKEN not in "".join(caught.value.faults)


@pytest.mark.parametrize(
    "key", ["Client_Secret", "OPENAI_APIKEY", "api_key", "hfToken", "passwd", "secret_key", "accessKey"]
)
def test_a_key_that_names_a_secret_is_refused_without_its_value(key):
    error = refusal(changed(f"data.options.{key}", "correct horse battery"))
    assert "HF_TOKEN" in str(error)
    assert "horse" not in str(error)


def test_words_that_only_look_like_secrets_are_taken():
    values = copy.deepcopy(GOOD)
    values["model"] = {"name": "m", "tokenizer": "t", "config": {"token": None, "pad_token": "<pad>"}}
    values["data"]["exclude"] = {"token": ["-DOCSTART-"]}
    values["task"]["class_weights"] = {"password": 1.0, "other": 2}
    assert recipe_from(values).data.exclude == {"token": ("-DOCSTART-",)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["name", "path", "labels", "config", "splits", "exclude", "layer_decay", "patience", "optim", "x"]
)
SECTIONS = st.sampled_from(
    ["task", "model", "data", "strategy", "training", "early_stopping", "seed", "output_dir", "y"]
)
SECTION = JSON | st.dictionaries(KEYS, JSON | st.sampled_from(["full", "text_classification"]), max_size=4)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(SECTIONS, SECTION, max_size=6) | JSON)
def test_any_json_is_a_recipe_or_a_recipe_error(values):
    try:
        recipe = recipe_from(values)
    except RecipeError as error:
        assert error.faults
        str(error).encode("utf-8")
    else:
        assert isinstance(recipe, Recipe)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda values: json.dumps(values).encode()))
def test_any_bytes_are_a_recipe_or_a_recipe_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_bytes(content)
    with pytest.raises(RecipeError):
        load_recipe(file)


def test_a_recipe_of_faults_is_refused_before_one_loses_patience():
    started = time.process_time()
    error = refusal({**GOOD, "training": {f"learning_rte{number}": 1 for number in range(50_000)}})
    assert len(error.faults) == 101
    assert time.process_time() - started < 3


def test_values_from_python_that_json_cannot_have_are_refused():
    endless: dict = {}
    endless["model"] = endless
    for values in (
        endless,
        {1: 2},
        {"model": object()},
        {"model": {"name": "m", "config": {"a": {1, 2}}}},
        b"{}",
        {"a"},
    ):
        refusal(values)


@pytest.mark.parametrize("module", ["torch", "transformers", "datasets", "numpy"])
def test_reading_imports_nothing_heavy(module, tmp_path):
    file = tmp_path / "good.json"
    file.write_text(json.dumps({**GOOD, "training": {"learning_rate": 1e-4}}))
    script = f"import sys, hf_fft.recipe as r; r.load_recipe({str(file)!r}); assert {module!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, env=environment())


def test_a_recipe_with_six_faults_prints_six_quickly_and_leaves_nothing_behind(tmp_path):
    bad = {**GOOD, "trainng": {}, "task": "x", "seed": "1", "strategy": "ful", "training": {"lr": 1, "fp16": 1}}
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    script = "from hf_fft.recipe import load_recipe; load_recipe('bad.json')"
    started = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert "bad.json has 6 faults:" in process.stderr
    _, _, printed = process.stderr.partition("has 6 faults:\n")
    assert len(printed.splitlines()) == 6
    assert [file.name for file in tmp_path.iterdir()] == ["bad.json"]
    # Half a second on an idle machine; a loaded one gets room.
    assert time.perf_counter() - started < 10


def environment():
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
