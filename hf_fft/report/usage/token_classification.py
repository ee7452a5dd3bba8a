"""A tagger with plain transformers.

Not with its pipeline: that one takes text apart by itself and joins sub-words by rules of its own (transformers 5.23).
Here a sentence is a list of words, as it was in the data, and a word has the tag of its first sub-word.
"""

from __future__ import annotations

import json

from hf_fft.recipe import TokenClassificationRecipe

TAG = "token-classification"


def what_it_does(task: TokenClassificationRecipe) -> str:
    """Say it in a clause that follows "This model"."""
    return "gives every word of a sentence a tag"


def long_inputs(task: TokenClassificationRecipe) -> str:
    """Say what happened to longer inputs."""
    return "longer sentences were split into windows"


def snippet(task: TokenClassificationRecipe, model: str) -> str:
    """Return Python that loads the model with transformers alone and tags the words of one sentence."""
    return f"""import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({json.dumps(model)})
model = AutoModelForTokenClassification.from_pretrained({json.dumps(model)})


def tag(words):
    inputs = tokenizer(
        words, is_split_into_words=True, truncation=True, max_length={task.max_length}, return_tensors="pt"
    )
    with torch.no_grad():
        guesses = model(**inputs).logits[0].argmax(dim=-1).tolist()
    tags = [None] * len(words)
    for word, guess in zip(inputs.word_ids(), guesses):
        if word is not None and tags[word] is None:  # a word has the tag of its first sub-word
            tags[word] = model.config.id2label[guess]
    return tags


print(tag(["A", "sentence", "as", "a", "list", "of", "words", "."]))"""


def note(task: TokenClassificationRecipe) -> str:
    """Say where the snippet reads less of a sentence than the run did."""
    return (
        f"The run split sentences of more than {task.max_length} tokens into windows that share {task.window_overlap} "
        f"tokens; this snippet reads the first {task.max_length} tokens and answers None for the words after them."
    )
