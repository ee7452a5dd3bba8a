"""Gradual unfreezing opens one group after another from the top, and a run that was interrupted ends the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from architectures import CLASSIFIERS, classifier, rows
from torch import nn
from transformers import TrainerCallback, TrainingArguments, set_seed

from hf_fft.errors import StrategyError
from hf_fft.recipe import GradualUnfreezingRecipe
from hf_fft.strategies import GradualUnfreezing, layer_groups
from hf_fft.strategies.gradual_unfreezing import opening_steps
from hf_fft.training import FullFinetuningTrainer

SCRIPT = Path(__file__).with_name("unfreeze_on_two_processes.py")


class Watch(TrainerCallback):
    """Note after every step which parameters moved in it, and in its forward pass which modules were in eval mode."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.moved: list[set[str]] = []
        self.evaluating: list[set[str]] = []
        self.before = self.values()
        model.register_forward_hook(self.look)

    def values(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.model.named_parameters()}

    def look(self, model, inputs, outputs) -> None:
        self.evaluating.append({name for name, module in model.named_modules() if not module.training})

    def on_step_end(self, args, state, control, **parts) -> None:
        now = self.values()
        self.moved.append({name for name, value in now.items() if not torch.equal(value, self.before[name])})
        self.before = now


def trainer_of(model: nn.Module, folder, recipe: GradualUnfreezingRecipe, **options) -> FullFinetuningTrainer:
    fixed = {"learning_rate": 1e-2, "save_strategy": "no", "report_to": [], "use_cpu": True, "disable_tqdm": True}
    arguments = TrainingArguments(output_dir=str(folder), **{"per_device_train_batch_size": 4, **fixed, **options})
    return FullFinetuningTrainer(model, arguments, strategy=GradualUnfreezing(recipe), train_dataset=rows(16))


def top_down(model: nn.Module) -> list[set[str]]:
    return [set(group.parameters) for group in reversed(layer_groups(model))]


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in {"RoFormer", "Funnel"}])
def test_every_step_moves_exactly_the_open_groups_from_the_top(name, tmp_path, one_thread):
    set_seed(7)
    model = classifier(name)
    groups = top_down(model)
    trainer = trainer_of(model, tmp_path, GradualUnfreezingRecipe(schedule="steps", every=2), max_steps=2 * len(groups))
    watch = Watch(model)
    trainer.add_callback(watch)
    trainer.train()
    opened = [set().union(*groups[: 1 + step // 2]) for step in range(2 * len(groups))]
    assert watch.moved == opened


def test_frozen_layers_are_in_eval_mode_and_open_ones_are_not(tmp_path, one_thread):
    model = classifier("Bert")
    trainer = trainer_of(model, tmp_path, GradualUnfreezingRecipe(schedule="steps"), max_steps=4)
    watch = Watch(model)
    trainer.add_callback(watch)
    trainer.train()
    layers = ["bert.encoder.layer.1", "bert.encoder.layer.0", "bert.embeddings"]
    for step, evaluating in enumerate(watch.evaluating):
        assert [layer in evaluating for layer in layers] == [step < place for place in (1, 2, 3)]
        assert "classifier" not in evaluating


def test_one_group_an_epoch_also_under_accumulation(tmp_path, one_thread):
    model = classifier("Bert")
    options = {"num_train_epochs": 4, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    trainer = trainer_of(model, tmp_path, GradualUnfreezingRecipe(schedule="epochs"), **options)
    watch = Watch(model)
    trainer.add_callback(watch)
    trainer.train()
    groups = top_down(model)
    steps_per_epoch = 2
    assert watch.moved == [set().union(*groups[: 1 + step // steps_per_epoch]) for step in range(8)]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"schedule": "spread"}, [0, 3, 5, 8]),
        ({"schedule": "epochs"}, [0, 10, 20, 30]),
        ({"schedule": "epochs", "every": 0.3}, [0, 3, 6, 9]),
        ({"schedule": "epochs", "every": 0.25}, [0, 2, 5, 8]),
        ({"schedule": "steps", "every": 4}, [0, 4, 8, 12]),
    ],
)
def test_the_steps_at_which_groups_open(recipe, expected):
    assert opening_steps(GradualUnfreezingRecipe(**recipe), 4, max_steps=10, steps_per_epoch=10) == expected


def test_groups_that_a_short_run_never_opens_are_told():
    lines = GradualUnfreezing(GradualUnfreezingRecipe(schedule="epochs")).stages(
        classifier("Bert"), max_steps=20, steps_per_epoch=10
    )
    assert lines[:2] == ["head opens at step 0", "layer 1 opens at step 10"]
    assert lines[2].startswith("never opened in 20 steps: layer 0, embeddings;")


def test_spread_opens_every_group():
    lines = GradualUnfreezing().stages(classifier("Bert"), max_steps=4, steps_per_epoch=2)
    names = ["head", "layer 1", "layer 0", "embeddings"]
    assert lines == [f"{name} opens at step {step}" for step, name in enumerate(names)]


@pytest.mark.parametrize("stopped_at", range(1, 8, 2))
def test_a_run_resumed_at_any_step_ends_with_the_same_weights(stopped_at, tmp_path, one_thread):
    recipe = GradualUnfreezingRecipe(layer_decay=0.5)
    options = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1, "weight_decay": 0.1}

    def weights(model):
        return [value.detach() for value in model.parameters()]

    set_seed(1)
    alone = classifier("Bert", hidden_dropout_prob=0.1)
    trainer_of(alone, tmp_path / "alone", recipe, **options).train()
    set_seed(1)
    checkpoint = str(tmp_path / "alone" / f"checkpoint-{stopped_at}")
    resumed = classifier("Bert", hidden_dropout_prob=0.1)
    trainer_of(resumed, tmp_path / "resumed", recipe, **options).train(resume_from_checkpoint=checkpoint)
    assert all(torch.equal(one, other) for one, other in zip(weights(alone), weights(resumed), strict=True))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("fsdp", "full_shard", "FSDP lays parameters out once for all"),
        ("deepspeed", "stage2.json", "DeepSpeed lays parameters out"),
        ("activation_checkpointing_kwargs", {"use_reentrant": True}, "Leave use_reentrant out"),
    ],
)
def test_what_cannot_freeze_while_it_trains_is_refused(field, value, words, tmp_path):
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, activation_checkpointing=True)
    setattr(arguments, field, value)
    with pytest.raises(StrategyError, match=words):
        FullFinetuningTrainer(classifier("Bert"), arguments, strategy="gradual_unfreezing", train_dataset=rows())


@pytest.mark.processes
def test_two_processes_end_with_the_same_weights_with_activation_checkpointing_too(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    finished = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for kind in ("plain", "checkpointing"):
        ranks = [torch.load(tmp_path / f"{kind}-{rank}.pt") for rank in (0, 1)]
        assert torch.equal(*ranks)
        moved = json.loads((tmp_path / f"{kind}-0.json").read_text())
        assert moved == ["head", "layer 1", "layer 0", "embeddings"]
