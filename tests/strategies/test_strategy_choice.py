"""Which strategy a name means, and which models a strategy refuses, and in what words."""

from __future__ import annotations

import functools

import pytest
import torch
from architectures import BART_LIKE, BERT_LIKE, GPT_LIKE, T5_LIKE, build, classifier, rows
from transformers import TrainingArguments

from hf_fft.errors import StrategyError
from hf_fft.recipe import FeatureBasedRecipe, FullRecipe
from hf_fft.strategies import STRATEGIES, FeatureBased, Full, Strategy, strategy_for
from hf_fft.training import FullFinetuningTrainer

HEADLESS = {
    "GPT2LMHeadModel": functools.partial(build, "GPT2LMHeadModel", "GPT2Config", GPT_LIKE),
    "T5ForConditionalGeneration": functools.partial(build, "T5ForConditionalGeneration", "T5Config", T5_LIKE),
    "BartForConditionalGeneration": functools.partial(build, "BartForConditionalGeneration", "BartConfig", BART_LIKE),
    "BertForMaskedLM": functools.partial(build, "BertForMaskedLM", "BertConfig", BERT_LIKE),
    "BertModel": functools.partial(build, "BertModel", "BertConfig", BERT_LIKE),
    "LlamaModel": functools.partial(build, "LlamaModel", "LlamaConfig", BERT_LIKE),
}


# Names, records and objects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("full", Full), ("feature_based", FeatureBased)])
def test_a_name_is_the_strategy_with_its_defaults(name, kind):
    strategy = strategy_for(name)
    assert type(strategy) is kind
    assert strategy.name == name
    assert strategy.recipe == kind().recipe


@pytest.mark.parametrize("recipe", [FullRecipe(layer_decay=0.5), FeatureBasedRecipe(pooler="frozen")])
def test_a_recipes_record_is_the_strategy_with_its_options(recipe):
    strategy = strategy_for(recipe)
    assert strategy.name == recipe.name
    assert strategy.recipe is recipe


def test_an_object_is_taken_as_it_is():
    class Backwards(Strategy):
        name = "backwards"
        default_learning_rate = 1e-5

        def parameter_groups(self, model, learning_rate):
            return []

    strategy = Backwards()
    assert strategy_for(strategy) is strategy


def test_an_unknown_name_is_answered_with_the_names_that_there_are(tmp_path):
    wording = '"ful" is not a strategy; there are full, feature_based, gradual_unfreezing, probe_then_full, lora.'
    with pytest.raises(StrategyError) as error:
        strategy_for("ful")
    assert str(error.value) == wording
    with pytest.raises(StrategyError, match="is not a strategy"):
        FullFinetuningTrainer(classifier("Bert"), TrainingArguments(str(tmp_path), use_cpu=True), strategy="ful")


def test_the_table_holds_every_strategy_under_its_own_name():
    assert {name: kind.name for name, kind in STRATEGIES.items()} == {name: name for name in STRATEGIES}
    assert {name: kind.default_learning_rate for name, kind in STRATEGIES.items()} == {
        "full": 5e-5,
        "feature_based": 1e-3,
        "gradual_unfreezing": 5e-5,
        "probe_then_full": 5e-5,
        "lora": 2e-4,
    }


# What full refuses -------------------------------------------------------------------------------------------------


def test_full_refuses_parameters_frozen_by_hand_and_says_what_to_do():
    model = classifier("Bert")
    model.bert.embeddings.requires_grad_(False)
    with pytest.raises(StrategyError) as error:
        Full().prepare(model)
    assert str(error.value) == (
        'strategy "full" trains every parameter, but this model comes with frozen ones '
        '(bert.embeddings.word_embeddings.weight and 4 more). Use strategy "feature_based", or call '
        "model.requires_grad_(True) first."
    )
    assert Full().prepare(model.requires_grad_(True)) is model


def test_full_refuses_already_where_the_trainer_is_built(tmp_path):
    model = classifier("Bert")
    model.classifier.bias.requires_grad_(False)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    with pytest.raises(StrategyError, match=r"\(classifier\.bias\)"):
        FullFinetuningTrainer(model, arguments, strategy="full", train_dataset=rows())


def test_full_accepts_sinusoidal_positions():
    # Up to transformers 4 these were frozen; 5.23 initialises them as sinusoids and trains them.
    Full().prepare(classifier("DistilBert", sinusoidal_pos_embds=True))


def test_full_accepts_what_the_architecture_freezes_and_still_refuses_what_a_hand_froze():
    model = classifier("RoFormer")
    fixed = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert fixed == {"roformer.encoder.embed_positions.weight"}
    assert Full().prepare(model) is model
    model.classifier.requires_grad_(False)
    with pytest.raises(StrategyError, match=r"\(classifier\.dense\.weight and 3 more\)"):
        Full().prepare(model)


def test_full_refuses_frozen_parameters_of_a_module_without_a_config():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    model[0].bias.requires_grad_(False)
    with pytest.raises(StrategyError, match=r"\(0\.bias\)"):
        Full().prepare(model)


# What feature_based refuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooler", ["train", "frozen"])
@pytest.mark.parametrize("name", HEADLESS)
def test_feature_based_refuses_a_model_without_a_new_head_and_leaves_it_alone(name, pooler):
    model = HEADLESS[name]()
    with pytest.raises(StrategyError) as error:
        FeatureBased(FeatureBasedRecipe(pooler=pooler)).prepare(model)
    assert str(error.value) == (
        f'strategy "feature_based" trains the head alone, but {name} has no head of its own '
        '(its output is tied to its embeddings, or it is a bare backbone). Use strategy "full".'
    )
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_feature_based_accepts_a_language_model_whose_head_is_its_own():
    sizes = {**GPT_LIKE, "tie_word_embeddings": False}
    model = FeatureBased().prepare(build("GPT2LMHeadModel", "GPT2Config", sizes))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"lm_head.weight", "transformer.ln_f.weight", "transformer.ln_f.bias"}
