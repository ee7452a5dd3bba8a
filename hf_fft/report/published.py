"""The three texts that go to the Hub beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hf_fft.report.card import model_card
from hf_fft.report.public import public_recipe, public_result
from hf_fft.result import RECIPE_FILE, RESULT_FILE, Result


def published_texts(result: Result, repository: str) -> Mapping[str, str]:
    """Return README.md, recipe.json and result.json of a run as they are to be published under a name."""
    records = {RECIPE_FILE: public_recipe(result.recipe), RESULT_FILE: public_result(result)}
    texts = {name: json.dumps(values, indent=2, ensure_ascii=False) + "\n" for name, values in records.items()}
    return {"README.md": model_card(result, model=repository), **texts}


def publication_message(result: Result) -> str:
    """Return the commit's summary: what the model is."""
    recipe = result.recipe
    return f"{recipe.task.name}, {recipe.strategy.name}, by hf_fft"
