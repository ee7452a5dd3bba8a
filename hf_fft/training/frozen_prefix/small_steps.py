"""What a step costs beside its arithmetic, where only a small head learns on vectors that are kept.

Trainer's step walks the whole model several times: to put it into training mode, to clip gradients, to forget them and
to count operations; and accelerate's looks twice for a package that may be installed (transformers 5.23, accelerate
1.15). With a frozen backbone that nobody runs this costs more than the head. For the length of such a training all of
them are told what they would find. Nothing that is computed changes.
"""

from __future__ import annotations

import functools
from typing import Any

import accelerate.optimizer
import torch
from torch import Tensor, nn

from hf_fft.strategies.layers import backbone

# A step of fewer operations than this gains nothing from a second thread, and loses where others use the machine.
OPERATIONS_FOR_THREADS = 150e6
_ABSENT = object()


class SmallSteps:
    """Methods of a trainer, of its model and of frozen modules that are replaced for a while."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._replaced: list[tuple[Any, str, Any]] = []
        self._threads: int | None = None

    def begin(self, model: nn.Module) -> None:
        """Leave what is frozen alone from here on; it is in eval mode."""
        trainer = self.trainer
        for module in _frozen_tops(backbone(model)):
            module.eval()
            self._replace(module, "train", functools.partial(_stays, module))
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._replace(model, "zero_grad", functools.partial(_forget, learning))
        self._replace(trainer, "_clip_grad_norm", functools.partial(_clip, trainer, learning))
        per_token = trainer.floating_point_ops({"input_ids": torch.zeros(1, 1)})
        self._replace(trainer, "floating_point_ops", functools.partial(_operations, per_token))
        look = accelerate.optimizer.is_lomo_available
        self._replace(accelerate.optimizer, "is_lomo_available", functools.cache(look))
        operations = 6 * sum(parameter.numel() for parameter in learning) * trainer.args.train_batch_size
        if trainer.args.device.type == "cpu" and operations < OPERATIONS_FOR_THREADS:
            self._threads = torch.get_num_threads()
            torch.set_num_threads(1)

    def end(self) -> None:
        """Give everything its own methods back."""
        for owner, name, before in reversed(self._replaced):
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._replaced.clear()
        if self._threads is not None:
            torch.set_num_threads(self._threads)
            self._threads = None

    def _replace(self, owner: Any, name: str, method: Any) -> None:
        self._replaced.append((owner, name, vars(owner).get(name, _ABSENT)))
        setattr(owner, name, method)


def _stays(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stand for a frozen module's `train`."""
    return module


def _forget(parameters: list[nn.Parameter], set_to_none: bool = True) -> None:
    """Stand for the model's `zero_grad`: only these have gradients."""
    for parameter in parameters:
        if set_to_none:
            parameter.grad = None
        elif parameter.grad is not None:
            parameter.grad.zero_()


def _clip(trainer: Any, parameters: list[nn.Parameter], model: nn.Module) -> Any:
    """Stand for the trainer's clipping: only these have gradients."""
    return trainer.accelerator.clip_grad_norm_(parameters, trainer.args.max_grad_norm)


def _operations(per_token: int, inputs: dict[str, Tensor]) -> int:
    """Stand for the trainer's count of operations: of the tokens that there are, one a row."""
    ids = inputs.get("input_ids")
    return per_token * ids.numel() if ids is not None else 0


def _frozen_tops(module: nn.Module) -> list[nn.Module]:
    """Return the outermost modules below one that are frozen altogether."""
    tops = []
    for child in module.children():
        flags = [parameter.requires_grad for parameter in child.parameters()]
        if flags and not any(flags):
            tops.append(child)
        else:
            tops += _frozen_tops(child)
    return tops
