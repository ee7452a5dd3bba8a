"""A layer and its adapter in one function: what peft computes, in values, gradients and names."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from hf_fft.recipe import LoraRecipe
from hf_fft.result import SpeedPlan
from hf_fft.strategies import Lora
from hf_fft.training.speed import adapters, fast_model
from hf_fft.training.speed.adapters import _Adapted, _Joined, join_adapters
from hf_fft.training.speed.dropout import cheapen_dropout, levels_dropped

TINY = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37, "vocab_size": 99,
    "max_position_embeddings": 32,
}  # fmt: skip
LAYERS = 2 * 6


def adapted(*, dropout: float = 0.0) -> PeftModel:
    """Return a model under LoRA whose adapters already do something."""
    torch.manual_seed(0)
    model = Lora(LoraRecipe(rank=4, dropout=dropout)).prepare(BertForSequenceClassification(BertConfig(**TINY)))
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
    assert float((ours - exact).abs().max()) < 1.5 * float((theirs - exact).abs().max()) + 1e-3
    assert away(of_ours) < 1.5 * away(of_theirs)


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_gradients_are_those_of_finite_differences(p: float):
    torch.manual_seed(0)
    shapes = ((5, 6), (2, 6), (4, 2), (4, 6), (4,))
    states, down, up, weight, bias = (torch.randn(shape, dtype=torch.float64) for shape in shapes)

    def seeded(*learning: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return _Adapted.apply(*learning, (weight, bias), levels_dropped(p), 2.0)

    assert torch.autograd.gradcheck(seeded, tuple(one.requires_grad_() for one in (states, down, up)))


@pytest.mark.parametrize("left", ["no_grad", "disabled", "merged", "base_learns", "hooked"])
def test_what_is_no_plain_step_is_left_to_peft(left: str, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise AssertionError("not peft's own")

    model = adapted().eval()
    inputs = torch.randint(0, 99, (3, 7))
    join_adapters(model)
    monkeypatch.setattr(adapters._Adapted, "apply", refused)
    layers = [one.layer for one in joined_forwards(model)]
    if left == "disabled":
        with model.disable_adapter():
            model(input_ids=inputs)
        return
    if left == "merged":
        model.merge_adapter()
    for layer in layers:
        if left == "base_learns":
            layer.base_layer.weight.requires_grad_(True)
        elif left == "hooked":
            layer.base_layer.register_forward_hook(lambda *_: None)
    with torch.set_grad_enabled(left != "no_grad"):
        model(input_ids=inputs)


def test_weights_that_are_written_into_are_cast_anew():
    model = adapted()
    join_adapters(model)
    before, _ = step(model, bf16=True)
    with torch.no_grad():
        for forward in joined_forwards(model):
            assert forward._cast is not None
            forward.layer.base_layer.weight.mul_(1.5)
    after, _ = step(model, bf16=True)
    fresh = adapted()
    with torch.no_grad():
        for layer in (one.layer for one in joined_forwards(model)):
            layer.base_layer.weight.div_(1.5)
    back, _ = step(model, bf16=True)
    join_adapters(fresh)
    assert not torch.equal(after, before)
    torch.testing.assert_close(back, step(fresh, bf16=True)[0], rtol=2e-2, atol=2e-2)


def test_names_copies_and_merging_know_nothing_of_it():
    model = adapted()
    names = list(model.state_dict())
    join_adapters(model)
    step(model, bf16=True)
    assert list(model.state_dict()) == names
    twin = copy.deepcopy(model)
    assert [one.layer for one in joined_forwards(twin)] != [one.layer for one in joined_forwards(model)]
    assert all(one._cast is None for one in joined_forwards(twin))
    restored = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(step(restored)[0], step(twin)[0])
    inputs = torch.randint(0, 99, (2, 5))
    with torch.no_grad():
        expected = model.eval()(input_ids=inputs).logits
        merged = model.merge_and_unload()
        torch.testing.assert_close(merged(input_ids=inputs).logits, expected, rtol=1e-4, atol=1e-5)
    assert not joined_forwards(merged)


def test_the_plan_says_so():
    plan = fast_model.quicken_prepared(adapted(), SpeedPlan(), "lora", 1)
    assert f"{LAYERS} adapters are computed together with the layers that they stand beside" in plan.reasons
    whole = fast_model.quicken_prepared(BertForSequenceClassification(BertConfig(**TINY)), SpeedPlan(), "full", 1)
    assert not [reason for reason in whole.reasons if "adapters" in reason]
