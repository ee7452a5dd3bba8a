"""Reading single files and folders out of zip archives.

Only what is asked for is written to disk. Every file is written beside its place and moved there in one step, and what
is already there is kept only if its size and checksum are the archive's own, so that an interrupted or damaged
extraction mends itself the next time. Names that would leave the target folder are refused.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import ZipFile, ZipInfo

from hf_fft.data.wording import listed
from hf_fft.errors import DataError

CHUNK_BYTES = 1 << 20


def write_atomically(target: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file so that it is there as a whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def extract(archive: ZipFile, inside: str, target: Path, *, shown: str) -> Path:
    """Extract one file or folder into `target` and return its path there; an empty `inside` is the whole archive.

    Raises:
        DataError: if `inside` is not in the archive, or a name in it would leave `target`.
    """
    members = _members(archive, inside, shown)
    for member in members:
        place = target / _safe(member.filename, shown)
        if not _is_whole(place, member):
            write_atomically(place, _copier(archive, member, shown))
    return target / _safe(inside, shown) if inside else target


def open_member(archive: ZipFile, inside: str, *, shown: str) -> IO[bytes]:
    """Open one file of the archive for reading.

    Raises:
        DataError: if it is not there, or is a folder.
    """
    members = _members(archive, inside, shown)
    if [member.filename for member in members] != [inside]:
        raise DataError(f"{shown}: {inside} is a folder; a zip file is needed in front of !/.")
    return archive.open(members[0])


def _members(archive: ZipFile, inside: str, shown: str) -> list[ZipInfo]:
    _safe(inside, shown)
    files = [member for member in archive.infolist() if not member.is_dir()]
    found = [
        member
        for member in files
        if not inside or member.filename == inside or member.filename.startswith(f"{inside}/")
    ]
    if not found:
        raise DataError(_absent([member.filename for member in files], inside, shown))
    return found


def _absent(names: list[str], inside: str, shown: str) -> str:
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
    last = PurePosixPath(inside).name
    known = sorted({*names, *folders})
    same_name = [name for name in known if PurePosixPath(name).name == last]
    near = same_name[:3] or get_close_matches(inside, known, n=3)
    there = f"Near it: {listed(near)}." if near else f"It holds {listed(sorted(names), limit=10)}."
    return f"{shown} holds no file or folder {inside}. {there} Correct the path behind the version."


def _safe(name: str, shown: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise DataError(f'{shown}: the path "{name}" leads out of the archive; only plain paths inside it are read.')
    return path


def _is_whole(place: Path, member: ZipInfo) -> bool:
    if not place.is_file() or place.stat().st_size != member.file_size:
        return False
    checksum = 0
    with place.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == member.CRC


def _copier(archive: ZipFile, member: ZipInfo, shown: str) -> Callable[[IO[bytes]], None]:
    def copy(target: IO[bytes]) -> None:
        try:
            with archive.open(member) as source:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{shown}: {member.filename} is damaged ({error}). Get the archive again.") from error

    return copy
