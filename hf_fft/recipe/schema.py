"""The recipe as a JSON Schema, for editors that complete and check while one types.

`python -m hf_fft.recipe.schema > recipes/recipe.schema.json` writes the file that recipes point at with `"$schema"`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hf_fft.recipe.records import NAMED_SECTIONS, Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a recipe file."""
    schema = Recipe.model_json_schema(by_alias=True)
    for section in NAMED_SECTIONS:
        schema["properties"][section] = _or_bare_name(schema["properties"][section])
    for kind in _kinds(schema):
        schema["$defs"][kind]["required"] = ["name"]
    return {"$schema": DIALECT, **schema, "title": "hf_fft recipe"}


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(recipe_schema(), indent=2, ensure_ascii=False) + "\n"


def _or_bare_name(record: dict[str, Any]) -> dict[str, Any]:
    """Let a string stand where a record that needs only its name may stand."""
    notes = {key: value for key, value in record.items() if key in ("description", "default")}
    return {"anyOf": [{"type": "string"}, {key: record[key] for key in record if key not in notes}], **notes}


def _kinds(schema: dict[str, Any]) -> list[str]:
    """Return the records that come in kinds: only their name tells an editor which one is meant."""
    return [name for name, record in schema["$defs"].items() if "const" in record.get("properties", {}).get("name", {})]


if __name__ == "__main__":
    sys.stdout.write(schema_text())
