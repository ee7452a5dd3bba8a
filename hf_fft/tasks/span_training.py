"""How windows are trained on spans: labels out of answers, batches out of windows, losses out of both.

A label is a start and an end, two places in the window. In a batch the window's length stands behind them, for Trainer
hands a loss nothing but outputs, labels and a count, and the padding, which depends on the neighbours in the batch,
must take no part in the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_fft.data.answers import place_in_context
from hf_fft.tasks import losses
from hf_fft.tasks.spans import token_span


@dataclass(frozen=True)
class SpanCollator:
    """Pad a batch on the right, whatever side the tokenizer pads on, so that the places of tokens stay.

    `labels` become (batch, 3): start, end, and the window's length, by which the loss leaves the padding out.
    """

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch as tensors."""
        names = [name for name in self.tokenizer.model_input_names if name in items[0]]
        inputs = [{name: item[name] for name in names} for item in items]
        batch = dict(self.tokenizer.pad(inputs, padding=True, padding_side="right", return_tensors="pt"))
        if "labels" in items[0]:
            batch["labels"] = torch.tensor([[*item["labels"], len(item["input_ids"])] for item in items])
        return batch


def span_losses(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Return the mean of the start's and the end's cross-entropy of each window; logits (batch, tokens, 2)."""
    ignored = losses.ignored(labels[:, 0])
    tokens = torch.full_like(labels[:, 0], logits.shape[1]) if labels.shape[1] == 2 else labels[:, 2]
    padding = torch.arange(logits.shape[1], device=logits.device) >= tokens.masked_fill(ignored, 1)[:, None]
    chances = logits.masked_fill(padding[:, :, None], -torch.inf).log_softmax(dim=1)
    targets = labels[:, None, :2].masked_fill(ignored[:, None, None], 0)
    gold = -chances.gather(1, targets)[:, 0].mean(dim=1)
    even = -chances.masked_fill(padding[:, :, None], 0.0).sum(dim=1).mean(dim=1) / (~padding).sum(dim=1)
    return ((1 - label_smoothing) * gold + label_smoothing * even).masked_fill(ignored, 0.0)


def answer_characters(answers: Mapping[str, list[Any]], context: str) -> tuple[int, int] | None:
    """Return from and up to which character the first answer reaches, white space around it left out."""
    if not answers["text"]:
        return None
    text = answers["text"][0]
    start = place_in_context(text, context, answers["answer_start"][0])
    assert start is not None, "type_columns refuses answers without a place"
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def window_label(encoded: Mapping[str, list[Any]], index: int, answer: tuple[int, int] | None) -> list[int]:
    """Return the start and end that a window is trained on: the answer's tokens, or CLS twice where it is not here."""
    starts, ends = encoded["char_starts"][index], encoded["char_ends"][index]
    span = None if answer is None else token_span(starts, ends, *answer)
    return [encoded["cls"][index]] * 2 if span is None else [encoded["context_start"][index] + token for token in span]
