"""A layer and its adapter in one function: what peft computes, in values, gradients and names."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from hf_fft.recipe import LoraRecipe
from hf_fft.result import SpeedPlan
from hf_fft.strategies import Lora
from hf_fft.strategies.lora import linear_modules
from hf_fft.training.speed import fast_model
from hf_fft.training.speed.adapters import _Adapted, _Joined, join_adapters
from hf_fft.training.speed.dropout import cheapen_dropout, levels_dropped

TINY = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37, "vocab_size": 99,
    "max_position_embeddings": 32,
}  # fmt: skip
LAYERS = 2 * 6


def adapted(*, dropout: float = 0.0, use_dora: bool = False) -> PeftModel:
    """Return a model under LoRA whose adapters already do something."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**TINY))
    if use_dora:
        model = get_peft_model(model, LoraConfig(r=4, target_modules=linear_modules(model), use_dora=True))
    else:
        model = Lora(LoraRecipe(rank=4, dropout=dropout)).prepare(model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    cheapen_dropout(model)
    return model.train()


def step(model: PeftModel, *, bf16: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return logits and gradients of a step whose masks a seed decides."""
    torch.manual_seed(1)
    inputs = torch.randint(0, 99, (3, 7))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
    logits.float().square().sum().backward()
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    return logits.detach(), gradients


def joined_forwards(model: nn.Module) -> list[_Joined]:
    return [one for module in model.modules() if isinstance(one := vars(module).get("forward"), _Joined)]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_values_and_gradients_are_those_of_peft(dropout: float, monkeypatch: pytest.MonkeyPatch):
    model = adapted(dropout=dropout)
    expected, gradients = step(model)
    assert join_adapters(model) == LAYERS
    called, apply = [], _Adapted.apply
    monkeypatch.setattr(_Adapted, "apply", lambda *given: called.append(given) or apply(*given))
    logits, ours = step(model)
    assert len(called) == LAYERS
    torch.testing.assert_close(logits, expected)
    assert list(ours) == list(gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_in_bfloat16_it_is_as_close_to_float32_as_peft():
    model = adapted(dropout=0.2)
    exact, gradients = step(model)
    theirs, of_theirs = step(model, bf16=True)
    join_adapters(model)
    ours, of_ours = step(model, bf16=True)

    def away(some: dict[str, torch.Tensor]) -> float:
        return sum(float((some[name] - one).square().sum()) for name, one in gradients.items()) ** 0.5

    assert all(one.dtype == torch.float32 for one in of_ours.values())
    assert float((ours - exact).abs().max()) < 1.5 * float((theirs - exact).abs().max()) + 1e-3 < 0.05
    assert away(of_ours) < 1.5 * away(of_theirs) < 0.1 * away(dict.fromkeys(gradients, torch.zeros(())))


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_gradients_are_those_of_finite_differences(p: float):
    torch.manual_seed(0)
    shapes = ((5, 6), (2, 6), (4, 2), (4, 6), (4,))
    states, down, up, weight, bias = (torch.randn(shape, dtype=torch.float64) for shape in shapes)

    def seeded(*learning: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return _Adapted.apply(*learning, (weight, bias), levels_dropped(p), 2.0)

    assert torch.autograd.gradcheck(seeded, tuple(one.requires_grad_() for one in (states, down, up)))


class NotLeftToPeft(Exception):
    """Raised where the joined form is asked."""


def nothing(*_: object) -> None:
    """Stands for a hook."""


def take_two(model: PeftModel) -> None:
    model.add_adapter("other", LoraConfig(r=2, target_modules=model.peft_config["default"].target_modules))
    model.base_model.set_adapter(["default", "other"])


# What is done to the model, or to each of its layers, so that a call is no plain step any more.
TO_THE_MODEL = {"merged": lambda model: model.merge_adapter(), "two adapters": take_two}
TO_LAYERS = {
    "own weights learn": lambda layer: layer.base_layer.weight.requires_grad_(True),
    "own layer is watched": lambda layer: layer.base_layer.register_forward_hook(nothing),
    "adapter is watched": lambda layer: layer.lora_A["default"].register_forward_pre_hook(nothing),
    "dropout is watched": lambda layer: layer.lora_dropout["default"].register_forward_hook(nothing),
    "gradients are watched": lambda layer: layer.lora_B["default"].register_full_backward_pre_hook(nothing),
}
AROUND = {"no gradients": lambda _: torch.no_grad(), "disabled": lambda model: model.disable_adapter()}


@pytest.mark.parametrize("why", [*TO_THE_MODEL, *TO_LAYERS, *AROUND])
def test_what_is_no_plain_step_is_left_to_peft(why: str, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise NotLeftToPeft

    model, inputs = adapted(dropout=0.1), torch.randint(0, 99, (3, 7))
    assert join_adapters(model) == LAYERS
    monkeypatch.setattr(_Adapted, "apply", refused)
    with pytest.raises(NotLeftToPeft):
        model(input_ids=inputs)
    TO_THE_MODEL.get(why, nothing)(model)
    for forward in joined_forwards(model):
        TO_LAYERS.get(why, nothing)(forward.layer)
    with AROUND.get(why, lambda _: nullcontext())(model):
        model(input_ids=inputs)


def test_a_variant_of_lora_is_left_to_peft(monkeypatch: pytest.MonkeyPatch):
    model, inputs = adapted(use_dora=True), torch.randint(0, 99, (3, 7))
    assert join_adapters(model) == LAYERS
    monkeypatch.setattr("hf_fft.training.speed.adapters._Adapted", None)
    model(input_ids=inputs)


def test_no_rows_are_no_fault():
    model = adapted()
    join_adapters(model)
    layer = joined_forwards(model)[0].layer
    assert layer(torch.zeros(0, 5, 32)).shape == (0, 5, 32)


def test_activation_checkpointing_gives_the_same_gradients():
    model = adapted(dropout=0.2)
    join_adapters(model)
    _, expected = step(model)
    model.gradient_checkpointing_enable()
    _, gradients = step(model)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, msg=name)


def test_names_copies_and_merging_know_nothing_of_it():
    model = adapted()
    names = list(model.state_dict())
    join_adapters(model)
    step(model, bf16=True)
    assert list(model.state_dict()) == names
    inputs = torch.randint(0, 99, (2, 5))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(step(twin)[0], step(model.train())[0])
        with torch.no_grad():
            before = model.eval()(input_ids=inputs).logits
            for layer in (one.layer for one in joined_forwards(twin)):
                layer.base_layer.weight.mul_(2)
            # Without gradients peft's own forward is asked, and it must be the twin's.
            assert not torch.allclose(twin.eval()(input_ids=inputs).logits, before)
            torch.testing.assert_close(model(input_ids=inputs).logits, before)
    with torch.no_grad():
        merged = model.merge_and_unload()
        torch.testing.assert_close(merged(input_ids=inputs).logits, before, rtol=1e-4, atol=1e-5)
    assert not joined_forwards(merged)


def test_the_plan_says_so():
    plan = fast_model.quicken_prepared(adapted(), SpeedPlan(), "lora", 1)
    assert f"{LAYERS} adapters are computed together with the layers that they stand beside" in plan.reasons
    whole = fast_model.quicken_prepared(BertForSequenceClassification(BertConfig(**TINY)), SpeedPlan(), "full", 1)
    assert not [reason for reason in whole.reasons if "adapters" in reason]
