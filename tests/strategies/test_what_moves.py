"""What each strategy moves, leaves alone, and keeps in eval mode, in real training on many architectures."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import pytest
import torch
from architectures import CLASSIFIERS, PADDING, ROW_LENGTH, classifier, rows
from torch import nn
from transformers import TrainingArguments, set_seed

from hf_fft.recipe import FeatureBasedRecipe
from hf_fft.strategies import FeatureBased, Strategy, layer_groups
from hf_fft.training import FullFinetuningTrainer

# The parameters that two steps of full fine-tuning cannot move, and why.
NEVER_MOVED = {
    # Fixed sinusoids: frozen by the architecture.
    "RoFormer": {"roformer.encoder.embed_positions.weight"},
    # In the top layer only the first token is read, and its attention to positions and segments is masked
    # (separate_cls), so their gradient is exactly zero.
    "Funnel": {
        f"funnel.encoder.blocks.1.1.attention.{name}" for name in ("r_kernel", "r_r_bias", "r_s_bias", "seg_embed")
    },
}


@dataclass
class Trained:
    """What was seen of two optimizer steps.

    Attributes:
        before: Every parameter as it was.
        received: The parameters that got a gradient other than zero.
        training: In the second step's forward pass: which modules were in training mode.
        passes: Two passes through the backbone, right after that forward pass.
        logits: Two passes through the whole model there.
    """

    model: nn.Module
    before: dict[str, torch.Tensor]
    received: set[str] = field(default_factory=set)
    training: dict[str, bool] = field(default_factory=dict)
    passes: list[torch.Tensor] = field(default_factory=list)
    logits: list[torch.Tensor] = field(default_factory=list)

    @property
    def moved(self) -> set[str]:
        return {name for name, value in self.model.named_parameters() if not torch.equal(value, self.before[name])}


@functools.cache
def trained(name: str, strategy: str, folder: str = "") -> Trained:
    """Train the architecture for two steps of four rows by AdamW."""
    torch.set_num_threads(1)
    set_seed(7)
    return train(classifier(name), strategy, folder)


def train(model: nn.Module, strategy: str | Strategy, folder: str) -> Trained:
    seen = Trained(model, {name: value.detach().clone() for name, value in model.named_parameters()})
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=4,
        max_steps=2,
        learning_rate=1e-2,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = FullFinetuningTrainer(model, arguments, strategy=strategy, train_dataset=rows())
    for name, value in model.named_parameters():
        if value.requires_grad:
            value.register_post_accumulate_grad_hook(
                lambda value, name=name: seen.received.add(name) if value.grad.any() else None
            )
    model.register_forward_hook(functools.partial(look, trainer, seen), with_kwargs=True)
    trainer.train()
    return seen


def look(trainer, seen: Trained, model, positional, inputs, outputs) -> None:
    """In the second step, note every module's mode and pass the same batch through twice more."""
    if trainer.state.global_step != 1 or seen.training:
        return
    seen.training = {name: module.training for name, module in model.named_modules()}
    batch = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        seen.passes = [model.base_model(**batch)[0] for _ in range(2)]
        seen.logits = [model(**batch).logits for _ in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("trained"))


def head_of(model: nn.Module) -> set[str]:
    """Return the top group and whatever else stands outside the backbone."""
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    outside = {name for name, parameter in model.named_parameters() if id(parameter) not in inside}
    return outside | set(layer_groups(model)[-1].parameters)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_full_moves_every_parameter(name, folder):
    run = trained(name, "full", folder)
    assert set(run.before) - run.moved == NEVER_MOVED.get(name, set())
    assert run.moved == run.received


def test_full_moves_the_rows_of_the_tables_that_the_data_use_and_no_padding(folder):
    run = trained("Bert", "full", folder)
    parameters = dict(run.model.named_parameters())

    def moved_rows(table: str) -> set[int]:
        name = f"bert.embeddings.{table}.weight"
        return set((parameters[name] != run.before[name]).any(dim=1).nonzero().flatten().tolist())

    used = {token for row in rows()["input_ids"] for token in row}
    assert PADDING in used
    assert moved_rows("word_embeddings") == used - {PADDING}
    assert moved_rows("position_embeddings") == set(range(ROW_LENGTH))
    assert moved_rows("token_type_embeddings") == {0}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_feature_based_moves_its_head_and_all_of_it_and_nothing_else(name, folder):
    run = trained(name, "feature_based", folder)
    head = head_of(run.model)
    assert head < set(run.before)
    assert run.moved == run.received == head
    frozen = {parameter for parameter, value in run.model.named_parameters() if not value.requires_grad}
    assert frozen == set(run.before) - head


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_feature_based_keeps_the_frozen_backbone_in_eval_mode_while_it_trains(name, folder):
    run = trained(name, "feature_based", folder)
    assert run.training, "the second step was never seen"
    inside = set(run.model.base_model.modules())
    for path, module in run.model.named_modules():
        parameters = list(module.parameters())
        frozen = bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
        if frozen or (isinstance(module, nn.Dropout) and module in inside):
            assert not run.training[path], path
    assert torch.equal(*run.passes)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_feature_based_leaves_the_heads_dropout_on(name, folder):
    run = trained(name, "feature_based", folder)
    inside = set(run.model.base_model.modules())
    dropouts = [
        path
        for path, module in run.model.named_modules()
        if isinstance(module, nn.Dropout) and module.p > 0 and module not in inside
    ]
    assert all(run.training[path] for path in dropouts)
    has_dropout = name not in ("Llama", "Qwen3", "OPT")  # Their head is one linear layer.
    assert bool(dropouts) == has_dropout
    assert torch.equal(*run.logits) != has_dropout


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_full_leaves_dropout_on_in_the_backbone(name, folder):
    run = trained(name, "full", folder)
    assert all(run.training.values())
    assert not torch.equal(*run.passes)


@pytest.mark.parametrize(("pooler", "trained_count"), [("train", 2 + 2), ("frozen", 2)])
def test_the_pooler_trains_with_the_head_or_stays_frozen(pooler, trained_count, tmp_path, one_thread):
    run = train(classifier("Bert"), FeatureBased(FeatureBasedRecipe(pooler=pooler)), str(tmp_path))
    parameters = {"classifier.weight": 16 * 3, "classifier.bias": 3}
    if pooler == "train":
        parameters |= {"bert.pooler.dense.weight": 16 * 16, "bert.pooler.dense.bias": 16}
    assert len(parameters) == trained_count
    sizes = {name: value.numel() for name, value in run.model.named_parameters() if value.requires_grad}
    assert sizes == parameters
    assert run.moved == set(parameters)
    assert run.training["bert.pooler"] == (pooler == "train")
    assert run.training["dropout"]
    assert torch.equal(*run.passes)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_with_a_frozen_pooler_only_what_stands_outside_the_backbone_trains(name):
    model = FeatureBased(FeatureBasedRecipe(pooler="frozen")).prepare(classifier(name))
    assert not any(parameter.requires_grad for parameter in model.base_model.parameters())
    outside = set(model.parameters()) - set(model.base_model.parameters())
    assert outside
    assert all(parameter.requires_grad for parameter in outside)


@pytest.mark.parametrize("strategy", ["full", "feature_based"])
def test_evaluation_stays_in_eval_mode(strategy, folder):
    model = trained("Bert", strategy, folder).model.eval()
    batch = {key: torch.tensor(rows()[key]) for key in ("input_ids", "attention_mask")}
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    assert not any(module.training for module in model.modules())
