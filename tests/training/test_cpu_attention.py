"""Attention a few rows at a time: the formula's values and gradients, whatever the parts."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from hf_fft.result import SpeedPlan
from hf_fft.training.speed import attention, fast_model
from hf_fft.training.speed.attention import _Attention
from hf_fft.training.speed.dropout import levels_dropped

TINY = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37, "vocab_size": 99,
    "pad_token_id": 0,
}  # fmt: skip


def made_states(*, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(3, 2, 5, 4, dtype=dtype, requires_grad=True) for _ in range(3))


def padding(dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(3, 1, 1, 5, dtype=dtype)
    mask[1, :, :, 3:] = torch.finfo(dtype).min
    return mask


@pytest.fixture(params=[1, 10_000], ids=["a_row_at_a_time", "all_at_once"], autouse=True)
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCORES_AT_ONCE", request.param)


@pytest.fixture(autouse=True)
def nothing_measured(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_FFT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_gradients_are_those_of_finite_differences(p: float):
    query, key, value = made_states()

    def seeded(*states: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return _Attention.apply(*states, padding(torch.float64), levels_dropped(p), 0.7)

    assert torch.autograd.gradcheck(seeded, (query, key, value))


def test_dropout_keeps_no_mask_for_the_backward_pass():
    def kept_bytes(p: float) -> int:
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            _Attention.apply(*made_states(), None, levels_dropped(p), 0.7).sum()
        return sum(kept.values())

    assert kept_bytes(0.3) == kept_bytes(0.0) > 0


def test_values_are_those_of_torch():
    query, key, value = made_states()
    mask = padding(torch.float64)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=0.5).transpose(1, 2)
    ours, _ = attention.attention(torch.nn.Module(), query, key, value, mask, scaling=0.5, dropout=0.0)
    torch.testing.assert_close(ours, expected)


def test_the_expected_value_under_dropout_is_the_value_without():
    query, key, value = made_states(dtype=torch.float32)
    with torch.no_grad():
        without, _ = attention.attention(torch.nn.Module(), query, key, value, None)
        torch.manual_seed(2)
        drawn = [attention.attention(torch.nn.Module(), query, key, value, None, dropout=0.2)[0] for _ in range(3000)]
    error = torch.stack(drawn).std(0) / len(drawn) ** 0.5
    assert float(((torch.stack(drawn).mean(0) - without).abs() / error).max()) < 5


def test_a_row_that_may_read_nothing_is_no_nan_in_bfloat16():
    query, key, value = (one.detach().bfloat16() for one in made_states(dtype=torch.float32))
    out, _ = attention.attention(
        torch.nn.Module(), query, key, value, torch.full((3, 1, 5, 5), torch.finfo(torch.float32).min)
    )
    assert bool(out.isfinite().all())


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (BertConfig(**TINY), BertForSequenceClassification),
        (LlamaConfig(**TINY, num_key_value_heads=2), LlamaForSequenceClassification),
        (BartConfig(**TINY, d_model=32, eos_token_id=7), BartForSequenceClassification),
    ],
)  # fmt: skip
def test_a_model_trains_alike_with_it(config, kind):
    torch.manual_seed(0)
    config = copy.deepcopy(config)
    for name in ("attention_probs_dropout_prob", "hidden_dropout_prob", "attention_dropout", "dropout"):
        setattr(config, name, 0.0)
    own = kind(config)
    fast = copy.deepcopy(own)
    fast.set_attn_implementation(attention.register_attention())
    inputs = torch.randint(8, 99, (3, 6))
    inputs[:, -1] = 7
    mask = torch.ones_like(inputs)
    mask[1, 4:], inputs[1, 4:], inputs[1, 3] = 0, 0, 7
    for model in (own, fast):
        model.train()(input_ids=inputs, attention_mask=mask).logits.square().sum().backward()
    for (name, one), two in zip(own.named_parameters(), fast.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(two.grad, one.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_quicken_takes_it_where_it_is_faster_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast_model, "_attention_seconds", lambda model, name, **_: 1.0 if name == "sdpa" else 0.5)
    model = BertForSequenceClassification(BertConfig(**TINY)).train()
    state = torch.get_rng_state()
    plan = fast_model.quicken(model, SpeedPlan(bf16=True), tokens=6)
    assert plan.attention == model.config._attn_implementation == attention.NAME
    assert plan.cheap_dropout and model.training
    assert "attention hf_fft_cpu: measured at 6 tokens a row, 2.0 × sdpa" in plan.reasons
    assert torch.equal(torch.get_rng_state(), state)


def test_what_was_measured_once_is_chosen_again(monkeypatch: pytest.MonkeyPatch):
    for of_ours, chosen in ((0.5, attention.NAME), (2.0, attention.NAME)):
        clock = {"sdpa": 1.0, attention.NAME: of_ours}
        monkeypatch.setattr(fast_model, "_attention_seconds", lambda model, name, clock=clock, **_: clock[name])
        plan = fast_model.quicken(BertForSequenceClassification(BertConfig(**TINY)), SpeedPlan(), tokens=6)
        assert plan.attention == chosen
    # Other rows are another question.
    assert (
        fast_model.quicken(BertForSequenceClassification(BertConfig(**TINY)), SpeedPlan(), tokens=7).attention is None
    )


def test_quicken_leaves_a_model_whose_logits_would_change(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast_model, "_attention_seconds", lambda model, name, **_: 1.0 if name == "sdpa" else 0.5)
    monkeypatch.setattr(attention, "eager_mask", lambda **_: None)
    # With transformers' own small weights attention would hardly show in the logits.
    model = BertForSequenceClassification(BertConfig(**TINY, initializer_range=0.5))
    plan = fast_model.quicken(model, SpeedPlan(), tokens=6)
    assert plan.attention is None and model.config._attn_implementation == "sdpa"
    assert "attention sdpa: ours does not give this model's logits" in plan.reasons


def test_quicken_leaves_relative_positions_alone():
    config = T5Config(d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4, vocab_size=99, decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config)
    before = model.config._attn_implementation
    plan = fast_model.quicken(model, SpeedPlan(), tokens=6)
    assert plan.attention is None and model.config._attn_implementation == before


def test_the_measured_seconds_are_those_of_the_run_s_shape():
    model = BertForSequenceClassification(BertConfig(**TINY))
    attention.register_attention()
    assert all(
        fast_model._attention_seconds(model, name, tokens=6, bf16=False) > 0 for name in ("sdpa", attention.NAME)
    )


def test_a_saved_model_does_not_name_it(tmp_path):
    model = BertForSequenceClassification(BertConfig(**TINY))
    model.set_attn_implementation(attention.register_attention())
    model.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text()
    again = BertForSequenceClassification.from_pretrained(tmp_path)
    assert again.config._attn_implementation == "sdpa"
