"""Masks that are a function of seed, epoch and text, and of nothing else.

HF's collator owns the arithmetic (80 % masks, 10 % random words, 10 % unchanged, arXiv:1810.04805), but draws for a
whole batch from a generator that moves on: after a resume, in another order or on another process the masks are others,
and validation is judged by new ones every time. Here each item brings a generator of its own, seeded by a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import (
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

# Evaluation splits are masked by this, so that runs of different seeds are judged by the same guesses.
EVALUATION_SEED = 0


class MaskingCollator:
    """Mask the items that have no labels yet, and pad the batch.

    `seed` and `epoch` are set by `MaskEpochs`; without it the masks are the same in every epoch.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, probability: float) -> None:
        self._masking = DataCollatorForLanguageModeling(tokenizer, mlm_probability=probability)
        self._padding = DataCollatorForTokenClassification(tokenizer)
        self._special = torch.tensor(sorted(tokenizer.all_special_ids))
        # Shared, for with dataloader_persistent_workers the workers keep their copy of the collator for all epochs.
        self._seed_and_epoch = torch.zeros(2, dtype=torch.int64).share_memory_()

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> Any:
        """Return a padded batch of tensors."""
        masked = [item if "labels" in item else {**item, **self.masked(item["input_ids"])} for item in items]
        return self._padding(masked)

    def set_moment(self, *, seed: int | None = None, epoch: int | None = None) -> None:
        """Say by which seed, and in which epoch, the next items are masked."""
        for place, number in enumerate((seed, epoch)):
            if number is not None:
                self._seed_and_epoch[place] = number

    def masked(self, ids: Sequence[int]) -> dict[str, list[int]]:
        """Return `input_ids` with masks and `labels`: what stood there, -100 where nothing is to be guessed.

        Special tokens, unknown words among them, are never masked.
        """
        seed, epoch = self._seed_and_epoch.tolist()
        row = torch.tensor([list(ids)])
        self._masking.generator = torch.Generator().manual_seed(mask_seed(seed, epoch, row))
        inputs, labels = self._masking.torch_mask_tokens(row, special_tokens_mask=torch.isin(row, self._special))
        return {"input_ids": inputs[0].tolist(), "labels": labels[0].tolist()}


class MaskEpochs(TrainerCallback):
    """Tell a collator the run's seed and the epoch.

    Trainer makes an epoch's iterator, and its workers, after `on_epoch_begin`; at a resume the state holds the share of
    the epoch that is done (transformers 5.23).
    """

    belongs_to_data: ClassVar[bool] = True  # so that it works in a probe of the head too

    def __init__(self, collator: MaskingCollator) -> None:
        self.collator = collator

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mask by the run's seed."""
        self.collator.set_moment(seed=args.seed)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mask anew; a state that is rounded a little below a whole epoch counts as that epoch."""
        self.collator.set_moment(epoch=int((state.epoch or 0.0) + 1e-6))


def mask_seed(seed: int, epoch: int, ids: Tensor) -> int:
    """Return a number of 63 bits that depends on all three alone, on every machine."""
    key = b"%d/%d/" % (seed, epoch)
    digest = hashlib.blake2b(key + ids.to(torch.int64).numpy().astype("<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
