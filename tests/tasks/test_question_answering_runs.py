"""Whole runs on questions: what stays of them, and that the model card's snippet gives the same answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import make_tokenizer
from question_case import LONG, prepared, row, xlnet_like
from transformers import (
    EvalPrediction,
    TrainingArguments,
    XLNetConfig,
    XLNetForQuestionAnsweringSimple,
)

from hf_fft.pipeline import fine_tune
from hf_fft.recipe import recipe_from
from hf_fft.report.usage.question_answering import snippet
from hf_fft.result import load_result, read_predictions
from hf_fft.tasks import QuestionAnswering
from hf_fft.training import FullFinetuningTrainer

pytestmark = pytest.mark.usefixtures("one_thread")


SCENES = ["film", "movie", "plot", "cast", "story", "music", "night", "day"]


def scenes(count: int, *, seed: int, unanswerable: bool) -> list[dict]:
    """Contexts of forty words in which what follows "the" answers; some have no "the"."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = random.choice(["was", "is", "and", "but", "not", "very", "good", "bad"], 40).tolist()
        answers = []
        if not (unanswerable and number % 3 == 0):
            place = int(random.integers(0, 39))
            words[place : place + 2] = ["the", str(random.choice(SCENES))]
            answers = [f"the {words[place + 1]}"]
        rows.append({**row("a this", " ".join(words), *answers), "id": f"{seed}-{number}"})
    return rows


def nested(rows: list[dict]) -> str:
    paragraphs = [
        {
            "context": one["context"],
            "qas": [
                {
                    "id": one["id"],
                    "question": one["question"],
                    "answers": [
                        {"text": text, "answer_start": start}
                        for text, start in zip(*one["answers"].values(), strict=True)
                    ],
                }
            ],
        }
        for one in rows
    ]
    return json.dumps({"version": "2.0", "data": [{"title": "t", "paragraphs": paragraphs}]})


def run(folder, tiny_bert, *, unanswerable: bool, strategy: str = "full", epochs: int = 4):
    folder.mkdir()
    for seed, name in enumerate(("train", "dev", "test")):
        rows = scenes(48 if name == "train" else 24, seed=seed, unanswerable=unanswerable)
        (folder / f"{name}.json").write_text(nested(rows))
    values = {
        "task": {"name": "question_answering", "max_length": 24, "window_overlap": 6, "max_answer_length": 4},
        "model": {"name": tiny_bert},
        "data": {"path": str(folder)},
        "strategy": {"name": strategy},
        "training": {
            "num_train_epochs": epochs,
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 16,
            "train_sampling_strategy": "group_by_length",
            "use_cpu": True,
            "disable_tqdm": True,
        },
    }
    return fine_tune(recipe_from(values), folder / "run")


@pytest.mark.parametrize("unanswerable", [True, False])
def test_a_run_and_its_snippet_give_the_same_answers(unanswerable, tiny_bert, tmp_path, capsys):
    folder = tmp_path / "data"
    result = run(folder, tiny_bert, unanswerable=unanswerable)
    assert load_result(folder / "run").metrics == result.metrics
    recipe, test = result.recipe.task, result.metrics["test"]
    assert recipe.no_answers is unanswerable and (recipe.no_answer_threshold is not None) is unanswerable
    assert set(test) == {"exact_match", "f1"} | (
        {f"{name}/{kind}" for name in ("exact_match", "f1") for kind in ("HasAns", "NoAns")} if unanswerable else set()
    )
    assert {"loss", "exact_match", "f1"} <= set(result.curves.evaluation[-1].metrics)
    assert result.curves.evaluation[-1].metrics["loss"] < result.curves.evaluation[0].metrics["loss"]
    names: dict = {}
    exec(snippet(recipe, str(folder / "run" / "model")), names)
    predictions = [one for one in read_predictions(folder / "run") if one.split == "test"]
    guesses = [names["answer"](one.inputs["question"], one.inputs["context"]) for one in predictions]
    assert guesses == [one.guess for one in predictions] and len(set(guesses)) > 3
    assert ("" in guesses) is unanswerable
    assert snippet(recipe, "model") in (folder / "run" / "README.md").read_text()


def test_the_snippet_answers_as_the_run_for_a_tokenizer_that_pads_on_the_left_and_a_long_question(tmp_path, capsys):
    tokenizer = xlnet_like()
    config = XLNetConfig(vocab_size=len(tokenizer), d_model=16, n_layer=2, n_head=2, d_inner=32, initializer_range=1.0)
    model = XLNetForQuestionAnsweringSimple(config).eval()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [row("a the this", LONG, "quick"), row("a " * 8, LONG, "film"), row("this", LONG), row("night", LONG)]
    fields = {"max_length": 20, "window_overlap": 8, "max_answer_length": 3, "n_best": 3}
    task, kept, encoded = prepared(tmp_path, *rows, tokenizer=tokenizer, **fields)
    assert len(encoded) > 2 * len(kept)
    batch = task.collator(tokenizer)(list(encoded))
    labels = batch.pop("labels")
    with torch.no_grad():
        outputs = model(**batch)
    logits = task.reduce_logits((outputs.start_logits, outputs.end_logits), labels).numpy()
    output = EvalPrediction(predictions=logits, label_ids=None)
    margins = [one.scores["no_answer"] for one in task.postprocess(kept, encoded, output)]
    chosen = QuestionAnswering(task.recipe.model_copy(update={"no_answer_threshold": float(np.mean(margins))}))
    guesses = [one.guess for one in chosen.postprocess(kept, encoded, output)]
    names: dict = {}
    exec(snippet(chosen.recipe, str(tmp_path / "model")), names)
    assert [names["answer"](one["question"], one["context"]) for one in rows] == guesses
    assert "" in guesses and len(set(guesses)) > 1


def test_the_head_alone_learns_on_a_frozen_backbone(tiny_bert, tmp_path):
    result = run(tmp_path / "data", tiny_bert, unanswerable=True, strategy="feature_based", epochs=1)
    assert result.cost.trainable_parameters == 2 * 16 + 2


def test_a_plain_trainer_takes_the_pieces(tiny_bert, tmp_path):
    task, rows, encoded = prepared(tmp_path, row("a", LONG, "fine"), row("a", LONG), max_length=16, window_overlap=4)
    model = task.load_model(tiny_bert)
    trainer = FullFinetuningTrainer(
        model,
        TrainingArguments(
            str(tmp_path / "out"), label_names=["labels"], use_cpu=True, report_to="none", eval_accumulation_steps=1,
            per_device_eval_batch_size=2,
        ),
        eval_dataset=encoded,
        data_collator=task.collator(make_tokenizer()),
        compute_loss_func=task.loss,
        compute_metrics=task.compute_metrics(rows, encoded),
        preprocess_logits_for_metrics=task.reduce_logits,
    )  # fmt: skip
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] > 0 and 0 <= metrics["eval_f1/HasAns"] <= 1
