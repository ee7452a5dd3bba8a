"""What `transformers.TrainingArguments` takes, read from its source without importing it.

Importing transformers to learn the names of its training arguments would bring torch along and cost seconds, only to
tell a reader that `learning_rte` is misspelt. The source lies on disk: parsing it takes some fifteen milliseconds and
gives the same fields, the types written beside them, and the words that an option such as `lr_scheduler_type` may
have.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hf_fft.errors import RecipeError

SOURCES = ("training_args.py", "trainer_utils.py")
ENUMERATIONS = ("SchedulerType", "IntervalStrategy", "SaveStrategy", "OptimizerNames", "HubStrategy")
PLAIN_TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "dict": dict[str, Any],
    "dict[str, Any]": dict[str, Any],
    "dict[str, bool]": dict[str, bool],
    "list[str]": list[str],
    "Literal[False]": Literal[False],
    "list[DebugOption]": list[str],
}
Annotation: TypeAlias = Any


@cache
def training_fields() -> dict[str, Annotation]:
    """Return the type that JSON may have for each field of TrainingArguments, in HF's order.

    A field whose only value JSON can write is null has the type None.

    Raises:
        RecipeError: if transformers is not installed.
    """
    classes = {node.name: node for file in SOURCES for node in _parsed(file).body if isinstance(node, ast.ClassDef)}
    words = {name: _enumeration_values(classes[name]) for name in ENUMERATIONS if name in classes}
    fields = [node for node in classes["TrainingArguments"].body if isinstance(node, ast.AnnAssign)]
    return {ast.unparse(field.target): _json_type(field, words) for field in fields}


def _parsed(file: str) -> ast.Module:
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        raise RecipeError("transformers is not installed, and it says what training takes: pip install hf_fft")
    return ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))


def _enumeration_values(definition: ast.ClassDef) -> tuple[str, ...]:
    return _texts(node.value for node in definition.body if isinstance(node, ast.Assign))


def _texts(nodes: Iterable[ast.expr]) -> tuple[str, ...]:
    return tuple(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _json_type(field: ast.AnnAssign, words: dict[str, tuple[str, ...]]) -> Annotation:
    """Return the field's type, narrowed to the words it may be where the source lists them."""
    names = [ast.unparse(part) for part in _alternatives(field.annotation)]
    choices = next((words[name] for name in names if name in words), None) or _listed_choices(field)
    if choices:
        # `IntervalStrategy | str` is HF's way to say "one of these words"; another string fails later, inside Trainer.
        types = [Literal[choices]] + [PLAIN_TYPES[name] for name in names if name in PLAIN_TYPES and name != "str"]
    else:
        types = [PLAIN_TYPES[name] for name in names if name in PLAIN_TYPES]
    if "None" in names or not types:
        types.append(None)
    annotation = types[0]
    for other in types[1:]:
        annotation = annotation | other
    return annotation


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    else:
        yield annotation


def _listed_choices(field: ast.AnnAssign) -> tuple[str, ...]:
    """Return the words of `metadata={"choices": [...]}`, or nothing where they are computed."""
    for node in ast.walk(field):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "choices" and isinstance(value, ast.List):
                    return _texts(value.elts)
    return ()
