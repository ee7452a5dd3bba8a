"""Every parameter is in the optimizer once, at the rate of its group, and the log shows every group's rate."""

from __future__ import annotations

import functools

import pytest
import torch
from architectures import CLASSIFIERS, GPT_LIKE, T5_LIKE, build, classifier, rows
from transformers import TrainingArguments

from hf_fft.errors import StrategyError
from hf_fft.recipe import FullRecipe
from hf_fft.strategies import FeatureBased, Full, layer_groups
from hf_fft.training import FullFinetuningTrainer, LearningRateRecorder

RATE = 1e-3
WEIGHT_DECAY = 0.01
DISCRIMINATIVE = FullRecipe(layer_decay=0.5, head_learning_rate=5e-3)
# Head first, then from the top layer down.
DISCRIMINATIVE_RATES = {"head": 5e-3, "layer 1": RATE / 2, "layer 0": RATE / 4, "embeddings": RATE / 8}
TIED = {
    "GPT2": functools.partial(build, "GPT2LMHeadModel", "GPT2Config", GPT_LIKE),
    "T5": functools.partial(build, "T5ForConditionalGeneration", "T5Config", T5_LIKE),
}


def trainer_of(model, strategy, folder, **options) -> FullFinetuningTrainer:
    changed = {key: options.pop(key) for key in list(options) if key in TrainingArguments.__dataclass_fields__}
    defaults = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "max_steps": 2,
        "learning_rate": RATE,
        "weight_decay": WEIGHT_DECAY,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
    }
    arguments = TrainingArguments(**{**defaults, **changed})
    return FullFinetuningTrainer(model, arguments, strategy=strategy, train_dataset=rows(), **options)


def optimizer_groups(model, strategy, folder) -> list[dict]:
    return trainer_of(model, strategy, folder).create_optimizer().param_groups


@pytest.mark.parametrize("name", ["Bert", "DistilBert", "ModernBert", "Llama", "Flaubert"])
def test_layers_learn_slower_by_the_decay_for_each_step_below_the_head(name):
    model = classifier(name)
    groups = Full(DISCRIMINATIVE).parameter_groups(model, RATE)
    assert [group.name for group in groups] == list(DISCRIMINATIVE_RATES)
    assert {group.name: group.learning_rate for group in groups} == pytest.approx(DISCRIMINATIVE_RATES)
    bottom_first = {group.name: group.parameters for group in layer_groups(model)}
    assert {group.name: group.parameters for group in groups} == bottom_first


def test_the_rates_follow_decay_to_the_power_of_the_depth_in_a_deeper_model():
    groups = Full(FullRecipe(layer_decay=0.9)).parameter_groups(classifier("Bert", num_hidden_layers=5), 2e-5)
    assert [group.name for group in groups] == ["head", *(f"layer {n}" for n in (4, 3, 2, 1, 0)), "embeddings"]
    assert [group.learning_rate for group in groups] == pytest.approx([2e-5 * 0.9**depth for depth in range(7)])


@pytest.mark.parametrize(("head_rate", "expected"), [(None, RATE), (5e-3, 5e-3)])
def test_without_decay_there_are_a_head_and_a_backbone(head_rate, expected):
    model = classifier("Bert")
    head, backbone = Full(FullRecipe(head_learning_rate=head_rate)).parameter_groups(model, RATE)
    assert (head.name, head.learning_rate) == ("head", expected)
    assert (backbone.name, backbone.learning_rate) == ("backbone", RATE)
    assert head.parameters == layer_groups(model)[-1].parameters


def test_the_optimizer_carries_the_groups_names_and_rates_in_their_order(tmp_path):
    model = classifier("Bert")
    carried = optimizer_groups(model, Full(DISCRIMINATIVE), tmp_path)
    assert list(dict.fromkeys(group["name"] for group in carried)) == list(DISCRIMINATIVE_RATES)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    expected = {group.name: set(group.parameters) for group in layer_groups(model)}
    for group in carried:
        assert group["lr"] == pytest.approx(DISCRIMINATIVE_RATES[group["name"]])
    for name, parameters in expected.items():
        members = [parameter for group in carried if group["name"] == name for parameter in group["params"]]
        assert {names[id(parameter)] for parameter in members} == parameters


@pytest.mark.parametrize("name", ["Bert", "DebertaV2", "ModernBert", "Llama", "OPT"])
def test_biases_and_norms_are_not_decayed_and_matrices_are(name, tmp_path):
    model = classifier(name)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in optimizer_groups(model, Full(DISCRIMINATIVE), tmp_path)
        for parameter in group["params"]
    }
    for parameter, value in model.named_parameters():
        # In these models biases and norms are the vectors.
        assert decay[parameter] == (WEIGHT_DECAY if value.ndim > 1 else 0.0), parameter


@pytest.mark.parametrize("recipe", [FullRecipe(), DISCRIMINATIVE], ids=["one rate", "discriminative"])
@pytest.mark.parametrize("name", [*CLASSIFIERS, *TIED])
def test_every_parameter_is_in_the_optimizer_exactly_once(name, recipe, tmp_path):
    model = classifier(name) if name in CLASSIFIERS else TIED[name]()
    groups = optimizer_groups(model, Full(recipe), tmp_path)
    optimized = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(optimized) == sorted(id(parameter) for parameter in model.parameters())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_feature_based_gives_the_optimizer_its_head_alone_as_one_named_group(name, tmp_path):
    model = classifier(name)
    groups = optimizer_groups(model, FeatureBased(), tmp_path)
    assert {group["name"] for group in groups} == {"head"}
    assert {group["lr"] for group in groups} == {RATE}
    optimized = {id(parameter) for group in groups for parameter in group["params"]}
    assert optimized == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_the_log_holds_every_groups_rate_as_the_step_used_it(tmp_path, one_thread):
    trainer = trainer_of(classifier("Bert"), Full(DISCRIMINATIVE), tmp_path, callbacks=[LearningRateRecorder()])
    trainer.train()
    first, second = [line["learning_rates"] for line in trainer.state.log_history if "loss" in line]
    assert first == pytest.approx(DISCRIMINATIVE_RATES)
    # The linear schedule is half way down at the second of two steps, for every group alike.
    assert second == pytest.approx({name: rate / 2 for name, rate in DISCRIMINATIVE_RATES.items()})


def test_each_group_moves_by_its_own_rate(tmp_path, one_thread):
    """Adam's first step moves an entry by its rate, whatever its gradient; biases start at zero and do not decay."""
    model = classifier("Bert")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    trainer_of(model, Full(DISCRIMINATIVE), tmp_path, max_steps=1, lr_scheduler_type="constant").train()
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.named_parameters()}
    for group in layer_groups(model):
        largest = max(
            moved[name] for name in group.parameters if name.endswith("LayerNorm.bias") or group.name == "head"
        )
        assert largest == pytest.approx(DISCRIMINATIVE_RATES[group.name], rel=0.01)


@pytest.mark.parametrize("optim", ["sgd", "adafactor", "adamw_torch_fused"])
def test_the_rates_hold_whatever_optimizer_is_chosen(optim, tmp_path):
    groups = trainer_of(classifier("Bert"), Full(DISCRIMINATIVE), tmp_path, optim=optim).create_optimizer().param_groups
    assert {group["name"]: group["lr"] for group in groups} == pytest.approx(DISCRIMINATIVE_RATES)


def factory(*positional, **options):
    """An optimizer that is made by a function, as LayerWise or LOMO variants are."""
    raise AssertionError("nobody may call this")


@pytest.mark.parametrize("strategy", [Full(DISCRIMINATIVE), Full(), FeatureBased()])
@pytest.mark.parametrize(
    "own",
    [
        (torch.optim.AdamW, {"params": [], "lr": RATE}),
        (torch.optim.AdamW, {"optimizer_dict": {}, "lr": RATE}),
        (torch.optim.AdamW, {"model": None, "lr": RATE}),
        (factory, {"lr": RATE}),
    ],
    ids=["params", "optimizer_dict", "model", "factory"],
)
def test_an_optimizer_that_makes_its_own_groups_is_refused_in_words(strategy, own, tmp_path):
    trainer = trainer_of(classifier("Bert"), strategy, tmp_path, optimizer_cls_and_kwargs=own)
    with pytest.raises(StrategyError) as error:
        trainer.create_optimizer()
    assert "makes its own parameter groups" in str(error.value)
    assert f'"{strategy.name}" cannot set its learning rates' in str(error.value)
    assert "Choose another, for example adamw_torch_fused." in str(error.value)
    assert trainer.optimizer is None
