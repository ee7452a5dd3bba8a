"""The folder that goes to the Hub, put together from a run folder: what the allow-list names, and nothing else.

Weights are hard links, so it costs no space; links are not followed. Texts come from `hf_fft.report`, which leaves out
what only this machine knows, and are not read from the run folder.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hf_fft.errors import PublishingError, RunFolderError
from hf_fft.publishing.allow_list import ADAPTER, MODEL, belongs
from hf_fft.publishing.secrets import findings
from hf_fft.recipe import is_hub_name
from hf_fft.result import write_text

STAGING = ".publishing"
# What transformers 5.23 writes about the folder that a tokenizer came from.
ABOUT_THIS_MACHINE = ("is_local", "local_files_only", "name_or_path")

logger = logging.getLogger(__name__)


def chosen_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the files of a run folder that may go, by their paths in the repository, and the names of those left out.

    Raises:
        RunFolderError: if there is no model among them.
    """
    chosen, left_out = {}, []
    for part, prefix, patterns in (("model", "", MODEL), ("adapter", "adapter/", ADAPTER)):
        for path in sorted((folder / part).rglob("*")):
            name = prefix + path.relative_to(folder / part).as_posix()
            if path.is_dir() and not path.is_symlink():
                continue
            if path.is_file() and not path.is_symlink() and belongs(name, patterns):
                chosen[name] = path
            else:
                left_out.append(f"{part}/{path.relative_to(folder / part).as_posix()}")
    if "config.json" not in chosen or not any(name.endswith(".safetensors") for name in chosen):
        raise RunFolderError(
            f"{folder / 'model'} holds no model: config.json and *.safetensors are needed, and links do not count. "
            "Run the recipe again."
        )
    return chosen, left_out


@contextmanager
def staged(folder: Path, texts: Mapping[str, str]) -> Iterator[Path]:
    """Put the folder together inside the run folder, look through it for secrets, and remove it when the block ends.

    Args:
        folder: The run folder, whose lock is held.
        texts: What stands in README.md, recipe.json and result.json.

    Raises:
        PublishingError: if something in it should not leave this machine.
    """
    place = folder / STAGING
    shutil.rmtree(place, ignore_errors=True)
    try:
        files, left_out = chosen_files(folder)
        if left_out:
            logger.info("Not published: %s", ", ".join(left_out))
        for name, path in files.items():
            _stage(path, place / name)
        for name, text in texts.items():
            write_text(place / name, text)
        found = findings(((name, path) for name, path in staged_files(place).items()), folders=_folders(folder))
        if found:
            raise PublishingError(
                f"Nothing was published, for something in it should not leave this machine: {'; '.join(found)}. "
                f"Take it out of {folder}, and change a secret that somebody may have seen."
            )
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def staged_files(place: Path) -> dict[str, Path]:
    """Return the staged files by their paths in the repository."""
    return {path.relative_to(place).as_posix(): path for path in sorted(place.rglob("*")) if path.is_file()}


def _stage(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    rewrite = REWRITTEN.get(source.name)
    if rewrite is not None:
        text = json.dumps(rewrite(json.loads(source.read_text(encoding="utf-8"))), indent=2, ensure_ascii=False)
        return write_text(target, text + "\n")
    try:
        os.link(source, target)
    except OSError:
        # A file system without hard links.
        shutil.copyfile(source, target, follow_symlinks=False)
    return None


def _without_base_path(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out a base model that is no name on the Hub, where peft would look for it."""
    base = str(values.get("base_model_name_or_path") or "")
    return {**values, "base_model_name_or_path": base if is_hub_name(base) else None}


def _without_origin(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ABOUT_THIS_MACHINE}


REWRITTEN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "adapter_config.json": _without_base_path,
    "tokenizer_config.json": _without_origin,
}


def _folders(folder: Path) -> list[Path]:
    """Return folders that a text should not name: the run's, and the user's home."""
    home = [Path.home()] if len(Path.home().parts) > 2 else []
    return [*home, folder.resolve()]
