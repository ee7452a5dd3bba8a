"""Compare the stand-ins of the tests with the real Hub: names, revisions, columns, features and splits.

    python benchmarks/check_hub_recipes.py

The shipped recipes are tested against tiny stand-ins under the names of real models and data sets (`tests/hub`). That
the real ones look like them can only be seen where there is a network; this reads their cards and configurations, a
few kilobytes each, and no rows. It prints a line for each and ends with 1 if one differs, with 3 if one could not be
looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from datasets import ClassLabel, Features, Sequence, load_dataset_builder
from hub.stand_in_data import DATA, StandIn
from hub.stand_in_models import MODELS, stand_in_model
from transformers import AutoConfig, AutoTokenizer

# Names of our own stand for these, as they are many or of no use to the recipe.
OTHER_LABELS = {
    ("legacy-datasets/banking77", "label"),
    ("lhoestq/conll2003", "pos_tags"),
    ("lhoestq/conll2003", "chunk_tags"),
}


def main() -> int:
    """Compare everything and say how it went."""
    codes = []
    for name, stand_in in DATA.items():
        codes.append(report(f"data  {name}", lambda name=name, one=stand_in: data_differences(name, one)))
    for name in MODELS:
        codes.append(report(f"model {name}", lambda name=name: model_differences(name)))
    return max(codes)


def report(what: str, compare: Callable[[], list[str]]) -> int:
    """Print one line, and return the exit code that it asks for."""
    try:
        differences = compare()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are still to be looked at
        print(f"{what}: could not be looked at: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        return 3
    print(f"{what}: {'; '.join(differences) or 'as the stand-in'}")
    return 1 if differences else 0


def data_differences(name: str, stand_in: StandIn) -> list[str]:
    """Return in what a data set differs from its stand-in."""
    revision = None if stand_in.revision == "main" else stand_in.revision
    builder = load_dataset_builder(name, revision=revision)
    # Opened and not read: the schema of the first file says what the columns are, the file names what the splits.
    splits = set(builder.as_streaming_dataset())
    differences = feature_differences(name, Features(stand_in.features), builder.info.features)
    if splits != set(stand_in.splits):
        differences.append(f"its splits are {sorted(splits)}, not {sorted(stand_in.splits)}")
    return differences


def feature_differences(name: str, ours: Features, theirs: Features) -> list[str]:
    """Return in what columns and their features differ."""
    differences = []
    if set(ours) != set(theirs):
        differences.append(f"its columns are {sorted(theirs)}, not {sorted(ours)}")
    for column in set(ours) & set(theirs):
        mine, other = labels_of(ours[column]), labels_of(theirs[column])
        if (mine is None) != (other is None):
            differences.append(f'its column "{column}" is {theirs[column]}')
        elif mine != other and (name, column) not in OTHER_LABELS:
            differences.append(f'its column "{column}" has the labels {other}')
    return differences


def labels_of(feature: object) -> list[str] | None:
    """Return the label names of a column, of a list too; None where it has none."""
    inner = feature.feature if isinstance(feature, Sequence) else feature
    inner = getattr(inner, "feature", inner)
    return list(inner.names) if isinstance(inner, ClassLabel) else None


def model_differences(name: str) -> list[str]:
    """Return in what a model differs from its stand-in: its kind, its limits and its special tokens."""
    with TemporaryDirectory() as folder:
        place = str(stand_in_model(name, Path(folder)))
        ours, theirs = AutoConfig.from_pretrained(place), AutoConfig.from_pretrained(name)
        my_tokenizer, their_tokenizer = AutoTokenizer.from_pretrained(place), AutoTokenizer.from_pretrained(name)
    pairs = {
        "model_type": (ours.model_type, theirs.model_type),
        "positions": (getattr(ours, "max_position_embeddings", None), getattr(theirs, "max_position_embeddings", None)),
        "model_max_length": (my_tokenizer.model_max_length, their_tokenizer.model_max_length),
        "inputs": (my_tokenizer.model_input_names, their_tokenizer.model_input_names),
        "padding": (my_tokenizer.pad_token, their_tokenizer.pad_token),
    }
    return [f"its {what} is {other}, not {mine}" for what, (mine, other) in pairs.items() if mine != other]


if __name__ == "__main__":
    sys.exit(main())
