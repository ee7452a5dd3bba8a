"""What the command and the process that uploads say to each other: one line of JSON each way."""

from __future__ import annotations

from pydantic import Field

from hf_fft.publishing.publication import Destination
from hf_fft.recipe.record import Record


class Order(Record):
    """What is to be uploaded, and where to."""

    folder: str
    destination: Destination
    message: str = Field(description="The commit's summary.")
    first_wait_seconds: float = Field(1.0, ge=0, description="Before the second try; it doubles after every one.")


class Report(Record):
    """How it went: a commit, or what is in the way."""

    commit: str | None = None
    url: str = ""
    files: dict[str, str] = Field({}, description="SHA-256 of every file.")
    changed: tuple[str, ...] = Field((), strict=False)
    removed: tuple[str, ...] = Field((), strict=False)
    error: str | None = None
