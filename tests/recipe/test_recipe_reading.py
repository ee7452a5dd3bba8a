"""Files, shipped recipes and paths: what is read, from where, and what it becomes."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest
from bad_recipes import GOOD

from hf_fft.errors import RecipeError
from hf_fft.recipe import (
    FullRecipe,
    Recipe,
    TrainingRecipe,
    load_recipe,
    recipe_from,
    recipe_name,
    shipped,
    shipped_recipes,
)
from hf_fft.recipe.schema import recipe_schema, schema_text
from hf_fft.recipe.training_names import training_record

RECIPES = Path(__file__).parents[2] / "recipes"


def write(folder, values, name="mine.json"):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(json.dumps(values), encoding="utf-8")
    return file


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_by_its_bare_name(name, here):
    recipe = load_recipe(name)
    assert load_recipe(f"{name}.json") == recipe
    assert recipe_from(recipe.model_dump(mode="json", by_alias=True)) == recipe


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_makes_no_difference(tmp_path, encoding):
    values = {**GOOD, "task": {"name": "text_classification", "text_column": "téxt"}}
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(values, ensure_ascii=False), encoding=encoding)
    assert load_recipe(file).task.text_column == "téxt"


def test_a_full_recipe_survives_the_round_trip():
    values = {
        "$schema": "./recipe.schema.json",
        "task": {"name": "text_classification", "labels": ["neg", "pos"], "class_weights": {"neg": 1, "pos": 2.5}},
        "model": {"name": "m", "sha256": ["0" * 64], "config": {"classifier_dropout": 0.2, "deep": {"a": [1, None]}}},
        "data": {"path": "p", "splits": {"train": "a"}, "exclude": {"c": ["x", 1, True]}},
        "strategy": {"name": "full", "layer_decay": 0.8},
        "training": {"num_train_epochs": 8, "lr_scheduler_type": "cosine", "report_to": ["wandb"], "eval_steps": None},
        "early_stopping": {"patience": 2},
        "seed": 1,
        "output_dir": "runs/x",
    }
    recipe = recipe_from(values)
    dumped = recipe.model_dump(mode="json", by_alias=True)
    assert recipe_from(dumped) == recipe
    assert recipe_from(json.loads(json.dumps(dumped))) == recipe
    assert "$schema" not in dumped
    assert recipe.training.values() == {**values["training"], "num_train_epochs": 8.0}


def test_a_recipe_is_its_own_reading():
    recipe = recipe_from(GOOD)
    assert recipe_from(recipe) is recipe


def test_bare_names_stand_for_records_and_defaults_are_safe():
    recipe = recipe_from({"task": "text_classification", "model": "m", "data": {"path": "p"}})
    assert (recipe.model.name, recipe.task.text_column, recipe.strategy) == ("m", "text", FullRecipe())
    assert recipe.training == TrainingRecipe()
    assert recipe.training.values() == {}


def test_paths_in_a_file_are_relative_to_the_file(here):
    folder = here / "recipes"
    values = {
        "task": {"name": "text_classification", "hub_metrics": ["accuracy", "./own.py", "org/metric", "gleu.py"]},
        "model": {"name": "./model", "tokenizer": "../tokenizer"},
        "data": {"path": "rows.csv"},
        "output_dir": "runs/x",
    }
    file = write(folder, values)
    (folder / "rows.csv").touch()
    (folder / "accuracy").mkdir()
    recipe = load_recipe(os.path.relpath(file))
    assert recipe.model.name == str(folder / "model")
    assert recipe.model.tokenizer == str(here / "tokenizer")
    assert recipe.data.path == str(folder / "rows.csv")
    assert recipe.output_dir == str(folder / "runs/x")
    assert recipe.task.hub_metrics == ("accuracy", str(folder / "own.py"), "org/metric", "gleu.py")


@pytest.mark.parametrize("name", ["bert-base-uncased", "stanfordnlp/imdb", "wheel:some==1.0/a/b", "/data/../rows.csv"])
def test_hub_names_and_wheels_are_left_alone(here, name):
    recipe = load_recipe(write(here, {**GOOD, "model": name, "data": {"path": name}}))
    assert recipe.model.name == recipe.data.path == name.replace("/data/..", "")


def test_a_home_folder_is_expanded(here, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    recipe = load_recipe(write(here, {**GOOD, "model": "~/model", "output_dir": "~/runs"}))
    assert (recipe.model.name, recipe.output_dir) == ("/home/ada/model", "/home/ada/runs")


def test_recipe_from_leaves_paths_as_they_are(here):
    (here / "rows").mkdir()
    recipe = recipe_from({**GOOD, "data": {"path": "./rows"}, "output_dir": "runs/x"})
    assert (recipe.data.path, recipe.output_dir) == ("./rows", "runs/x")


@pytest.fixture
def one_shipped(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "hf_fft"
    write(package / "recipes", {**GOOD, "seed": 7, "data": {"path": "./rows/x.csv"}}, "imdb.json")
    write(package / "recipes", {}, "recipe.schema.json")
    monkeypatch.setattr(shipped, "PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    return package / "recipes"


def test_a_shipped_recipe_is_found_in_a_wheel_with_its_own_paths(one_shipped):
    assert shipped_recipes() == ["imdb"]
    recipe = load_recipe("imdb")
    assert (recipe.seed, recipe.data.path) == (7, str(one_shipped / "rows/x.csv"))


def test_a_local_file_comes_before_a_shipped_one(one_shipped, here):
    write(here, {**GOOD, "seed": 8}, "imdb.json")
    assert load_recipe("imdb.json").seed == 8
    assert load_recipe("./imdb.json").seed == 8
    assert load_recipe("imdb").seed == 7


def test_a_stranger_s_folder_beside_the_package_is_not_ours(one_shipped, monkeypatch):
    monkeypatch.setattr(shipped, "PACKAGE", one_shipped)
    write(one_shipped.parent / "recipes", GOOD, "foreign.json")
    assert shipped_recipes() == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imbd", 'did you mean "imdb"?'),
        ("imbd.json", 'did you mean "imdb"?'),
        ("folder/imdb.json", "shipped recipes: imdb"),
        ("./nothing", "neither a file nor a shipped recipe"),
        (".", "is a folder"),
        ("", "neither a file"),
        ("a\0b", "neither a file"),
        ("a\0b/c.json", "neither a file"),
        ("x" * 5000, "neither a file"),
        ("\ud800.json", "neither a file"),
    ],
)
def test_a_missing_recipe_says_what_there_is(one_shipped, name, words):
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert words in str(caught.value)
    assert "imdb" in str(caught.value)


@pytest.mark.parametrize(("name", "stem"), [("imdb", "imdb"), ("a/b.json", "b"), (Path("x/y.v2.json"), "y.v2")])
def test_a_recipe_is_named_after_its_file(name, stem):
    assert recipe_name(name) == stem


def test_training_names_are_those_of_the_installed_transformers():
    from dataclasses import fields

    from transformers import TrainingArguments

    from hf_fft.recipe.training_source import training_fields

    assert list(training_fields()) == [field.name for field in fields(TrainingArguments)]


def test_choices_are_those_of_the_installed_transformers():
    from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType
    from transformers.training_args import OptimizerNames

    from hf_fft.recipe.fields import choices_of

    fields = training_record().model_fields
    for name, enumeration in {
        "lr_scheduler_type": SchedulerType,
        "eval_strategy": IntervalStrategy,
        "logging_strategy": IntervalStrategy,
        "save_strategy": SaveStrategy,
        "optim": OptimizerNames,
    }.items():
        assert choices_of(fields[name]) == tuple(member.value for member in enumeration)
    assert choices_of(fields["train_sampling_strategy"]) == (
        "random",
        "sequential",
        "group_by_length",
        "batch_rebalance",
    )


def test_transformers_takes_what_a_training_section_may_hold(tmp_path):
    from transformers import TrainingArguments

    training = {"num_train_epochs": 2, "warmup_steps": 0.1, "logging_steps": 5, "lr_scheduler_type": "cosine"}
    values = recipe_from({**GOOD, "training": {**training, "use_cpu": True, "debug": ""}}).training.values()
    arguments = TrainingArguments(output_dir=str(tmp_path), **values)
    assert (arguments.num_train_epochs, arguments.logging_steps) == (2, 5)


def test_the_schema_file_is_current():
    assert (RECIPES / "recipe.schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_schema_knows_names_choices_and_bounds():
    schema = recipe_schema()
    training = schema["$defs"]["TrainingRecipe"]
    assert training["additionalProperties"] is False
    assert "linear" in training["properties"]["lr_scheduler_type"]["enum"]
    assert training["properties"]["learning_rate"]["exclusiveMinimum"] == 0
    assert "seed" not in training["properties"]
    assert {"type": "string"} in schema["properties"]["model"]["anyOf"]
    assert schema["$defs"]["FullRecipe"]["required"] == ["name"]
    assert set(schema["required"]) == {"task", "model", "data"}
    assert "$schema" in schema["properties"]


def test_records_may_stand_in_the_values():
    values = {**copy.deepcopy(GOOD), "strategy": FullRecipe(layer_decay=0.9), "training": TrainingRecipe(bf16=True)}
    recipe = recipe_from(values)
    assert isinstance(recipe, Recipe)
    assert (recipe.strategy.layer_decay, recipe.training.values()) == (0.9, {"bf16": True})
