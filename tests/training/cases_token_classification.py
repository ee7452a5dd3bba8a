"""Token classification: a tag a word, on the first sub-word or on all, and sentences in windows."""

from __future__ import annotations

from datasets import ClassLabel, Dataset, Features, List, Value
from exactness import ROWS, Case, text

from hf_fft.tasks import TokenClassification

NAMES = ["O", "B-X", "I-X", "B-Y", "I-Y"]


def rows(length: int = 6) -> Dataset:
    """Return sentences in which some words have three sub-words, and one sentence has no word at all."""
    sentences = [
        [f"{word}-{word}" if len(word) == 4 else word for word in text(i, length).split()] for i in range(ROWS)
    ]
    sentences[4] = []
    tags = [[(index + 2 * place) % 5 for place in range(len(words))] for index, words in enumerate(sentences)]
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=NAMES))})
    return Dataset.from_dict({"tokens": sentences, "tags": tags}, features=features)


def long_rows() -> Dataset:
    return rows(length=30)


WINDOWS = {"max_length": 16, "window_overlap": 4}
CASES = {
    "tokens": Case(TokenClassification(max_length=32), rows),
    "tokens_smoothed": Case(TokenClassification(max_length=32), rows).smoothed(),
    "tokens_windows": Case(TokenClassification(**WINDOWS, subwords="all"), long_rows),
}
