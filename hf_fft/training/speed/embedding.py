"""Gradients of large embeddings on a CPU without a new table for each step.

torch's backward fills a table of zeros as large as the embedding and adds the rows of the batch to it: 47 MB for 30,522
words of 384 numbers, of which a batch of 32 short texts has a thousand at most. Here the table is kept, and before it
serves again only the rows that were touched are set to zero.

The values are torch's to the bit: the rows of a batch are summed by the same kernel, in the same order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Smaller tables, such as those of positions, cost next to nothing.
LEAST_ELEMENTS = 2**21


def keep_embedding_gradients(model: nn.Module) -> int:
    """Make each large `nn.Embedding` that learns a `KeptGradientEmbedding`; return how many. Changes the model.

    An embedding whose table another module reads too, as a tied output layer does, stays as it is: the other one's
    gradient is not confined to a few rows.
    """
    readers: dict[int, int] = {}
    for module in model.modules():
        for weight in module._parameters.values():
            readers[id(weight)] = readers.get(id(weight), 0) + 1
    plain = [one for one in model.modules() if type(one) is nn.Embedding]
    large = [one for one in plain if _suits(one) and readers[id(one.weight)] == 1]
    for embedding in large:
        # The object stays, with its hooks, its parameter and its places in the model.
        embedding.__class__ = KeptGradientEmbedding
    return len(large)


class KeptGradientEmbedding(nn.Embedding):
    """`nn.Embedding` that writes its gradient into one table, again and again."""

    _table: Tensor | None = None
    _touched: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Look rows up; shapes as in `nn.Embedding`."""
        weight = self.weight
        learns = weight.requires_grad and torch.is_grad_enabled()
        # A hook on the weight is called with the gradient that autograd adds, and here it adds none.
        hooked = weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None)
        if not learns or hooked or weight.device.type != "cpu":
            return super().forward(input)
        return _LookedUp.apply(weight, input, self)

    def add_gradient(self, rows: Tensor, gradients: Tensor) -> None:
        """Add (rows, width) gradients to the weight's, at different rows."""
        if self.weight.grad is None:
            table = self._table
            if table is None or table.dtype != self.weight.dtype or table.shape != self.weight.shape:
                table = self._table = torch.zeros_like(self.weight, memory_format=torch.contiguous_format)
            elif self._touched is not None:
                table.index_fill_(0, self._touched, 0)
            self._touched = rows
            table.index_copy_(0, rows, gradients)
            self.weight.grad = table
            return
        if self.weight.grad is self._table and self._touched is not None:
            self._touched = torch.cat([self._touched, rows]).unique()
        self.weight.grad.index_add_(0, rows, gradients)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the table out of copies and files."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_table", "_touched")}


class _LookedUp(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, weight: Tensor, places: Tensor, embedding: KeptGradientEmbedding) -> Tensor:
        context.save_for_backward(places)
        context.embedding = embedding
        return nn.functional.embedding(places, weight)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[None, None, None]:
        (places,) = context.saved_tensors
        embedding: KeptGradientEmbedding = context.embedding
        rows, numbers = places.unique(return_inverse=True)
        padding = embedding.padding_idx
        at = -1 if padding is None else int(torch.searchsorted(rows, padding))
        ignored = at if 0 <= at < len(rows) and rows[at] == padding else -1
        summed = torch.ops.aten.embedding_dense_backward(gradients[0], numbers, len(rows), ignored, False)
        embedding.add_gradient(rows, summed.to(embedding.weight.dtype))
        return None, None, None


def _suits(embedding: nn.Embedding) -> bool:
    special = embedding.sparse or embedding.scale_grad_by_freq or embedding.max_norm is not None
    return not special and embedding.weight.requires_grad and embedding.weight.numel() >= LEAST_ELEMENTS
