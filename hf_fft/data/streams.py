"""Rows one by one, so that the size of a file does not matter: for models that read what nobody trains on.

The same formats as `loading` reads whole, the same strictness and the same cells, but no types and no cache: what comes
out is a dict a row. Nested SQuAD and a JSON array stand in one piece in their file and are read so.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeAlias, cast

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from hf_fft.data.conll import conll_rows
from hf_fft.data.files import COMPRESSIONS, file_format
from hf_fft.data.squad import is_squad_text, squad_rows
from hf_fft.data.strict_csv import csv_rows
from hf_fft.data.strict_json import json_rows
from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError

Row: TypeAlias = dict[str, Any]
Options: TypeAlias = Mapping[str, Any]

_CSV_OPTIONS = (
    "delimiter", "sep", "encoding", "encoding_errors", "quotechar", "doublequote", "escapechar", "skipinitialspace",
    "quoting", "header", "column_names", "names", "skiprows",
)  # fmt: skip
_OPTIONS: dict[str, tuple[str, ...]] = {
    "csv": _CSV_OPTIONS,
    "tsv": _CSV_OPTIONS,
    "json": ("encoding", "encoding_errors", "field"),
    "jsonl": ("encoding", "encoding_errors"),
    "text": ("encoding", "encoding_errors"),
    "conll": ("column_names", "delimiter", "encoding"),
    "squad": (),
    "parquet": (),
}
_PARQUET_ROWS = 1_000


def stream_rows(file: Path, named_format: str | None, options: Options) -> Iterator[Row]:
    """Yield the rows of a file, packed or not, in order.

    Raises:
        DataError: if there is no such file, its format is unknown, or it cannot be read; a fault in a row is raised
            when the walk comes to it.
    """
    refuse_missing(file)
    kind = file_format(file, named_format)
    _check_options(kind, options)
    with _explained(str(file), options):
        if kind == "parquet":
            with _unpacked(file) as plain:
                yield from _parquet_rows(plain)
            return
        with _opened(file) as stream:
            yield from _TEXT_READERS[kind](_as_text(stream, kind, options), str(file), options)


def refuse_missing(file: Path) -> None:
    """Check that there is such a file.

    Raises:
        DataError: naming one beside it with nearly that name, if there is one.
    """
    if not file.is_file():
        beside = [one.name for one in file.absolute().parent.glob("*") if one.is_file()]
        raise DataError(f"There is no file {file.absolute()}{did_you_mean(file.name, beside) or '.'} Correct the path.")


def stream_input(stream: BinaryIO, shown: str, named_format: str | None, options: Options) -> Iterator[Row]:
    """Yield the rows of an open stream: JSON lines if the first line is an object, otherwise a text a line.

    Raises:
        DataError: as `stream_rows` does.
    """
    if named_format == "parquet":
        raise DataError(f"Parquet cannot be read from {shown}, for it begins at its end. Give the file's name.")
    with _explained(shown, options):
        text: Any = _as_text(stream, named_format or "text", options)
        if named_format is None:
            first = text.readline()
            named_format, text = "jsonl" if _is_object(first) else "text", chain([first] if first else [], text)
        _check_options(named_format, options)
        yield from _TEXT_READERS[named_format](text, shown, options)


def _csv(stream: TextIO, shown: str, options: Options) -> Iterator[Row]:
    return csv_rows(stream, shown, options)


def _tsv(stream: TextIO, shown: str, options: Options) -> Iterator[Row]:
    return csv_rows(stream, shown, {"delimiter": "\t", **options} if "sep" not in options else options)


def _json(stream: TextIO, shown: str, options: Options) -> Iterator[Row]:
    text = stream.read()
    if not options and is_squad_text(text):
        return squad_rows(text, shown, needs_answers=False)
    return json_rows(io.StringIO(text), shown, options.get("field"), lines=False)


def _jsonl(stream: TextIO, shown: str, options: Options) -> Iterator[Row]:
    return json_rows(stream, shown, None, lines=True)


def _squad(stream: TextIO, shown: str, options: Options) -> Iterator[Row]:
    return squad_rows(stream.read(), shown, needs_answers=False)


def _text(stream: TextIO, shown: str, options: Options) -> Iterator[Row]:
    for line in stream:
        yield {"text": line.rstrip("\n")}


_TEXT_READERS: dict[str, Callable[[TextIO, str, Options], Iterator[Row]]] = {
    "csv": _csv,
    "tsv": _tsv,
    "json": _json,
    "jsonl": _jsonl,
    "squad": _squad,
    "text": _text,
    "conll": conll_rows,
}


def _parquet_rows(file: Path) -> Iterator[Row]:
    with pq.ParquetFile(file) as parquet:
        features = Features.from_arrow_schema(parquet.schema_arrow)
        for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS):
            for row in batch.to_pylist():
                yield {column: _named(value, features[column]) for column, value in row.items()}


def _named(value: Any, feature: Any) -> Any:
    """Return a value with the names of classes where the file holds their numbers."""
    if isinstance(value, list):
        return [_named(one, getattr(feature, "feature", None)) for one in value]
    if isinstance(feature, ClassLabel) and isinstance(value, int) and 0 <= value < len(feature.names):
        return feature.names[value]
    return value


def _check_options(kind: str, options: Options) -> None:
    known = _OPTIONS[kind]
    for name in options:
        if name not in known:
            guess = did_you_mean(name, known) or "."
            raise DataError(
                f'data.options.{name}: "{name}" is not an option of {kind} files that are read row by row{guess} '
                f"They know {listed(known)}."
            )


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line.removeprefix("\ufeff")), dict)
    except (ValueError, RecursionError):
        return False


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    suffix = file.suffix.lower()
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(suffix, open)
    with opener(file, "rb") as stream:
        yield cast(BinaryIO, stream)


@contextmanager
def _unpacked(file: Path) -> Iterator[Path]:
    """Give a file that can be read from any place, unpacked if need be."""
    if file.suffix.lower() not in COMPRESSIONS:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="hf_fft_data_") as folder:
        plain = Path(folder) / "rows"
        with _opened(file) as stream, plain.open("wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        yield plain


def _as_text(stream: BinaryIO, kind: str, options: Options) -> TextIO:
    encoding = options.get("encoding") or "utf-8"
    encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    # A line break inside a quoted cell is part of the text.
    newline = "" if kind in ("csv", "tsv") else None
    return io.TextIOWrapper(
        stream, encoding=encoding, errors=options.get("encoding_errors") or "strict", newline=newline
    )


@contextmanager
def _explained(shown: str, options: Options) -> Iterator[None]:
    """Say what to do where a reader only says that it cannot go on."""
    try:
        yield
    except UnicodeDecodeError as error:
        byte = error.object[error.start : error.start + 1].hex()
        raise DataError(
            f"{shown}: the byte 0x{byte} is not {error.encoding}. Save the file as UTF-8, or name its encoding in "
            'data.options.encoding, e.g. "latin-1" or "cp1252".'
        ) from error
    except LookupError as error:
        raise DataError(
            f"data.options.encoding: {error}. Known are utf-8, latin-1, cp1252, utf-16 and so on."
        ) from error
    except (EOFError, zlib.error, lzma.LZMAError, OSError, pa.ArrowException) as error:
        raise DataError(f"{shown} cannot be read ({error}). It is damaged or not what its name says.") from error
    except TypeError as error:
        if not options:
            raise
        raise DataError(f"{shown}: data.options has a value that cannot be used: {error}.") from error
