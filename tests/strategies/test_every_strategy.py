"""Every strategy on models beyond the encoders: which tensors move in which step, and what is refused in words."""

from __future__ import annotations

import pytest
import torch
from architectures import BART_LIKE, BERT_LIKE, GPT_LIKE, ROW_LENGTH, T5_LIKE, build, classifier, rows
from architectures import CLASSIFIERS as SMALL
from datasets import Dataset
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import TrainingArguments, set_seed

from hf_fft.errors import StrategyError
from hf_fft.recipe import FullRecipe, GradualUnfreezingRecipe, ProbeThenFullRecipe
from hf_fft.strategies import Full, GradualUnfreezing, Lora, ProbeThenFull, Strategy, layer_groups, strategy_for
from hf_fft.strategies.layers import shared_layers
from hf_fft.training import FullFinetuningTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

XLNET_LIKE = {"vocab_size": 40, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "pad_token_id": 0}
ALBERT_LIKE = {**BERT_LIKE, "embedding_size": 8, "num_hidden_layers": 3}
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
CLASSES = {"num_labels": 3}

CLASSIFIERS = {
    "XLNet": ("XLNetForSequenceClassification", "XLNetConfig", {**XLNET_LIKE, **CLASSES}),
    "GPT-2": ("GPT2ForSequenceClassification", "GPT2Config", {**GPT_LIKE, **ENDS, **CLASSES}),
    "T5": ("T5ForSequenceClassification", "T5Config", {**T5_LIKE, **ENDS, **CLASSES, "decoder_start_token_id": 0}),
    "BART": ("BartForSequenceClassification", "BartConfig", {**BART_LIKE, **CLASSES}),
    "ALBERT": ("AlbertForSequenceClassification", "AlbertConfig", {**ALBERT_LIKE, **CLASSES}),
}
# Language models whose output is their embeddings again, so that they have no head of their own.
WRITERS = {
    "GPT-2 writes": ("GPT2LMHeadModel", "GPT2Config", {**GPT_LIKE, **ENDS}),
    "T5 writes": ("T5ForConditionalGeneration", "T5Config", T5_LIKE),
    "BART writes": ("BartForConditionalGeneration", "BartConfig", BART_LIKE),
}
MODELS = {**CLASSIFIERS, **WRITERS}
HEADS = {
    "XLNet": {"sequence_summary.summary", "logits_proj"},
    "GPT-2": {"transformer.ln_f", "score"},
    "T5": {"classification_head.dense", "classification_head.out_proj"},
    "BART": {"classification_head.dense", "classification_head.out_proj"},
    "ALBERT": {"albert.pooler", "classifier"},
}
# What takes no part in these models' forward passes: it stands for a word to be predicted, which classifying has none.
NEVER_READ = {"XLNet": {"transformer.mask_emb"}}


def model_of(name: str) -> nn.Module:
    set_seed(7)
    return build(*MODELS[name])


def rows_for(name: str) -> Dataset:
    """Rows that end with 2, by which T5 and BART classify; segments for XLNet, and targets for models that write."""
    made = []
    for row in rows(16):
        length = sum(row["attention_mask"])
        row["input_ids"][length - 1] = 2
        if name == "XLNet":
            row["token_type_ids"] = [place % 2 for place in range(ROW_LENGTH)]
        if name in WRITERS:
            row["labels"] = [token or -100 for token in row["input_ids"]]
        if name in ("T5 writes", "BART writes"):
            row["decoder_input_ids"] = [2, *row["input_ids"][:-1]]
        made.append(row)
    return Dataset.from_list(made)


def steps_of(name: str, strategy: Strategy, folder, *, steps: int) -> tuple[nn.Module, list[set[str]]]:
    """Train by AdamW, four rows a step; return the model and, for every step and a probe's, which parameters moved."""
    options = {"learning_rate": 1e-2, "save_strategy": "no", "report_to": [], "use_cpu": True, "disable_tqdm": True}
    arguments = TrainingArguments(str(folder), per_device_train_batch_size=4, max_steps=steps, **options)
    trainer = FullFinetuningTrainer(model_of(name), arguments, strategy=strategy, train_dataset=rows_for(name))
    model, moved = trainer.model, []
    before = {key: value.detach().clone() for key, value in model.named_parameters()}

    def note(*_) -> None:
        now = {key: value.detach().clone() for key, value in model.named_parameters()}
        moved.append({key for key, value in now.items() if not torch.equal(value, before[key])})
        before.update(now)

    hook = register_optimizer_step_post_hook(note)
    try:
        trainer.train()
    finally:
        hook.remove()
    return model, moved


def everything(name: str, model: nn.Module) -> set[str]:
    return {key for key, _ in model.named_parameters()} - NEVER_READ.get(name, set())


def head(name: str, model: nn.Module) -> set[str]:
    return {key for key, _ in model.named_parameters() if key.rpartition(".")[0] in HEADS[name]}


@pytest.mark.parametrize("name", WRITERS)  # for classifiers the second part of probe_then_full is the same
def test_full_moves_everything_in_every_step(name, tmp_path):
    model, moved = steps_of(name, Full(), tmp_path, steps=2)
    assert moved == [everything(name, model)] * 2


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_feature_based_moves_the_head_and_nothing_else(name, tmp_path):
    model, moved = steps_of(name, strategy_for("feature_based"), tmp_path, steps=2)
    assert moved == [head(name, model)] * 2


@pytest.mark.parametrize("name", MODELS)
def test_gradual_unfreezing_moves_exactly_the_open_groups_from_the_top(name, tmp_path):
    count = len(layer_groups(model_of(name)))
    strategy = GradualUnfreezing(GradualUnfreezingRecipe(schedule="steps"))
    model, moved = steps_of(name, strategy, tmp_path, steps=count)
    groups = [set(group.parameters) for group in reversed(layer_groups(model))]
    opened = [set().union(*groups[: step + 1]) & everything(name, model) for step in range(count)]
    assert count >= 3
    assert moved == opened


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_probe_then_full_moves_the_head_and_then_everything(name, tmp_path):
    strategy = ProbeThenFull(ProbeThenFullRecipe(probe_epochs=1))
    model, moved = steps_of(name, strategy, tmp_path, steps=2)
    assert moved == [head(name, model)] * 4 + [everything(name, model)] * 2


@pytest.mark.parametrize("name", MODELS)
def test_lora_moves_every_adapter_and_the_head_and_nothing_else(name, tmp_path):
    model, moved = steps_of(name, Lora(), tmp_path, steps=3)
    names = {key for key, _ in model.named_parameters()}
    adapters = {key for key in names if "lora_" in key}
    heads = {key for key in names if ".modules_to_save." in key}
    assert adapters
    assert {key.partition(".modules_to_save.")[0] for key in heads} == {
        f"base_model.model.{module}" for module in HEADS.get(name, ())
    }
    assert moved[0] == heads | {
        key for key in adapters if "lora_B" in key
    }  # B starts at zero, and A's gradient with it
    assert moved[2] == heads | adapters


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_merged_adapter_answers_as_the_adapter_did(name, tmp_path):
    model, _ = steps_of(name, Lora(), tmp_path, steps=2)
    given = rows_for(name).remove_columns("labels").with_format("torch")[:4]
    with torch.no_grad():
        expected = model.eval()(**given).logits
        merged = Lora().whole_model(model)
        assert not any("lora_" in key for key, _ in merged.named_parameters())
        torch.testing.assert_close(merged.eval()(**given).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strategy", ["feature_based", "probe_then_full"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_model_without_a_head_of_its_own_has_none_to_train_alone(name, strategy):
    with pytest.raises(StrategyError, match=rf'strategy "{strategy}" .* no head of its own.*Use strategy "full"'):
        strategy_for(strategy).prepare(model_of(name))


# Shared layers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy",
    [
        Full(FullRecipe(layer_decay=0.8)),
        GradualUnfreezing(GradualUnfreezingRecipe(layer_decay=0.8)),
        ProbeThenFull(ProbeThenFullRecipe(layer_decay=0.8)),
    ],
)
def test_layers_that_share_their_weights_cannot_learn_at_rates_of_their_own(strategy):
    with pytest.raises(StrategyError, match=r"the 3 layers of AlbertForSequenceClassification share 1 set of weights"):
        strategy.prepare(model_of("ALBERT"))


def test_gradual_unfreezing_says_that_shared_layers_open_at_once():
    strategy = strategy_for("gradual_unfreezing")
    lines = strategy.stages(model_of("ALBERT"), max_steps=9, steps_per_epoch=3)
    assert lines == [
        "head opens at step 0",
        "layer 0 opens at step 3",
        "embeddings opens at step 6",
        "3 layers share 1 set of weights, so a group opens for all of its layers at once",
    ]


def test_layers_that_merely_could_share_have_rates_of_their_own():
    model = build("AlbertForSequenceClassification", "AlbertConfig", {**ALBERT_LIKE, "num_hidden_groups": 3})
    strategy = Full(FullRecipe(layer_decay=0.5))
    rates = {group.name: group.learning_rate for group in strategy.parameter_groups(strategy.prepare(model), 1.0)}
    assert rates == {"head": 1.0, "layer 2": 0.5, "layer 1": 0.25, "layer 0": 0.125, "embeddings": 0.0625}


@pytest.mark.parametrize("name", [*SMALL, "T5", "BART", "XLNet", "GPT-2"])
def test_other_architectures_share_no_layers(name):
    model = classifier(name) if name in SMALL else model_of(name)
    assert shared_layers(model) is None
