"""What the frozen layers below the first open one compute is computed once a row and kept.

While it is installed, the backbone looks up the states of its rows by what it reads of them, computes those that are
missing with its own frozen layers, and goes on from there. So training, evaluation and prediction, in Trainer's own
loop, need no other data and no other collator, and a row whose tokens changed by a bit is computed anew. The key of
what is kept covers weights, precision and layer; `rows` the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from hf_fft.training.eval_mode import in_eval_mode
from hf_fft.training.frozen_prefix.layers import Anatomy, LayerStack, NotUnderstoodError
from hf_fft.training.frozen_prefix.proof import first_position
from hf_fft.training.frozen_prefix.rows import Rows, cut_to_longest, numbered_rows, rows_read
from hf_fft.training.frozen_prefix.stages import prefix_parameters
from hf_fft.training.frozen_prefix.store import Room, StateStore

FORM = 3
# Parts of a config that change nothing below the head in eval mode.
NOT_OF_THE_PREFIX = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_internal",
        "_name_or_path",
        "architectures",
        "dtype",
        "finetuning_task",
        "id2label",
        "label2id",
        "num_labels",
        "output_attentions",
        "output_hidden_states",
        "problem_type",
        "return_dict",
        "transformers_version",
        "use_cache",
    }
)


class _Filled(Exception):  # noqa: N818
    """The states of a batch are kept: the rest of the forward pass is not needed."""


class FrozenPrefix:
    """The states at one boundary of a model, used in place of the layers below it, and those of boundaries to come."""

    def __init__(self, model: nn.Module, anatomy: Anatomy, room: Room, *, one_vector: bool) -> None:
        """Take a model that was proved (`proof.prove`).

        Args:
            model: Whose frozen layers are passed over; not wrapped.
            anatomy: Of the model.
            room: On disk.
            one_vector: Whether the first position's states are enough where all layers are frozen.
        """
        self.model = model
        self.room = room
        self._one_vector = one_vector
        self.boundary = 0
        self.stack = LayerStack(anatomy, self._answer)
        self.stores: dict[int, StateStore] = {}
        self.rows_computed = 0
        self._precision = ""
        self._vectors: Tensor | None = None
        self._filling = False
        self._filled: Rows | None = None

    def install(self) -> None:
        """Begin to use what is kept."""
        self.stack.install()

    def remove(self) -> None:
        """Give the model its own forward passes back, and put on disk what is not there yet."""
        self.stack.remove()
        self._vectors = None
        for store in self.stores.values():
            store.release()
        self.stores.clear()
        self.boundary = 0

    def move_to(self, boundary: int, ahead: Sequence[int], *, precision: str) -> None:
        """Use another boundary, 0 for none; states of those above it may go.

        Args:
            boundary: The number of frozen layers.
            ahead: Lower boundaries whose states are kept in the same pass.
            precision: Of the pass, as `precision_now` names it.
        """
        for passed in [one for one in self.stores if one > boundary]:
            self.stores.pop(passed).release()
        self.boundary, self._precision, self._vectors = boundary, precision, None
        if boundary and boundary not in self.stores:
            keys = self._keys(precision)
            self.stores = {one: StateStore(self.room.root / keys[one], self.room) for one in (boundary, *ahead)}

    def fill(self, inputs: Mapping[str, Any]) -> Rows:
        """Keep the states of a batch's rows, as far as they are not kept already; return what the backbone read.

        Raises:
            NotUnderstoodError: if it read something else than rows of whole numbers.
        """
        self._filling, self._filled = True, None
        try:
            self.model(**inputs)
        except _Filled:
            pass
        finally:
            self._filling = False
        if self._filled is None:
            raise NotUnderstoodError("its backbone read more than ids and masks of tokens")
        return self._filled

    def flush(self) -> None:
        """Put on disk what is not there yet."""
        for store in self.stores.values():
            store.flush()

    def take_over(self) -> None:
        """Read what other processes have put on disk meanwhile."""
        for store in self.stores.values():
            store.read_segments()

    def one_vector_at(self, boundary: int) -> bool:
        """Say whether one vector a row is kept at a boundary, the first position's."""
        return self._one_vector and boundary == len(self.stack.anatomy.layers)

    def vectors_of(self, addresses: Sequence[bytes], device: torch.device) -> bool:
        """Hold one vector for each row of the training data in memory, if all are kept; see `filling`."""
        store = self.stores[self.boundary]
        if not self.one_vector_at(self.boundary) or not all(address in store for address in addresses):
            return False
        self._vectors = store.gather(addresses, 1, {}).to(device)
        return True

    def keeps(self, address: bytes) -> bool:
        """Say whether a row's states are kept at the boundary in use, and at those to come, as far as there is room."""
        stores = self.stores
        return address in stores[self.boundary] and all(address in one or one.full for one in stores.values())

    def _answer(self, arguments: dict[str, Any]) -> Any:
        if not self.boundary:
            return self.stack.as_ever(arguments)
        if self._vectors is not None and (numbered := numbered_rows(arguments)) is not None:
            vectors = self._vectors.index_select(0, numbered)
            return self.stack.from_states(vectors, self.boundary, {"input_ids": numbered.new_zeros(len(numbered), 1)})
        rows = rows_read(arguments)
        if rows is None or precision_now(next(iter(rows.inputs.values())).device.type) != self._precision:
            return self.stack.as_ever(arguments)
        missing = {address for address in rows.addresses if not self.keeps(address)}
        computed = self._computed(rows) if missing else {}
        self.rows_computed += len(missing)
        if self._filling:
            self._keep(rows.addresses, computed)
            self._filled = rows
            raise _Filled
        # Before anything more is kept: a store that finds no room lets go of what waits for the disk.
        states = self._gathered(rows, computed.get(self.boundary, []))
        self._keep(rows.addresses, computed)
        arguments = first_position(rows) if self.one_vector_at(self.boundary) else {**rows.inputs, **rows.others}
        return self.stack.from_states(states, self.boundary, arguments)

    def _gathered(self, rows: Rows, computed: Sequence[Tensor]) -> Tensor:
        tokens = 1 if self.one_vector_at(self.boundary) else rows.tokens
        device = next(iter(rows.inputs.values())).device
        fresh: dict[bytes, Tensor] = {}
        for address, states in zip(rows.addresses, computed, strict=False):
            fresh.setdefault(address, states)  # of equal rows the first is kept
        return self.stores[self.boundary].gather(rows.addresses, tokens, fresh).to(device, non_blocking=True)

    def _computed(self, rows: Rows) -> dict[int, list[Tensor]]:
        """Run the frozen layers; return what they give at each boundary in use, row by row.

        All rows of the batch, also those that are kept: a row's states depend by rounding on the rows beside it, and a
        run that was stopped while some were kept must compute the others as it would have without the stop.
        """
        # Only what leaves the last layer is ever one vector; lower boundaries keep all tokens.
        last = self.stack.first_position_of_last() if self._one_vector else nullcontext()
        with torch.no_grad(), in_eval_mode(self.stack.anatomy.body), last:
            taken = self.stack.states({**cut_to_longest(rows), **rows.others}, list(self.stores))
        computed = {}
        for boundary in self.stores:
            ends = [1 if self.one_vector_at(boundary) else length for length in rows.lengths]
            computed[boundary] = [each[:end] for each, end in zip(taken[boundary].cpu(), ends, strict=True)]
        return computed

    def _keep(self, addresses: Sequence[bytes], computed: Mapping[int, Sequence[Tensor]]) -> None:
        for boundary, states in computed.items():
            self.stores[boundary].keep(addresses, states)

    def _keys(self, precision: str) -> dict[int, str]:
        """Return the key of each boundary: a digest of all that decides what the layers below it compute."""
        body, layers = self.stack.anatomy.body, self.stack.anatomy.layers
        digest = hashlib.sha256(_said_of(body, precision).encode())
        parts = prefix_parameters(self.model, len(layers))
        inside = {id(buffer) for layer in layers for buffer in layer.buffers()}
        _add(digest, [*parts[0], *(buffer for buffer in body.buffers() if id(buffer) not in inside)])
        keys = {}
        for number, (layer, parameters) in enumerate(zip(layers, parts[1:], strict=True), 1):
            _add(digest, [*parameters, *layer.buffers()])
            positions = digest.copy()
            positions.update(b"first position" if self.one_vector_at(number) else b"all positions")
            keys[number] = positions.hexdigest()[:40]
        return keys


def precision_now(device_type: str) -> str:
    """Name the kind of device and the precision of the matrix products here and now."""
    if torch.is_autocast_enabled(device_type):
        return f"{device_type}, {torch.get_autocast_dtype(device_type)} autocast"
    backend = torch.backends.cuda if device_type == "cuda" else torch.backends.mkldnn
    return f"{device_type}, as stored, float32 products: {backend.matmul.fp32_precision}"


def _said_of(body: nn.Module, precision: str) -> str:
    config = {
        name: value
        for name, value in body.config.to_dict().items()  # type: ignore[union-attr, operator]
        if name not in NOT_OF_THE_PREFIX and "dropout" not in name
    }
    versions = [FORM, torch.__version__, transformers.__version__]
    # Attention's implementations differ by rounding, and a config does not name its own when it is written out.
    attention = getattr(body.config, "_attn_implementation", None)
    # The module of a class that came with a model names the commit that it came in.
    kind = [f"{type(body).__module__}.{type(body).__name__}", attention, precision]
    return json.dumps([versions, kind, config], sort_keys=True, default=str)


def _add(digest: Any, tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
