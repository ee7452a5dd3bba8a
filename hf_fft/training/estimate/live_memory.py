"""How many bytes of tensors are alive while a step runs, place by place.

Every operation of torch passes through a dispatch mode, backward passes and optimizers included, so each new storage is
seen when it is made and again when it goes: gradients, saved activations, copies that autocast makes, results that live
for one operation. Not seen is what a kernel allocates inside itself, and the memory of numpy.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Count the bytes of tensors made since the mode was entered.

    Attributes:
        now: Bytes alive.
        peaks: The most that was alive in each stretch of the way, from one mark to the next.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peaks: list[int] = [0]
        self._known: dict[int, weakref.ref[Any]] = {}

    @property
    def peak(self) -> int:
        """The most that was alive at once."""
        return max(self.peaks)

    def mark(self, *_: Any) -> None:
        """Begin the next stretch."""
        self.peaks.append(self.now)

    @contextmanager
    def marking(self, model: nn.Module) -> Iterator[LiveMemory]:
        """Count, with a mark after each innermost module's forward pass and after each parameter's gradient.

        These come in the same order for any batch, where the operations between them need not.
        """
        innermost = {module for module in model.modules() if next(module.children(), None) is None}
        handles = [
            register_module_forward_hook(lambda module, *_: self.mark() if module in innermost else None),
            *(
                parameter.register_post_accumulate_grad_hook(self.mark)
                for parameter in model.parameters()
                if parameter.requires_grad
            ),
        ]
        try:
            with self:
                yield self
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the storages that it made."""
        kwargs = kwargs or {}
        for storage in _storages((args, kwargs)):
            # What was there before counts nothing; a view of it, or a change in place, gives it back as a result.
            self._remember(storage, 0)
        results = func(*args, **kwargs)
        for storage in _storages(results):
            self._remember(storage, storage.nbytes())
        return results

    def _remember(self, storage: torch.UntypedStorage, size_bytes: int) -> None:
        key = id(storage)
        if key in self._known:
            return

        def forget(_: Any) -> None:
            self.now -= size_bytes
            del self._known[key]

        self._known[key] = weakref.ref(storage, forget)
        self.now += size_bytes
        self.peaks[-1] = max(self.peaks[-1], self.now)


def _storages(values: Any) -> Iterable[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
