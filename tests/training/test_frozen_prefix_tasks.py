"""From a recipe: where the frozen prefix is used, with what outcome, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_fft.pipeline import fine_tune, prepare, trainer_for
from hf_fft.recipe import load_recipe
from hf_fft.training.frozen_prefix.callback import prefix_callback_of

RECIPES = Path(__file__).parents[2] / "recipes"
SHORT = {
    "training.num_train_epochs": 2,
    "training.per_device_train_batch_size": 8,
    "training.learning_rate": 1e-3,
    "training.use_cpu": True,
    "training.disable_tqdm": True,
    "training.bf16": False,
}


def recipe_of(name: str, model: str, **changes):
    values = {**SHORT, "model": {"name": model}, **changes}
    return load_recipe(RECIPES / f"{name}.json").with_values(values)


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("entities", "feature_based"),
        ("entities", "gradual_unfreezing"),
        ("questions", "feature_based"),
        ("questions", "gradual_unfreezing"),
        ("regression", "probe_then_full"),
    ],
)
def test_entities_questions_and_numbers_come_out_as_without_it(name, strategy, tiny_bert, tmp_path, one_thread):
    results = []
    for used in (True, False):
        speed = {"name": "auto", "frozen_prefix": used}
        recipe = recipe_of(name, tiny_bert, strategy={"name": strategy}, speed=speed)
        results.append(fine_tune(recipe, tmp_path / str(used)))
    ours, plain = results
    assert ours.speed.frozen_prefix and not plain.speed.frozen_prefix
    assert ours.notes == plain.notes
    for split, metrics in plain.metrics.items():
        assert ours.metrics[split] == pytest.approx(metrics, abs=1e-4, nan_ok=True)
    assert sorted(path.name for path in (tmp_path / "True" / "model").iterdir()) == sorted(
        path.name for path in (tmp_path / "False" / "model").iterdir()
    )


def test_masks_that_change_every_epoch_are_a_reason_against_it(tiny_bert, tmp_path, one_thread):
    recipe = recipe_of("domain_masked", tiny_bert, strategy={"name": "gradual_unfreezing"})
    result = fine_tune(recipe, tmp_path / "run")
    assert not result.speed.frozen_prefix
    assert result.notes[-1] == "Frozen layers ran as usual: the inputs of its rows change from epoch to epoch."


@pytest.mark.parametrize("strategy", ["feature_based", "probe_then_full"])
def test_states_that_do_not_fit_are_a_reason_against_it(strategy, tiny_bert, tmp_path, one_thread):
    speed = {"name": "auto", "max_cache_gib": 1e-6}
    result = fine_tune(recipe_of("entities", tiny_bert, strategy={"name": strategy}, speed=speed), tmp_path)
    assert "speed.max_cache_gib is 1e-06" in result.notes[-1]
    assert not result.speed.frozen_prefix


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": {"name": "full"}},
        {"strategy": {"name": "lora"}},
        {"strategy": {"name": "feature_based"}, "speed": {"name": "off"}},
        {"strategy": {"name": "feature_based"}, "speed": {"name": "auto", "frozen_prefix": False}},
    ],
)
def test_nothing_is_kept_unasked_or_where_every_layer_learns(changes, tiny_bert, tmp_path):
    trainer = trainer_for(prepare(recipe_of("entities", tiny_bert, **changes)), tmp_path)
    assert prefix_callback_of(trainer) is None
