"""Packed weights in loops without gradients: the products of `nn.Linear`, while it lasts and nowhere else."""

from __future__ import annotations

import pytest
import torch
from prefix_case import model_of, trainer_of
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainingArguments

from hf_fft.result import SpeedPlan
from hf_fft.training.speed import packed
from hf_fft.training.speed.fast_model import keeps_casts, quick_evaluation
from hf_fft.training.speed.packed import packed_linears

pytestmark = pytest.mark.skipif(not packed._works(), reason="this torch has no packed product on this processor")
# Of bfloat16, relative: the last of its eight bits, twice.
ROUNDING = 2**-7


class Calls(TorchDispatchMode):
    """Count the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.names.append(function._schema.name)
        return function(*arguments, **(options or {}))


def linear(features: int = 64, out: int = 96, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(features, out, bias=bias)


def product(layer: nn.Module, states: torch.Tensor, *, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    with torch.no_grad(), torch.autocast("cpu", dtype):
        return layer(states)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 64), (48, 64), (3, 7, 64), (2, 3, 7, 64)])
def test_the_product_is_that_of_the_layer_up_to_rounding(shape, bias):
    layer, states = linear(bias=bias), torch.randn(shape)
    expected = product(layer, states)
    with packed_linears(layer):
        found = product(layer, states)
        narrow = product(layer, states.to(torch.bfloat16))
    assert found.dtype == expected.dtype == torch.bfloat16 and found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=ROUNDING)
    assert torch.equal(narrow, found)


def test_states_may_lie_in_memory_as_they_like():
    layer, states = linear(), torch.randn(5, 7, 64).to(torch.bfloat16)
    expected = product(layer, states[:, :1]), product(layer, states.transpose(0, 1))
    with packed_linears(layer):
        torch.testing.assert_close(product(layer, states[:, :1]), expected[0], rtol=ROUNDING, atol=ROUNDING)
        torch.testing.assert_close(product(layer, states.transpose(0, 1)), expected[1], rtol=ROUNDING, atol=ROUNDING)
        assert product(layer, states[:0]).shape == (0, 7, 96)


def test_weights_are_packed_once_and_anew_the_next_time():
    layer, states = linear(), torch.randn(48, 64)
    with packed_linears(layer), Calls() as calls:
        for _ in range(3):
            product(layer, states)
    assert calls.names.count("mkldnn::_reorder_linear_weight") == 1
    assert calls.names.count("mkldnn::_linear_pointwise") == 3
    with torch.no_grad():
        layer.weight.zero_(), layer.bias.fill_(2.0)
    with packed_linears(layer):
        assert bool((product(layer, states) == 2).all())
    assert "forward" not in vars(layer)


@pytest.mark.parametrize(
    "case", ["gradients", "float32", "float16", "small", "replaced", "not there", "double", "quantized"]
)
def test_all_else_is_the_layers_own(case, monkeypatch):
    layer, states = linear(8, 8) if case == "small" else linear(), torch.randn(48, 8 if case == "small" else 64)
    if case == "replaced":
        layer.forward = lambda states: states
    if case == "not there":
        monkeypatch.setattr(packed, "_works", lambda: False)
    if case == "double":
        layer, states = layer.double(), states.double()
    if case == "quantized":  # as libraries keep their own tensors in the place of weights
        layer.weight = type("Quantized", (nn.Parameter,), {})(layer.weight.detach())
    dtype = torch.float16 if case == "float16" else torch.bfloat16
    autocast = torch.autocast("cpu", dtype, enabled=case != "float32")
    with packed_linears(layer), Calls() as calls, autocast, torch.set_grad_enabled(case == "gradients"):
        out = layer(states)
    assert not any(name.startswith("mkldnn::_linear") for name in calls.names)
    assert out.requires_grad == (case == "gradients")
    assert (out is states) == (case == "replaced")


def test_a_failing_loop_gives_the_layers_back_and_hooks_still_see_them():
    layer, seen = linear(), []
    layer.register_forward_hook(lambda *given: seen.append(given[-1]))
    with pytest.raises(ZeroDivisionError), packed_linears(layer):
        product(layer, torch.randn(4, 64))
        raise ZeroDivisionError
    assert "forward" not in vars(layer) and len(seen) == 1


def test_an_operator_that_answers_wrongly_is_not_used(monkeypatch):
    works = packed._works.__wrapped__
    assert works()
    with torch.autocast("cpu", torch.bfloat16):
        assert works()
    monkeypatch.setattr(packed, "_product", lambda states, weight, bias: torch.zeros(48, 96, dtype=torch.bfloat16))
    assert not works()

    def missing(*_):
        raise NotImplementedError

    monkeypatch.setattr(packed, "_product", missing)
    assert not works()


@pytest.mark.parametrize("keep_casts", [True, False])
def test_evaluation_packs_where_it_keeps_casts(keep_casts):
    layer = linear()
    with quick_evaluation(layer, keep_casts=keep_casts):
        assert ("forward" in vars(layer)) == keep_casts
    assert "forward" not in vars(layer)


@pytest.mark.parametrize(
    ("arguments", "planned", "kept"),
    [({"bf16": True}, True, True), ({}, True, False), ({"bf16": True}, False, False),
     ({"bf16": True, "torch_compile": True}, True, False)],
)  # fmt: skip
def test_casts_are_kept_in_bf16_where_there_is_a_plan_and_nothing_is_compiled(arguments, planned, kept, tmp_path):
    plan = SpeedPlan(reasons=("one",)) if planned else SpeedPlan()
    assert keeps_casts(TrainingArguments(str(tmp_path), use_cpu=True, **arguments), plan) is kept


@pytest.mark.parametrize("planned", [True, False])
def test_filling_a_frozen_prefix_packs_where_there_is_a_plan(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_FFT_CACHE", str(tmp_path / "cache"))
    used, own = [], packed._product
    monkeypatch.setattr(packed, "_product", lambda *given: used.append(given) or own(*given))
    model = model_of("Bert", hidden_size=32, intermediate_size=64)
    trainer, _ = trainer_of(model, tmp_path / "run", strategy="feature_based", prefix=True, bf16=True)
    trainer.speed = SpeedPlan(reasons=("one",)) if planned else SpeedPlan()
    trainer.train()
    assert trainer.speed.frozen_prefix and bool(used) == planned
    assert not any("forward" in vars(one) for one in model.modules() if isinstance(one, nn.Linear))
