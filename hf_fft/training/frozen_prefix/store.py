"""States that frozen layers gave, kept on disk: one folder a prefix, segments in it, read through memory maps.

`$HF_FFT_CACHE/frozen_prefix/KEY/SEGMENT.safetensors`, where the key says what computed the states and a row's address
what was read. Nothing is pickled. A segment is written under another name and then renamed, so it is there whole or not
at all, and several processes may write at once; it carries a digest of its contents, and one that does not match is
thrown away and computed again. That is why nothing waits for the disk (no fsync): a segment torn by a power cut is
found when it is opened. All folders together are bounded; the segments used longest ago go first.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hf_fft.cache import cache_folder
from hf_fft.training.frozen_prefix.rows import ADDRESS_BYTES

logger = logging.getLogger(__name__)

FOLDER = "frozen_prefix"
# What waits in memory to be written, at each boundary: nothing is gained by more.
SEGMENT_BYTES = 16 * 2**20
ABANDONED_SECONDS = 3600.0
# Beside its states: its address, and its length as an int32.
BYTES_A_ROW = ADDRESS_BYTES + 4
NAMES = ("addresses", "lengths", "states")


def cache_root() -> Path:
    """Return the folder of all prefixes."""
    return cache_folder() / FOLDER


@dataclass
class Room:
    """The bound on what all prefixes may take on disk together.

    Attributes:
        root: The folder of all prefixes.
        limit_bytes: The bound.
        in_use: Segments of this run, which stay.
    """

    root: Path
    limit_bytes: int
    in_use: set[Path] = field(default_factory=set)

    def make(self, wanted_bytes: int) -> bool:
        """Delete the segments used longest ago until so many bytes fit; False where that does not suffice."""
        segments = []
        for path in self.root.glob("*/*"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another process made room
                continue
            if path.suffix == ".safetensors":
                segments.append((state.st_mtime, state.st_size, path))
            elif time.time() - state.st_mtime > ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
        taken = sum(size for _, size, _ in segments)
        for _, size, path in sorted(segments):
            if taken + wanted_bytes <= self.limit_bytes:
                break
            if path not in self.in_use:
                path.unlink(missing_ok=True)
                taken -= size
        return taken + wanted_bytes <= self.limit_bytes

    def release(self, folder: Path) -> None:
        """Let the segments of a folder go when room is needed."""
        self.in_use = {path for path in self.in_use if path.parent != folder}


class StateStore:
    """The states of rows at one boundary, by address; each (tokens, width), or (1, width) where one vector suffices."""

    def __init__(self, folder: Path, room: Room) -> None:
        self.folder = folder
        self.room = room
        self.full = False
        self._parts: list[Tensor] = []
        self._places: dict[bytes, tuple[int, int, int]] = {}
        self._waiting: dict[bytes, Tensor] = {}  # views of the buffer, one behind the other
        self._buffer: Tensor | None = None
        self._used = 0
        self._known: set[Path] = set()
        self.read_segments()

    def __contains__(self, address: bytes) -> bool:
        """Say whether a row's states are there."""
        return address in self._places or address in self._waiting

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._places) + len(self._waiting)

    def keep(self, addresses: Sequence[bytes], states: Sequence[Tensor]) -> None:
        """Keep rows; they are on disk after `flush`, or as soon as a segment is full. Does nothing once it is full."""
        if self.full:
            return
        for address, values in zip(addresses, states, strict=True):
            if address in self:
                continue
            if self._buffer is not None and self._used + len(values) > len(self._buffer):
                self.flush()
                if self.full:
                    return
            self._waiting[address] = self._place(values).copy_(values.detach())
            self._used += len(values)

    def gather(self, addresses: Sequence[bytes], tokens: int, fresh: Mapping[bytes, Tensor]) -> Tensor:
        """Return the states of rows, (rows, tokens, width), zeros behind the end of each.

        Args:
            addresses: Of rows that are here or in `fresh`.
            tokens: Of the longest, padding included.
            fresh: States that were just computed, by address; of rows that are here they are not used.
        """
        found = [self._of(address, fresh) for address in addresses]
        gathered = found[0].new_zeros(len(found), tokens, found[0].shape[-1])
        for place, states in zip(gathered, found, strict=True):
            place[: len(states)] = states
        return gathered

    def flush(self) -> None:
        """Write what waits as one segment, if there is room; what is written is read from disk from then on."""
        if not self._waiting:
            return
        waiting, states, self._waiting, self._buffer = self._waiting, self._buffer, {}, None
        assert states is not None
        tensors = {
            "addresses": torch.frombuffer(bytearray(b"".join(waiting)), dtype=torch.uint8).view(-1, ADDRESS_BYTES),
            "lengths": torch.tensor([len(values) for values in waiting.values()], dtype=torch.int32),
            "states": states[: self._used],
        }
        if not self.room.make(sum(one.nbytes for one in tensors.values())):
            self._give_up("its room on disk (speed.max_cache_gib) is used up")
            return
        try:
            path = self._written(tensors)
        except (OSError, SafetensorError) as error:  # a full disk is one or the other
            self._give_up(str(error))
            return
        self._read(path, check=False)

    def read_segments(self) -> None:
        """Take over segments that are on disk, also those that another process wrote meanwhile."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path not in self._known:
                self._read(path)

    def release(self) -> None:
        """Let go of the segments: they may be deleted when room is needed, and are read no more."""
        self.flush()
        self.room.release(self.folder)
        self._parts.clear()
        self._places.clear()

    def _place(self, values: Tensor) -> Tensor:
        """Return room for a row in the buffer, or at the beginning of a new one."""
        if self._buffer is None:
            tokens = max(len(values), SEGMENT_BYTES // max(1, values[:1].nbytes))
            with torch.inference_mode(False):  # it is written to outside of it too
                self._buffer, self._used = values.new_empty((tokens, *values.shape[1:]), device="cpu"), 0
        return self._buffer[self._used : self._used + len(values)]

    def _of(self, address: bytes, fresh: Mapping[bytes, Tensor]) -> Tensor:
        if address in self._places:
            part, start, length = self._places[address]
            return self._parts[part][start : start + length]
        return self._waiting[address] if address in self._waiting else fresh[address]

    def _written(self, tensors: dict[str, Tensor]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        unfinished, path = self.folder / f"{name}.unfinished", self.folder / f"{name}.safetensors"
        try:
            save_file(tensors, unfinished, metadata={"sha256": _digest(tensors[one] for one in NAMES)})
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path

    def _read(self, path: Path, *, check: bool = True) -> None:
        self._known.add(path)
        try:
            if check and not _is_whole(path):
                raise ValueError("its contents are not those that were written")
            with safe_open(path, framework="pt") as segment:
                addresses, lengths, states = (segment.get_tensor(name) for name in NAMES)
            os.utime(path)
        except FileNotFoundError:  # deleted by another process, which made room
            return
        except (SafetensorError, OSError, ValueError) as error:
            logger.warning("A damaged segment of frozen layers' states is computed again: %s (%s).", path, error)
            path.unlink(missing_ok=True)
            return
        self.room.in_use.add(path)
        self._parts.append(states)
        ends = lengths.cumsum(0).tolist()
        raw = addresses.numpy().tobytes()
        for row, (end, length) in enumerate(zip(ends, lengths.tolist(), strict=True)):
            address = raw[row * ADDRESS_BYTES : (row + 1) * ADDRESS_BYTES]
            self._places.setdefault(address, (len(self._parts) - 1, end - length, length))

    def _give_up(self, why: str) -> None:
        self.full = True
        logger.warning(
            "No more states of frozen layers are kept, and what is not there is computed each time: %s.", why
        )


def _is_whole(path: Path) -> bool:
    """Say whether a segment holds what was written.

    Reading it brings all of it into memory. That goes with this map of it; the rows will be read through another one.
    """
    with safe_open(path, framework="pt") as segment:
        said = (segment.metadata() or {}).get("sha256")
        return said == _digest(segment.get_tensor(name) for name in NAMES)


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().view(torch.uint8).numpy().reshape(-1).data)
    return digest.hexdigest()
