"""A loss and its gradients do not depend on how a batch is cut into pieces.

On plain Trainer 5.23 every one of these fails for BERT: accumulation over k micro-batches multiplies the loss by k, for
the head's forward takes `**kwargs` and drops `num_items_in_batch` (transformers#47688).
"""

from __future__ import annotations

import pytest
import torch
from cases_text_classification import rows
from conftest import tiny_config
from datasets import Dataset
from exactness import GEOMETRIES, ROWS, all_cases, train
from transformers import BertForSequenceClassification, BertForTokenClassification, TrainingArguments, set_seed

from hf_fft.data import Splits
from hf_fft.tasks import TextClassification
from hf_fft.training import FullFinetuningTrainer

CASES = all_cases()


@pytest.mark.parametrize("kind", CASES)
def test_accumulation_changes_neither_weights_nor_logged_loss(kind, tokenizer, tmp_path, one_thread):
    (weights, logged), *others = [train(CASES[kind], tokenizer, tmp_path, *geometry) for geometry in GEOMETRIES]
    assert torch.isfinite(weights).all()
    for other_weights, other_logged in others:
        assert (weights - other_weights).abs().max() < 1e-6
        assert other_logged == pytest.approx(logged, rel=1e-4)


def test_the_loss_is_the_mean_that_the_model_itself_computes_for_one_batch(tokenizer, tmp_path):
    task = TextClassification(max_length=32).fitted(Splits(rows(), None, None), tokenizer)
    model = BertForSequenceClassification(tiny_config(num_labels=3)).eval()
    batch = task.collator(tokenizer)(
        [{k: v for k, v in row.items() if k in ("input_ids", "labels")} for row in task.preprocess(rows(), tokenizer)]
    )
    outputs = model(**batch)
    assert task.loss(outputs, batch["labels"]).item() == pytest.approx(outputs.loss.item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["sequence", "tokens"])
def test_without_a_task_the_default_loss_is_exact_too(kind, tmp_path, one_thread):
    config = tiny_config(num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    items = []
    for index in range(ROWS):
        ids = [5 + (index * 3 + place) % 30 for place in range(8)]
        labels = (
            (index % 3)
            if kind == "sequence"
            else [(index + place) % 3 if place > index % 5 else -100 for place in range(8)]
        )
        items.append({"input_ids": ids, "attention_mask": [1] * 8, "labels": labels})

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
        FullFinetuningTrainer(model, arguments, train_dataset=Dataset.from_list(items)).train()
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    first, *others = [run(*geometry) for geometry in GEOMETRIES]
    for other in others:
        assert (first - other).abs().max() < 1e-6
