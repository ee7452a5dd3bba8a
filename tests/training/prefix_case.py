"""Tiny models with heads of three kinds, rows that they can read, and trainers with and without the frozen prefix."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import DataCollatorForTokenClassification, TrainerCallback, TrainingArguments, set_seed

sys.path.insert(0, str(Path(__file__).parents[1] / "strategies"))

from architectures import CLASSIFIERS, PADDING, VOCABULARY, build
from datasets import Dataset

from hf_fft.tasks import losses
from hf_fft.training import FullFinetuningTrainer
from hf_fft.training.frozen_prefix.callback import FrozenPrefixCallback, attach_frozen_prefix

ARCHITECTURES = ("Bert", "DistilBert", "Roberta", "Electra", "MPNet", "DebertaV2", "ModernBert")
HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering")


def model_of(name: str, head: str = "SequenceClassification", **changes: Any) -> nn.Module:
    """Build a random model of two layers (three for what is cut in the middle)."""
    layers = "n_layers" if name == "DistilBert" else "num_hidden_layers"
    labels = {} if head == "QuestionAnswering" else {"num_labels": 3}
    sizes = {**CLASSIFIERS[name], "pad_token_id": PADDING, "bos_token_id": 1, "eos_token_id": 2, layers: 3, **labels}
    model = build(f"{name}For{head}", f"{name}Config", {**sizes, **changes})
    with torch.no_grad():  # an untrained LayerNorm would hide a wrong state behind its unit weights
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def rows(count: int = 24, *, seed: int = 0, labels: str = "row") -> Dataset:
    """Rows of 3 to 9 ids with one label a row or one a token."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        length = int(torch.randint(3, 10, (), generator=random))
        ids = torch.randint(3, VOCABULARY, (length,), generator=random).tolist()
        gold = [each % 3 for each in ids] if labels == "token" else sum(ids) % 3
        made.append({"input_ids": ids, "attention_mask": [1] * length, "labels": gold})
    return Dataset.from_list(made)


class Collator(DataCollatorForTokenClassification):
    """Pad ids and masks, and labels where there is one a token."""

    def __init__(self) -> None:
        pass

    def __call__(self, features: list[dict[str, Any]], return_tensors: str | None = None) -> dict[str, torch.Tensor]:
        longest = max(len(feature["input_ids"]) for feature in features)

        def padded(name: str, value: int) -> torch.Tensor:
            return torch.tensor([[*one[name], *[value] * (longest - len(one[name]))] for one in features])

        batch = {"input_ids": padded("input_ids", PADDING), "attention_mask": padded("attention_mask", 0)}
        if "labels" not in features[0]:
            return batch
        a_token = isinstance(features[0]["labels"], list)
        labels = padded("labels", losses.IGNORED) if a_token else torch.tensor([one["labels"] for one in features])
        return {**batch, "labels": labels}


class Losses(TrainerCallback):
    """Note what was logged."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.evaluation: list[float] = []

    def on_log(self, args, state, control, logs=None, **parts) -> None:
        if "loss" in logs:
            self.train.append(logs["loss"])
        if "eval_loss" in logs:
            self.evaluation.append(logs["eval_loss"])


def trainer_of(
    model: nn.Module, folder: Path, *, strategy: Any, prefix: bool, data: Dataset | None = None, **options: Any
) -> tuple[FullFinetuningTrainer, FrozenPrefixCallback | None]:
    """Build a trainer over 24 rows in batches of 4, with the frozen prefix or without."""
    set_seed(3)
    fixed = {
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,
        "label_names": ["labels"],
        "restore_callback_states_from_checkpoint": True,
    }
    trainer = FullFinetuningTrainer(
        model,
        TrainingArguments(output_dir=str(folder), **{**fixed, **options}),
        strategy=strategy,
        train_dataset=rows() if data is None else data,
        eval_dataset=rows(10, seed=5, labels="token" if data is not None else "row"),
        data_collator=Collator(),
        callbacks=[Losses()],
    )
    return trainer, attach_frozen_prefix(trainer, 1.0) if prefix else None


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copy a model's weights."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], *, within: float = 1e-5) -> None:
    """Check names and values."""
    assert list(one) == list(other)
    worst = max(float((one[name].float() - other[name].float()).abs().max()) for name in one if one[name].numel())
    assert worst <= within, f"weights differ by {worst}"
