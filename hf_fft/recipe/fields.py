"""The records of a recipe seen as a tree: which field stands at a path, and what it may hold.

A path is a tuple of keys, `("training", "learning_rate")`, and is shown with dots. Error messages and overrides both
ask what the records know about a path, so that no name, bound or choice is written down a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from hf_fft.recipe.records import Recipe
from hf_fft.recipe.training_names import TrainingRecipe, training_record

Path: TypeAlias = tuple[str | int, ...]
Bound: TypeAlias = Gt | Ge | Lt | Le


def value_at(values: Any, path: Path) -> Any:
    """Return what stands at a path, or None."""
    for key in path:
        if isinstance(values, Mapping):
            values = values.get(key)
        elif isinstance(values, list | tuple) and isinstance(key, int) and key < len(values):
            values = values[key]
        else:
            return None
    return values


def fields_of(record: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a record by the keys that a recipe uses."""
    fields = training_record().model_fields if record is TrainingRecipe else record.model_fields
    return {field.alias or name: field for name, field in fields.items()}


def kinds_of(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Return the records that a field may hold, by their `name`; by "" where they come in one kind without a name."""
    records = [part for part in _parts(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    return {_kind(record): record for record in records}


def _kind(record: type[BaseModel]) -> str:
    name = record.model_fields.get("name")
    return name.default if name is not None and isinstance(name.default, str) else ""


def record_at(path: Path, values: Any) -> type[BaseModel] | None:
    """Return the record at a path; of several kinds the one that `values` names, if it names one."""
    record: type[BaseModel] | None = Recipe
    for depth, key in enumerate(path, start=1):
        field = fields_of(record).get(str(key)) if record is not None else None
        if field is None:
            return None
        record = _chosen_kind(kinds_of(field), value_at(values, path[:depth]))
    return record


def _chosen_kind(kinds: dict[str, type[BaseModel]], value: Any) -> type[BaseModel] | None:
    name = value.get("name") if isinstance(value, Mapping) else value
    if len(kinds) == 1:
        return next(iter(kinds.values()))
    return kinds.get(name) if isinstance(name, str) else None


def field_at(path: Path, values: Any) -> FieldInfo | None:
    """Return the field that a path leads to, or leads into where the field is a dict or a list of plain values."""
    for depth in range(len(path) - 1, -1, -1):
        record = record_at(path[:depth], values)
        if record is not None:
            return fields_of(record).get(str(path[depth]))
    return None


def choices_of(field: FieldInfo | None) -> tuple[Any, ...]:
    """Return the words that a field's Literal lists."""
    parts = _parts(field.annotation) if field is not None else ()
    return tuple(choice for part in parts if get_origin(part) is Literal for choice in get_args(part))


def bounds_of(field: FieldInfo | None) -> tuple[Bound, ...]:
    """Return the lower and upper bounds of a number, wherever in its annotation they stand."""
    if field is None:
        return ()
    parts = [*field.metadata, *_parts(field.annotation)]
    nested = [part.metadata if isinstance(part, FieldInfo) else [part] for part in parts]
    return tuple(bound for some in nested for bound in some if isinstance(bound, Gt | Ge | Lt | Le))


def types_at(path: Path, values: Any) -> set[Any]:
    """Return the types that a value at the path may have: `{str, NoneType}`; empty where anything may stand."""
    for depth in range(len(path) - 1, -1, -1):
        record = record_at(path[:depth], values)
        if record is not None:
            field = fields_of(record).get(str(path[depth]))
            return _types_inside(field.annotation if field is not None else Any, levels=len(path) - depth - 1)
    return set()


def _types_inside(annotation: Any, *, levels: int) -> set[Any]:
    """Return the types of an annotation, or of a dict's values some levels down."""
    for _ in range(levels):
        dicts = [part for part in _alternatives(annotation) if get_origin(part) is dict]
        annotation = get_args(dicts[0])[1] if dicts else Any
    words = {type(word) for part in _alternatives(annotation) if get_origin(part) is Literal for word in get_args(part)}
    types = {get_origin(part) or part for part in _alternatives(annotation)} - {Literal}
    return set() if types & {Any, JsonValue} else words | types


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    else:
        yield NoneType if annotation is None else annotation


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all that it is made of, None as NoneType."""
    yield NoneType if annotation is None else annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)
