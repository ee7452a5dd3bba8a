"""Which local files hold which split, and in which format.

The extension says the format (`.gz` and `.bz2` of each are read too) and, in a folder, the file names say the split: a
name with `train` among its words is training data, and so on. A recipe can overrule both with `data.format` and
`data.splits`. Anything in a folder that is not recognised is left alone, with a line in the log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError
from hf_fft.recipe.record import SplitName
from hf_fft.recipe.records import DataRecipe

logger = logging.getLogger(__name__)

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
    ".conll": "conll",
}
COMPRESSIONS = (".gz", ".bz2")
SPLIT_WORDS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "eval": "test",
}


def split_files(path: Path, data: DataRecipe) -> dict[str, list[Path]]:
    """Return the files of each split; one file alone is `train`.

    Raises:
        DataError: if there is no training data, a named file is missing, or the files of a split do not go together.
    """
    if path.is_file():
        if data.splits:
            raise DataError(
                f"data.splits names files in a folder, but data.path, {path}, is one file. Name its folder."
            )
        files = {"train": [path]}
    else:
        files = _named_files(path, data.splits) if data.splits else _files_by_name(path, data.format is not None)
    for split, members in files.items():
        _check_shards(members, split, data.format)
    if "train" not in files:
        raise DataError(
            f"{path} has no training data: no file name has the word train in it. It holds {_content(path)}. "
            'Rename the file, or name it: data.splits = {"train": "FILE"}.'
        )
    return files


def plain_name(path: Path) -> str:
    """Return a file's name without `.gz` or `.bz2`."""
    return path.stem if path.suffix.lower() in COMPRESSIONS else path.name


def file_format(path: Path, named: str | None) -> str:
    """Return the format of a file: the one that the recipe names, or the extension's.

    Raises:
        DataError: if neither says it.
    """
    found = named or FORMATS.get(Path(plain_name(path)).suffix.lower())
    if found is None:
        raise DataError(
            f"{path}: the extension does not say the format; known are {listed(FORMATS)}, each also with .gz or .bz2. "
            "Set data.format."
        )
    return found


def _named_files(folder: Path, splits: Mapping[SplitName, str]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {split: [folder / name] for split, name in splits.items()}
    for split, name in splits.items():
        if not (folder / name).is_file():
            guess = did_you_mean(name, [entry.name for entry in folder.iterdir()])
            raise DataError(
                f'data.splits.{split}: there is no file "{name}" in {folder}{guess or "."} It holds {_content(folder)}.'
            )
    resolved = [file.resolve() for (file,) in files.values()]
    if len(set(resolved)) < len(resolved):
        raise DataError(
            f"data.splits gives one file to two splits: {listed(splits.values())}. Each split needs its own."
        )
    return files


def _files_by_name(folder: Path, any_extension: bool) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    ignored = []
    for file in sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")):
        known = any_extension or Path(plain_name(file)).suffix.lower() in FORMATS
        splits = _splits_of_name(file) if known else set()
        if len(splits) > 1:
            raise DataError(
                f"{file}: the name says {listed(sorted(splits))} at once. Rename the file, or name the file of each "
                "split in data.splits."
            )
        if splits:
            files.setdefault(splits.pop(), []).append(file)
        else:
            ignored.append(file.name)
    if ignored:
        logger.info("%s: left alone, since their names say no split: %s", folder, listed(ignored))
    return files


def _splits_of_name(file: Path) -> set[str]:
    words = re.split(r"[^a-z0-9]+", plain_name(file).lower())
    return {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}


def _check_shards(files: Sequence[Path], split: str, named: str | None) -> None:
    formats = sorted({file_format(file, named) for file in files})
    names = listed(file.name for file in files)
    if len(formats) > 1:
        raise DataError(
            f"The files of {split} have different formats ({listed(formats)}): {names}. "
            "Keep one format, or name one file in data.splits."
        )
    plain = [plain_name(file) for file in files]
    if len(set(plain)) < len(plain):
        raise DataError(f"The files of {split} hold one file twice, packed and unpacked: {names}. Keep one of them.")


def _content(folder: Path) -> str:
    return listed(sorted(entry.name for entry in folder.iterdir()))
