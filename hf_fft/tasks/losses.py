"""Losses that stay exact however a batch is cut into pieces.

A loss is the sum over its rows divided by the number of rows in the *whole* effective batch: all accumulated
micro-batches on all processes. Trainer 5.23 counts that number (`num_items_in_batch`), but the classic heads ignore it
and return the mean of their micro-batch, so accumulation over k micro-batches multiplies the loss by k. These functions
divide by it.

Trainer counts label *elements* (`labels.ne(-100)`). A row whose labels hold k elements therefore counts k, and the
losses take that back, so that they are right in a plain `Trainer` too.

Rows to leave out carry -100 in integer labels and NaN in float labels, where -100 may be a real target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss

IGNORED = -100

Loss = Callable[..., Tensor]


def ignored(labels: Tensor) -> Tensor:
    """Return True for every label element that takes no part in the loss; same shape."""
    return labels.isnan() if labels.is_floating_point() else labels.eq(IGNORED)


def ignore_rows(labels: Tensor, rows: Tensor) -> Tensor:
    """Return labels in which the given rows, a mask of shape (batch,), take no part in the loss."""
    value = float("nan") if labels.is_floating_point() else IGNORED
    return labels.masked_fill(rows.view(-1, *[1] * (labels.dim() - 1)), value)


def count_items(labels: Tensor) -> Tensor:
    """Count the label elements that take part in the loss: what `num_items_in_batch` adds up."""
    return (~ignored(labels)).sum()


def mean_over_batch(row_losses: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    """Divide the summed losses of the rows, shape (batch,), by the rows of the whole effective batch.

    Args:
        row_losses: One loss a row; zero where the row is ignored.
        labels: What the rows were scored against; their first dimension is the batch.
        num_items_in_batch: Label elements in the whole effective batch; this batch alone counts if it is None.
    """
    items = count_items(labels) if num_items_in_batch is None else num_items_in_batch
    elements_per_row = labels[0].numel()
    rows = torch.as_tensor(items, device=row_losses.device) / elements_per_row
    return row_losses.sum() / rows.clamp(min=1 / elements_per_row)


def single_label_losses(
    logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return cross-entropy a row: logits (batch, labels), labels (batch,) with -100 for rows left out.

    A class weight multiplies the row's loss by the weight of its gold label; smoothing spreads over all labels evenly
    (arXiv:1512.00567).
    """
    losses = functional.cross_entropy(
        logits.float(), labels, reduction="none", ignore_index=IGNORED, label_smoothing=label_smoothing
    )
    if class_weights is None:
        return losses
    return losses * class_weights.to(losses)[labels.clamp(min=0)]


def multi_label_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return binary cross-entropy a row, the mean over its labels: both arguments (batch, labels), NaN left out."""
    left_out = ignored(labels)
    targets = labels.masked_fill(left_out, 0.0).to(torch.float32)
    losses = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return losses.masked_fill(left_out, 0.0).mean(dim=1)


def regression_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the squared error a row: logits (batch, 1) or (batch,), labels (batch,), NaN left out."""
    left_out = ignored(labels)
    targets = labels.masked_fill(left_out, 0.0).to(torch.float32)
    return (logits.float().view_as(targets) - targets).square().masked_fill(left_out, 0.0)


def token_losses(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return cross-entropy a token: logits (batch, tokens, classes), labels (batch, tokens); same shape as labels."""
    # One row a token: with the classes in the middle, as (batch, classes, tokens), it takes several times as long.
    losses = functional.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        reduction="none",
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
    )
    return losses.view_as(labels)


def next_token_losses(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return cross-entropy a token as a causal model is trained: each position's logits against the label after it.

    Logits are (batch, tokens, classes), labels (batch, tokens) and not shifted; the losses are (batch, tokens - 1), and
    belong to `labels[:, 1:]`.
    """
    # The labels move, for a slice of the logits would be a copy of them.
    following = functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    return token_losses(logits, following, label_smoothing=label_smoothing)[:, :-1]


def mean_over_tokens(losses: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    """Divide the summed losses of the tokens by the scored tokens of the whole effective batch.

    Args:
        losses: One loss a token, from `token_losses` or `next_token_losses`; zero where a token is left out.
        labels: What the tokens were scored against, shifted or not: the last ones, as many as there are losses, count.
        num_items_in_batch: Scored tokens in the whole effective batch; those of this batch alone if it is None. Trainer
            leaves out the first token of each row where a model shifts its labels (transformers 5.23).
    """
    items = (
        count_items(labels[:, labels.shape[1] - losses.shape[1] :])
        if num_items_in_batch is None
        else num_items_in_batch
    )
    return losses.sum() / torch.as_tensor(items, device=losses.device).clamp(min=1)


def default_loss(model: Any, *, label_smoothing: float = 0.0) -> Loss | None:
    """Return an exact loss for a model by transformers' own `loss_type`, or None for the model's own; see below."""
    kind = getattr(model, "loss_type", None)
    config = getattr(model, "config", None)
    if kind == "ForSequenceClassification":
        return _sequence_loss(config, label_smoothing)
    per_token = kind in {"ForTokenClassification", "ForMaskedLM"} or getattr(config, "is_encoder_decoder", False)
    return _token_loss(label_smoothing) if per_token and kind != "ForQuestionAnswering" else None


def uses_item_count(model: Any) -> bool:
    """Say whether a model's own loss divides by `num_items_in_batch`.

    Those of causal language models and image classifiers do. Others return the mean of their micro-batch, and Trainer
    has to average over the accumulated ones: exact where these are of one size.
    """
    kind = getattr(model, "loss_type", None)
    return kind == "ForImageClassification" or LOSS_MAPPING.get(str(kind)) is ForCausalLMLoss


def _sequence_loss(config: Any, label_smoothing: float) -> Loss:
    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits = logits_of(outputs)
        problem = config.problem_type or _guess_problem_type(config.num_labels, labels)
        if problem == "regression":
            rows = regression_losses(logits, labels.float())
            rows = rows if rows.dim() == 1 else rows.mean(dim=1)
        elif problem == "multi_label_classification":
            rows = multi_label_losses(logits, labels.float())
        else:
            rows = single_label_losses(logits, labels, label_smoothing=label_smoothing)
        return mean_over_batch(rows, labels, num_items_in_batch)

    return loss


def _guess_problem_type(num_labels: int, labels: Tensor) -> str:
    """Guess as transformers' own heads do where the config does not say."""
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def _token_loss(label_smoothing: float) -> Loss:
    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        losses = token_losses(logits_of(outputs), labels, label_smoothing=label_smoothing)
        return mean_over_tokens(losses, labels, num_items_in_batch)

    return loss


def logits_of(outputs: Any) -> Tensor:
    """Return a model's logits, from its output record or from the tuple that some models give instead."""
    return outputs["logits"] if isinstance(outputs, dict) else outputs[0]
