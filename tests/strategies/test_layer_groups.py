"""Layer groups come out right for architectures that nobody listed anywhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import transformers
from architectures import BART_LIKE, BERT_LIKE, CLASSIFIERS, GPT_LIKE, T5_LIKE, build, classifier
from torch import nn

import hf_fft.strategies
from hf_fft.strategies import layer_groups

OTHERS = {
    "XLNet": (
        "XLNetForSequenceClassification",
        "XLNetConfig",
        {"vocab_size": 40, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
    ),
    "GPT2": ("GPT2LMHeadModel", "GPT2Config", {**GPT_LIKE, "bos_token_id": 1, "eos_token_id": 2}),
    "GPT2 untied": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {**GPT_LIKE, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False},
    ),
    "T5": ("T5ForConditionalGeneration", "T5Config", T5_LIKE),
    "T5 classifier": ("T5ForSequenceClassification", "T5Config", T5_LIKE),
    "BART": ("BartForConditionalGeneration", "BartConfig", BART_LIKE),
    "BART classifier": ("BartForSequenceClassification", "BartConfig", BART_LIKE),
    "ALBERT": ("AlbertForSequenceClassification", "AlbertConfig", {**BERT_LIKE, "embedding_size": 8}),
    "MegatronBert": ("MegatronBertForSequenceClassification", "MegatronBertConfig", BERT_LIKE),
    "Canine": (
        "CanineForSequenceClassification",
        "CanineConfig",
        {**BERT_LIKE, "num_hash_buckets": 40, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "LayoutLMv3": (
        "LayoutLMv3ForSequenceClassification",
        "LayoutLMv3Config",
        {**BERT_LIKE, "max_2d_position_embeddings": 8, "coordinate_size": 2, "shape_size": 4, "visual_embed": False},
    ),
}
ALL = [*CLASSIFIERS, *OTHERS]

STACKS = [("encoder layer 0", 9), ("encoder layer 1", 8 + 1), ("decoder layer 0", 14), ("decoder layer 1", 13 + 1)]
BART_STACKS = [("encoder layer 0", 16), ("encoder layer 1", 16), ("decoder layer 0", 26), ("decoder layer 1", 26)]


def layers(*counts: int) -> list[tuple[str, int]]:
    return [(f"layer {index}", count) for index, count in enumerate(counts)]


# How many parameters each group holds, bottom first.
GROUPS = {
    "Bert": [("embeddings", 5), *layers(16, 16), ("head", 4)],
    "DistilBert": [("embeddings", 4), *layers(16, 16), ("head", 4)],
    "Roberta": [("embeddings", 5), *layers(16, 16), ("head", 4)],
    "Electra": [("embeddings", 7), *layers(16, 16), ("head", 4)],
    "DebertaV2": [("embeddings", 4), *layers(20, 20), ("head", 4)],
    "MPNet": [("embeddings", 5), *layers(16, 16), ("head", 4)],
    "ModernBert": [("embeddings", 2), *layers(5, 6), ("head", 5)],
    "Llama": [("embeddings", 1), *layers(9, 9), ("head", 2)],
    "RoFormer": [("embeddings", 7), *layers(16, 16), ("head", 4)],
    "Qwen3": [("embeddings", 1), *layers(11, 11), ("head", 2)],
    "Flaubert": [("embeddings", 4), *layers(16, 16), ("head", 2)],
    "Funnel": [("embeddings", 3), *layers(20, 40), ("head", 4)],
    "OPT": [("embeddings", 3), *layers(16, 16 + 3), ("head", 1)],
    "XLNet": [("embeddings", 2), *layers(17, 17), ("head", 4)],
    "GPT2": [("embeddings", 2), *layers(12, 12), ("head", 2)],
    "GPT2 untied": [("embeddings", 2), *layers(12, 12), ("head", 3)],
    "T5": [("embeddings", 1), *STACKS],
    "T5 classifier": [("embeddings", 1), *STACKS, ("head", 4)],
    "BART": [("embeddings", 7), *BART_STACKS],
    "BART classifier": [("embeddings", 7), *BART_STACKS, ("head", 4)],
    "ALBERT": [("embeddings", 7), ("layer 0", 16), ("head", 4)],
    "MegatronBert": [("embeddings", 3), *layers(16, 16 + 2), ("head", 4)],
    "Canine": [
        ("embeddings", 12),
        ("initial_char_encoder layer 0", 16 + 4),
        ("encoder layer 0", 16),
        ("encoder layer 1", 16 + 4),
        ("final_char_encoder layer 0", 16),
        ("head", 4),
    ],
    "LayoutLMv3": [("embeddings", 12), *layers(16, 16), ("head", 4)],
}


def model_of(name: str) -> nn.Module:
    return classifier(name) if name in CLASSIFIERS else build(*OTHERS[name])


def group_of(model: nn.Module, ending: str) -> str:
    """Find the group of the one module or parameter outside the blocks whose path ends so."""
    found = {
        group.name
        for group in layer_groups(model)
        for name in group.parameters
        if re.search(rf"(^|\.){re.escape(ending)}(\.(weight|bias))?$", name)
    }
    assert len(found) == 1, (ending, found)
    return found.pop()


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_stands_in_exactly_one_group(name):
    model = model_of(name)
    members = [parameter for group in layer_groups(model) for parameter in group.parameters]
    assert sorted(members) == sorted(parameter for parameter, _ in model.named_parameters())


@pytest.mark.parametrize("name", ALL)
def test_groups_run_from_the_embeddings_through_the_layers_to_the_head(name):
    assert [(group.name, len(group.parameters)) for group in layer_groups(model_of(name))] == GROUPS[name]


@pytest.mark.parametrize("name", ALL)
def test_a_layer_holds_its_own_parameters_and_no_other_layers(name):
    for group in layer_groups(model_of(name)):
        if "layer" not in group.name:
            continue
        index = group.name.rsplit(" ", 1)[1]
        numbered = [parameter for parameter in group.parameters if re.search(r"\.\d+\.", parameter)]
        assert numbered
        assert {re.search(r"\.(\d+)\.", parameter).group(1) for parameter in numbered} == {index}


@pytest.mark.parametrize("depth", [1, 3])
def test_a_deeper_model_has_more_groups(depth):
    names = [group.name for group in layer_groups(classifier("Bert", num_hidden_layers=depth))]
    assert names == ["embeddings", *(f"layer {index}" for index in range(depth)), "head"]


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("MPNet", "encoder.relative_attention_bias"),
        ("DebertaV2", "encoder.rel_embeddings"),
        ("RoFormer", "encoder.embed_positions"),
        ("LayoutLMv3", "encoder.rel_pos_bias"),
        ("BART", "encoder.embed_positions"),
        ("BART", "decoder.embed_positions"),
        ("BART", "encoder.layernorm_embedding"),
        ("BART", "decoder.layernorm_embedding"),
        ("GPT2", "wpe"),
        ("XLNet", "mask_emb"),
        ("Electra", "embeddings_project"),
        ("ALBERT", "embedding_hidden_mapping_in"),
        ("OPT", "project_in"),
    ],
)
def test_what_every_block_reads_is_at_the_bottom_however_late_it_is_registered(name, ending):
    assert group_of(model_of(name), ending) == "embeddings"


@pytest.mark.parametrize(
    ("name", "ending", "group"),
    [
        ("Llama", "model.norm", "head"),
        ("Qwen3", "model.norm", "head"),
        ("ModernBert", "final_norm", "head"),
        ("GPT2", "ln_f", "head"),
        ("T5", "encoder.final_layer_norm", "encoder layer 1"),
        ("T5", "decoder.final_layer_norm", "decoder layer 1"),
        ("MegatronBert", "encoder.ln", "layer 1"),
        ("OPT", "decoder.final_layer_norm", "layer 1"),
        ("OPT", "decoder.project_out", "layer 1"),
        ("Canine", "canine.projection.conv", "encoder layer 1"),
    ],
)
def test_a_final_norm_goes_with_what_it_ends_and_never_to_the_bottom(name, ending, group):
    assert group_of(model_of(name), ending) == group


@pytest.mark.parametrize(
    ("name", "endings"),
    [
        ("Bert", ["pooler.dense", "classifier"]),
        ("ALBERT", ["albert.pooler", "classifier"]),
        ("DebertaV2", ["pooler.dense", "classifier"]),
        ("ModernBert", ["head.dense", "head.norm", "classifier"]),
        ("Llama", ["score"]),
        ("GPT2 untied", ["transformer.ln_f", "lm_head"]),
        ("Flaubert", ["sequence_summary.summary"]),
    ],
)
def test_pooler_and_classifier_are_the_head(name, endings):
    assert {group_of(model_of(name), ending) for ending in endings} == {"head"}


def test_a_bare_module_without_blocks_is_one_group():
    (group,) = layer_groups(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)))
    assert (group.name, len(group.parameters)) == ("embeddings", 4)


# Architecture names in the source ----------------------------------------------------------------------------------


def words_of(source: str) -> set[str]:
    """Return the words of the code, without comments and docstrings; `BertModel` and `bert_model` hold `bert`."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return {word.lower() for word in re.findall(r"[A-Z]+\d*(?![a-z])|[A-Z]?[a-z]+\d*", ast.unparse(tree))}


def architecture_names(words: set[str]) -> set[str]:
    known = {name.replace("-", "").replace("_", "") for name in transformers.CONFIG_MAPPING}
    families = re.compile("bert|llama|mpnet|gpt|bart|xlnet|qwen|electra|funnel")
    return {word for word in words if word in known or families.search(word)}


@pytest.mark.parametrize(
    "path", sorted(Path(hf_fft.strategies.__file__).parent.glob("*.py")), ids=lambda path: path.name
)
def test_no_architecture_is_named_in_the_code(path):
    assert architecture_names(words_of(path.read_text())) == set()


def test_an_architecture_would_be_noticed_in_code_and_is_allowed_in_prose():
    assert architecture_names(words_of('"""BERT"""\ndef f():\n    """Llama"""\n    # T5')) == set()
    assert architecture_names(words_of('if name == "distilbert.encoder": T5Stack()')) == {"distilbert", "t5"}
    assert architecture_names(words_of("isinstance(model, LlamaModel)")) == {"llama"}
