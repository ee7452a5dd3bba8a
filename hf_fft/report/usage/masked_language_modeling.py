"""A masked language model with plain transformers: fill the masks of a text."""

from __future__ import annotations

import json

from hf_fft.recipe import MaskedLanguageModelingRecipe

TAG = "fill-mask"


def what_it_does(task: MaskedLanguageModelingRecipe) -> str:
    """Say it in a clause that follows "This model"."""
    return "guesses masked words of a text"


def long_inputs(task: MaskedLanguageModelingRecipe) -> str:
    """Say what happened to longer inputs."""
    return "texts were joined and cut into blocks of this size" if task.packing else "longer texts were cut"


def snippet(task: MaskedLanguageModelingRecipe, model: str) -> str:
    """Return Python that loads the model with transformers alone and fills one mask."""
    return f"""from transformers import pipeline

fill = pipeline("fill-mask", model={json.dumps(model)}, top_k=5)
text = f"A text with a {{fill.tokenizer.mask_token}} in it."
for guess in fill(text):
    print(guess["token_str"], guess["score"])"""


def note(task: MaskedLanguageModelingRecipe) -> str:
    """Say why the snippet gives words, and the run gave losses."""
    return (
        f"The run masked {task.mlm_probability:.0%} of the tokens at random and kept the mean loss of each text's "
        "masked tokens; that figure belongs to those masks, so no snippet can give it for a text alone."
    )
