"""Kinds of problem, one file each."""

from __future__ import annotations

from collections.abc import Callable

from hf_fft.errors import RecipeError
from hf_fft.recipe import TaskRecipe
from hf_fft.tasks.causal_language_modeling import CausalLanguageModeling
from hf_fft.tasks.generative_question_answering import GenerativeQuestionAnswering
from hf_fft.tasks.masked_language_modeling import MaskedLanguageModeling
from hf_fft.tasks.pretrained import load_tokenizer
from hf_fft.tasks.question_answering import QuestionAnswering
from hf_fft.tasks.task import Task
from hf_fft.tasks.text_classification import TextClassification
from hf_fft.tasks.text_generation import TextGeneration
from hf_fft.tasks.token_classification import TokenClassification

__all__ = [
    "TASKS",
    "CausalLanguageModeling",
    "GenerativeQuestionAnswering",
    "MaskedLanguageModeling",
    "QuestionAnswering",
    "Task",
    "TextClassification",
    "TextGeneration",
    "TokenClassification",
    "load_tokenizer",
    "task_for",
]

TASKS: dict[str, Callable[..., Task]] = {
    "text_classification": TextClassification,
    "text_generation": TextGeneration,
    "generative_question_answering": GenerativeQuestionAnswering,
    "token_classification": TokenClassification,
    "question_answering": QuestionAnswering,
    "masked_language_modeling": MaskedLanguageModeling,
    "causal_language_modeling": CausalLanguageModeling,
}


def task_for(choice: str | TaskRecipe) -> Task:
    """Return the task of a name or of a recipe's record.

    Raises:
        RecipeError: if no task has that name.
    """
    name = choice if isinstance(choice, str) else choice.name
    if name not in TASKS:
        raise RecipeError(f'"{name}" is not a task; there are {", ".join(TASKS)}.')
    return TASKS[name](None if isinstance(choice, str) else choice)
