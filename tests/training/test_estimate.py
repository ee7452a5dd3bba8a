"""What a run will take is told before it trains: counted to the byte, refused where it cannot fit, with no trace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hf_fft.__main__ import main
from hf_fft.errors import RecipeError
from hf_fft.pipeline import fill_in, prepare, trainer_for
from hf_fft.recipe import recipe_from
from hf_fft.training import PeakMemory, check_fit, memory
from hf_fft.training.estimate.counted import forward, longest_batch, training_levels, undisturbed
from hf_fft.training.estimate.fit import remedies
from hf_fft.training.estimate.live_memory import LiveMemory
from hf_fft.training.estimate.memory_estimate import estimate_memory, optimizer_bytes
from hf_fft.training.estimate.preview import preview, tried
from hf_fft.training.estimate.trial import run_on_trial

pytestmark = pytest.mark.usefixtures("one_thread")
GIB = 2**30


@pytest.fixture
def made(recipe_values, tmp_path):
    """Return what prepares a run: (prepared, trainer) for the recipe's values with some changed."""

    def make(changes=None, **sections):
        recipe = recipe_from({**recipe_values, **sections}).with_values(changes or {})
        filled, notes = fill_in(recipe)
        prepared = prepare(filled, notes)
        return prepared, trainer_for(prepared, tmp_path / "checkpoints")

    return make


def counted_step(trainer, rows):
    loader = trainer.get_train_dataloader()
    with undisturbed(trainer) as model:
        model.train()
        batch = longest_batch(trainer, loader, rows)
        with LiveMemory().marking(model) as memory:
            forward(trainer, batch).backward()
    return memory.peak


def test_a_tensor_counts_while_it_lives_and_a_view_or_a_change_in_place_does_not():
    before = torch.zeros(1000)
    with LiveMemory() as memory:
        kept = before + 1
        kept.add_(1)
        view = kept[:10].view(2, 5)
        before.mul_(2)
        assert memory.now == 4000
        temporary = torch.zeros(500, dtype=torch.float64)
        del temporary
    assert memory.now == 4000 and memory.peak == 8000 and view.shape == (2, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"speed": "off"},
        {"strategy": "lora"},
        {"strategy": "lora", "training.bf16": True},
        {"strategy": "feature_based"},
        {"training.activation_checkpointing": True},
        {"training.bf16": True},
    ],
    ids=str,
)
def test_a_large_batch_follows_from_two_small_ones_to_the_byte(made, changes):
    _, trainer = made(changes)
    assert training_levels(trainer).peak(24) == counted_step(trainer, 24)


def test_optimizer_state_is_that_of_the_optimizer_which_the_run_has(made):
    _, trainer = made({"training.optim": "adamw_torch"})
    parameters = sum(parameter.numel() * 4 for parameter in trainer.model.parameters())
    tensors = len(list(trainer.model.parameters()))
    assert 2 * parameters <= optimizer_bytes(trainer)[0] <= 2 * parameters + 4 * tensors  # with a step count each
    assert optimizer_bytes(made({"training.optim": "sgd"})[1])[0] == 0
    factored, _ = optimizer_bytes(made({"training.optim": "adafactor"})[1])
    assert 0 < factored < parameters / 4


def test_what_is_frozen_has_no_gradients_no_state_and_fewer_activations(made):
    parts = {}
    for strategy in ("full", "feature_based", "gradual_unfreezing", "probe_then_full"):
        prepared, trainer = made({"strategy": strategy, "speed": "off"})
        parts[strategy] = estimate_memory(trainer, [prepared.encoded.test])
    full, frozen = parts["full"], parts["feature_based"]
    buffers = sum(buffer.nbytes for buffer in trainer.model.buffers())
    assert full.gradients == full.parameters - buffers > 5 * frozen.gradients
    assert full.optimizer_state > 5 * frozen.optimizer_state and full.activations > 2 * frozen.activations
    for strategy in ("gradual_unfreezing", "probe_then_full"):  # in the end everything learns
        assert parts[strategy].gradients == full.gradients and parts[strategy].tensors == full.tensors


def test_the_longest_batch_is_the_longest_row_as_often_as_the_batch_has_rows(made):
    prepared, trainer = made({"training.per_device_train_batch_size": 12})
    estimate = estimate_memory(trainer, [])
    assert estimate.rows == 12
    assert estimate.length == max(len(ids) for ids in prepared.encoded.train["input_ids"])
    values = {"speed": {"name": "auto", "max_tokens_per_batch": 100}}
    training = {"learning_rate": 1e-3, "use_cpu": True}
    _, by_tokens = made(training=training, **values)
    assert estimate_memory(by_tokens, []).rows == 100 // estimate.length


@pytest.mark.parametrize("strategy", ["full", "gradual_unfreezing", "lora"])
def test_a_run_that_was_tried_first_ends_with_the_weights_of_one_that_was_not(made, strategy):
    ends = []
    for tries in (False, True):
        # Attention is chosen by a stopwatch, and need not be the same twice.
        prepared, trainer = made({"strategy": strategy, "speed": "off"})
        if tries:
            estimate = check_fit(trainer, [prepared.encoded.test], available=GIB)
            run_on_trial(
                trainer,
                PeakMemory(on_gpu=False),
                rows=estimate.rows,
                validation=prepared.encoded.validation,
                test=prepared.encoded.test,
            )
        trainer.train()
        ends.append({name: value.clone() for name, value in trainer.model.state_dict().items()})
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_trial_steps_measure_memory_and_tell_steps_and_seconds(made):
    measuring = PeakMemory(on_gpu=False)
    prepared, trainer = made({"training.gradient_accumulation_steps": 2})
    estimate, time = tried(trainer, prepared.encoded, measuring)
    # A process that has worked before may hold all that so small a model needs.
    assert estimate.measured >= estimate.held >= 0 and estimate.loaded == estimate.parameters
    assert estimate.peak == max(estimate.measured, estimate.held + estimate.loaded)
    assert time.steps == 8 and time.step_seconds > 0 and time.evaluation_seconds > 0
    assert time.training_seconds == pytest.approx(8 * time.step_seconds)


def test_what_cannot_fit_is_refused_with_what_would_make_it_fit_each_with_its_own_estimate(made):
    prepared, trainer = made({"training.per_device_train_batch_size": 32})
    estimate = estimate_memory(trainer, [])
    bare = replace(estimate, allowance=replace(estimate.allowance, share=0.0, fixed_bytes=0))
    found = {one.words: one.peak for one in remedies(trainer, bare, bare.tensors - 1)}
    assert len(found) >= 3 and max(found.values()) < bare.tensors
    for words in ("per_device_train_batch_size 16", "activation_checkpointing true", "optim adafactor"):
        assert any(words in one for one in found), found
    with pytest.raises(RecipeError, match=r"activation_checkpointing true: .* MiB, (fits|not enough)") as refused:
        check_fit(trainer, [prepared.encoded.test], available=estimate.tensors - 1)
    assert "are available: parameters, gradients and optimizer state" in str(refused.value)


def test_a_smaller_batch_is_halved_until_it_fits_and_keeps_the_effective_batch(made):
    _, trainer = made({"training.per_device_train_batch_size": 32})
    estimate = estimate_memory(trainer, [])
    bare = replace(estimate, allowance=replace(estimate.allowance, share=0.0, fixed_bytes=0))
    room = replace(bare, rows=8, accumulates=True).tensors
    smaller = remedies(trainer, bare, room)[0]
    assert "per_device_train_batch_size 8 and training.gradient_accumulation_steps 4" in smaller.words
    assert smaller.peak == room


def test_check_shows_the_estimate_and_a_run_that_cannot_fit_ends_with_2(recipe_values, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.json").write_text(json.dumps(recipe_values))
    assert main(["run", "reviews.json", "--check"]) == 0
    printed = capsys.readouterr().out
    for words in ("Estimate", "at the peak, of", "optimizer state", "s a step", "a checkpoint, at most 3 at once"):
        assert words in printed, words
    monkeypatch.setattr(memory, "available_bytes", lambda *, on_gpu: 50_000)
    assert main(["run", "reviews.json", "--check"]) == 2
    checked = capsys.readouterr()
    assert "What learns" in checked.out and "This run needs at least" in checked.err
    assert main(["run", "reviews.json"]) == 2
    assert "What would take less" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "reviews" / "result.json").exists()


def test_a_run_that_may_not_fit_is_told_so_and_goes_on(made, caplog):
    prepared, trainer = made()
    estimate = check_fit(trainer, [prepared.encoded.test], available=GIB)
    assert "may not fit" not in caplog.text
    check_fit(trainer, [prepared.encoded.test], available=estimate.peak - 1)
    assert "may not fit" in caplog.text
    measuring = PeakMemory(on_gpu=False)
    measuring.available = estimate.tensors
    lines = preview(trainer, prepared.encoded, measuring, folder=Path.cwd())
    assert any("what would take less" in line for line in lines)


@pytest.mark.parametrize(
    ("version", "files", "left"),
    [
        (1, {"limit_in_bytes": "1000", "usage_in_bytes": "700", "stat": "cache 5\ntotal_inactive_file 200\n"}, 500),
        (2, {"max": "1000", "current": "700", "stat": "anon 5\ninactive_file 100\n"}, 400),
        (2, {"max": "max", "current": "700", "stat": "inactive_file 100\n"}, None),
    ],
)
def test_the_limit_of_a_control_group_bounds_what_is_available(tmp_path, monkeypatch, version, files, left):
    inside = tmp_path / "memory" / "box" if version == 1 else tmp_path / "box"
    inside.mkdir(parents=True)
    for name, text in files.items():
        (inside / f"memory.{name}").write_text(text)
    (tmp_path / "cgroup").write_text("4:memory:/box\n" if version == 1 else "0::/box\n")
    monkeypatch.setattr(memory, "GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path)
    available = memory.available_bytes(on_gpu=False)
    assert available == left if left is not None else available > 10**6
