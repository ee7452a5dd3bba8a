"""A text classifier with plain transformers.

Long texts are cut at the length that the model was trained with, and what the head gives becomes scores the way hf_fft
scored it: softmax for one label, sigmoid for several, nothing for a number.
"""

from __future__ import annotations

import json

from hf_fft.recipe import TextClassificationRecipe

TAG = "text-classification"
FUNCTIONS = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "none",
}
ANSWERS = {
    "single_label_classification": 'scores[0]["label"]  # the likeliest; scores holds the probability of every label',
    "multi_label_classification": '[one["label"] for one in scores if one["score"] >= 0.5]',
    "regression": 'scores[0]["score"]  # the number itself',
}


GIVES = {
    "single_label_classification": "one label",
    "multi_label_classification": "any number of labels",
    "regression": "a number",
}


def what_it_does(task: TextClassificationRecipe) -> str:
    """Say it in a clause that follows "This model"."""
    item = "a pair of texts" if task.text_pair_column else "a text"
    return f"gives {item} {GIVES[task.problem_type]}"


def long_inputs(task: TextClassificationRecipe) -> str:
    """Say what happened to longer inputs."""
    return "longer texts were cut" if task.long_text == "cut" else "longer texts were split into windows"


def snippet(task: TextClassificationRecipe, model: str) -> str:
    """Return Python that loads the model with transformers alone and classifies one input."""
    example = '{"text": "A first text.", "text_pair": "A second text."}' if task.text_pair_column else '"A text."'
    return f"""from transformers import pipeline

classify = pipeline(
    "text-classification",
    model={json.dumps(model)},
    top_k=None,
    function_to_apply="{FUNCTIONS[task.problem_type]}",
    truncation=True,
    max_length={task.max_length},
)
for scores in classify([{example}]):
    answer = {ANSWERS[task.problem_type]}
    print(answer)"""


def note(task: TextClassificationRecipe) -> str:
    """Say where the snippet reads less of a text than the run did."""
    if task.long_text == "cut":
        return ""
    return (
        f"The run split longer texts into windows that share {task.window_overlap} tokens and averaged the windows' "
        f"scores; this snippet reads the first {task.max_length} tokens only."
    )
