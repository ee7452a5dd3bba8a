"""Looks for secrets, and for folders of this machine, in every byte that is about to leave it."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SHAPES: dict[str, re.Pattern[bytes]] = {
    "a Hugging Face token": re.compile(rb"hf_[A-Za-z0-9]{20,}|api_org_[A-Za-z0-9]{20,}"),
    "a Weights & Biases key": re.compile(
        rb"wandb_v1_[A-Za-z0-9_]{20,}|(?i:wandb[a-z_. -]{0,20})[\"']?\s{0,2}[:=]\s{0,2}[\"']?[0-9a-f]{40}\b"
    ),
    "an AWS key": re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    "a GitHub token": re.compile(rb"gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,}"),
    "an API key": re.compile(rb"(?<![A-Za-z0-9])sk-(?:proj-|ant-)?[A-Za-z0-9_-]{40,}"),
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
}
SECRET_NAME = re.compile(r"(TOKEN|API_KEY|ACCESS_KEY|SECRET|PASSWORD)$")
# Shorter values would be found by chance.
SHORTEST_SECRET = 12
SHORTEST_FOLDER = 5
WEIGHTS = ".safetensors"


def findings(files: Iterable[tuple[str, Path]], folders: Iterable[Path] = ()) -> list[str]:
    """Return what should not leave this machine, a line a finding; the secret itself is not repeated.

    Args:
        files: Names to call them by, and where they are.
        folders: Folders of this machine, whose names belong nowhere else; they are looked for outside weights.
    """
    secrets = _known_values(os.environ)
    local = {str(one).encode(): "the name of a folder of this machine" for one in folders}
    local = {value: kind for value, kind in local.items() if len(value) >= SHORTEST_FOLDER}
    return [
        f"{name} holds {kind}"
        for name, path in files
        if path.stat().st_size
        for kind in _kinds(path, secrets if path.suffix == WEIGHTS else secrets | local)
    ]


def _kinds(path: Path, values: Mapping[bytes, str]) -> list[str]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # The patterns take seconds a gigabyte, and numbers are no text; the header of a weights file is.
        text = data[: 8 + int.from_bytes(data[:8], "little")] if path.suffix == WEIGHTS else data
        kinds = [kind for kind, shape in SHAPES.items() if shape.search(text)]
        kinds += [kind for value, kind in values.items() if data.find(value) >= 0]
    return list(dict.fromkeys(kinds))


def _known_values(environment: Mapping[str, str]) -> dict[bytes, str]:
    """Return the secrets that this process knows: those of its environment, and of Hugging Face's own store."""
    from huggingface_hub import get_token

    found = {
        value.encode(): f"the value of {name}"
        for name, value in environment.items()
        if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
    }
    stored = get_token()
    return {stored.encode(): "the Hugging Face token in use", **found} if stored else found
