"""Which models can write, and how: by their config, before any weights are read."""

from __future__ import annotations

from typing import Any

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
)

from hf_fft.errors import RecipeError
from hf_fft.recipe import ModelRecipe
from hf_fft.recipe.task_records import GenerationRecipe
from hf_fft.tasks.generation_inputs import DecoderInputs, EncoderDecoderInputs, GenerationInputs
from hf_fft.tasks.pretrained import load_config, positions_of
from hf_fft.tasks.warm_start import refuse_warm_start


def inputs_for(task: GenerationRecipe, model: ModelRecipe) -> GenerationInputs:
    """Return how a model reads and writes.

    Raises:
        RecipeError: if it cannot write, or not as the task's recipe says.
    """
    config = load_config(model)
    if task.architecture == "warm_started":
        refuse_warm_start(config, model.name)
        return EncoderDecoderInputs(positions=positions_of(config))
    encodes = bool(getattr(config, "is_encoder_decoder", False))
    if not encodes and not can_decode(config):
        raise RecipeError(
            f"{model.name} ({config.model_type}) is an encoder: it reads and does not write. Set task.architecture to "
            '"warm_started" to make an encoder-decoder out of it (arXiv:1907.12461), or name a model that writes, such '
            "as T5, BART, GPT-2 or Llama."
        )
    kind = "encoder_decoder" if encodes else "decoder_only"
    if task.architecture not in ("pretrained", kind):
        raise RecipeError(
            f'task.architecture is "{task.architecture}", and {model.name} ({config.model_type}) is "{kind}". Leave '
            "it out: the model's config says it."
        )
    if not encodes:
        return DecoderInputs(positions=positions_of(config), chat_template=task.chat_template)
    if task.chat_template:
        raise RecipeError(
            f"task.chat_template is for decoder-only models; {model.name} is an encoder-decoder. Leave it out, and "
            "write what the model should read into task.prompt."
        )
    half = getattr(config, "decoder", config)
    return EncoderDecoderInputs(getattr(config, "decoder_start_token_id", None), positions=positions_of(half))


def can_decode(config: Any) -> bool:
    """Say whether a model without an encoder writes by itself.

    transformers also lists encoders such as BERT as causal language models, for use as the decoder of another model;
    those have a masked language model too.
    """
    has_code_of_its_own = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    return has_code_of_its_own or (type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not encoder)
