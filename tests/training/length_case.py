"""Rows of many lengths, and a tiny trainer over them, for what depends on length."""

from __future__ import annotations

from pathlib import Path

import torch
from conftest import make_tokenizer, tiny_config
from datasets import Dataset
from transformers import BertForSequenceClassification, TrainingArguments, set_seed

from hf_fft.result import SpeedPlan
from hf_fft.training import FullFinetuningTrainer

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BY_LENGTH = SpeedPlan(batches_by_length=True, evaluation_by_length=True)
BY_TOKENS = SpeedPlan(max_tokens_per_batch=60)


def rows(count: int = 41) -> Dataset:
    """Return rows of 3 to 28 tokens in no order; their number among the rows stands in their first tokens."""
    lengths = [3 + (7 * index * index + 5 * index) % 26 for index in range(count)]
    items = [
        {
            "input_ids": [2, 5 + index, *[5 + (3 * index + place) % 30 for place in range(length - 2)]],
            "attention_mask": [1] * length,
            "labels": index % 2,
        }
        for index, length in enumerate(lengths)
    ]
    return Dataset.from_list(items)


def trainer(
    folder: Path, speed: SpeedPlan | None, *, dropout: bool = False, model=BertForSequenceClassification, **changes
) -> FullFinetuningTrainer:
    """Return a trainer of a tiny BERT for three epochs by SGD, in batches of four rows or as the plan says."""
    set_seed(3)
    values = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 3,
        "num_train_epochs": 3,
        "learning_rate": 0.1,
        "optim": "sgd",
        "save_strategy": "no",
        "logging_nan_inf_filter": False,
        "data_seed": 11,
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return FullFinetuningTrainer(
        model(tiny_config(**({} if dropout else NO_DROPOUT))),
        TrainingArguments(**{**values, **changes}),
        speed=speed,
        train_dataset=rows(),
        eval_dataset=rows(17),
        processing_class=make_tokenizer(),
    )


def weights(model) -> torch.Tensor:
    """Return all weights as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).clone()


def resumed(folder: Path, speed: SpeedPlan, step: int, **changes) -> tuple[torch.Tensor, torch.Tensor]:
    """Train without a break, and again from the checkpoint of a step; return both weights."""
    saving = {"save_strategy": "steps", "save_steps": step, **changes}
    whole = trainer(folder, speed, dropout=True, **saving)
    whole.train()
    again = trainer(folder, speed, dropout=True, **saving)
    again.train(resume_from_checkpoint=str(folder / f"checkpoint-{step}"))
    return weights(whole.model), weights(again.model)
