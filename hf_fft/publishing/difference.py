"""What a repository lacks to hold exactly the staged model, by the hashes that the Hub itself keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hf_fft.errors import PublishingError
from hf_fft.publishing.allow_list import may_be_stale

PIECE = 1 << 20


@dataclass(frozen=True)
class Hashes:
    """A file's two names: SHA-256 where the Hub keeps it as a large file, git's SHA-1 where as a text."""

    sha256: str
    git: str


@dataclass(frozen=True)
class Remote:
    """A branch as it is now.

    Attributes:
        head: Its commit.
        files: What identifies each file: SHA-256 for large files, git's hash for others.
    """

    head: str
    files: Mapping[str, str]


def hashes_of(path: Path) -> Hashes:
    """Read a file once and return both hashes."""
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            sha256.update(piece)
            git.update(piece)
    return Hashes(sha256.hexdigest(), git.hexdigest())


def changed_files(staged: Mapping[str, Hashes], remote: Remote) -> tuple[str, ...]:
    """Return the staged files that the branch lacks, or has with other content."""
    return tuple(path for path, mine in staged.items() if remote.files.get(path) not in (mine.sha256, mine.git))


def stale_files(staged: Mapping[str, Hashes], remote: Remote) -> tuple[str, ...]:
    """Return the files that an earlier model left there and this one does not have; files of any other kind stay."""
    return tuple(sorted(path for path in remote.files if path not in staged and may_be_stale(path)))


def refuse_foreign_changes(staged: Mapping[str, Hashes], first: Remote, now: Remote) -> None:
    """Refuse to write over what somebody else has written since this publication began.

    Raises:
        PublishingError: naming the files; changes of other files are no hindrance.
    """
    touched = [*changed_files(staged, now), *stale_files(staged, now)]
    foreign = sorted(path for path in touched if now.files.get(path) != first.files.get(path))
    if foreign:
        raise PublishingError(
            f"somebody else has changed {', '.join(foreign)} in the meantime (commit {now.head[:12]}). "
            "Look at it; publishing again replaces it"
        )
