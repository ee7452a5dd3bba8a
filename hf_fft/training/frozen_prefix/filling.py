"""Filling: one pass over the training rows in order of length; and batches that name rows instead of tokens.

Where one vector a row is kept, nobody reads a row's tokens any more. The training loader then hands out the rows'
numbers and labels, in the order and the batches that its own sampler says, and `FrozenPrefix` puts in the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hf_fft.training.eval_mode import in_eval_mode
from hf_fft.training.frozen_prefix.prefix import FrozenPrefix
from hf_fft.training.frozen_prefix.rows import Rows, column_addresses
from hf_fft.training.speed.batches import token_lengths
from hf_fft.training.speed.fast_model import keeps_casts
from hf_fft.training.speed.packed import packed_linears

# Tokens of a batch, padding included: enough to fill the machine, few enough for a processor's cache.
TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 32768}
# What a head's step reads may stay in memory up to so much.
MOST_VECTORS_BYTES = 2**30


@dataclass(frozen=True)
class Filled:
    """What is known of a data set's rows once they are kept; in their order.

    Attributes:
        addresses: One a row; empty where this process did not see all of them.
        labels: Those that a collator makes; None where a row has more than labels and what the backbone reads, or
            labels of different sizes.
    """

    addresses: list[bytes]
    labels: Tensor | None


def fill(trainer: Any, prefix: FrozenPrefix, loader: Any) -> Filled:
    """Keep the states of the rows that a loader draws from; several processes share the work."""
    args, dataset = trainer.args, loader.dataset
    if not len(dataset):
        return Filled([], None)
    at_once = TOKENS_AT_ONCE.get(args.device.type, TOKENS_AT_ONCE["cuda"])
    lengths = token_lengths(dataset)
    chunks = _chunks(range(len(dataset)), lengths, at_once)
    seen: list[_Seen] = []
    if args.world_size > 1:  # whoever began sooner would write what others still read, and they would share otherwise
        trainer.accelerator.wait_for_everyone()
    packed = packed_linears(prefix.model) if keeps_casts(args, trainer.speed) else nullcontext()
    with torch.no_grad(), in_eval_mode(prefix.model), trainer.accelerator.autocast(), packed:
        seen.append(_filled(trainer, prefix, loader, chunks[0]))
        chunks, known = chunks[1:], _known_from_columns(dataset, seen[0])
        if known is not None:
            kept = [prefix.keeps(address) for address in known.addresses]
            chunks = [rows for rows in chunks if not all(kept[row] for row in rows)]
        for rows in chunks[args.process_index :: args.world_size]:
            seen.append(_filled(trainer, prefix, loader, rows))
    prefix.flush()
    if args.world_size > 1:
        trainer.accelerator.wait_for_everyone()
        prefix.take_over()
    if known is not None:
        return known
    return _joined(seen, len(dataset)) if args.world_size <= 1 else Filled([], None)


def number_rows(loader: Any, labels: Tensor) -> None:
    """Let a training loader hand out the rows' numbers and labels in place of their tokens. Changes the loader."""
    # A loader refuses another dataset by attribute, for its sampler was made for the old one; here the rows are the
    # same. accelerate's keeps the loader that it was made from and iterates that one (1.15).
    for one in (loader, getattr(loader, "base_dataloader", loader)):
        vars(one)["dataset"] = _Numbers(len(labels))
        one.collate_fn = _Numbered(labels)


class _Numbers(Dataset[int]):
    """The numbers of the rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> int:
        return row

    def __getitems__(self, rows: list[int]) -> list[int]:
        return rows


class _Numbered:
    """Make a batch of rows' numbers; see `rows.numbered_rows`."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def __call__(self, rows: list[int]) -> dict[str, Tensor]:
        index = torch.tensor(rows)
        return {"input_ids": (-1 - index).unsqueeze(1), "labels": self.labels.index_select(0, index)}


@dataclass(frozen=True)
class _Seen:
    """Rows that went through the backbone: their numbers, what it read, and their labels if nothing else is left."""

    rows: list[int]
    read: Rows
    labels: Tensor | None


def _filled(trainer: Any, prefix: FrozenPrefix, loader: Any, rows: list[int]) -> _Seen:
    dataset = loader.dataset
    features = dataset.__getitems__(rows) if hasattr(dataset, "__getitems__") else [dataset[row] for row in rows]
    batch = dict(loader.collate_fn(features))
    labels = batch.pop("labels", None)
    read = prefix.fill(trainer._prepare_inputs(batch))
    # A head, or a loss, may read something more.
    return _Seen(rows, read, labels if set(batch) <= prefix.stack.names and isinstance(labels, Tensor) else None)


def _known_from_columns(dataset: Any, seen: _Seen) -> Filled | None:
    """Return what the columns say of all rows, if a collator did no more than pad those that were seen."""
    names = sorted(seen.read.inputs)
    if not isinstance(dataset, datasets.Dataset) or not set(names) <= set(dataset.column_names):
        return None
    addresses = column_addresses(dataset.with_format("arrow")[:], names)
    if addresses is None or [addresses[row] for row in seen.rows] != seen.read.addresses:
        return None
    return Filled(addresses, _labels_from_column(dataset, seen))


def _labels_from_column(dataset: datasets.Dataset, seen: _Seen) -> Tensor | None:
    if seen.labels is None or "labels" not in dataset.column_names:
        return None
    values = np.array(dataset.with_format("numpy")["labels"][:])
    if values.dtype == object:  # of different sizes
        return None
    labels = torch.from_numpy(values).to(seen.labels.dtype)
    return labels if torch.equal(labels[seen.rows], seen.labels) else None


def _chunks(rows: Sequence[int], lengths: np.ndarray | None, tokens_at_once: int) -> list[list[int]]:
    """Return rows of like length, as many at a time as fit; the most tokens first, whose memory serves the others."""
    long = {row: tokens_at_once if lengths is None else max(1, int(lengths[row])) for row in rows}
    order = sorted(rows, key=long.__getitem__, reverse=True)
    chunks, start = [], 0
    while start < len(order):
        count = max(1, tokens_at_once // long[order[start]])
        chunks.append(order[start : start + count])
        start += count
    return sorted(chunks, key=lambda chunk: len(chunk) * long[chunk[0]], reverse=True)


def _joined(seen: Sequence[_Seen], count: int) -> Filled:
    addresses, labels = [b""] * count, [one.labels for one in seen]
    for one in seen:
        for row, address in zip(one.rows, one.read.addresses, strict=True):
            addresses[row] = address
    found = [one for one in labels if one is not None]
    if len(found) < len(labels) or len({one.shape[1:] for one in found}) > 1:
        return Filled(addresses, None)
    order = torch.tensor([row for one in seen for row in one.rows])
    joined = torch.cat(found)
    return Filled(addresses, torch.empty_like(joined).index_copy_(0, order, joined))
