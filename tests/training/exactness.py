"""What every task must pass: a run's weights and logged losses do not depend on how its batches are cut into pieces.

Each module `cases_*.py` beside this one brings `CASES`, by name: a task, its rows, and a tiny model without dropout.
`test_exact_loss.py` cuts batches into accumulated micro-batches, `test_processes.py` deals them to two processes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from conftest import WORDS, tiny_config
from datasets import Dataset
from transformers import BertModel, Seq2SeqTrainingArguments, TrainingArguments, set_seed

from hf_fft.data import Splits
from hf_fft.tasks import Task
from hf_fft.training import FullFinetuningSeq2SeqTrainer, FullFinetuningTrainer

ROWS = 21  # three batches of 8 with a ragged end, whatever the accumulation
GEOMETRIES = [(8, 1), (4, 2), (2, 4)]
LEARNING_RATE = 0.1


def tiny_backbone(folder: Path) -> None:
    """Save a tiny BERT without dropout."""
    BertModel(tiny_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).save_pretrained(folder)


@dataclass(frozen=True)
class Case:
    """One kind of training: a task before it is fitted, typed rows, and what writes the model to start from."""

    task: Task
    rows: Callable[[], Dataset]
    save_model: Callable[[Path], None] = tiny_backbone
    label_smoothing: float = 0.0

    def smoothed(self) -> Case:
        return replace(self, label_smoothing=0.2)


def all_cases() -> dict[str, Case]:
    """Gather the cases of all modules `cases_*.py`."""
    modules = sorted(Path(__file__).parent.glob("cases_*.py"))
    return {name: case for path in modules for name, case in importlib.import_module(path.stem).CASES.items()}


def text(index: int, length: int = 6) -> str:
    """Return words that differ from row to row in choice and number."""
    return " ".join(WORDS[(index * 7 + place * 3) % len(WORDS)] for place in range(length + index % 4))


def train(case: Case, tokenizer, folder: Path, batch: int, accumulation: int, *, strategy: str = "full"):
    """Train two epochs by SGD; return all weights, and the logged losses."""
    rows = case.rows()
    base = folder / "base"
    if not base.exists():
        set_seed(1)
        case.save_model(base)
        tokenizer.save_pretrained(base)
    task = case.task.for_model(str(base)).fitted(Splits(rows, None, None), tokenizer)
    set_seed(3)
    model = task.load_model(str(base))
    collator = task.collator(tokenizer, model)
    arguments = (Seq2SeqTrainingArguments if task.generates else TrainingArguments)(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=2,
        optim="sgd",
        learning_rate=LEARNING_RATE,
        max_grad_norm=0.5,
        logging_steps=1,
        save_strategy="no",
        train_sampling_strategy="sequential",
        label_smoothing_factor=case.label_smoothing,
        logging_nan_inf_filter=False,
        label_names=["labels"],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = (FullFinetuningSeq2SeqTrainer if task.generates else FullFinetuningTrainer)(
        model,
        arguments,
        strategy=strategy,
        train_dataset=task.preprocess(rows, tokenizer),
        data_collator=collator,
        compute_loss_func=task.loss,
        callbacks=list(task.callbacks(collator)),
    )
    trainer.train()
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return weights, [line["loss"] for line in trainer.state.log_history if "loss" in line]
