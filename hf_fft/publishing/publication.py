"""Where a model goes, and what is kept of it in the run folder once it is there."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from hf_fft.recipe.record import Record
from hf_fft.result import PUBLICATION_FILE, write_json

__all__ = ["PUBLICATION_FILE", "Destination", "Publication", "read_publication", "write_publication"]


class Destination(Record):
    """A place on the Hub and how long to try."""

    repository: str = Field(description="user/name")
    private: bool = Field(False, description="Make the repository private if it is to be made.")
    revision: str = Field("main", description="The branch.")
    deadline_seconds: float = Field(3600.0, gt=0, description="After this long it is given up.")


class Publication(Record):
    """What `publication.json` holds: the commit that has the model."""

    repository: str
    revision: str
    commit: str
    url: str
    files: dict[str, str] = Field(description="SHA-256 of every file, by its path in the repository.")
    changed: tuple[str, ...] = Field((), strict=False, description="Added or replaced by the commit.")
    removed: tuple[str, ...] = Field((), strict=False, description="What an earlier model had left there.")


def read_publication(folder: Path) -> Publication | None:
    """Return what a run folder says of its publication; None where it has none, or none that can be read."""
    try:
        return Publication.model_validate_json((folder / PUBLICATION_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def write_publication(folder: Path, publication: Publication) -> None:
    """Write `publication.json` into the run folder."""
    write_json(folder / PUBLICATION_FILE, publication.model_dump(mode="json"))
