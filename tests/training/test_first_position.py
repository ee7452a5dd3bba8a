"""The last layer for the first position alone: the whole layer's logits and gradients, and nowhere else."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from hf_fft.recipe import LoraRecipe
from hf_fft.result import SpeedPlan
from hf_fft.strategies import Lora
from hf_fft.training import FullFinetuningTrainer
from hf_fft.training.frozen_prefix.layers import anatomy_of
from hf_fft.training.frozen_prefix.prefix import FrozenPrefix, precision_now
from hf_fft.training.frozen_prefix.store import Room
from hf_fft.training.speed import first_position
from hf_fft.training.speed.attention import register_attention
from hf_fft.training.speed.fast_model import _logits, quick_evaluation, quicken_prepared
from hf_fft.training.speed.first_position import first_position_alone, first_position_evaluated

BERT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37, "vocab_size": 99,
    "pad_token_id": 0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
DISTILBERT = {
    "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37, "vocab_size": 99, "dropout": 0.0,
    "attention_dropout": 0.0, "seq_classif_dropout": 0.0,
}  # fmt: skip
KNOWN = {
    BertForSequenceClassification: BertConfig(**BERT),
    CamembertForSequenceClassification: CamembertConfig(**BERT),
    ElectraForSequenceClassification: ElectraConfig(**BERT),
    RobertaForSequenceClassification: RobertaConfig(**BERT),
    XLMRobertaForSequenceClassification: XLMRobertaConfig(**BERT),
    DistilBertForSequenceClassification: DistilBertConfig(**DISTILBERT),
}


def built(kind=BertForSequenceClassification, config=None) -> nn.Module:
    torch.manual_seed(0)
    return kind(copy.deepcopy(config or KNOWN[kind])).train()


def pair(kind=BertForSequenceClassification) -> tuple[nn.Module, nn.Module]:
    whole, narrowed = built(kind), built(kind)
    assert first_position_alone(narrowed, _logits)
    return whole, narrowed


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(8, 99, (3, 7))
    mask = torch.ones_like(ids)
    mask[1, 4:], ids[1, 4:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def last_layer(model: nn.Module) -> nn.Module:
    return next(module for module in model.modules() if "forward" in vars(module))


@pytest.mark.parametrize("implementation", ["sdpa", "ours"])
@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_a_step_has_the_logits_and_the_gradients_of_the_whole_layer(kind, implementation):
    models = pair(kind)
    for model in models:
        model.set_attn_implementation(register_attention() if implementation == "ours" else "sdpa")
    given, shapes = batch(), []
    last_layer(models[1]).register_forward_hook(lambda _, __, states: shapes.append(states.shape))
    logits = [model(**given).logits for model in models]
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-5, atol=1e-6)
    assert shapes == [(3, 1, 32)]
    for each in logits:
        each.square().sum().backward()
    for (name, one), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6, msg=name)
        else:
            assert other.grad is None


@pytest.mark.parametrize("where", ["attention.self", "attention.output", "output"])
def test_dropout_in_the_last_layer_is_as_strong_as_in_the_whole_one(where):
    models = pair()
    given = {name: value[:1].expand(3000, -1) for name, value in batch().items()}
    found = []
    for model in models:
        model.bert.encoder.layer[-1].get_submodule(where).dropout.p = 0.3
        found.append(model(**given).logits.detach())
    whole, narrowed = found
    error = ((whole.var(0) + narrowed.var(0)) / len(whole)).sqrt()
    assert float(((whole.mean(0) - narrowed.mean(0)).abs() / error).max()) < 5
    ratio = narrowed.var(0) / whole.var(0)
    assert float(ratio.min()) > 0.8 and float(ratio.max()) < 1.25


def test_what_a_frozen_prefix_keeps_in_a_step_is_of_all_positions(tmp_path):
    _, narrowed = pair()
    narrowed.bert.requires_grad_(False)
    anatomy = anatomy_of(narrowed, batch())
    prefix = FrozenPrefix(narrowed, anatomy, Room(tmp_path, 2**30), one_vector=False)
    prefix.install()
    prefix.move_to(2, [1], precision=precision_now("cpu"))
    narrowed(**batch()).logits.sum().backward()
    kept = {boundary: store.gather(list(store._waiting), 7, {}) for boundary, store in prefix.stores.items()}
    prefix.remove()
    expected = narrowed.bert.eval()(**batch()).last_hidden_state.detach()
    for row, length in enumerate((7, 4, 7)):
        torch.testing.assert_close(kept[2][row, :length], expected[row, :length], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_evaluation_has_the_logits_of_the_whole_layer_from_the_first_position_alone(kind):
    whole, narrowed = (model.eval() for model in pair(kind))
    shapes = []
    last_layer(narrowed).register_forward_hook(lambda _, __, states: shapes.append(states.shape))
    with torch.no_grad(), first_position_evaluated(narrowed):
        torch.testing.assert_close(narrowed(**batch()).logits, whole(**batch()).logits, rtol=1e-5, atol=1e-6)
        narrowed(**batch(), output_hidden_states=True)
        narrowed.base_model(**batch())
    with torch.no_grad():
        narrowed(**batch())
    assert shapes == [(3, 1, 32), (3, 7, 32), (3, 7, 32), (3, 7, 32)]


def test_a_model_whose_adapters_were_merged_is_evaluated_as_before(tmp_path):
    adapted = Lora(LoraRecipe()).prepare(built())
    assert first_position_alone(adapted, _logits)
    merged, shapes = adapted.merge_and_unload().requires_grad_(True), []
    last_layer(merged).register_forward_hook(lambda _, __, states: shapes.append(states.shape))
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True)
    items = [{name: value[0] for name, value in batch().items()}] * 3
    FullFinetuningTrainer(merged, arguments).predict(items)
    assert shapes == [(3, 1, 32)]


def test_in_inference_mode_nothing_is_proved_and_nothing_changes():
    model = built()
    with torch.inference_mode():
        assert not first_position_alone(model, _logits)
    assert not any("forward" in vars(module) for module in model.modules())


def test_what_a_frozen_prefix_keeps_in_evaluation_is_of_all_positions(tmp_path):
    _, narrowed = pair()
    narrowed.eval().bert.requires_grad_(False)
    prefix = FrozenPrefix(narrowed, anatomy_of(narrowed, batch()), Room(tmp_path, 2**30), one_vector=False)
    prefix.install()
    prefix.move_to(2, [1], precision=precision_now("cpu"))
    with torch.no_grad(), first_position_evaluated(narrowed):
        narrowed(**batch())
    kept = {boundary: store.gather(list(store._waiting), 7, {}) for boundary, store in prefix.stores.items()}
    prefix.remove()
    assert kept[1].shape == kept[2].shape == (3, 7, 32) and bool(kept[2][0].any(dim=1).all())


@pytest.mark.parametrize("mode", ["step", "evaluation"])
def test_what_a_frozen_prefix_keeps_as_one_vector_is_computed_for_the_first_position_alone(mode, tmp_path):
    whole, narrowed = pair()
    narrowed.train(mode == "step").bert.requires_grad_(False)
    prefix = FrozenPrefix(narrowed, anatomy_of(narrowed, batch()), Room(tmp_path, 2**30), one_vector=True)
    forward, shapes = last_layer(narrowed).forward, []
    compute = forward.compute
    forward.compute = lambda *given: shapes.append((out := compute(*given)).shape) or out
    prefix.install()
    prefix.move_to(2, [1], precision=precision_now("cpu"))
    logits = narrowed(**batch()).logits
    kept = [prefix.stores[one].gather(list(prefix.stores[one]._waiting), size, {}) for one, size in ((1, 7), (2, 1))]
    again = narrowed(**batch()).logits
    prefix.remove()
    assert shapes == [(3, 1, 32)] and bool(kept[0][0].any(dim=1).all())
    with torch.no_grad():
        expected = whole.bert.eval()(**batch(), output_hidden_states=True).hidden_states
    torch.testing.assert_close(kept[1], expected[2][:, :1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(kept[0][1, :4], expected[1][1, :4], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits, whole(**batch()).logits, rtol=1e-5, atol=1e-6)
    assert torch.equal(logits, again)
    narrowed.eval()(**batch())
    assert len(shapes) == 1


def test_evaluation_casts_weights_once_and_lets_go_of_the_casts_at_its_end():
    linear, casts = nn.Linear(4, 4), []

    class Casts(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            if function is torch.ops.aten._to_copy.default and arguments[0].shape == (4, 4):
                casts.append(function)
            return function(*arguments, **(options or {}))

    def evaluated(*, keep_casts):
        casts.clear()
        with torch.no_grad(), quick_evaluation(linear, keep_casts=keep_casts), Casts():
            for _ in range(3):
                with torch.autocast("cpu", torch.bfloat16):
                    out = linear(torch.ones(2, 4))
        return len(casts), out

    assert evaluated(keep_casts=False)[0] == 3
    assert evaluated(keep_casts=True)[0] == 1
    with torch.no_grad():
        linear.weight.zero_(), linear.bias.zero_()
    count, out = evaluated(keep_casts=True)
    assert count == 1 and not out.any()


@pytest.mark.parametrize("asked", ["eval", "no_grad", "hidden_states", "attentions", "backbone", "by_config"])
def test_outside_of_a_step_every_position_is_there(asked):
    whole, narrowed = pair()
    if asked == "attentions":
        for model in (whole, narrowed):
            model.set_attn_implementation("eager")
    given, found = batch(), []
    for model in (whole, narrowed):
        model.train(asked != "eval")
        model.config.output_hidden_states = asked == "by_config"
        more = {f"output_{asked}": True} if asked in ("hidden_states", "attentions") else {}
        with torch.set_grad_enabled(asked != "no_grad"):
            states: list[torch.Tensor] = []
            layer = model.bert.encoder.layer[-1]
            handle = layer.register_forward_hook(lambda _, __, out, states=states: states.append(out))
            (model.bert if asked == "backbone" else model)(**given, **more)
            handle.remove()
            found.append(states[0])
    assert found[0].shape == (3, 7, 32)
    torch.testing.assert_close(found[1], found[0])


def test_a_model_whose_config_asks_for_states_stays_as_it_is():
    model = built(config=BertConfig(**BERT, output_hidden_states=True))
    assert not first_position_alone(model, _logits)


def test_a_model_that_answers_with_tuples_is_narrowed_too():
    model = built(config=BertConfig(**BERT, return_dict=False))
    assert first_position_alone(model, _logits)
    assert model(**batch())[0].shape == (3, 2)


def test_a_call_that_fails_leaves_nothing_narrowed():
    _, narrowed = pair()
    with pytest.raises(IndexError):
        narrowed(input_ids=torch.full((1, 3), 10_000))
    assert narrowed.bert(**batch()).last_hidden_state.shape == (3, 7, 32)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (BertForTokenClassification, BertConfig(**BERT)),
        (BertForQuestionAnswering, BertConfig(**BERT)),
        (BertForMaskedLM, BertConfig(**BERT)),
        (MPNetForSequenceClassification, MPNetConfig(**BERT)),
        (BertForSequenceClassification, BertConfig(**BERT, is_decoder=True)),
    ],
)  # fmt: skip
def test_other_heads_and_layers_stay_as_they_are(kind, config):
    model = built(kind, config)
    assert not first_position_alone(model, _logits)
    assert all("forward" not in vars(module) for module in model.modules()) and not model._forward_pre_hooks


def test_a_head_that_reads_the_mean_stays_as_it_is():
    model = built()
    model.bert.pooler.forward = lambda states: states.mean(dim=1)
    assert not first_position_alone(model, _logits)


def test_a_layer_whose_narrow_form_answers_otherwise_stays_as_it_is(monkeypatch):
    def wrong(layer, states, mask, options):
        return first_position._of_bert(layer, states, None, options)

    monkeypatch.setitem(first_position.KNOWN, "transformers.models.bert.modeling_bert.BertLayer", wrong)
    model = built(config=BertConfig(**BERT, initializer_range=0.5))
    assert not first_position_alone(model, _logits)
    assert all("forward" not in vars(module) for module in model.modules())


def test_adapters_learn_the_same():
    models = [Lora(LoraRecipe(dropout=0.0)).prepare(built()).train() for _ in range(2)]
    for name, weight in models[0].named_parameters():
        if "lora_B" in name:  # they begin at zero, and then nothing would depend on A
            torch.manual_seed(len(name))
            weight.data.normal_(std=0.1)
            models[1].get_parameter(name).data.copy_(weight.data)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        other.data.copy_(one.data)
    plan = quicken_prepared(models[1], SpeedPlan(), "lora", 1)
    assert any("first position alone" in reason for reason in plan.reasons)
    for model in models:
        model(**batch()).logits.square().sum().backward()
    learnt = 0
    for (name, one), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        if one.grad is not None:
            learnt += 1
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6, msg=name)
    assert learnt > 12


def test_with_activation_checkpointing_gradients_stay():
    models = pair()
    for model in models:
        model.gradient_checkpointing_enable()
        model(**batch()).logits.square().sum().backward()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_computes_with_its_own_weights(copied):
    _, narrowed = pair()
    before = narrowed(**batch()).logits.detach()
    twin = copied(narrowed)
    with torch.no_grad():
        for weight in narrowed.parameters():
            weight.zero_()
    torch.testing.assert_close(twin(**batch()).logits, before)
