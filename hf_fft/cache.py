"""Where is kept what can be had again: downloaded wheels, states of frozen layers, measured times. May be deleted."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `$HF_FFT_CACHE`, else `$XDG_CACHE_HOME/hf_fft`, else `~/.cache/hf_fft`; it need not exist yet."""
    if named := os.environ.get("HF_FFT_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hf_fft"
