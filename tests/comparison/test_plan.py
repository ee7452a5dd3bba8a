"""From settings to runs: whole recipes, folders, names; and which settings make no sense."""

from __future__ import annotations

import pytest
from made_runs import made_recipe

from hf_fft.comparison import Settings
from hf_fft.comparison.choices import choices_of
from hf_fft.comparison.plan import planned_runs, rate_runs
from hf_fft.comparison.settings import baselines_for
from hf_fft.errors import RecipeError


def plan(wishes, *, baselines=(), recipe=None, **settings):
    recipe = recipe or made_recipe()
    return planned_runs(recipe, choices_of(recipe, wishes), baselines=baselines, settings=Settings(**settings))


def test_one_run_a_strategy_seed_and_fraction_all_strategies_of_a_seed_first():
    runs = plan(["full", {"name": "lora", "rank": 4}], seeds=[1, 2], fractions=[0.1, 1])
    assert [run.folder for run in runs[:5]] == [
        "runs/full/seed-1",
        "runs/full/seed-1-fraction-0.1",
        "runs/lora-rank=4/seed-1",
        "runs/lora-rank=4/seed-1-fraction-0.1",
        "runs/full/seed-2",
    ]
    assert runs[1].name == "full, seed 1, fraction 0.1"
    assert (runs[1].recipe.seed, runs[1].recipe.data.train_fraction) == (1, 0.1)
    assert len({run.folder for run in runs}) == len({run.name for run in runs}) == len(runs) == 8
    assert len({run.recipe.data.split_seed for run in runs}) == 1


def test_names_say_no_more_than_is_needed_and_the_seed_is_the_recipes():
    (run,) = plan(["full"], recipe=made_recipe(seed=7, output_dir="/somewhere"))
    assert (run.name, run.folder, run.recipe.seed, run.recipe.output_dir) == ("full", "runs/full/seed-7", 7, None)


def test_no_run_of_a_comparison_is_published():
    (run,) = plan(["full"], recipe=made_recipe(hub={"repository": "ada/imdb"}))
    assert run.recipe.hub is None


def test_a_share_is_one_of_the_rows_that_the_recipe_leaves():
    (run,) = plan(["full"], recipe=made_recipe(data={"path": "p", "train_fraction": 0.5}), fractions=[0.1])
    assert run.recipe.data.train_fraction == pytest.approx(0.05)


def test_baselines_ignore_seeds_but_an_untrained_head_is_drawn_by_one():
    runs = plan(["full"], baselines=["majority", "untrained_head"], seeds=[1, 2], fractions=[0.1, 1])
    baselines = {run.folder: run for run in runs if run.kind == "baseline"}
    assert list(baselines) == [
        "runs/majority/seed-1",
        "runs/majority/seed-1-fraction-0.1",
        "runs/untrained_head/seed-1",
        "runs/untrained_head/seed-2",
    ]
    drawn, computed = baselines["runs/untrained_head/seed-2"], baselines["runs/majority/seed-1"]
    assert drawn.is_trained and not computed.is_trained
    assert computed.recipe.training.values() == {}  # nothing that a change of training could make another run of
    assert (drawn.recipe.training.values()["num_train_epochs"], drawn.recipe.seed) == (0, 2)


def test_an_untrained_head_takes_no_steps_whatever_the_recipe_says():
    recipe = made_recipe(training={"max_steps": 50}, early_stopping={"patience": 2})
    *_, run = plan(["full"], baselines=["untrained_head"], recipe=recipe)
    assert "max_steps" not in run.recipe.training.values() and run.recipe.early_stopping is None


def test_a_search_for_rates_never_sees_the_test_split():
    recipe = made_recipe()
    settings = Settings(seeds=[3, 4], rates=[1e-3, 1e-5, 1e-4], rates_fraction=0.2)
    runs = rate_runs(recipe, choices_of(recipe, ["lora"])[0], settings)
    assert [run.recipe.training.values()["learning_rate"] for run in runs] == [1e-5, 1e-4, 1e-3]
    assert {(one.recipe.data.max_test_rows, one.recipe.data.train_fraction, one.recipe.seed) for one in runs} == {
        (0, 0.2, 3)
    }
    assert runs[0].folder == "runs/lora/rates/rate-1e-05"


BAD = {
    "seeds": ([1, 1], "names a value twice"),
    "fractions": ([0.0, 1.0], "0.0 is out of range; above 0 and at most 1"),
    "rates": ([1e-4, 1e-3], "2 of at least 3 rates"),
    "rates_fraction": (1.5, "1.5 is out of range"),
}


@pytest.mark.parametrize("name", BAD)
def test_settings_that_make_no_sense_are_refused(name):
    value, words = BAD[name]
    with pytest.raises(RecipeError, match=words):
        Settings(**{name: value})


def test_baselines_are_the_cheap_ones_of_the_task_unless_named():
    recipe = made_recipe()
    assert baselines_for(recipe, None) == ("majority", "tfidf_logistic_regression")
    assert baselines_for(recipe, ()) == ()
    assert baselines_for(made_recipe(task="question_answering"), None) == ()
    assert baselines_for(made_recipe(task="question_answering"), ["untrained_head"]) == ("untrained_head",)
    with pytest.raises(RecipeError, match='"majorty" is not a baseline; did you mean "majority"'):
        baselines_for(recipe, ["majorty"])
    with pytest.raises(RecipeError, match="tfidf_logistic_regression has no meaning for token_classification"):
        baselines_for(made_recipe(task="token_classification"), ["tfidf_logistic_regression"])
