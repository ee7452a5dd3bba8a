"""The gradient of a large embedding in one table that is kept: torch's own values, to the bit."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from hf_fft.result import SpeedPlan
from hf_fft.training.speed import embedding, fast_model
from hf_fft.training.speed.embedding import KeptGradientEmbedding, keep_embedding_gradients

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 99,
    "max_position_embeddings": 32,
}


@pytest.fixture(autouse=True)
def every_table_is_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedding, "LEAST_ELEMENTS", 99 * 16)


def pair(**options) -> tuple[nn.Embedding, nn.Embedding]:
    torch.manual_seed(0)
    plain = nn.Embedding(200, 24, **options)
    kept = nn.ModuleList([copy.deepcopy(plain)])
    assert keep_embedding_gradients(kept) == 1
    return plain, kept[0]


def backward(plain, kept, *, seed: int) -> None:
    torch.manual_seed(seed)
    places, gradients = torch.randint(0, 60, (8, 13)), torch.randn(8, 13, 24)
    places[:, 9:] = 0
    for one in (plain, kept):
        one(places).backward(gradients)


@pytest.mark.parametrize("padding", [None, 0, 3, 199])
@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_are_those_of_torch_to_the_bit(padding, to_none):
    plain, kept = pair(padding_idx=padding)
    for step in range(4):
        for micro_batch in range(3):
            backward(plain, kept, seed=10 * step + micro_batch)
            assert torch.equal(plain.weight.grad, kept.weight.grad)
        for one in (plain, kept):
            nn.utils.clip_grad_norm_(one.parameters(), 0.1)
        assert torch.equal(plain.weight.grad, kept.weight.grad)
        for one in (plain, kept):
            one.zero_grad(set_to_none=to_none)


def test_the_table_is_the_same_one_in_each_step():
    plain, kept = pair()
    backward(plain, kept, seed=1)
    first = kept.weight.grad.data_ptr()
    kept.zero_grad()
    assert kept.weight.grad is None
    backward(plain, kept, seed=2)
    assert kept.weight.grad.data_ptr() == first


def test_a_gradient_that_was_there_before_is_added_to():
    plain, kept = pair()
    for one in (plain, kept):
        one.weight.grad = torch.ones_like(one.weight)
    backward(plain, kept, seed=1)
    assert torch.equal(plain.weight.grad, kept.weight.grad)
    for one in (plain, kept):
        one.zero_grad()
    backward(plain, kept, seed=2)
    assert torch.equal(plain.weight.grad, kept.weight.grad)


def test_hooks_on_the_weight_are_called():
    _, kept = pair()
    seen = []
    kept.weight.register_post_accumulate_grad_hook(lambda weight: seen.append(weight.grad.clone()))
    kept(torch.tensor([1, 2])).sum().backward()
    assert len(seen) == 1 and seen[0].sum() == 2 * 24


def test_what_does_not_learn_has_no_gradient():
    _, kept = pair()
    kept.weight.requires_grad_(False)
    assert not kept(torch.tensor([1])).requires_grad
    kept.weight.requires_grad_(True)
    with torch.no_grad():
        assert not kept(torch.tensor([1])).requires_grad


def test_small_special_and_tied_tables_stay_as_they_are():
    alone = nn.ModuleList([nn.Embedding(10, 4), nn.Embedding(200, 24, sparse=True), nn.Embedding(200, 24, max_norm=1)])
    assert keep_embedding_gradients(alone) == 0
    assert keep_embedding_gradients(BertForMaskedLM(BertConfig(**TINY))) == 0
    shared = nn.Embedding(200, 24)
    two_readers = nn.ModuleList([shared, nn.Embedding(200, 24)])
    two_readers[1].weight = shared.weight
    assert keep_embedding_gradients(two_readers) == 0
    assert keep_embedding_gradients(nn.ModuleList([shared, shared])) == 1


def test_copies_and_files_are_without_the_table():
    plain, kept = pair()
    backward(plain, kept, seed=1)
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert other._table is None and isinstance(other, KeptGradientEmbedding)
        assert torch.equal(other.weight, kept.weight)
    assert list(kept.state_dict()) == ["weight"]


def test_a_model_trains_to_the_same_weights():
    trained = []
    for kept in (False, True):
        torch.manual_seed(0)
        model = BertForSequenceClassification(BertConfig(**TINY)).train()
        if kept:
            # Positions and kinds of segments have smaller tables.
            assert keep_embedding_gradients(model) == 1
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(5):
            inputs = torch.randint(0, 99, (4, 7))
            model(input_ids=inputs, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
            optimizer.step()
            model.zero_grad()
        trained.append(model.state_dict())
    assert list(trained[0]) == list(trained[1])
    assert all(torch.equal(one, other) for one, other in zip(trained[0].values(), trained[1].values(), strict=True))


@pytest.mark.parametrize(("processes", "learns"), [(1, True), (2, True), (1, False)])
def test_the_plan_says_so_and_several_processes_keep_their_hooks(processes, learns):
    model = BertForSequenceClassification(BertConfig(**TINY))
    model.get_input_embeddings().weight.requires_grad_(learns)
    plan = fast_model.quicken_prepared(model, SpeedPlan(), "full", processes)
    said = [reason for reason in plan.reasons if "word embeddings" in reason]
    kept = processes == 1 and learns
    assert len(said) == kept
    assert isinstance(model.get_input_embeddings(), KeptGradientEmbedding) == kept
