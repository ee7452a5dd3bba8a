"""What is chosen to be fast, when, and that whatever the recipe says wins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn

from hf_fft.data import Splits
from hf_fft.errors import RecipeError
from hf_fft.pipeline import fill_in, prepare, trainer_for
from hf_fft.recipe import recipe_from
from hf_fft.result import SpeedPlan
from hf_fft.training import plan_speed, with_choice
from hf_fft.training.arguments import evaluation_rows
from hf_fft.training.speed import plan as speed
from hf_fft.training.speed.batches import LikeLengthRows, sampler_of
from hf_fft.training.speed.cores import threads_for, usable_cores
from hf_fft.training.speed.dropout import CheapDropout

OF_MANY_LENGTHS = np.random.default_rng(0).integers(4, 60, size=200)


def splits(lengths=OF_MANY_LENGTHS, test_lengths=(5, 9, 7)) -> Splits:
    rows = [Dataset.from_dict({"input_ids": [[1] * length for length in many]}) for many in (lengths, test_lengths)]
    return Splits(rows[0], None, rows[1])


@pytest.fixture(autouse=True)
def a_processor_with_bf16(monkeypatch):
    """Every test runs as on a processor with AVX512-BF16 and without a GPU, in one process."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def plan(recipe_values, encoded=None, *, speed="auto", **training) -> SpeedPlan:
    values = {**recipe_values, "training": {**recipe_values["training"], **training}, "speed": speed}
    return plan_speed(recipe_from(values), encoded or splits())


def test_on_a_processor_with_bf16_and_rows_of_many_lengths_all_is_chosen_and_explained(recipe_values):
    chosen = plan(recipe_values)
    assert (chosen.bf16, chosen.batches_by_length, chosen.evaluation_by_length) == (True, True, True)
    assert chosen.max_tokens_per_batch is None
    words = "\n".join(chosen.reasons)
    assert "bf16 autocast over float32 weights: this processor multiplies bfloat16 itself (AVX512-BF16)" in words
    assert "rows of like length in a batch: 9% padding instead of 38%; seeded by epoch" in words
    assert "torch_compile, which gained nothing on a CPU" in words and "fused AdamW" in words


def test_speed_off_chooses_nothing(recipe_values):
    off = plan(recipe_values, speed="off")
    assert off.model_copy(update={"reasons": ()}) == SpeedPlan()
    assert off.reasons == ("speed is off: plain Trainer with the recipe's arguments",)


@pytest.mark.parametrize("name", ["bf16", "fp16"])
@pytest.mark.parametrize("value", [True, False])
def test_a_precision_that_the_recipe_names_wins_false_included(name, value, recipe_values):
    chosen = plan(recipe_values, **{name: value})
    assert not chosen.bf16 and f"precision as training.{name} says" in chosen.reasons


@pytest.mark.parametrize(
    ("has", "units"), [({"amx_bf16": True}, "AMX"), ({"avx512_bf16": False}, None), ({}, None), (None, None)]
)
def test_bf16_is_chosen_where_the_processor_has_units_for_it(has, units, recipe_values, monkeypatch):
    if has is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    chosen = plan(recipe_values)
    assert chosen.bf16 == (units is not None)
    assert (f"({units})" if units else "float32: this processor has no units for bfloat16") in chosen.reasons[0]


@pytest.mark.parametrize("supported", [True, False])
def test_on_a_gpu_bf16_is_chosen_where_it_is_no_emulation(supported, recipe_values, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: supported or including_emulation
    )
    chosen = plan({**recipe_values, "training": {}})
    assert chosen.bf16 == supported and "GPU" in chosen.reasons[0]
    assert chosen.threads is None and "not measured on a GPU" in chosen.reasons[-1]
    assert "this processor" in plan({**recipe_values, "training": {"use_cpu": True}}).reasons[0]


@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length"])
def test_a_sampling_that_the_recipe_names_wins(strategy, recipe_values):
    chosen = plan(recipe_values, train_sampling_strategy=strategy)
    assert not chosen.batches_by_length
    reason = next(reason for reason in chosen.reasons if "train_sampling_strategy" in reason)
    assert ("does not repeat exactly" in reason) == (strategy == "group_by_length")


def test_rows_of_one_length_stay_in_random_order_and_are_evaluated_in_theirs(recipe_values):
    chosen = plan(recipe_values, splits([32] * 100, [32] * 5))
    assert not chosen.batches_by_length and not chosen.evaluation_by_length
    assert "batches in random order: only 0% of them is padding" in chosen.reasons


@pytest.mark.parametrize(
    ("longest", "training", "rows"),
    [(64, {}, 64), (20, {}, 64), (65, {}, 56), (72, {}, 56), (102, {}, 40), (103, {}, None), (300, {}, None),
     (64, {"per_device_eval_batch_size": 8}, None), (72, {"per_device_train_batch_size": 56}, None)],
)  # fmt: skip
def test_short_rows_are_evaluated_many_at_a_time(longest, training, rows, recipe_values):
    chosen = plan(recipe_values, splits([10] * 100, [5, longest, 7]), **training)
    assert chosen.evaluation_rows == rows
    said = [reason for reason in chosen.reasons if "a batch in evaluation" in reason]
    assert said == ([f"{rows} rows a batch in evaluation: the longest has {longest} tokens"] if rows else [])
    asked = (
        training.get("per_device_eval_batch_size") or rows or max(32, training.get("per_device_train_batch_size", 8))
    )
    assert evaluation_rows(training, chosen) == asked


def test_rows_of_unknown_length_are_evaluated_as_usual(recipe_values):
    known, unknown = splits([10] * 100, [64]), Dataset.from_dict({"pixels": [1]})
    assert plan(recipe_values, known).evaluation_rows == 64
    assert plan(recipe_values, Splits(known.train, known.test, unknown)).evaluation_rows is None
    assert plan(recipe_values, Splits(known.train, None, known.test.select([]))).evaluation_rows is None


def test_where_words_of_a_vocabulary_are_scored_batches_stay_small(recipe_values):
    recipe = {**recipe_values, "task": {"name": "masked_language_modeling"}}
    assert plan(recipe, splits([10] * 100, [64])).evaluation_rows is None


def test_rows_without_token_ids_are_left_alone(recipe_values):
    without = Splits(Dataset.from_dict({"pixels": [1, 2]}), None, Dataset.from_dict({"pixels": [1]}))
    chosen = plan(recipe_values, without)
    assert not chosen.batches_by_length and not chosen.evaluation_by_length
    with pytest.raises(RecipeError, match="needs training rows with token ids"):
        plan(without_batch_size(recipe_values), without, speed={"name": "auto", "max_tokens_per_batch": 8})


def without_batch_size(recipe_values) -> dict:
    training = {name: value for name, value in recipe_values["training"].items() if "batch_size" not in name}
    return {**recipe_values, "training": training}


def test_batches_by_tokens_are_planned_and_told(recipe_values):
    budget = {"name": "auto", "max_tokens_per_batch": 256}
    lengths = np.append(OF_MANY_LENGTHS, [300, 400])
    chosen = plan(without_batch_size(recipe_values), splits(lengths), speed=budget)
    assert chosen.max_tokens_per_batch == 256 and not chosen.batches_by_length
    reason = next(reason for reason in chosen.reasons if "256 tokens" in reason)
    assert "an epoch, of 1 to " in reason and reason.endswith("; 2 rows are longer, each a batch of its own")


@pytest.mark.parametrize("named", [{"per_device_train_batch_size": 8}, {"train_sampling_strategy": "random"}])
def test_batches_by_tokens_and_by_rows_exclude_each_other(named, recipe_values):
    values = without_batch_size(recipe_values)
    with pytest.raises(RecipeError, match=rf"training\.{next(iter(named))} says otherwise\. Keep one"):
        plan(values, speed={"name": "auto", "max_tokens_per_batch": 256}, **named)


def test_several_processes_plan_their_batches_together(recipe_values, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    alone = plan(without_batch_size(recipe_values), speed={"name": "auto", "max_tokens_per_batch": 256})
    assert alone.max_tokens_per_batch == 256
    with pytest.raises(RecipeError, match="2 processes cannot share 1 training items"):
        plan(without_batch_size(recipe_values), splits([5]), speed={"name": "auto", "max_tokens_per_batch": 256})


@pytest.mark.parametrize(
    ("cores", "processes", "present", "asked", "threads"),
    [
        (8, 1, 8, None, None),  # torch's own choice
        (16, 1, 8, None, None),  # one thread a physical core
        (2, 1, 8, None, 2),  # a container that may use two of eight
        (2, 1, 8, "8", None),  # said by the user
        (8, 2, 1, "1", 4),  # said by torchrun
        (8, 2, 2, "2", None),  # said by the user
        (8, 2, 8, None, 4),  # another launcher
        (2, 4, 2, None, 1),
        (2, 2, 1, "1", None),  # torchrun's 1 is right
    ],
)
def test_threads_follow_from_the_cores_and_who_shares_them(cores, processes, present, asked, threads):
    assert threads_for(cores=cores, processes=processes, present=present, asked=asked) == threads


def test_cores_are_no_more_than_the_control_group_allows(tmp_path):
    present = usable_cores(tmp_path)
    assert present >= 1
    for limit, cores in (("max 100000", present), ("150000 100000", min(2, present)), ("50000 100000", 1)):
        (tmp_path / "cpu.max").write_text(limit)
        assert usable_cores(tmp_path) == cores


def test_threads_are_part_of_the_plan_where_torch_has_too_many(recipe_values, monkeypatch):
    monkeypatch.setattr(speed, "usable_cores", lambda: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    chosen = plan(recipe_values)
    assert chosen.threads == 1 and "1 threads a process: 1 cores may be used" in chosen.reasons


def test_a_choice_made_later_is_added_with_its_reason():
    before = SpeedPlan(bf16=True, reasons=("one",))
    assert with_choice(before, "two", attention="eager") == SpeedPlan(
        bf16=True, attention="eager", reasons=("one", "two")
    )


def built(recipe_values, folder, **changes):
    recipe, _ = fill_in(recipe_from({**recipe_values, **changes}))
    return trainer_for(prepare(recipe), folder / "checkpoints")


def test_the_plan_reaches_arguments_batches_and_evaluation(recipe_values, tmp_path):
    trainer = built(recipe_values, tmp_path)
    assert trainer.speed.bf16 and trainer.args.bf16 and trainer.accelerator.mixed_precision == "bf16"
    assert isinstance(sampler_of(trainer.get_train_dataloader()), LikeLengthRows)
    assert trainer.args.per_device_train_batch_size == 8


def test_with_speed_off_trainer_and_arguments_are_plain(recipe_values, tmp_path):
    trainer = built(recipe_values, tmp_path, speed="off")
    assert not trainer.args.bf16 and trainer.accelerator.mixed_precision == "no"
    assert type(sampler_of(trainer.get_train_dataloader())).__name__ == "SeedableRandomSampler"


def test_the_log_has_its_lines_also_with_batches_by_tokens(recipe_values, tmp_path):
    values = without_batch_size(recipe_values)
    trainer = built(values, tmp_path, speed={"name": "auto", "max_tokens_per_batch": 64})
    batches = len(trainer.get_train_dataloader())
    assert batches > 8 and trainer.args.logging_steps == max(1, batches // 20)


def test_dropout_that_a_strategy_brings_is_cheap_too(recipe_values, tmp_path):
    recipe_values["strategy"] = {"name": "lora", "dropout": 0.1}
    trainer = trainer_for(prepare(*fill_in(recipe_from(recipe_values))), tmp_path)
    kinds = [type(module) for module in trainer.model.modules() if isinstance(module, nn.Dropout)]
    assert len(kinds) > 2 * 6 and set(kinds) == {CheapDropout}
    assert any("lora brought" in reason for reason in trainer.speed.reasons)
    recipe_values["speed"] = "off"
    trainer = trainer_for(prepare(*fill_in(recipe_from(recipe_values))), tmp_path)
    assert not any(isinstance(module, CheapDropout) for module in trainer.model.modules())
