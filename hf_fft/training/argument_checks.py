"""What this library changes or refuses in HF's arguments when a trainer is built by hand."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from transformers import TrainingArguments

from hf_fft.errors import StrategyError

logger = logging.getLogger(__name__)


def refuse_inexact(args: TrainingArguments) -> None:
    """Refuse arguments under which several processes would not train as one.

    Raises:
        StrategyError: if the items of a step are not counted over all processes.
    """
    if args.world_size > 1 and not args.average_tokens_across_devices:
        raise StrategyError(
            "average_tokens_across_devices is off, and without it the loss of several processes is a mean of means. "
            "Leave it on."
        )


def allow_freezing(args: TrainingArguments, strategy: str) -> None:
    """Let layers be frozen after the model was wrapped, or refuse what cannot.

    Raises:
        StrategyError: under FSDP, DeepSpeed or reentrant activation checkpointing.
    """
    for engine, chosen in (("FSDP", args.fsdp), ("DeepSpeed", args.deepspeed)):
        if chosen:
            raise StrategyError(
                f'strategy "{strategy}" freezes and opens layers while it trains, and {engine} lays parameters out '
                "once for all. Use DDP (torchrun without further options), or another strategy."
            )
    options = args.activation_checkpointing_kwargs
    if isinstance(options, Mapping) and options.get("use_reentrant"):
        raise StrategyError(
            f'strategy "{strategy}" freezes lower layers, and reentrant activation checkpointing then gives no '
            "gradients at all. Leave use_reentrant out of training.activation_checkpointing_kwargs."
        )
    # With activation checkpointing Trainer would turn it off (transformers 5.23), and DDP would wait for gradients
    # that frozen layers never give.
    args.ddp_find_unused_parameters = True


def use_one_gpu(args: TrainingArguments) -> None:
    """Keep to one of several GPUs in one process, and say how all of them are used."""
    if args.n_gpu > 1:
        # nn.DataParallel, which Trainer would choose, is slow and multiplies an exact loss (transformers 5.23).
        logger.warning(
            "%d GPUs are here and one is used. For all of them: torchrun --nproc-per-node %d -m hf_fft.run RECIPE",
            args.n_gpu,
            args.n_gpu,
        )
        args._n_gpu = 1
