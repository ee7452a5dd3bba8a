"""Which rate wins a search, and when a strategy counts as tuned."""

from __future__ import annotations

import pytest
from made_runs import made_recipe

from hf_fft.comparison import Settings
from hf_fft.comparison.choices import choices_of
from hf_fft.comparison.plan import rate_runs
from hf_fft.comparison.rates import searched
from hf_fft.result import Metric, Result

RATES = [1e-5, 1e-4, 1e-3, 1e-2]
CASES = {
    "inside": ([0.1, 0.3, 0.2, 0.1], True, 1e-4, True),
    "lowest": ([0.4, 0.3, 0.2, 0.1], True, 1e-5, False),
    "highest": ([0.1, 0.2, 0.3, 0.4], True, 1e-2, False),
    "a tie with the edge": ([0.4, 0.2, 0.4, 0.4], True, 1e-3, True),
    "smaller is better": ([0.3, 0.2, 0.1, 0.2], False, 1e-3, True),
    "no number beyond the best": ([0.1, 0.2, 0.3, None], True, 1e-3, True),
    "no number at all": ([None] * 4, True, None, False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_best_on_validation_is_chosen_and_tuned_if_it_is_not_at_an_edge(case):
    scores, greater, chosen, tuned = CASES[case]
    recipe = made_recipe()
    runs = rate_runs(recipe, choices_of(recipe, ["full"])[0], Settings(rates=RATES))
    results = [
        Result(
            status="finished",
            recipe=run.recipe,
            primary_metric=Metric(name="score", greater_is_better=greater),
            # A test score that says the contrary; a search's runs have none, and it must not matter if they had.
            metrics={"validation": {"score": score}, "test": {"score": None if score is None else 1 - score}},
        )
        for run, score in zip(runs, scores, strict=True)
    ]
    search = searched("full", runs, results)
    assert (search.chosen, search.tuned) == (chosen, tuned)
    assert [one.learning_rate for one in search.tried] == RATES
