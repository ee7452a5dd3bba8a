"""What the tests of the data room share: a small task, small files, and a `DataRecipe` in one line."""

from __future__ import annotations

import json

from datasets import Dataset, DatasetDict

from hf_fft.data import class_labels, require_text
from hf_fft.recipe.records import DataRecipe


class TwoColumns:
    """A task with a text and a label."""

    name = "text_classification"

    def required_columns(self):
        return ["text", "label"]

    def type_columns(self, splits):
        require_text(splits, ["text"])
        return class_labels(splits, "label")

    def stratify_column(self):
        return "label"

    def text_columns(self):
        return ["text"]


def recipe(path, **values):
    return DataRecipe(path=str(path), **values)


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def json_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def splits_of(**splits):
    return DatasetDict({name: Dataset.from_dict(columns) for name, columns in splits.items()})
