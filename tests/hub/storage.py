"""Where the bytes of large files wait for the commit that names them: LFS uploads, and a Xet store on disk."""

from __future__ import annotations

import hashlib
import struct
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from hub.repositories import MissingContent

ENTRY = 48
WITH_VERIFICATION, WITH_SHA256 = 1 << 31, 1 << 30
LAST = b"\xff" * 32


class Storage:
    """Bytes by their SHA-256, however they came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uploaded: dict[str, bytes] = {}
        self.lock = threading.Lock()

    @property
    def xet_url(self) -> str:
        # hf_xet (1.8) takes a local folder for a CAS: real chunks, real hashes, no HTTP.
        return f"local://{self.folder}"

    def put(self, sha256: str, data: bytes) -> None:
        """Keep what was uploaded by LFS."""
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise MissingContent(f"announced as {sha256}, and the bytes have {found}")
        self.uploaded[sha256] = data

    def get(self, sha256: str, size: int) -> bytes:
        """Return the bytes of a file, looked up in the Xet store if LFS did not bring them."""
        with self.lock:
            if sha256 not in self.uploaded:
                hashes = self._xet_hashes()
                if sha256 not in hashes:
                    raise MissingContent(f"nothing with the SHA-256 {sha256} was uploaded")
                self.put(sha256, self._from_xet(hashes[sha256], size))
        data = self.uploaded[sha256]
        if len(data) != size:
            raise MissingContent(f"{sha256} has {len(data)} bytes, and {size} were announced")
        return data

    def _xet_hashes(self) -> dict[str, str]:
        """Read from the shards of the store which Xet hash belongs to which SHA-256."""
        found: dict[str, str] = {}
        for shard in sorted(self.folder.glob("xet/xorbs/shards/*.mdb")):
            data, place = shard.read_bytes(), ENTRY
            while data[place : place + 32] != LAST:
                xet_hash = _as_hex(data[place : place + 32])
                flags, entries = struct.unpack("<II", data[place + 32 : place + 40])
                place += ENTRY + ENTRY * entries * (2 if flags & WITH_VERIFICATION else 1)
                if flags & WITH_SHA256:
                    found[_as_hex(data[place : place + 32])] = xet_hash
                    place += ENTRY
        return found

    def _from_xet(self, xet_hash: str, size: int) -> bytes:
        import hf_xet

        with TemporaryDirectory() as folder:
            target = Path(folder) / "file"
            with hf_xet.XetSession().new_file_download_group(
                endpoint=self.xet_url, token="read", token_expiry_unix_secs=2**33
            ) as group:
                group.start_download_file(hf_xet.XetFileInfo(xet_hash, size), str(target))
            return target.read_bytes()


def _as_hex(digest: bytes) -> str:
    return "".join(f"{part:016x}" for part in struct.unpack("<4Q", digest))
