"""Probe, then full: the head first and everything from there, in one run that can be interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from architectures import GPT_LIKE, build, classifier, rows
from torch import nn
from transformers import TrainerCallback, TrainingArguments, set_seed

from hf_fft.errors import StrategyError
from hf_fft.recipe import FeatureBasedRecipe, ProbeThenFullRecipe, recipe_from
from hf_fft.strategies import FeatureBased, ProbeThenFull, layer_groups
from hf_fft.tasks.masking import MaskEpochs
from hf_fft.training import CostMeter, FullFinetuningTrainer
from hf_fft.training.probe import probe_arguments

pytestmark = pytest.mark.usefixtures("one_thread")
SCRIPT = Path(__file__).with_name("probe_on_two_processes.py")
RECIPE = ProbeThenFullRecipe(probe_epochs=2, probe_learning_rate=0.05)


def trainer_of(model: nn.Module, folder, strategy, *, callbacks=(), **options) -> FullFinetuningTrainer:
    fixed = {"learning_rate": 1e-2, "save_strategy": "no", "logging_steps": 1, "use_cpu": True, "disable_tqdm": True}
    arguments = TrainingArguments(str(folder), **{"per_device_train_batch_size": 4, "max_steps": 4, **fixed, **options})
    data = {"train_dataset": rows(16), "eval_dataset": rows(8)}
    return FullFinetuningTrainer(model, arguments, strategy=strategy, callbacks=list(callbacks), **data)


def model() -> nn.Module:
    set_seed(1)
    return classifier("Bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def weights(trainer) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in trainer.model.parameters()])


def learning_in_each_step(one: nn.Module) -> list[set[str]]:
    """Return a list that fills with the names of the parameters that learn, a set for each forward pass in training."""
    seen: list[set[str]] = []

    def look(module, inputs) -> None:
        if module.training:
            seen.append({name for name, value in module.named_parameters() if value.requires_grad})

    one.register_forward_pre_hook(look)
    return seen


def test_the_head_learns_first_and_then_everything(tmp_path):
    one = model()
    seen = learning_in_each_step(one)
    trainer_of(one, tmp_path, ProbeThenFull(RECIPE)).train()
    head = set(layer_groups(one)[-1].parameters)
    probe_steps = 2 * 4
    assert seen[:probe_steps] == [head] * probe_steps
    assert seen[probe_steps:] == [{name for name, _ in one.named_parameters()}] * 4


def test_it_is_feature_based_and_then_full_from_there(tmp_path):
    one = model()
    trainer = trainer_of(one, tmp_path / "one", ProbeThenFull(RECIPE))
    trainer.train()
    by_hand = model()
    head = FeatureBased(FeatureBasedRecipe())
    first = trainer_of(by_hand, tmp_path / "a", head, max_steps=-1, num_train_epochs=2, learning_rate=0.05)
    first.train()
    by_hand.requires_grad_(True)
    second = trainer_of(by_hand, tmp_path / "b", "full")
    second.train()
    assert torch.equal(weights(trainer), weights(second))


def test_a_callback_that_belongs_to_the_data_works_in_the_probe_too(tmp_path):
    class Epochs(TrainerCallback):
        def __init__(self) -> None:
            self.begun = 0

        def on_epoch_begin(self, *_, **__) -> None:
            self.begun += 1

    class OfTheData(Epochs):
        belongs_to_data = True

    of_the_run, of_the_data = Epochs(), OfTheData()
    trainer_of(model(), tmp_path, ProbeThenFull(RECIPE), callbacks=[of_the_run, of_the_data]).train()
    assert (of_the_run.begun, of_the_data.begun) == (1, RECIPE.probe_epochs + 1)
    assert MaskEpochs.belongs_to_data


def test_the_log_of_the_probe_ends_at_step_zero_before_the_runs_own(tmp_path):
    trainer = trainer_of(model(), tmp_path, ProbeThenFull(RECIPE))
    trainer.train()
    steps = [line["step"] for line in trainer.state.log_history if "loss" in line]
    assert steps == [*range(-7, 1), *range(1, 5)]
    assert not (tmp_path / "probe").exists()


def test_the_probe_ends_when_validation_stops_improving_and_its_best_head_goes_on(tmp_path):
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_made_up", "greater_is_better": True}
    each_epoch = {"eval_strategy": "epoch", "save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 1}
    recipe = ProbeThenFullRecipe(probe_epochs=9, probe_learning_rate=0.05)
    trainer = trainer_of(model(), tmp_path, ProbeThenFull(recipe), **best, **each_epoch)
    scores = iter([1.0, 2.0, 1.5, 3.0])
    trainer.compute_metrics = lambda output: {"made_up": next(scores)}
    trainer.train()
    evaluations = [line["epoch"] for line in trainer.state.log_history if "eval_made_up" in line]
    assert evaluations == [-2.0, -1.0, 0.0, 1.0]


@pytest.mark.parametrize(("asked", "expected"), [(500, 0), (0.1, 0.1)])
def test_warm_up_counted_in_steps_is_meant_for_the_second_part(asked, expected, tmp_path):
    trainer = trainer_of(model(), tmp_path, ProbeThenFull(RECIPE), warmup_steps=asked)
    arguments = probe_arguments(trainer.args, trainer.strategy.probe, tmp_path, validates=False)
    assert arguments.warmup_steps == expected and trainer.args.warmup_steps == asked


@pytest.mark.parametrize("stopped_at", [1, 3])
def test_a_resumed_run_does_not_probe_again_and_ends_with_the_same_weights(stopped_at, tmp_path):
    kept = {"save_strategy": "steps", "save_steps": 1}
    alone = trainer_of(model(), tmp_path / "alone", ProbeThenFull(RECIPE), **kept)
    alone.train()
    one = model()
    seen = learning_in_each_step(one)
    resumed = trainer_of(one, tmp_path / "resumed", ProbeThenFull(RECIPE), **kept)
    resumed.train(resume_from_checkpoint=str(tmp_path / "alone" / f"checkpoint-{stopped_at}"))
    assert len(seen) == 4 - stopped_at
    assert torch.equal(weights(alone), weights(resumed))


def test_the_cost_counts_both_parts(tmp_path):
    ticks = iter(range(1000))
    meter = CostMeter(clock=lambda: float(next(ticks)))
    trainer_of(model(), tmp_path, ProbeThenFull(RECIPE), callbacks=[meter]).train()
    assert meter.train_seconds >= 8 + 4


def test_a_model_without_a_head_of_its_own_is_refused(tmp_path):
    with pytest.raises(StrategyError, match="has no head of its own"):
        ProbeThenFull().prepare(build("GPT2LMHeadModel", "GPT2Config", GPT_LIKE))


def test_a_recipe_names_it():
    values = {"task": "text_classification", "model": "m", "data": {"path": "d"}}
    recipe = recipe_from({**values, "strategy": {"name": "probe_then_full", "probe_epochs": 3}})
    assert recipe.strategy == ProbeThenFullRecipe(probe_epochs=3)


@pytest.mark.processes
def test_two_processes_end_with_the_same_weights_and_as_one_process(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    finished = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr[-3000:]
    ranks = [torch.load(tmp_path / f"weights-{rank}.pt") for rank in (0, 1)]
    assert torch.equal(*ranks)
    alone = trainer_of(model(), tmp_path / "alone", ProbeThenFull(RECIPE), optim="sgd")
    alone.train()
    assert (ranks[0] - weights(alone)).abs().max() < 1e-5
