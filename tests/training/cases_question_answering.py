"""Extractive question answering: contexts in one window and in several, with answers and without."""

from __future__ import annotations

from pathlib import Path

from conftest import tiny_config
from datasets import Dataset, Features, Value
from exactness import ROWS, Case, text
from transformers import BertModel

from hf_fft.data.squad import ANSWERS
from hf_fft.tasks import QuestionAnswering


def rows(length: int = 6) -> Dataset:
    contexts = [text(index, length) for index in range(ROWS)]
    answers = []
    for index, context in enumerate(contexts):
        words = context.split(" ")
        place = len(words) * (index % 4) // 4
        start = len(" ".join(words[:place])) + (place > 0)
        found = " ".join(words[place : place + 1 + index % 2])
        answers.append(
            {"text": [], "answer_start": []} if index % 5 == 4 else {"text": [found], "answer_start": [start]}
        )
    columns = {"id": list(map(str, range(ROWS))), "question": [text(index + 3, 2) for index in range(ROWS)]}
    features = {name: Value("string") for name in ("id", "question", "context")} | {"answers": ANSWERS}
    return Dataset.from_dict({**columns, "context": contexts, "answers": answers}, features=Features(features))


def long_rows() -> Dataset:
    return rows(length=30)


def backbone(folder: Path) -> None:
    """Save a tiny BERT without dropout."""
    config = tiny_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


CASES = {
    "questions": Case(QuestionAnswering(max_length=32, window_overlap=8), rows, backbone),
    "questions_windows": Case(QuestionAnswering(max_length=24, window_overlap=6), long_rows, backbone),
    "questions_smoothing": Case(QuestionAnswering(max_length=32, window_overlap=8), rows, backbone).smoothed(),
}
