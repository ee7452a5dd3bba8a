"""Which rows made a batch: told when a run stops at a loss that is not finite."""

from __future__ import annotations

from typing import Any

import datasets
import torch

from hf_fft.training.frozen_prefix.rows import numbered_rows


def rows_of_batch(rows: Any, batch: dict[str, Any]) -> list[int]:
    """Find a batch's rows by their token ids: a search, but one that only a run that stops has to pay for."""
    if not isinstance(rows, datasets.Dataset) or "input_ids" not in batch or "input_ids" not in rows.column_names:
        return []
    numbers = rows["row"] if "row" in rows.column_names else range(len(rows))
    if (named := numbered_rows(batch)) is not None:
        return sorted({numbers[place] for place in named.tolist()})
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    wanted = {tuple(ids[kept].tolist()) for ids, kept in zip(batch["input_ids"], mask, strict=True)}
    return sorted({number for number, ids in zip(numbers, rows["input_ids"], strict=True) if tuple(ids) in wanted})
