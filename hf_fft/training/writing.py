"""What a model is given to write from, and in which precision it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hf_fft.tasks.losses import IGNORED

_TARGETS = ("labels", "decoder_input_ids", "decoder_attention_mask")


def what_is_read(batch: Mapping[str, Any], *, decoder_only: bool, pad_token_id: int) -> dict[str, Any]:
    """Return a batch without its targets: what an encoder reads, or a decoder's prompts, padded on the left.

    A decoder's prompt is what it reads and is not scored on: labels are -100 there.
    """
    if not decoder_only:
        return {name: values for name, values in batch.items() if name not in _TARGETS}
    read = batch["attention_mask"].bool()
    if batch.get("labels") is not None:
        read &= batch["labels"].eq(IGNORED)
    prompts = [ids[kept] for ids, kept in zip(batch["input_ids"], read, strict=True)]
    ones = [torch.ones_like(ids) for ids in prompts]
    return {"input_ids": _padded(prompts, pad_token_id), "attention_mask": _padded(ones, 0)}


def with_decoder_inputs(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with what the decoder reads, made of its labels as the model itself would make it.

    Trainer takes the labels away from a model whose loss is computed outside (transformers 5.23). Without them some
    models stop, and others read the source a second time, without a word.
    """
    shifted = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    given = {"decoder_input_ids", "decoder_inputs_embeds"} & set(batch)
    if shifted is None or given or batch.get("labels") is None:
        return batch
    return {**batch, "decoder_input_ids": shifted(labels=batch["labels"])}


def _padded(rows: list[Tensor], value: int) -> Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value, padding_side="left")


@contextmanager
def without_autocast(model: nn.Module) -> Iterator[None]:
    """Let a model compute in the precision of its weights, as the saved model will: one token decides all after it.

    accelerate puts autocast around the forward of a model that it prepares, and keeps the original (accelerate 1.15).
    """
    original = getattr(model, "_original_forward", None)
    if original is None:
        yield
        return
    wrapped, model.forward = model.forward, original
    try:
        yield
    finally:
        model.forward = wrapped
