"""A model that writes answers, with plain transformers: the lines of text generation, with question and context."""

from __future__ import annotations

from hf_fft.recipe.task_records import GenerativeQuestionAnsweringRecipe
from hf_fft.report.usage.text_generation import long_inputs, note, snippet

TAG = "question-answering"


def what_it_does(task: GenerativeQuestionAnsweringRecipe) -> str:
    """Say it in a clause that follows "This model"."""
    return "answers a question about a text in words of its own"


__all__ = ["TAG", "long_inputs", "note", "snippet", "what_it_does"]
