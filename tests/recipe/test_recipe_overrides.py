"""`--set path=value` and `with_values`: how a value is read, and where it is put."""

from __future__ import annotations

import json

import pytest
from bad_recipes import GOOD

from hf_fft.errors import RecipeError
from hf_fft.recipe import (
    AutoSpeedRecipe,
    FeatureBasedRecipe,
    PlainSpeedRecipe,
    load_recipe,
    recipe_from,
    with_values,
)


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Return a function that loads GOOD, with a few values more, from a folder that is not the working directory."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def load(*overrides, **values):
        file = tmp_path / "elsewhere" / "mine.json"
        file.write_text(json.dumps({**GOOD, **values}))
        return load_recipe(file, overrides=overrides)

    return load


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        ("training.learning_rate=1e-4", "training", "learning_rate", 1e-4),
        ("training.num_train_epochs=3", "training", "num_train_epochs", 3.0),
        ("training.bf16=true", "training", "bf16", True),
        ("training.eval_strategy=no", "training", "eval_strategy", "no"),
        ("training.eval_steps=null", "training", "eval_steps", None),
        ('training.report_to=["wandb"]', "training", "report_to", ["wandb"]),
        ("training.report_to=wandb", "training", "report_to", "wandb"),
        ("training.run_name=2024", "training", "run_name", "2024"),
        ('training.lr_scheduler_kwargs={"min_lr": 1e-6}', "training", "lr_scheduler_kwargs", {"min_lr": 1e-6}),
        ("training.include_num_input_tokens_seen=true", "training", "include_num_input_tokens_seen", True),
        ("task.text_column=null", "task", "text_column", "null"),
        ("task.text_column=a=b", "task", "text_column", "a=b"),
        ("task.text_pair_column=null", "task", "text_pair_column", None),
        ("task.text_pair_column=other", "task", "text_pair_column", "other"),
        ('task.labels=["a", "b"]', "task", "labels", ("a", "b")),
        ("task.class_weights=auto", "task", "class_weights", "auto"),
        ('task.class_weights={"a": 1}', "task", "class_weights", {"a": 1}),
        ("task.class_weights.a=2", "task", "class_weights", {"a": 2}),
        ("task.long_text=windows", "task", "long_text", "windows"),
        ("data.splits.train=2024", "data", "splits", {"train": "2024"}),
        ("data.max_train_rows=100", "data", "max_train_rows", 100),
        ("data.options.delimiter=;", "data", "options", {"delimiter": ";"}),
        ("data.options.skip=3", "data", "options", {"skip": 3}),
        ("model.config.classifier_dropout=0.2", "model", "config", {"classifier_dropout": 0.2}),
        ("model.config.a.b=x", "model", "config", {"a": {"b": "x"}}),
        ("model.revision=1234567", "model", "revision", "1234567"),
        ("model.sha256=" + "1" * 64, "model", "sha256", "1" * 64),
        ("early_stopping.patience=3", "early_stopping", "patience", 3),
        ("strategy.layer_decay=0.5", "strategy", "layer_decay", 0.5),
    ],
)
def test_a_value_is_read_as_its_field_wants_it(loaded, override, section, field, value):
    recipe = loaded(override, strategy="full")
    record = getattr(recipe, section)
    assert (record.values()[field] if section == "training" else getattr(record, field)) == value


def test_bare_names_replace_whole_records(loaded):
    strategy = {"name": "full", "layer_decay": 0.5}
    recipe = loaded("strategy=feature_based", "model=2024", strategy=strategy, model={"name": "m", "revision": "r"})
    assert recipe.strategy == FeatureBasedRecipe()
    assert (recipe.model.name, recipe.model.revision) == ("2024", None)
    assert loaded('strategy={"name": "full", "layer_decay": 0.25}').strategy.layer_decay == 0.25


def test_a_field_of_speed_needs_no_name_beside_it(loaded):
    assert loaded("speed.max_cache_gib=2").speed == AutoSpeedRecipe(max_cache_gib=2.0)
    assert loaded("speed=off").speed == PlainSpeedRecipe()


def test_a_field_of_a_bare_name_makes_it_a_record(loaded):
    recipe = loaded("model.revision=main")
    assert (recipe.model.name, recipe.model.revision) == ("bert-base-uncased", "main")


def test_a_later_override_wins_and_types_follow_the_record_chosen_before(loaded):
    recipe = loaded("strategy=full", "strategy.layer_decay=0.5", "seed=1", "seed=2")
    assert (recipe.strategy.layer_decay, recipe.seed) == (0.5, 2)


def test_a_section_that_is_null_is_begun(loaded):
    assert loaded("early_stopping.threshold=0.1", early_stopping=None).early_stopping.threshold == 0.1


def test_paths_in_overrides_count_from_the_working_directory(loaded, tmp_path):
    (tmp_path / "here" / "rows.csv").touch()
    recipe = loaded("data.path=rows.csv", "model=./m", "output_dir=runs/x", 'task.hub_metrics=["./own.py"]')
    here = tmp_path / "here"
    assert recipe.data.path == str(here / "rows.csv")
    assert (recipe.model.name, recipe.output_dir) == (str(here / "m"), str(here / "runs/x"))
    assert recipe.task.hub_metrics == (str(here / "own.py"),)
    assert loaded('model={"name": "./n"}').model.name == str(here / "n")


def test_faults_of_overrides_stand_in_the_same_list_as_those_of_the_file(loaded):
    with pytest.raises(RecipeError) as caught:
        loaded("training.lerning_rate=1", "training.bf16=yes", "seed.x=1", "task.labels=[1", trainng={}, seed=1)
    assert list(caught.value.faults) == [
        'trainng: not a field; did you mean "training"?',
        "task.labels: the override is not JSON; quote it: --set 'path=[1, 2]'",
        'training.bf16: "yes" is a string; true or false is needed',
        'training.lerning_rate: not a field; did you mean "learning_rate"?',
        'seed.x: cannot be set: "seed" holds a value, not a section',
    ]


@pytest.mark.parametrize(
    "text", ["", "seed", "=1", "a..b=1", ".=1", "training.=1", "=", " =1", "a" + ".a" * 5000 + "=1"]
)
def test_a_malformed_override_says_what_one_looks_like(loaded, text):
    with pytest.raises(RecipeError) as caught:
        loaded(text, "also bad")
    assert len(caught.value.faults) == 2
    assert "an override is path=value, for example training.learning_rate=1e-4" in str(caught.value)


@pytest.mark.parametrize("text", ["training.learning_rate=NaN", "training.learning_rate=1e999", "seed=" + "9" * 5000])
def test_numbers_that_are_none_are_refused_in_overrides_too(loaded, text):
    with pytest.raises(RecipeError) as caught:
        loaded(text)
    assert len(caught.value.faults) == 1


def test_with_values_makes_a_new_recipe_and_leaves_the_old():
    recipe = recipe_from({**GOOD, "strategy": {"name": "full", "layer_decay": 0.5}})
    other = with_values(recipe, {"training.learning_rate": 1e-4, "seed": 7, "model.config.dropout": 0.2})
    assert (other.training.values(), other.seed, other.model.config) == ({"learning_rate": 1e-4}, 7, {"dropout": 0.2})
    assert (recipe.training.values(), recipe.seed, recipe.model.config) == ({}, 42, {})
    assert recipe.with_values({"seed": 7}).strategy == recipe.strategy


@pytest.mark.parametrize("strategy", ["feature_based", {"name": "feature_based"}, FeatureBasedRecipe()])
def test_with_values_replaces_a_strategy(strategy):
    recipe = recipe_from({**GOOD, "strategy": {"name": "full", "layer_decay": 0.5}})
    assert with_values(recipe, {"strategy": strategy}).strategy == FeatureBasedRecipe()
    assert with_values(recipe_from(GOOD), {"strategy.name": "feature_based"}).strategy == FeatureBasedRecipe()


def test_with_values_refuses_what_is_no_recipe():
    recipe = recipe_from(GOOD)
    with pytest.raises(RecipeError) as caught:
        with_values(recipe, {"training.learning_rate": "1e-4", "seed.x": 1, "early_stopping.patience": 0, "a..b": 1})
    assert len(caught.value.faults) == 4
    assert str(caught.value).startswith("the changed recipe has 4 faults:")
    assert with_values(recipe, {"task.labels": ("a", "b")}).task.labels == ("a", "b")
