"""How a model writes: the recipe's `generation`, checked, and put into the model's own generation_config.

It is saved with the model, so that a plain `model.generate(**inputs)` writes what the run wrote. What the recipe does
not name stays as the model brings it, with two exceptions: the length, for transformers 5.23 would stop at 20 tokens,
and sampling, which chat models often bring and which would give other scores at every evaluation.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_fft.data.wording import did_you_mean
from hf_fft.errors import RecipeError
from hf_fft.tasks.generation_inputs import end_token_id

_REFUSED = {
    "max_length": "it counts a decoder's prompt too; set max_new_tokens",
    "num_return_sequences": "a row has one guess",
    "return_dict_in_generate": "a row has one guess, a text",
    "output_attentions": "a row has one guess, a text",
    "output_hidden_states": "a row has one guess, a text",
    "output_scores": "a row has one guess, a text",
    "output_logits": "a row has one guess, a text",
    "max_time": "what is written would depend on the machine's speed",
}
# They would fetch code from the Hub (transformers 5.23).
_MOVED_TO_THE_HUB = (
    "low_memory",
    "penalty_alpha",
    "dola_layers",
    "diversity_penalty",
    "num_beam_groups",
    "constraints",
    "force_words_ids",
)
_ONLY_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
_LEAST_WHOLE_NUMBERS = {"max_new_tokens": 1, "num_beams": 1} | dict.fromkeys(
    ("min_new_tokens", "min_length", "no_repeat_ngram_size", "top_k"), 0
)
_ABOVE_ZERO = ("temperature", "repetition_penalty", "encoder_repetition_penalty", "top_p", "typical_p")
_TRUE_OR_FALSE = ("do_sample", "use_cache", "remove_invalid_values", "renormalize_logits")


def check_generation(asked: Mapping[str, Any]) -> None:
    """Refuse settings that transformers does not have, or that make no sense in a run.

    Raises:
        RecipeError: naming the setting, with what may have been meant.
    """
    known = {name for name in vars(GenerationConfig()) if not name.startswith("_") and name != "transformers_version"}
    for name in asked:
        if name not in known:
            meant = did_you_mean(name, known - set(_REFUSED)) or "."
            raise RecipeError(f'task.generation: "{name}" is not a field of transformers.GenerationConfig{meant}')
        if name in _REFUSED:
            raise RecipeError(f"task.generation.{name} cannot be set: {_REFUSED[name]}.")
        if name in _MOVED_TO_THE_HUB:
            raise RecipeError(
                f"task.generation.{name} cannot be set: transformers 5 fetches the code that it needs from the Hub. "
                "Use num_beams, do_sample, temperature, top_p, no_repeat_ngram_size or the like."
            )
        _check_value(name, asked[name])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            GenerationConfig(**asked).validate(strict=True)
    except (ValueError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise RecipeError(f"task.generation {dict(asked)} cannot be used: {said}") from error


def _check_value(name: str, value: Any) -> None:
    """Refuse values that transformers would only stumble over when it writes, after training."""
    least = _LEAST_WHOLE_NUMBERS.get(name)
    if least is not None and (type(value) is not int or value < least):
        wanted = f"a whole number of at least {least}"
    elif name in _ABOVE_ZERO and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
        wanted = "a number above 0"
    elif name in _TRUE_OR_FALSE and not isinstance(value, bool):
        wanted = "true or false"
    elif name in ("length_penalty", "min_p") and (isinstance(value, bool) or not isinstance(value, int | float)):
        wanted = "a number"
    elif name == "early_stopping" and not (isinstance(value, bool) or value == "never"):
        wanted = 'true, false or "never"'
    else:
        return
    raise RecipeError(f"task.generation.{name} should be {wanted}; it is {value!r}.")


def set_generation(
    model: PreTrainedModel, asked: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, *, max_new_tokens: int
) -> None:
    """Write the recipe's settings, the length and the special tokens into the model's generation_config."""
    settings = model.generation_config
    assert settings is not None
    # Trainer and generate would otherwise take it for one made from the model's config, and make it anew.
    settings._from_model_config = False
    settings.max_length = None
    if not asked.get("do_sample"):
        for name in ("do_sample", *_ONLY_SAMPLING):
            setattr(settings, name, None)
    settings.pad_token_id = tokenizer.pad_token_id
    settings.eos_token_id = _with_end(settings.eos_token_id, end_token_id(tokenizer))
    settings.update(**{"max_new_tokens": max_new_tokens, **asked})


def _with_end(known: int | list[int] | None, end: int) -> int | list[int]:
    """Return the tokens at which a model stops, with the one that it is trained to stop at among them."""
    if known is None or known == end:
        return end
    several = known if isinstance(known, list) else [known]
    return several if end in several else [end, *several]
