"""What a backbone reads of each row, and an address for it: equal addresses, equal inputs to the bit.

An address is the digest of a row's inputs up to its last real token: token ids, attention mask, token types, positions.
What stands behind, padding, is left out, so a row has one address however far it was padded. Tokenizer, cutting and
windows change what a row's tokens are, and so its address; nothing else has to be known about them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from torch import Tensor

ADDRESS_BYTES = 16
MASK = "attention_mask"
# What may be said without changing the states: the form of the answer, and the count for the loss, which Trainer gives
# to every model that takes further arguments and most heads hand on (transformers 5.23).
HARMLESS = frozenset({"return_dict", "num_items_in_batch"})


@dataclass(frozen=True)
class Rows:
    """What a backbone was given, a row an entry.

    Attributes:
        inputs: Its tensors by name, each (rows, tokens).
        others: Its other arguments that say something; they change no states.
        addresses: One a row.
        lengths: Tokens of each row up to its last real one.
    """

    inputs: dict[str, Tensor]
    others: dict[str, Any]
    addresses: list[bytes]
    lengths: list[int]

    @property
    def tokens(self) -> int:
        """Tokens of the longest row, padding included."""
        return next(iter(self.inputs.values())).shape[1]


def rows_read(arguments: Mapping[str, Any]) -> Rows | None:
    """Return a backbone's rows, or None where it was given something else than whole numbers a token.

    Embeddings instead of ids, keys and values of earlier tokens, masks of more dimensions, or a wish for hidden states
    make it None.
    """
    inputs = {name: value for name, value in arguments.items() if isinstance(value, Tensor) and name not in HARMLESS}
    others = {name: value for name, value in arguments.items() if name not in inputs and value is not None}
    if any(value is not False for name, value in others.items() if name not in HARMLESS) or not inputs:
        return None
    shapes = {value.shape for value in inputs.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or 0 in next(iter(shapes)):
        return None
    if any(value.is_floating_point() or value.is_complex() for value in inputs.values()):
        return None
    addresses, lengths = _addresses(inputs)
    return Rows(inputs, others, addresses, lengths)


def numbered_rows(arguments: Mapping[str, Any]) -> Tensor | None:
    """Return the numbers of training rows that came in the place of token ids, or None where there are ids.

    Row n travels as -1 - n, and a token's id is never negative.
    """
    ids = arguments.get("input_ids")
    if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.shape[1] != 1 or not len(ids) or int(ids[0, 0]) >= 0:
        return None
    return -1 - ids[:, 0]


def cut_to_longest(rows: Rows) -> dict[str, Tensor]:
    """Return the inputs of rows, padded to the longest of them."""
    longest = max(rows.lengths)
    return {name: value[:, :longest] for name, value in rows.inputs.items()}


def column_addresses(table: pa.Table, names: Sequence[str]) -> list[bytes] | None:
    """Return the addresses that rows of encoded data will have, without padding them; None where masks leave gaps.

    Args:
        table: With a column of lists of whole numbers for each name.
        names: What the backbone reads.
    """
    columns = [table[name].combine_chunks() for name in names]
    if not all(pa.types.is_list(column.type) and pa.types.is_integer(column.type.value_type) for column in columns):
        return None
    ends = [np.cumsum(pyarrow.compute.list_value_length(column).to_numpy(zero_copy_only=False)) for column in columns]
    flat = [column.flatten().to_numpy(zero_copy_only=False).astype(np.int64) for column in columns]
    if any(not np.array_equal(ends[0], end) for end in ends):
        return None
    if MASK in names and not flat[list(names).index(MASK)].all():
        return None
    starts = [0, *ends[0][:-1].tolist()]
    return [
        _address(names, [values[start:end] for values in flat])
        for start, end in zip(starts, ends[0].tolist(), strict=True)
    ]


def _addresses(inputs: Mapping[str, Tensor]) -> tuple[list[bytes], list[int]]:
    names = sorted(inputs)
    values = np.stack([inputs[name].detach().cpu().numpy().astype(np.int64, copy=False) for name in names], axis=1)
    rows, _, tokens = values.shape
    lengths = [tokens] * rows
    if MASK in inputs:
        real = values[:, names.index(MASK)] != 0
        lengths = np.where(real.any(axis=1), tokens - real[:, ::-1].argmax(axis=1), tokens).tolist()
    return [_address(names, value[:, :length]) for value, length in zip(values, lengths, strict=True)], lengths


def _address(names: Sequence[str], values: Iterable[np.ndarray]) -> bytes:
    """Return the address of one row: its inputs by sorted name, int64."""
    digest = hashlib.blake2b(" ".join(names).encode(), digest_size=ADDRESS_BYTES)
    for each in values:
        digest.update(each.tobytes())
    return digest.digest()
