"""What to tell the writer of a key that no record has: the new name, the right place, or the near miss."""

from __future__ import annotations

from typing import Any

from hf_fft.recipe.fields import Path, fields_of, kinds_of, record_at, value_at
from hf_fft.recipe.records import Recipe
from hf_fft.recipe.renamed import REFUSED, RENAMED
from hf_fft.recipe.training_names import TrainingRecipe
from hf_fft.recipe.words import dotted, near_miss, quoted


def nearest_field(path: Path, values: Any) -> str | None:
    """Return the field of the same record that an unknown key probably means."""
    record = record_at(path[:-1], values)
    return near_miss(path[-1], fields_of(record)) if record is not None else None


def words_for_unknown(path: Path, values: Any) -> str:
    """Say what an unknown key may have been meant to be."""
    key = str(path[-1])
    if key in REFUSED:
        return f"not taken; {REFUSED[key]}"
    if key in RENAMED:
        return f"not a field; {RENAMED[key]}"
    homes = [(place, kind) for place, kind in _fields_inside_sections() if place[-1] == key]
    if homes:
        return _words_for_misplaced(path, values, homes)
    meant = nearest_field(path, values) or _near_miss_elsewhere(key)
    return f'not a field; did you mean "{meant}"?' if meant else _words_for_stranger(path, values)


def _words_for_misplaced(path: Path, values: Any, homes: list[tuple[Path, str]]) -> str:
    same_section = [kind for place, kind in homes if place == path]
    if same_section:
        chosen = value_at(values, (*path[:-1], "name"))
        return f"not a field of {quoted([chosen])}; it is one of {quoted(same_section)}"
    places = dict.fromkeys(dotted(place) for place, _ in homes)
    return f"not a field here; did you mean {' or '.join(places)}?"


def _near_miss_elsewhere(key: str) -> str | None:
    places = {str(place[-1]): dotted(place) for place, _ in _fields_inside_sections()}
    meant = near_miss(key, places)
    return places[meant] if meant is not None else None


def _words_for_stranger(path: Path, values: Any) -> str:
    record = record_at(path[:-1], values)
    if record is TrainingRecipe or record is None:
        return "not a field of transformers.TrainingArguments" if record else "not a field"
    return f"not a field; there are {', '.join(name for name in fields_of(record) if name != '$schema')}"


def _fields_inside_sections() -> list[tuple[Path, str]]:
    """Return every field inside a section with the kind of record that has it; `name` stands everywhere."""
    return [
        ((section, name), kind)
        for section, field in fields_of(Recipe).items()
        for kind, record in kinds_of(field).items()
        for name in fields_of(record)
        if name != "name"
    ]
