"""Repositories in memory, as git and LFS would have them: commits with parents, blobs by their hashes."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatch

LARGE = ("*.safetensors", "*.bin", "*.model", "*.parquet", "*.arrow", "*.gguf", "*.onnx")
LARGEST_REGULAR = 10_000_000
ATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE).encode()


class StaleParent(Exception):
    """The branch has moved on since the client read its head."""


class MissingContent(Exception):
    """A commit names a file whose bytes were never uploaded, or are not what their name says."""


@dataclass(frozen=True)
class Blob:
    """A file's bytes, kept as git keeps them or as LFS does."""

    data: bytes
    is_large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """Git's hash of what git keeps: the bytes, or for LFS a pointer to them."""
        kept = self.data if not self.is_large else self.pointer
        return hashlib.sha1(b"blob %d\0" % len(kept) + kept).hexdigest()

    @property
    def pointer(self) -> bytes:
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
            self.sha256.encode(),
            len(self.data),
        )


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    summary: str
    files: dict[str, Blob]


@dataclass
class Repository:
    """One repository; `kind` is models or datasets."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        if not self.branches:
            self.commit({".gitattributes": Blob(ATTRIBUTES, is_large=False)}, summary="initial commit")

    def at(self, revision: str) -> Commit | None:
        return self.commits.get(self.branches.get(revision, revision))

    @property
    def head(self) -> Commit:
        return self.commits[self.branches["main"]]

    def commit(
        self,
        changed: dict[str, Blob],
        *,
        removed: tuple[str, ...] = (),
        branch: str = "main",
        parent: str | None = None,
        summary: str = "",
    ) -> Commit:
        """Add a commit to a branch: all of it or nothing."""
        with self.lock:
            before = self.at(branch)
            if parent is not None and (before is None or before.sha != parent):
                raise StaleParent(f"{branch} is at {before and before.sha}, not at {parent}")
            files = dict(before.files) if before else {}
            for path in removed:
                del files[path]
            files |= changed
            text = f"{before and before.sha}|{summary}|{sorted((path, blob.oid) for path, blob in files.items())}"
            # As in git, time is part of a commit; a counter stands for it.
            sha = hashlib.sha1(f"{len(self.commits)}|{text}".encode()).hexdigest()
            made = Commit(sha, before.sha if before else None, summary, files)
            self.commits[sha], self.branches[branch] = made, sha
            return made


def keeps_large(path: str, size: int) -> bool:
    """Say whether the Hub would keep a file in LFS."""
    return size > 0 and (size > LARGEST_REGULAR or any(fnmatch(path, pattern) for pattern in LARGE))
