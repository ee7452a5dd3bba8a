"""Local files into a `Dataset`, by the loaders of `datasets`, after a strict look at each file.

What is read is what stands on disk now: the loaders keep their cache in a folder that lives as long as the call,
because `datasets` tells files apart by name and time of change, and a file rewritten within that time would come back
as it was. Compressed files are unpacked into the same folder. Cells of CSV files stay the text that they are: `NA` is a
word, and an empty cell is an empty text; the columns get their types from the task.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import BuilderConfig, Dataset, Features, Value, load_dataset
from datasets.exceptions import DatasetsError
from datasets.packaged_modules.csv.csv import CsvConfig
from datasets.packaged_modules.json.json import JsonConfig
from datasets.packaged_modules.parquet.parquet import ParquetConfig
from datasets.packaged_modules.text.text import TextConfig

from hf_fft.data.conll import ConllConfig, read_conll
from hf_fft.data.files import file_format, plain_name
from hf_fft.data.squad import is_squad, read_squad
from hf_fft.data.strict_csv import CsvShape, check_csv
from hf_fft.data.strict_json import check_json
from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError

_CONFIGS: dict[str, type[BuilderConfig]] = {
    "csv": CsvConfig,
    "json": JsonConfig,
    "parquet": ParquetConfig,
    "text": TextConfig,
    "conll": ConllConfig,
}
_BUILDERS = {"csv": "csv", "tsv": "csv", "json": "json", "jsonl": "json", "parquet": "parquet", "text": "text"}
# Formats that `datasets` does not read by itself: files and their names for messages become rows.
_READERS: dict[str, Callable[[Sequence[Path], Sequence[str]], Dataset]] = {"squad": read_squad}
_LEFT_OUT = {"features", "converters", "dialect", "prefix", "mangle_dupe_cols", "error_bad_lines", "warn_bad_lines"}
# The whole file is one block, so that a column has one type from its first row to its last.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "csv": {"keep_default_na": False, "na_filter": False, "chunksize": 1 << 40},
    "json": {"chunksize": 1 << 30, "parse_agent_traces": False},
    "parquet": {},
    "text": {},
}


def load_files(files: Sequence[Path], named_format: str | None, options: Mapping[str, Any]) -> Dataset:
    """Read the files of one split, one behind another, into memory.

    Raises:
        DataError: if an option is unknown, or a file cannot be unpacked, decoded or read, or is not regular.
    """
    kind = file_format(files[0], named_format)
    builder = _BUILDERS.get(kind, kind)
    _check_options(kind, options)
    chosen = {"delimiter": "\t", **options} if kind == "tsv" and "sep" not in options else dict(options)
    with tempfile.TemporaryDirectory(prefix="hf_fft_data_") as folder:
        plain = [_plain_file(file, Path(folder), f"{index:05d}.{builder}") for index, file in enumerate(files)]
        if kind == "json" and not options and is_squad(plain[0]):
            kind = "squad"
        if kind in _READERS:
            return _READERS[kind](plain, [str(file) for file in files])
        shapes = [_checked(one, str(file), kind, chosen) for one, file in zip(plain, files, strict=True)]
        if kind == "conll":
            return read_conll(plain, [str(file) for file in files], chosen)
        loaded = _loaded(
            builder, plain, files, Path(folder), {**_DEFAULTS[builder], **chosen, **_as_text(shapes, chosen)}
        )
    if not len(loaded):
        raise DataError(f"{listed(files)}: no rows; at least one is needed.")
    _check_count(loaded, shapes, files, chosen)
    return loaded


def _check_options(kind: str, options: Mapping[str, Any]) -> None:
    base = {field.name for field in fields(BuilderConfig)}
    loader = _CONFIGS.get(_BUILDERS.get(kind, kind), BuilderConfig)
    known = {field.name for field in fields(loader)} - base - _LEFT_OUT
    for name in options:
        if name not in known:
            guess = did_you_mean(name, known) or "."
            raise DataError(
                f'data.options.{name}: "{name}" is not an option of the {kind} loader{guess} '
                f"It knows {listed(sorted(known), limit=60)}."
            )


def _plain_file(file: Path, folder: Path, name: str) -> Path:
    """Return the unpacked file under a plain name; the loaders would take brackets in a name for a pattern."""
    target = folder / name
    if plain_name(file) == file.name:
        try:
            target.symlink_to(file.resolve())
        except OSError:  # Windows lets only some users make links.
            shutil.copyfile(file, target)
        return target
    opened = gzip.open if file.suffix.lower() == ".gz" else bz2.open
    try:
        with opened(file, "rb") as source, target.open("wb") as stream:
            shutil.copyfileobj(source, stream, 1 << 20)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{file} cannot be unpacked ({error}). It is damaged or not what its name says.") from error
    return target


def _checked(file: Path, shown: str, kind: str, options: Mapping[str, Any]) -> CsvShape | None:
    if not file.stat().st_size:
        raise DataError(f"{shown} is empty; at least one row is needed.")
    try:
        if kind in ("csv", "tsv"):
            return check_csv(file, shown, options)
        if kind in ("json", "jsonl"):
            check_json(file, shown, options, lines=kind == "jsonl")
        elif kind in ("text", "conll"):
            _check_text(file, options)
    except UnicodeDecodeError as error:
        raise DataError(_undecodable(file, shown, error.encoding, error)) from error
    except LookupError as error:
        raise DataError(
            f"data.options.encoding: {error}. Known are utf-8, latin-1, cp1252, utf-16 and so on."
        ) from error
    except TypeError as error:
        raise DataError(f"{shown}: data.options has a value that the {kind} loader cannot use: {error}.") from error
    return None


def _check_text(file: Path, options: Mapping[str, Any]) -> None:
    encoding, errors = options.get("encoding") or "utf-8", options.get("encoding_errors") or "strict"
    with file.open(encoding=encoding, errors=errors) as stream:
        for _ in stream:
            pass


def _undecodable(file: Path, shown: str, encoding: str, error: UnicodeDecodeError) -> str:
    content = file.read_bytes()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as whole:
        error = whole  # Counts from the start of the file, not of a block of it.
    line = content.count(b"\n", 0, error.start) + 1
    byte = content[error.start : error.start + 1].hex()
    return (
        f"{shown}, line {line}: byte {error.start} (0x{byte}) is not {error.encoding}. "
        'Save the file as UTF-8, or name its encoding in data.options.encoding, e.g. "latin-1" or "cp1252".'
    )


def _as_text(shapes: Sequence[CsvShape | None], options: Mapping[str, Any]) -> dict[str, Features]:
    """Return the features that read every CSV cell as text, where the columns are known beforehand."""
    if any(shape is None for shape in shapes):
        return {}
    names = {shape.columns for shape in shapes if shape is not None}
    if len(names) > 1:
        raise DataError(f"The files of one split have different columns: {' | '.join(listed(one) for one in names)}.")
    (columns,) = names
    wanted = options.get("usecols") or columns
    kept = [name for index, name in enumerate(columns) if name in wanted or index in wanted]
    return {"features": Features({name: Value("string") for name in kept})}


def _loaded(
    builder: str, plain: Sequence[Path], files: Sequence[Path], folder: Path, options: dict[str, Any]
) -> Dataset:
    try:
        return load_dataset(
            builder,
            data_files={"train": [str(file) for file in plain]},
            split="train",
            cache_dir=str(folder / "cache"),
            keep_in_memory=True,
            **options,
        )
    except (DatasetsError, pa.ArrowException, OSError, ValueError, TypeError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[:1] or [type(error).__name__]
        raise DataError(
            f"{listed(files)} cannot be read as {builder}: {cause[0].rstrip('.')}. "
            "Mend the file, or set data.format or data.options."
        ) from error


def _check_count(
    rows: Dataset, shapes: Sequence[CsvShape | None], files: Sequence[Path], options: Mapping[str, Any]
) -> None:
    """Refuse a CSV file whose records the strict look and pandas count differently."""
    known = [shape for shape in shapes if shape is not None and len(shape.columns) > 1]
    expected = sum(shape.records for shape in known)
    if len(known) == len(shapes) and "nrows" not in options and len(rows) != expected:
        raise DataError(
            f"{listed(files)}: {expected:,} records, but read as {len(rows):,} rows: its quotes can be understood in "
            "two ways. Set data.options.quotechar, escapechar or quoting."
        )
