"""How many tokens prompt and text may have: a recipe's wishes, and what model and tokenizer can hold."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_fft.errors import RecipeError
from hf_fft.recipe.task_records import GenerationRecipe
from hf_fft.tasks.generation_inputs import GenerationInputs

SHORTEST_PROMPT_TOKENS = 8


def longest_text(recipe: GenerationRecipe) -> int:
    """Return how many tokens the model may write."""
    asked = recipe.generation.get("max_new_tokens", recipe.max_target_length)
    assert isinstance(asked, int)
    return asked


def longest_prompt(recipe: GenerationRecipe, inputs: GenerationInputs) -> int:
    """Return how many tokens a prompt may have; a decoder needs the rest of `max_length` for the text."""
    if not inputs.decoder_only:
        return recipe.max_length
    return recipe.max_length - max(recipe.max_target_length, longest_text(recipe))


def possible_lengths(
    recipe: GenerationRecipe, inputs: GenerationInputs, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """Return the recipe's lengths, lowered to what model and tokenizer can hold."""
    lengths = {"max_length": int(min(recipe.max_length, tokenizer.model_max_length, inputs.positions))}
    if not inputs.decoder_only:
        lengths["max_target_length"] = min(recipe.max_target_length, inputs.positions)
    return lengths


def check_lengths(recipe: GenerationRecipe, inputs: GenerationInputs) -> None:
    """Refuse lengths that leave no room for the prompt, or that the decoder has no positions for.

    Raises:
        RecipeError: naming the fields.
    """
    left = longest_prompt(recipe, inputs)
    if left < SHORTEST_PROMPT_TOKENS:
        raise RecipeError(
            f"task.max_length {recipe.max_length} is for prompt and text together, and max_target_length or "
            f"generation.max_new_tokens leaves {max(0, left)} of its tokens to the prompt. Raise the first, or lower "
            "the others."
        )
    if not inputs.decoder_only and longest_text(recipe) > inputs.positions:
        raise RecipeError(
            f"task.generation.max_new_tokens is {longest_text(recipe)}, and the model's decoder has positions for "
            f"{inputs.positions} tokens. Lower it."
        )
