"""Masked language modelling: guess words that were hidden, from both sides. How an encoder adapts to a domain.

Which words are hidden follows from seed, epoch and text alone (`masking`), and in evaluation from the text alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from hf_fft.data import Splits
from hf_fft.errors import RecipeError
from hf_fft.recipe import MaskedLanguageModelingRecipe
from hf_fft.tasks import blocks, losses
from hf_fft.tasks.language_modeling import LanguageModeling
from hf_fft.tasks.masking import EVALUATION_SEED, MaskEpochs, MaskingCollator


class MaskedLanguageModeling(LanguageModeling):
    """Guess hidden words of raw text. Build it from a recipe's record, or from that record's fields."""

    name: ClassVar[str] = "masked_language_modeling"
    auto_model: ClassVar[Any] = AutoModelForMaskedLM
    metric_names: ClassVar[tuple[str, ...]] = ("perplexity", "loss", "accuracy")
    recipe: MaskedLanguageModelingRecipe

    def __init__(self, recipe: MaskedLanguageModelingRecipe | None = None, **fields: Any) -> None:
        self.recipe = recipe or MaskedLanguageModelingRecipe(**fields)

    def fitted(self, splits: Splits, tokenizer: PreTrainedTokenizerBase) -> Self:
        """Fill in the model's own limit.

        Raises:
            RecipeError: if the tokenizer has no mask, or the recipe's primary metric does not exist.
        """
        if tokenizer.mask_token_id is None:
            raise RecipeError(
                f"{self.name} hides words behind a mask token, and the tokenizer of this model has none: the model was "
                'not trained to guess masked words. For a decoder use the task "causal_language_modeling".'
            )
        return super().fitted(splits, tokenizer)

    def other_kind(self, config: Any) -> str | None:
        """Say that a decoder is one."""
        if type(config) in MODEL_FOR_MASKED_LM_MAPPING or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            return None
        return 'is a decoder, which guesses the next word. Use the task "causal_language_modeling".'

    def frame(self, tokenizer: PreTrainedTokenizerBase) -> blocks.Frame:
        """Return what the tokenizer puts around a text, [CLS] and [SEP] say, and its separator between texts."""
        before, after = blocks.tokens_around(tokenizer)
        separator = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
        return blocks.Frame(before, after, separator, ends_texts=False)

    def fixed(
        self, items: blocks.Tokens, tokenizer: PreTrainedTokenizerBase, *, split: str
    ) -> Mapping[str, blocks.Integers]:
        """Return masks for evaluation splits, the same for every run; training is masked anew in every epoch."""
        if split == "train":
            return {}
        collator = MaskingCollator(tokenizer, self.recipe.mlm_probability)
        collator.set_moment(seed=EVALUATION_SEED)
        masked = [collator.masked(ids.tolist()) for ids in np.split(items.ids, items.bounds[1:-1])]
        return {name: np.concatenate([one[name] for one in masked]) for name in ("input_ids", "labels")}

    def collator(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> MaskingCollator:
        """Return what masks items that are not masked yet, and pads them."""
        return MaskingCollator(tokenizer, self.recipe.mlm_probability)

    def callbacks(self, collator: Any) -> Sequence[TrainerCallback]:
        """Return what tells the collator seed and epoch."""
        return [MaskEpochs(collator)]

    def token_losses(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss of every token, zero where it was not hidden: (batch, tokens)."""
        return losses.token_losses(logits, labels, label_smoothing=label_smoothing)
