"""An encoder-decoder whose two halves start from one pretrained encoder (Rothe et al. 2020, arXiv:1907.12461).

The decoder is the encoder again, made causal, with its language-model head and with cross-attention between the layers;
the cross-attention is new, drawn from torch's seed, and so is a head that the checkpoint does not bring. What comes out
is transformers' own `EncoderDecoderModel`: once saved it loads like any other encoder-decoder.
"""

from __future__ import annotations

from typing import Any

from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from hf_fft.errors import RecipeError
from hf_fft.recipe import ModelRecipe
from hf_fft.tasks.generation_inputs import end_token_id
from hf_fft.tasks.pretrained import load_pretrained

_IN_A_DECODER = {"is_decoder": True, "add_cross_attention": True}


def refuse_warm_start(config: Any, name: str) -> None:
    """Refuse a model that cannot be both halves.

    Raises:
        RecipeError: if it is an encoder-decoder already, or transformers has no decoder of its kind.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise RecipeError(
            f'task.architecture "warm_started" makes an encoder-decoder out of an encoder, and {name} is an '
            'encoder-decoder already. Set task.architecture to "pretrained".'
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or not hasattr(config, "add_cross_attention"):
        raise RecipeError(
            f'task.architecture "warm_started" needs an encoder that can also decode, with cross-attention, and '
            f"transformers has none for {config.model_type} ({name}). Use a BERT, RoBERTa or ELECTRA."
        )


def start_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that a warm-started decoder starts from: BERT's [CLS], RoBERTa's <s>.

    Raises:
        RecipeError: if the tokenizer has none.
    """
    for start in (tokenizer.cls_token_id, tokenizer.bos_token_id):
        if start is not None:
            return int(start)
    raise RecipeError(
        "a warm-started decoder starts from the tokenizer's cls_token or bos_token, and this tokenizer has neither. "
        "Name one that has in model.tokenizer."
    )


def load_warm_started(model: ModelRecipe, tokenizer: PreTrainedTokenizerBase) -> EncoderDecoderModel:
    """Build the encoder-decoder in float32; the recipe's changes to the config apply to both halves.

    Raises:
        RecipeError: if the model cannot be loaded, or cannot be both halves.
    """
    encoder = load_pretrained(AutoModel, model, {})
    refuse_warm_start(encoder.config, model.name)
    decoder = load_pretrained(AutoModelForCausalLM, model, _IN_A_DECODER)
    tokens = {
        "decoder_start_token_id": start_token_id(tokenizer),
        "eos_token_id": end_token_id(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        encoder.config, decoder.config, vocab_size=decoder.config.vocab_size, **tokens
    )
    config._name_or_path = model.name
    both: Any = EncoderDecoderModel(encoder=encoder, decoder=decoder, config=config)
    both.generation_config = GenerationConfig(**tokens)
    halves: dict[str, Any] = {"encoder": encoder, "decoder": decoder}
    both.newly_drawn = tuple(f"{half}.{name}" for half, part in halves.items() for name in part.newly_drawn)
    return both
