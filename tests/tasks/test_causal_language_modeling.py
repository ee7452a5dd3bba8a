"""Causal language modelling: the loss of every text's words, exactly as plain transformers gives it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import WORDS, tiny_config
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertModel,
    EvalPrediction,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
    pipeline,
)

from hf_fft.data import Splits
from hf_fft.errors import DataError, RecipeError, StrategyError
from hf_fft.pipeline import fine_tune, prepare
from hf_fft.recipe import recipe_from
from hf_fft.report.usage import usage_of
from hf_fft.strategies import strategy_for
from hf_fft.tasks import CausalLanguageModeling

END, BEGIN = "<end>", "<begin>"
VOCABULARY = {token: index for index, token in enumerate([END, BEGIN, "<unk>", *WORDS])}
TEXTS = ["", "a", "the film was good", " ".join(WORDS[:30]), "a slow plot but a fine cast", "bad", " "]


def decoder_tokenizer(*, begins: bool, end: bool = True) -> PreTrainedTokenizerFast:
    """Build a tokenizer like GPT-2's, or one that begins every text as Llama's does; both pad by the end, and left."""
    raw = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if begins:
        raw.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A", special_tokens=[(BEGIN, VOCABULARY[BEGIN])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        bos_token=BEGIN,
        eos_token=END if end else None,
        pad_token=END,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=64,
    )


def decoder(kind: str = "llama"):
    if kind == "gpt2":
        size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
        return GPT2LMHeadModel(GPT2Config(vocab_size=len(VOCABULARY), bos_token_id=1, eos_token_id=0, **size)).eval()
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tied = {"tie_word_embeddings": kind == "tied"}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(VOCABULARY), max_position_embeddings=64, pad_token_id=0, **size, **tied)
    ).eval()


def fitted(rows: Dataset, tokenizer, **fields) -> CausalLanguageModeling:
    return CausalLanguageModeling(**{"max_length": 16, **fields}).fitted(Splits(rows), tokenizer)


def predictions_of(task, rows, tokenizer, model, folder):
    encoded = task.preprocess(rows, tokenizer, split="test")
    arguments = TrainingArguments(
        output_dir=str(folder), per_device_eval_batch_size=3, use_cpu=True, disable_tqdm=True, report_to="none"
    )
    trainer = Trainer(
        model,
        arguments,
        data_collator=task.collator(tokenizer),
        compute_loss_func=task.loss,
        preprocess_logits_for_metrics=task.reduce_logits,
    )
    output = trainer.predict(encoded)
    return task.postprocess(rows, encoded, EvalPrediction(output.predictions, output.label_ids), split="test")


@pytest.mark.parametrize(("kind", "begins"), [("llama", True), ("gpt2", False)])
def test_the_snippet_of_the_card_gives_each_texts_perplexity(kind, begins, tmp_path, capsys):
    rows, tokenizer, model = Dataset.from_dict({"text": TEXTS}), decoder_tokenizer(begins=begins), decoder(kind)
    task = fitted(rows, tokenizer, packing=False)
    predictions = predictions_of(task, rows, tokenizer, model, tmp_path)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    code = usage_of(task.recipe).snippet(task.recipe, str(tmp_path / "model"))
    for text, prediction in zip(TEXTS, predictions, strict=True):
        words = min(len(text.split()), 16 - begins)
        assert prediction.scores["tokens"] == max(0, words - (not begins))
        if prediction.scores["tokens"]:
            exec(code.replace('"A text."', repr(text)), {})
            shown = float(capsys.readouterr().out.split()[1])
            assert shown == pytest.approx(math.exp(prediction.scores["loss"]), rel=1e-5)
    assert usage_of(task.recipe).note(task.recipe) == ""


@pytest.mark.parametrize("begins", [True, False])
def test_blocks_give_the_perplexity_that_plain_transformers_gives_for_them(begins, tmp_path):
    rows, tokenizer, model = Dataset.from_dict({"text": TEXTS * 3}), decoder_tokenizer(begins=begins), decoder()
    task = fitted(rows, tokenizer)
    scores = task.score(predictions_of(task, rows, tokenizer, model, tmp_path))
    stream = [one for text in rows["text"] if text.split() for one in (*map(VOCABULARY.get, text.split()), 0)]
    size, losses = 16 - begins, []
    for start in range(0, len(stream), size):
        block = torch.tensor([[1] * begins + stream[start : start + size]])
        with torch.no_grad():
            logits = model(block).logits[0, :-1].log_softmax(-1)
        losses += [-logits[place, word].item() for place, word in enumerate(block[0, 1:]) if word != VOCABULARY[END]]
    assert scores["perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    assert set(scores) == set(task.metric_names)
    assert "joined texts into blocks of 16" in usage_of(task.recipe).note(task.recipe)


def test_training_learns_where_texts_end_and_evaluation_scores_the_words_alone():
    rows, tokenizer = Dataset.from_dict({"text": ["the film", "a plot"]}), decoder_tokenizer(begins=True)
    task = fitted(rows, tokenizer)
    the, film, a, plot = (VOCABULARY[word] for word in ("the", "film", "a", "plot"))
    assert task.preprocess(rows, tokenizer)[0]["labels"] == [-100, the, film, 0, a, plot, 0]
    assert task.preprocess(rows, tokenizer, split="test")[0]["labels"] == [-100, the, film, -100, a, plot, -100]


def test_padding_stands_on_the_right_and_is_not_taken_for_the_end_of_a_text():
    tokenizer = decoder_tokenizer(begins=False)  # its padding token is its end token, as with GPT-2
    rows = Dataset.from_dict({"text": ["the film was good", "a"]})
    task = fitted(rows, tokenizer, packing=False)
    items = task.preprocess(rows, tokenizer).select_columns(["input_ids", "labels"])
    batch = task.collator(tokenizer)(list(items))
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    assert batch["labels"][1].tolist() == [-100, 0, -100, -100, -100]
    assert tokenizer.padding_side == "left"


def test_bits_a_byte_are_the_loss_of_the_words_over_their_share_of_the_bytes(tmp_path):
    rows = Dataset.from_dict({"text": ["the film", "a plöt"]})
    tokenizer, model = decoder_tokenizer(begins=True), decoder()
    task = fitted(rows, tokenizer, packing=False)
    predictions = predictions_of(task, rows, tokenizer, model, tmp_path)
    assert [prediction.scores["bytes"] for prediction in predictions] == [8, 7]
    bits = sum(one.scores["loss"] * one.scores["tokens"] for one in predictions) / math.log(2)
    assert task.score(predictions)["bits_per_byte"] == pytest.approx(bits / 15)
    # A first word that nobody guesses, and words that are cut off, leave their share of the bytes out.
    tokenizer = decoder_tokenizer(begins=False)
    rows = Dataset.from_dict({"text": [" ".join(["film"] * 32)]})
    task = fitted(rows, tokenizer, packing=False)
    (prediction,) = predictions_of(task, rows, tokenizer, model, tmp_path)
    assert prediction.scores["bytes"] == pytest.approx((32 * 5 - 1) * 15 / 32)


def test_a_tokenizer_without_an_end_joins_texts_as_they_are(caplog):
    tokenizer = decoder_tokenizer(begins=False, end=False)
    rows = Dataset.from_dict({"text": ["the film", "a plot"]})
    task = fitted(rows, tokenizer)
    assert task.preprocess(rows, tokenizer)["token_rows"] == [[0, 0, 1, 1]]
    assert "no end-of-text token" in caplog.text


def test_an_encoder_is_refused_with_the_task_that_suits_it_unless_it_is_built_as_a_decoder(tmp_path):
    BertModel(tiny_config()).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r'is an encoder.*"masked_language_modeling"'):
        CausalLanguageModeling().load_model(str(tmp_path))
    recipe = {"task": "causal_language_modeling", "model": str(tmp_path), "data": {"path": str(tmp_path / "no.txt")}}
    with pytest.raises(RecipeError, match="is an encoder"):  # before anybody looks for the data
        prepare(recipe_from(recipe))
    BertModel(tiny_config(is_decoder=True)).save_pretrained(tmp_path)
    model = CausalLanguageModeling().load_model(str(tmp_path)).eval()
    one, other = (model(torch.tensor([[5, 6, 7, last]])).logits[0, :3] for last in (8, 9))
    assert torch.equal(one, other)


def test_an_encoder_decoder_is_refused_with_the_task_that_suits_it(tmp_path):
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 20}
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r'is an encoder-decoder.*"text_generation"'):
        CausalLanguageModeling().load_model(str(tmp_path))


@pytest.mark.parametrize("kind", ["gpt2", "tied"])
def test_a_head_tied_to_the_embeddings_cannot_be_trained_alone(kind, tmp_path):
    decoder(kind).save_pretrained(tmp_path)
    model = CausalLanguageModeling().load_model(str(tmp_path))
    with pytest.raises(StrategyError, match="tied to its embeddings"):
        strategy_for("feature_based").prepare(model)


def test_texts_of_one_word_alone_leave_nothing_to_guess():
    rows, tokenizer = Dataset.from_dict({"text": ["a", "film"]}), decoder_tokenizer(begins=False)
    task = fitted(rows, tokenizer, packing=False)
    with pytest.raises(DataError, match="test holds too little text"):
        task.preprocess(rows, tokenizer, split="test")


def test_a_metric_that_does_not_exist_is_refused_with_a_near_miss():
    tokenizer = decoder_tokenizer(begins=False)
    with pytest.raises(RecipeError, match='did you mean "bits_per_byte"'):
        fitted(Dataset.from_dict({"text": TEXTS}), tokenizer, primary_metric="bits_per_bytes")


def test_a_run_on_plain_text_saves_a_model_that_writes(tmp_path):
    lines = [" ".join(WORDS[(row * 5 + place) % len(WORDS)] for place in range(3 + row % 9)) for row in range(60)]
    (tmp_path / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "test.txt").write_text("\n".join(lines[::4]), encoding="utf-8")
    decoder().save_pretrained(tmp_path / "base")
    decoder_tokenizer(begins=True).save_pretrained(tmp_path / "base")
    recipe = recipe_from(
        {
            "task": {"name": "causal_language_modeling", "max_length": 16},
            "model": str(tmp_path / "base"),
            "data": {"path": str(tmp_path), "splits": {"train": "train.txt", "test": "test.txt"}},
            "training": {"num_train_epochs": 3, "learning_rate": 1e-2, "use_cpu": True, "disable_tqdm": True},
        },
        source="test",
    )
    result = fine_tune(recipe, tmp_path / "run")
    course = [point.metrics["perplexity"] for point in result.curves.evaluation]
    assert course[0] > course[-1] and result.metrics["test"]["perplexity"] < len(VOCABULARY)
    assert result.metrics["validation"]["perplexity"] == pytest.approx(min(course))
    write = pipeline("text-generation", model=str(tmp_path / "run" / "model"))
    assert write.tokenizer.model_max_length == 64
    assert len(write("the film", max_new_tokens=4)[0]["generated_text"]) > len("the film")
