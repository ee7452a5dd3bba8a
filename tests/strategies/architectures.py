"""Tiny random models of many architectures, built in memory, and a few rows that all of them can read."""

from __future__ import annotations

import transformers
from datasets import Dataset
from torch import nn

VOCABULARY = 40
PADDING = 0
ROW_LENGTH = 8

BERT_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
LLAMA_LIKE = {**BERT_LIKE, "num_key_value_heads": 1, "attention_dropout": 0.1}
GPT_LIKE = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
T5_LIKE = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
XLM_LIKE = {"vocab_size": VOCABULARY, "emb_dim": 16, "n_layers": 2, "n_heads": 2, "n_langs": 1}
BART_LIKE = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
}

# The class's name without "Config" and "ForSequenceClassification", and what makes it tiny.
CLASSIFIERS: dict[str, dict] = {
    "Bert": BERT_LIKE,
    "DistilBert": {"vocab_size": VOCABULARY, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "Roberta": BERT_LIKE,
    "Electra": {**BERT_LIKE, "embedding_size": 8},
    "DebertaV2": {
        **BERT_LIKE,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "position_biased_input": False,
        "pooler_hidden_size": 16,
        "pooler_dropout": 0.1,
    },
    "MPNet": BERT_LIKE,
    "ModernBert": {**BERT_LIKE, "embedding_dropout": 0.1, "mlp_dropout": 0.1, "classifier_dropout": 0.1},
    "Llama": LLAMA_LIKE,
    # Beyond the ones that layer_groups was written with in mind.
    "RoFormer": {**BERT_LIKE, "embedding_size": 8},
    "Qwen3": {**LLAMA_LIKE, "head_dim": 8},
    "Flaubert": XLM_LIKE,
    "Funnel": {
        "vocab_size": VOCABULARY,
        "block_sizes": [1, 2],
        "d_model": 16,
        "n_head": 2,
        "d_head": 8,
        "d_inner": 32,
    },
    "OPT": {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "word_embed_proj_dim": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 32,
    },
}


def classifier(name: str, **changes) -> nn.Module:
    """Build the architecture's model for sequence classification with three classes."""
    sizes = {**CLASSIFIERS[name], "num_labels": 3, "pad_token_id": PADDING, "bos_token_id": 1, "eos_token_id": 2}
    return build(f"{name}ForSequenceClassification", f"{name}Config", {**sizes, **changes})


def build(model: str, config: str, sizes: dict) -> nn.Module:
    """Build a model of transformers by the names of its class and of its config."""
    return getattr(transformers, model)(getattr(transformers, config)(**sizes))


def rows(count: int = 8) -> Dataset:
    """Rows of eight ids, the last ones padding in every second row; ids 3 to 29 alone occur."""
    made = []
    for index in range(count):
        length = ROW_LENGTH - 3 * (index % 2)
        ids = [3 + (index * 5 + place * 3) % 27 for place in range(length)]
        made.append(
            {
                "input_ids": ids + [PADDING] * (ROW_LENGTH - length),
                "attention_mask": [1] * length + [0] * (ROW_LENGTH - length),
                "labels": index % 3,
            }
        )
    return Dataset.from_list(made)
