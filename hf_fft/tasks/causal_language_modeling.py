"""Causal language modelling: guess each word from those before it. How a decoder adapts to a domain.

Every text ends with the tokenizer's end-of-text token, so that the model also learns where texts end; in evaluation
only words of the texts themselves are scored. The first token of an item is guessed by nobody.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from datasets import Dataset
from torch import Tensor
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoModelForCausalLM,
    DataCollatorForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_fft.data import Splits
from hf_fft.recipe import CausalLanguageModelingRecipe
from hf_fft.tasks import blocks, losses
from hf_fft.tasks.language_modeling import LanguageModeling

logger = logging.getLogger(__name__)


class CausalLanguageModeling(LanguageModeling):
    """Guess the next word of raw text. Build it from a recipe's record, or from that record's fields."""

    name: ClassVar[str] = "causal_language_modeling"
    auto_model: ClassVar[Any] = AutoModelForCausalLM
    metric_names: ClassVar[tuple[str, ...]] = ("perplexity", "loss", "accuracy", "bits_per_byte")
    recipe: CausalLanguageModelingRecipe

    def __init__(self, recipe: CausalLanguageModelingRecipe | None = None, **fields: Any) -> None:
        self.recipe = recipe or CausalLanguageModelingRecipe(**fields)

    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> Self:
        """Fill in the model's own limit.

        Raises:
            RecipeError: if the recipe's primary metric does not exist.
        """
        if tokenizer.eos_token_id is None:
            logger.warning("The tokenizer has no end-of-text token: nothing stands between two texts.")
        return super().fitted(splits, tokenizer)

    def other_kind(self, config: Any) -> str | None:
        """Say that an encoder is one; those that are built as decoders may pass."""
        if type(config) not in MODEL_FOR_MASKED_LM_MAPPING or getattr(config, "is_decoder", False):
            return None
        return 'is an encoder, whose words see those behind them. Use the task "masked_language_modeling".'

    def frame(self, tokenizer: PreTrainedTokenizerBase) -> blocks.Frame:
        """Return what the tokenizer puts before a text, and the end of a text."""
        before, _ = blocks.tokens_around(tokenizer)
        return blocks.Frame(before, (), tokenizer.eos_token_id, ends_texts=True)

    def fixed(
        self, items: blocks.Tokens, tokenizer: PreTrainedTokenizerBase, *, split: str
    ) -> Mapping[str, blocks.Integers]:
        """Return the tokens themselves as labels, in evaluation those of the texts only.

        The first of an item is left out although the loss is shifted, so that every way of counting gives one number:
        Trainer leaves it out for some causal models and not for others, GPT-2 for example (transformers 5.23).
        """
        labels = items.ids.copy()
        labels[items.bounds[:-1]] = losses.IGNORED
        if split != "train":
            labels[items.rows == blocks.NO_ROW] = losses.IGNORED
        return {"labels": labels}

    def collator(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> Any:
        """Return HF's collator that pads items and their labels, on the right.

        Tokenizers of chat models pad on the left, and a model that counts positions from 0 would count the padding.
        """
        right = copy.copy(tokenizer)
        right.padding_side = "right"
        return DataCollatorForTokenClassification(right)

    def token_losses(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss of each token from the second on: (batch, tokens - 1)."""
        return losses.next_token_losses(logits, labels, label_smoothing=label_smoothing)

    def scored_bytes(self, texts: Sequence[str], encoded: Dataset, scored: blocks.Integers) -> np.ndarray | None:
        """Return the share of each text's UTF-8 bytes that its guessed tokens have among its tokens."""
        tokens = self.text_tokens(encoded, len(texts))
        sizes = np.array([len(text.encode("utf-8", "surrogatepass")) for text in texts], dtype=np.float64)
        return sizes * scored / np.maximum(tokens, 1)
