"""Finished runs of tiny models, one of each kind of task: what prediction has to repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import make_tokenizer, reviews, write_rows
from writers import save_model, written_rows

from hf_fft import pipeline
from hf_fft.recipe import recipe_from

KINDS = (
    "single", "windows", "pair", "multi", "regression", "tags", "questions",
    "encoder_decoder", "decoder_only", "warm_started", "written_answers", "causal", "masked",
)  # fmt: skip


def tagged(count: int, *, seed: int) -> list[dict]:
    """Sentences in which good and great begin an entity that goes on through the word behind them."""
    rows = []
    for number, one in enumerate(reviews(2 * count, seed=seed, longest=8)):
        words = one["text"].split() * (3 if number % 5 == 0 else 1)
        begins = [word in ("good", "great") for word in words]
        after = [False, *begins[:-1]]
        tags = ["B-X" if here else "I-X" if on else "O" for here, on in zip(begins, after, strict=True)]
        rows.append({"tokens": words, "tags": tags})
    return [*rows, {"tokens": ["the"], "tags": ["O"]}, {"tokens": ["good", "film"], "tags": ["B-X", "I-X"]}]


def questions(count: int, *, seed: int) -> list[dict]:
    """Contexts of up to eighty words in which what follows "the" answers; every third has no "the"."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = random.choice(
            ["was", "is", "and", "but", "not", "very", "good", "bad"], 20 + 10 * (number % 7)
        ).tolist()
        answers = []
        if number % 3:
            place = int(random.integers(0, len(words) - 2))
            words[place : place + 2] = ["the", str(random.choice(["film", "movie", "plot", "cast"]))]
            answers = [f"the {words[place + 1]}"]
        context = " ".join(words)
        record = {"text": answers, "answer_start": [context.index(answer) for answer in answers]}
        rows.append({"id": f"{seed}-{number}", "question": "a this", "context": context, "answers": record})
    return rows


def rows_of(kind: str, count: int, *, seed: int) -> list[dict]:
    """Return labelled rows of a kind."""
    some = reviews(count, seed=seed, longest=30)
    if kind in ("single", "half", "windows", "causal", "masked"):
        return some
    if kind == "pair":
        return [{**one, "other": "the plot was slow"} for one in some]
    if kind == "multi":
        topics = ("good", "film", "was", "the")
        return [
            {"text": one["text"], "label": [word for word in topics if word in one["text"].split()]} for one in some
        ]
    if kind == "regression":
        return [{"text": one["text"], "label": 4.5 if one["label"] == "pos" else 1.5} for one in some]
    if kind == "tags":
        return tagged(count, seed=seed)
    if kind in ("questions", "written_answers"):
        return questions(count, seed=seed)
    return written_rows(count, start=seed)


def values_of(kind: str, home: Path, tiny_bert: str) -> dict:
    """Return the sections `task` and `model` of a kind's recipe."""
    classification = {"name": "text_classification", "max_length": 16}
    tasks = {
        "single": classification,
        "half": classification,
        "windows": {**classification, "long_text": "windows", "window_overlap": 4},
        "pair": {**classification, "text_pair_column": "other"},
        "multi": {**classification, "problem_type": "multi_label_classification"},
        "regression": {**classification, "problem_type": "regression"},
        "tags": {"name": "token_classification", "max_length": 16},
        "questions": {"name": "question_answering", "max_length": 32, "window_overlap": 8},
        "written_answers": {"name": "generative_question_answering", "max_length": 48, "max_target_length": 4},
        "causal": {"name": "causal_language_modeling", "max_length": 16, "packing": False},
        "masked": {"name": "masked_language_modeling", "max_length": 16},
    }
    writing = {"name": "text_generation", "max_length": 32, "max_target_length": 6}
    if kind == "warm_started":
        writing["architecture"] = kind
    writers = {"written_answers": "encoder_decoder", "causal": "decoder_only"}
    architecture = writers.get(kind, kind)
    is_writer = architecture in ("encoder_decoder", "decoder_only")
    model = save_model(architecture, home / "start", tiny_bert, make_tokenizer()) if is_writer else tiny_bert
    return {"task": tasks.get(kind, writing), "model": model}


def finished_run(kind: str, home: Path, tiny_bert: str) -> tuple[Path, Path]:
    """Train a few steps, and return the run folder and the file of its test rows."""
    data = write_rows(
        home / f"data-{kind}",
        train=rows_of(kind, 24, seed=1),
        validation=rows_of(kind, 10, seed=40),
        test=rows_of(kind, 40, seed=80),
    )
    values = {
        **values_of(kind, home, tiny_bert),
        "data": {"path": str(data)},
        "training": {
            "max_steps": 120 if kind == "tags" else 6,
            "bf16": kind == "half",
            "learning_rate": 1e-2,
            "use_cpu": True,
            "disable_tqdm": True,
        },
    }
    pipeline.fine_tune(recipe_from(values), home / kind)
    return home / kind, data / "test.jsonl"


_MADE: dict[str, tuple[Path, Path]] = {}


def run_of(kind: str, tmp_path_factory: pytest.TempPathFactory, tiny_bert: str) -> tuple[Path, Path]:
    """Return a kind's run folder and test file; each run is made once for all modules."""
    if kind not in _MADE:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(pipeline, "write_plots", lambda folder, result: None)
            _MADE[kind] = finished_run(kind, tmp_path_factory.mktemp("finished"), tiny_bert)
    return _MADE[kind]
