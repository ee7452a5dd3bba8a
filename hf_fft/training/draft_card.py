"""HF's draft of a model card, put right where its base model is not on the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import ModelCard

from hf_fft.recipe import is_hub_name


def base_model_of(name_or_path: str) -> tuple[str, bool]:
    """Return what a card may call a base model, and whether that is its name on the Hub; of a path the last part."""
    if is_hub_name(name_or_path):
        return name_or_path, True
    return re.split(r"[\\/]", name_or_path.rstrip("\\/"))[-1], False


def forget_base_model(file: Path, shown: str) -> None:
    """Take the base model out of a card's metadata, and the link that the draft makes of its name."""
    card = ModelCard.load(file)
    card.data.base_model = None
    card.text = card.text.replace(f"[{shown}](https://huggingface.co/{shown})", f"`{shown}`")
    card.save(file)
