"""Masked and causal language modelling, in blocks and one text an item."""

from __future__ import annotations

from pathlib import Path

from conftest import SPECIAL, WORDS
from datasets import Dataset
from exactness import ROWS, Case, text
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from hf_fft.tasks import CausalLanguageModeling, MaskedLanguageModeling

VOCABULARY = len(SPECIAL) + len(WORDS)


def texts() -> Dataset:
    return Dataset.from_dict({"text": [text(index) for index in range(ROWS)]})


def tiny_llama(folder: Path) -> None:
    """Save a tiny Llama, whose own loss Trainer knows to be shifted."""
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            pad_token_id=0,
        )
    ).save_pretrained(folder)


def tiny_gpt2(folder: Path) -> None:
    """Save a tiny GPT-2 without dropout, of which Trainer does not know it."""
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=16,
            n_layer=2,
            n_head=2,
            n_positions=64,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=2,
            eos_token_id=3,
        )
    ).save_pretrained(folder)


CASES = {
    "masked": Case(MaskedLanguageModeling(max_length=16, packing=False, mlm_probability=0.4), texts),
    "masked_blocks": Case(MaskedLanguageModeling(max_length=9, mlm_probability=0.4), texts),
    "causal": Case(CausalLanguageModeling(max_length=16, packing=False), texts, tiny_llama),
    "causal_blocks": Case(CausalLanguageModeling(max_length=9), texts, tiny_llama).smoothed(),
    "causal_gpt2": Case(CausalLanguageModeling(max_length=16, packing=False), texts, tiny_gpt2),
}
