"""Which strings of a recipe are paths, and from where a relative one counts.

In a file, paths are relative to the file; in `--set`, to the working directory. A Hub name and a folder look alike, so
what neither begins like a path nor exists is left alone as a name. The run folder is always a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

WHEEL = "wheel:"
HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")
DATA_FILE = re.compile(r"\.(csv|tsv|jsonl?|parquet|txt|conll)(\.(gz|bz2))?$")


def is_hub_name(name: str) -> bool:
    """Say whether this is a name on the Hub, and not a local path or a `wheel:` asset."""
    return HUB_NAME.fullmatch(name) is not None and DATA_FILE.search(name) is None and not os.path.exists(name)


def with_absolute_paths(values: Any, base: str) -> Any:
    """Return the recipe's values with every path made absolute; what is not text is left for the records to refuse."""
    if not isinstance(values, Mapping):
        return values
    changed = {section: resolve(values[section], base) for section, resolve in SECTIONS.items() if section in values}
    return {**values, **changed}


def _model(value: Any, base: str) -> Any:
    return _name(value, base) if isinstance(value, str) else _inside(value, base, ("name", "tokenizer"))


def _data(value: Any, base: str) -> Any:
    return _inside(value, base, ("path",))


def _task(value: Any, base: str) -> Any:
    metrics = value.get("hub_metrics") if isinstance(value, Mapping) else None
    if not isinstance(metrics, list | tuple):
        return value
    return {**value, "hub_metrics": [_metric(metric, base) for metric in metrics]}


def _inside(value: Any, base: str, keys: tuple[str, ...]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {**value, **{key: _name(value[key], base) for key in keys if key in value}}


def _name(value: Any, base: str) -> Any:
    """Return a path made absolute, or a Hub name as it is."""
    if not isinstance(value, str) or not value or value.startswith(WHEEL):
        return value
    is_path = value.startswith(("./", "../", "~", "/")) or os.path.exists(os.path.join(base, value))
    return _path(value, base) if is_path else value


def _metric(value: Any, base: str) -> Any:
    # A bare word is a metric on the Hub, even where a folder of that name happens to lie about.
    looks_like_path = isinstance(value, str) and ("/" in value or value.endswith(".py"))
    return _name(value, base) if looks_like_path else value


def _path(value: Any, base: str) -> Any:
    if not isinstance(value, str) or not value:
        return value
    return os.path.abspath(os.path.join(base, os.path.expanduser(value)))


SECTIONS: dict[str, Callable[[Any, str], Any]] = {"task": _task, "model": _model, "data": _data, "output_dir": _path}
