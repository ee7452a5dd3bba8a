"""Tiny models and tokenizers, built in memory: no test needs a network, and a model trains in a second."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from pathlib import Path

import pytest

WORDS = str.split(
    "a the this that film movie plot cast was is and but not very good bad great poor fine dull bright slow quick "
    "warm cold loved hated actor scene story end start music night day red blue green one two three four five"
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state."""
    from transformers import set_seed

    set_seed(7)


@pytest.fixture(scope="session")
def one_thread():
    import torch

    torch.set_num_threads(1)


def make_tokenizer():
    """Build a word-level tokenizer with BERT's special tokens and a limit of 64 tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


@pytest.fixture
def tokenizer():
    # A new one for each test: some tasks change what they are given, as a run's own tokenizer is to be saved that way.
    return make_tokenizer()


def tiny_config(**changes):
    from transformers import BertConfig

    sizes = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
    return BertConfig(**{**sizes, **changes})


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> str:
    """A folder with a random two-layer BERT without a head, as a pretrained model would come."""
    import torch
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    torch.manual_seed(0)
    BertModel(tiny_config()).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return str(folder)


def reviews(count: int, *, seed: int = 0, longest: int = 20) -> list[dict[str, str]]:
    """Made-up reviews whose label follows from the words good, great, bad and poor."""
    import random

    random_words = random.Random(seed)
    rows = []
    for _ in range(count):
        label = random_words.choice(["neg", "pos"])
        words = random_words.choices(WORDS, k=random_words.randint(4, longest))
        words[random_words.randrange(len(words))] = random_words.choice(
            ["good", "great"] if label == "pos" else ["bad", "poor"]
        )
        rows.append({"text": " ".join(words), "label": label})
    return rows


def write_rows(folder: Path, **splits: list[dict]) -> Path:
    """Write splits as JSON lines into a folder whose file names say the split."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> None:
    """Keep what tests compute out of the user's cache, and the user's cache out of the tests; wheels stay there."""
    if not os.environ.get("HF_FFT_TEST_WHEELS"):
        os.environ["HF_FFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def review_folder(tmp_path_factory) -> Path:
    """A data folder with 64 training, 24 validation and 24 test reviews."""
    return write_rows(
        tmp_path_factory.mktemp("reviews"),
        train=reviews(64, seed=1),
        validation=reviews(24, seed=2),
        test=reviews(24, seed=3),
    )


@pytest.fixture
def recipe_values(tiny_bert, review_folder) -> dict:
    """A recipe that trains the tiny model on the made-up reviews in about a second."""
    return {
        "task": {"name": "text_classification", "max_length": 32},
        "model": {"name": tiny_bert},
        "data": {"path": str(review_folder)},
        "training": {
            "num_train_epochs": 2,
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 8,
            "use_cpu": True,
            "disable_tqdm": True,
        },
    }
