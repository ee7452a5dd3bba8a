"""Tiny models that write, and rows for them: shared by the tests of generating tasks."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conftest import SPECIAL, WORDS, write_rows
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration, set_seed

ARCHITECTURES = ["encoder_decoder", "warm_started", "decoder_only"]
PAD, END = SPECIAL.index("[PAD]"), SPECIAL.index("[SEP]")
VOCABULARY = len(SPECIAL) + len(WORDS)


def save_tiny_t5(folder: Path) -> None:
    """Save a tiny T5 without dropout, for the vocabulary of the tests' tokenizer."""
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=PAD,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)


def save_tiny_llama(folder: Path) -> None:
    """Save a tiny Llama, for the vocabulary of the tests' tokenizer."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        pad_token_id=PAD,
        bos_token_id=None,
        eos_token_id=END,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def save_model(architecture: str, folder: Path, tiny_bert: str, tokenizer) -> str:
    """Return the folder of a tiny model from which a task of that architecture starts."""
    if architecture == "warm_started":
        return tiny_bert
    if not folder.exists():
        set_seed(5)
        {"encoder_decoder": save_tiny_t5, "decoder_only": save_tiny_llama}[architecture](folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def written_rows(count: int, *, start: int = 0) -> list[dict[str, str]]:
    """Give rows whose target is the first words of the source; every third source comes twice, with another target."""
    rows = []
    for index in range(start, start + count):
        words = [WORDS[(index * 7 + place * 5) % len(WORDS)] for place in range(3 + index % 5)]
        rows.append({"source": " ".join(words), "target": " ".join(words[:2])})
        if index % 3 == 0:
            rows.append({"source": " ".join(words), "target": words[0]})
    return rows


def write_splits(folder: Path) -> Path:
    """Write 24 training, 7 validation and 6 test inputs, some with two references."""
    return write_rows(
        folder,
        train=written_rows(24),
        validation=written_rows(7, start=30),
        test=written_rows(6, start=50),
    )


def answers_of_the_snippet(snippet: str, rows: list[dict]) -> list[str]:
    """Run a card's snippet, its example replaced by each of the rows, and return what it gives."""
    answers = []
    for row in rows:
        own, replaced = re.subn(r"(?m)^row = .*$", lambda _, row=row: f"row = {json.dumps(row)}", snippet)
        assert replaced == 1
        names: dict = {}
        exec(own, names)
        answers.append(names["answer"])
    return answers
