"""A loss and its gradients do not depend on how a batch is cut into pieces.

On plain Trainer 5.23 every one of these fails for BERT: accumulation over k micro-batches multiplies the loss by k, for
the head's forward takes `**kwargs` and drops `num_items_in_batch` (transformers#47688).
"""

from __future__ import annotations

import pytest
import torch
from conftest import WORDS, tiny_config
from datasets import ClassLabel, Dataset, Features, List, Value
from transformers import BertForSequenceClassification, BertForTokenClassification, TrainingArguments, set_seed

from hf_fft.data import Splits
from hf_fft.tasks import TextClassification
from hf_fft.training import FullFinetuningTrainer

ROWS = 21  # three batches of 8 with a ragged end, whatever the accumulation
GEOMETRIES = [(8, 1), (4, 2), (2, 4)]


def text(index: int, length: int = 6) -> str:
    return " ".join(WORDS[(index * 7 + place * 3) % len(WORDS)] for place in range(length + index % 4))


def rows_for(kind: str) -> Dataset:
    texts = [text(index, 30 if kind == "windows" else 6) for index in range(ROWS)]
    if kind == "multi_label":
        labels = [[label for label in range(3) if (index >> label) & 1] for index in range(ROWS)]
        return Dataset.from_dict(
            {"text": texts, "label": labels},
            features=Features({"text": Value("string"), "label": List(ClassLabel(names=["x", "y", "z"]))}),
        )
    if kind == "regression":
        # One target is -100, which transformers would take for "leave this row out".
        return Dataset.from_dict(
            {"text": texts, "label": [-100.0 if index == 5 else index / 3 for index in range(ROWS)]}
        )
    features = {"text": Value("string"), "other": Value("string"), "label": ClassLabel(names=["neg", "mid", "pos"])}
    return Dataset.from_dict(
        {"text": texts, "other": texts[::-1], "label": [(index * index) % 3 for index in range(ROWS)]},
        features=Features(features),
    )


TASKS = {
    "single_label": TextClassification(max_length=32),
    "pair": TextClassification(max_length=32, text_pair_column="other"),
    "class_weights": TextClassification(max_length=32, class_weights="auto"),
    "label_smoothing": TextClassification(max_length=32),
    "windows": TextClassification(max_length=16, long_text="windows", window_overlap=4),
    "windows_weights": TextClassification(
        max_length=16, long_text="windows", window_overlap=4, class_weights={"neg": 1.0, "mid": 3.0, "pos": 0.5}
    ),
    "multi_label": TextClassification(max_length=32, problem_type="multi_label_classification"),
    "regression": TextClassification(max_length=32, problem_type="regression"),
}


def train(kind: str, tokenizer, folder, batch: int, accumulation: int, *, strategy: str = "full"):
    """Train two epochs by SGD without dropout; return weights and logged losses."""
    rows = rows_for(kind.partition("_weights")[0] if kind.startswith("windows") else kind)
    task = TASKS[kind].fitted(Splits(rows, None, None), tokenizer)
    model_folder = folder / "base"
    if not model_folder.exists():
        from transformers import BertModel

        BertModel(tiny_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).save_pretrained(model_folder)
    set_seed(3)
    model = task.load_model(str(model_folder))
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=2,
        optim="sgd",
        learning_rate=0.1,
        max_grad_norm=0.5,
        logging_steps=1,
        save_strategy="no",
        train_sampling_strategy="sequential",
        label_smoothing_factor=0.2 if kind == "label_smoothing" else 0.0,
        logging_nan_inf_filter=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = FullFinetuningTrainer(
        model,
        arguments,
        strategy=strategy,
        train_dataset=task.preprocess(rows, tokenizer),
        data_collator=task.collator(tokenizer),
        compute_loss_func=task.loss,
    )
    trainer.train()
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return weights, [line["loss"] for line in trainer.state.log_history if "loss" in line]


@pytest.mark.parametrize("kind", TASKS)
def test_accumulation_changes_neither_weights_nor_logged_loss(kind, tokenizer, tmp_path, one_thread):
    (weights, logged), *others = [train(kind, tokenizer, tmp_path, *geometry) for geometry in GEOMETRIES]
    assert torch.isfinite(weights).all()
    for other_weights, other_logged in others:
        assert (weights - other_weights).abs().max() < 1e-6
        assert other_logged == pytest.approx(logged, rel=1e-4)


def test_the_loss_is_the_mean_that_the_model_itself_computes_for_one_batch(tokenizer, tmp_path):
    rows = rows_for("single_label")
    task = TASKS["single_label"].fitted(Splits(rows, None, None), tokenizer)
    model = BertForSequenceClassification(tiny_config(num_labels=3)).eval()
    batch = task.collator(tokenizer)(
        [{k: v for k, v in row.items() if k in ("input_ids", "labels")} for row in task.preprocess(rows, tokenizer)]
    )
    outputs = model(**batch)
    assert task.loss(outputs, batch["labels"]).item() == pytest.approx(outputs.loss.item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["sequence", "tokens"])
def test_without_a_task_the_default_loss_is_exact_too(kind, tmp_path, one_thread):
    config = tiny_config(num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    rows = []
    for index in range(ROWS):
        ids = [5 + (index * 3 + place) % 30 for place in range(8)]
        labels = (
            (index % 3)
            if kind == "sequence"
            else [(index + place) % 3 if place > index % 5 else -100 for place in range(8)]
        )
        rows.append({"input_ids": ids, "attention_mask": [1] * 8, "labels": labels})

    def run(batch, accumulation):
        set_seed(3)
        model = (BertForSequenceClassification if kind == "sequence" else BertForTokenClassification)(config)
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=1,
            optim="sgd",
            learning_rate=0.1,
            max_grad_norm=0.0,
            save_strategy="no",
            use_cpu=True,
            train_sampling_strategy="sequential",
            disable_tqdm=True,
        )
        FullFinetuningTrainer(model, arguments, train_dataset=Dataset.from_list(rows)).train()
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    first, *others = [run(*geometry) for geometry in GEOMETRIES]
    for other in others:
        assert (first - other).abs().max() < 1e-6
