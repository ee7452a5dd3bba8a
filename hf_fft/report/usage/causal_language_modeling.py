"""A causal language model with plain transformers: how likely a text is, and how it may go on."""

from __future__ import annotations

import json

from hf_fft.recipe import CausalLanguageModelingRecipe

TAG = "text-generation"


def what_it_does(task: CausalLanguageModelingRecipe) -> str:
    """Say it in a clause that follows "This model"."""
    return "guesses the next word of a text"


def long_inputs(task: CausalLanguageModelingRecipe) -> str:
    """Say what happened to longer inputs."""
    return "texts were joined and cut into blocks of this size" if task.packing else "longer texts were cut"


def snippet(task: CausalLanguageModelingRecipe, model: str) -> str:
    """Return Python that loads the model with transformers alone, scores a text and writes on."""
    cut = "" if task.packing else f", max_length={task.max_length}"
    return f"""import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({json.dumps(model)})
model = AutoModelForCausalLM.from_pretrained({json.dumps(model)}).eval()

text = "A text."
inputs = tokenizer(text, return_special_tokens_mask=True, return_tensors="pt", truncation=True{cut})
special = inputs.pop("special_tokens_mask").bool()
with torch.no_grad():
    loss = model(**inputs, labels=inputs["input_ids"].masked_fill(special, -100)).loss
print("perplexity", loss.exp().item())

start = tokenizer(text, return_tensors="pt")
print(tokenizer.decode(model.generate(**start, max_new_tokens=20)[0], skip_special_tokens=True))"""


def note(task: CausalLanguageModelingRecipe) -> str:
    """Say where the run read a text with another beginning."""
    if not task.packing:
        return ""
    return (
        f"The run joined texts into blocks of {task.max_length} tokens, so that most texts had the end of another one "
        "before them; the snippet reads a text alone, and its figure differs a little."
    )
