"""How to use a trained model with plain transformers, one module a task: what the model card says of it.

Every snippet gives the answers that stand in `predictions.jsonl`, without hf_fft; a test runs each of them.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from hf_fft.recipe import TaskRecipe
from hf_fft.report.usage import (
    causal_language_modeling,
    generative_question_answering,
    masked_language_modeling,
    question_answering,
    text_classification,
    text_generation,
    token_classification,
)


class Usage(Protocol):
    """What each module of this room has.

    Attributes:
        TAG: The Hub's name of the task, `pipeline_tag` in the card's metadata.
    """

    TAG: str

    def what_it_does(self, task: Any) -> str:
        """Say it in a clause that follows "This model"."""

    def long_inputs(self, task: Any) -> str:
        """Say in a clause what happened to inputs longer than `max_length`."""

    def snippet(self, task: Any, model: str) -> str:
        """Return Python that loads the model with transformers alone and answers one input."""

    def note(self, task: Any) -> str:
        """Say where the snippet does less than the run did; empty where it does the same."""


USAGES = {
    "causal_language_modeling": causal_language_modeling,
    "generative_question_answering": generative_question_answering,
    "masked_language_modeling": masked_language_modeling,
    "question_answering": question_answering,
    "text_classification": text_classification,
    "text_generation": text_generation,
    "token_classification": token_classification,
}


def usage_of(task: TaskRecipe) -> Usage:
    """Return the module of a task."""
    return cast(Usage, USAGES[task.name])


__all__ = ["USAGES", "Usage", "usage_of"]
