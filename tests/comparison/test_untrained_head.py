"""The pretrained model with an untrained head: an ordinary run that takes no steps."""

from __future__ import annotations

import pytest

from hf_fft import fine_tune
from hf_fft.comparison.plan import untrained
from hf_fft.recipe import recipe_from
from hf_fft.result import read_predictions

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_of_no_epochs_scores_the_model_as_it_comes_and_the_seed_draws_its_head(recipe_values, tmp_path):
    recipe = untrained(recipe_from({**recipe_values, "early_stopping": {"patience": 1}, "seed": 1}))
    result = fine_tune(recipe, tmp_path / "one")
    assert result.status == "finished" and set(result.metrics) == {"validation", "test"}
    assert (result.cost.optimizer_steps, result.cost.train_seconds, result.cost.trainable_parameters) == (0, 0.0, 0)
    assert result.curves.training == () and result.notes == ()
    fine_tune(recipe.with_values({"seed": 2}), tmp_path / "two")
    one, two = ([some.scores for some in read_predictions(tmp_path / name)] for name in ("one", "two"))
    assert one != two
