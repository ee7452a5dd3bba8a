"""Which strategies are compared: names and objects, their labels, and what is refused."""

from __future__ import annotations

import pytest
from made_runs import made_recipe

from hf_fft.comparison import STRATEGY_NAMES, for_strategy
from hf_fft.comparison.choices import choices_of
from hf_fft.errors import RecipeError
from hf_fft.strategies import STRATEGIES


def test_a_strategys_options_and_rate_are_not_handed_to_another():
    recipe = made_recipe(strategy={"name": "full", "layer_decay": 0.5})
    own, other = (for_strategy(recipe, name) for name in ("full", "feature_based"))
    assert (own.strategy.layer_decay, own.training.values()["learning_rate"]) == (0.5, 1e-4)
    assert (other.strategy.name, other.training.values()["learning_rate"]) == ("feature_based", 1e-3)
    assert other.training.values()["num_train_epochs"] == 2


@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_every_strategy_is_known_with_the_rate_that_it_has_itself(name):
    assert set(STRATEGY_NAMES) == set(STRATEGIES)
    recipe = made_recipe(training={"num_train_epochs": 1})
    assert for_strategy(recipe, name).training.values()["learning_rate"] == STRATEGIES[name]().default_learning_rate


def test_an_object_changes_options_and_sections_and_its_label_says_what():
    wishes = [
        "lora",
        '{"name": "lora", "rank": 4, "target_modules": ["query", "value"]}',
        {"name": "full", "layer_decay": 0.8, "training": {"learning_rate": 3e-5, "num_train_epochs": 5}},
        {"name": "feature_based", "early_stopping": {"patience": 3}, "model": "other/model"},
    ]
    lora, small, full, head = choices_of(made_recipe(strategy={"name": "full", "head_learning_rate": 1e-2}), wishes)
    assert (lora.label, lora.recipe.strategy.rank, lora.names_rate) == ("lora", 16, False)
    assert (small.label, small.recipe.strategy.rank) == ("lora rank=4 target_modules=query,value", 4)
    assert full.label == "full layer_decay=0.8 learning_rate=3e-05 num_train_epochs=5" and full.names_rate
    assert (full.recipe.strategy.layer_decay, full.recipe.strategy.head_learning_rate) == (0.8, 1e-2)
    assert full.recipe.training.values() == {"learning_rate": 3e-5, "num_train_epochs": 5.0}
    assert head.label == "feature_based early_stopping.patience=3 model=other/model"
    assert (head.recipe.early_stopping.patience, head.recipe.model.name) == (3, "other/model")
    folders = [one.folder for one in (lora, small, full, head)]
    assert folders[1] == "lora-rank=4-target_modules=query-value" and not any("/" in one for one in folders)


REFUSED = {
    "ful": 'is not a strategy; did you mean "full"',
    '{"name": "lora", "rnk": 4}': 'did you mean "rank"',
    '{"name": "lora",': "is not JSON",
    '{"rank": 4}': "null is not a strategy",
    '{"name": "full", "data": {"path": "x"}}': "data is the same for all",
    '{"name": "full", "seed": 3}': "seed is the same for all",
    '{"name": "full", "training": {"learning_rte": 1}}': 'did you mean "learning_rate"',
    '{"name": "full", "training": 3}': "an object is needed",
}


@pytest.mark.parametrize("wish", REFUSED)
def test_a_bad_wish_is_refused_in_words(wish):
    with pytest.raises(RecipeError) as refusal:
        choices_of(made_recipe(), ["full", wish])
    assert REFUSED[wish] in str(refusal.value)


def test_the_same_strategy_twice_and_none_at_all_are_refused():
    with pytest.raises(RecipeError, match='both be called "lora rank=4"'):
        choices_of(made_recipe(), [{"name": "lora", "rank": 4}, '{"name": "lora", "rank": 4}'])
    with pytest.raises(RecipeError, match="No strategy to compare"):
        choices_of(made_recipe(), [])
