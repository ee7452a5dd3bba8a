"""Models that write: their layer groups hold both stacks, and only a decoder with an output layer apart has a head."""

from __future__ import annotations

import pytest
from architectures import BART_LIKE, BERT_LIKE, GPT_LIKE, LLAMA_LIKE, T5_LIKE, build
from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel

from hf_fft.errors import StrategyError
from hf_fft.strategies import layer_groups, strategy_for

WRITERS = {
    "T5": lambda: build("T5ForConditionalGeneration", "T5Config", T5_LIKE),
    "T5 1.1": lambda: build("T5ForConditionalGeneration", "T5Config", {**T5_LIKE, "tie_word_embeddings": False}),
    "BART": lambda: build("BartForConditionalGeneration", "BartConfig", BART_LIKE),
    "GPT-2": lambda: build("GPT2LMHeadModel", "GPT2Config", GPT_LIKE),
    "Llama": lambda: build("LlamaForCausalLM", "LlamaConfig", {**LLAMA_LIKE, "tie_word_embeddings": False}),
    "Llama tied": lambda: build("LlamaForCausalLM", "LlamaConfig", {**LLAMA_LIKE, "tie_word_embeddings": True}),
    "warm-started": lambda: EncoderDecoderModel(
        EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(**BERT_LIKE), BertConfig(**BERT_LIKE))
    ),
}


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "Llama"])
def test_a_model_that_writes_has_no_head_to_train_alone(name):
    with pytest.raises(StrategyError, match=r'no head of its own.*Use strategy "full"'):
        strategy_for("feature_based").prepare(WRITERS[name]())


def test_an_output_layer_apart_from_the_embeddings_can_be_trained_alone():
    model = strategy_for("feature_based").prepare(WRITERS["Llama"]())
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert learning == ["model.norm.weight", "lm_head.weight"]


@pytest.mark.parametrize("name", WRITERS)
def test_full_trains_every_parameter_of_both_stacks_and_the_decoder_stands_above_the_encoder(name):
    model = WRITERS[name]()
    groups = layer_groups(model)
    members = [parameter for group in groups for parameter in group.parameters]
    assert sorted(members) == sorted(parameter for parameter, _ in model.named_parameters())
    names = [group.name for group in groups]
    layers = [one for one in names if "layer" in one]
    assert len(layers) == (2 if name in ("GPT-2", "Llama", "Llama tied") else 4)
    if len(layers) == 4:
        assert layers == ["encoder layer 0", "encoder layer 1", "decoder layer 0", "decoder layer 1"]
    trained = [p for group in strategy_for("full").parameter_groups(model, 1e-4) for p in group.parameters]
    assert sorted(trained) == sorted(members)
