"""Dropout with cheap random numbers: the same distribution, decided by torch's seed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hf_fft.training.estimate.live_memory import LiveMemory
from hf_fft.training.speed.dropout import LEVELS, CheapDropout, cheapen_dropout, keep_mask, levels_dropped


def test_drops_at_its_probability_and_scales_by_the_inverse():
    torch.manual_seed(0)
    ones = torch.ones(1_000_000)
    dropped = CheapDropout(0.1)(ones)
    share = float((dropped == 0).float().mean())
    # Four standard deviations of a million draws.
    assert abs(share - 0.1) < 4 * (0.1 * 0.9 / 1e6) ** 0.5
    assert dropped.max().item() == pytest.approx(LEVELS / (LEVELS - levels_dropped(0.1)))
    assert float(dropped.mean()) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("p", [1e-4, 0.3, 0.9])
def test_the_probability_is_within_a_hundred_thousandth(p: float):
    assert abs(levels_dropped(p) / LEVELS - p) < 1e-5


def test_elements_are_dropped_independently_of_their_neighbours():
    torch.manual_seed(1)
    kept = keep_mask((400_000,), levels_dropped(0.5)).float()
    for distance in (1, 2, 3, 4, 8):
        agreement = (kept[:-distance] == kept[distance:]).float().mean().item()
        assert abs(agreement - 0.5) < 5e-3


def test_the_seed_of_torch_decides_the_mask():
    layer, values = CheapDropout(0.2), torch.ones(64, 7)
    torch.manual_seed(3)
    first, second = layer(values), layer(values)
    torch.manual_seed(3)
    assert torch.equal(layer(values), first)
    assert not torch.equal(first, second)


def test_gradients_go_where_values_went():
    torch.manual_seed(0)
    values = torch.ones(50, 3, requires_grad=True)
    out = CheapDropout(0.4)(values)
    out.sum().backward()
    assert torch.equal(values.grad, out.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_type_stays(dtype: torch.dtype):
    assert CheapDropout(0.1)(torch.ones(5, 5, dtype=dtype)).dtype == dtype


def test_activation_checkpointing_repeats_the_mask():
    layer = nn.Sequential(nn.Linear(8, 8), CheapDropout(0.5))
    values = torch.ones(16, 8, requires_grad=True)
    torch.manual_seed(5)
    layer(values).sum().backward()
    plain = values.grad.clone()
    values.grad = None
    torch.manual_seed(5)
    checkpoint(layer, values, use_reentrant=False).sum().backward()
    assert torch.equal(values.grad, plain)


def test_the_memory_of_a_mask_is_torchs_so_that_an_estimate_counts_it():
    with LiveMemory() as memory:
        kept = keep_mask((1000, 7), levels_dropped(0.1))
        assert memory.now >= kept.numel()


def test_nothing_is_dropped_in_evaluation():
    values = torch.randn(4, 4)
    assert torch.equal(CheapDropout(0.5).eval()(values), values)


def test_every_dropout_of_a_model_is_swapped_and_no_name_changes():
    shared = nn.Dropout(0.1)
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 2), shared), "b": shared, "c": nn.Dropout(0.0)}).eval()
    names = list(model.state_dict())
    assert cheapen_dropout(model) == 1
    assert list(model.state_dict()) == names
    assert type(model["b"]) is CheapDropout and model["a"][1] is model["b"] and not model["b"].training
    assert type(model["c"]) is nn.Dropout
