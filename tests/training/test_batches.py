"""Batches by length and by tokens: every row once, the same order for the same seed and epoch, exact on resume."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from length_case import BY_LENGTH, BY_TOKENS, resumed, rows, trainer, weights
from torch.utils.data import BatchSampler
from transformers import Trainer
from transformers.trainer_pt_utils import BatchRebalanceSampler

from hf_fft.errors import RecipeError
from hf_fft.training.speed.batches import LikeLengthRows, TokenBatches, padding_share, sampler_of, token_lengths

LENGTHS = np.random.default_rng(0).integers(5, 90, size=1003)
SCRIPT = Path(__file__).with_name("lengths_on_two_processes.py")


def order(*, seed: int = 1, epoch: int = 0, lengths=LENGTHS, size: int = 8) -> list[int]:
    sampler = LikeLengthRows(lengths, rows_per_batch=size, seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def token_batches(*, epoch: int = 0, lengths=LENGTHS, max_tokens: int = 512, **more) -> list[list[int]]:
    batches = TokenBatches(lengths, max_tokens=max_tokens, seed=1, **more)
    batches.set_epoch(epoch)
    assert len(list(batches)) == len(batches)
    return list(batches)


def test_batches_of_like_length_hold_every_row_once_and_little_padding():
    assert sorted(order()) == list(range(len(LENGTHS)))
    by_length = padding_share(BatchSampler(order(), 8, False), LENGTHS)
    at_random = padding_share(BatchSampler(range(len(LENGTHS)), 8, False), LENGTHS)
    assert by_length < 0.06 < 0.4 < at_random


@pytest.mark.parametrize("count", [1, 3, 8, 9, 40, 65])
def test_few_rows_are_all_there_too(count):
    assert sorted(order(lengths=LENGTHS[:count])) == list(range(count))
    assert sorted(row for batch in token_batches(lengths=LENGTHS[:count]) for row in batch) == list(range(count))


def test_the_order_follows_from_seed_and_epoch_alone():
    torch.manual_seed(1)
    first = order(seed=1, epoch=2), token_batches(epoch=2)
    torch.manual_seed(2)
    assert (order(seed=1, epoch=2), token_batches(epoch=2)) == first
    assert order(seed=1, epoch=3) != first[0] != order(seed=2, epoch=2)
    assert token_batches(epoch=3) != first[1]


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_longest_row_comes_first_so_that_too_little_memory_shows_at_once(epoch):
    assert LENGTHS[order(epoch=epoch)[:8]].max() == LENGTHS.max()
    assert LENGTHS[token_batches(epoch=epoch)[0]].max() == LENGTHS.max()


def test_the_order_of_lengths_is_shuffled_so_that_a_run_does_not_go_from_long_to_short():
    for lengths in (LENGTHS[order()], [LENGTHS[batch[0]] for batch in token_batches()]):
        assert abs(np.corrcoef(np.arange(len(lengths)), lengths)[0, 1]) < 0.3


def test_batches_by_tokens_hold_every_row_once_and_no_more_than_the_budget():
    for epoch in range(3):
        batches = token_batches(epoch=epoch)
        assert sorted(row for batch in batches for row in batch) == list(range(len(LENGTHS)))
        assert max(len(batch) * LENGTHS[batch].max() for batch in batches) <= 512
        assert len(batches) == len(token_batches())
    assert padding_share(token_batches(), LENGTHS) < 0.05


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own():
    batches = token_batches(lengths=np.asarray([4, 100, 4, 4]), max_tokens=12)
    assert sorted(map(sorted, batches)) == [[0, 2, 3], [1]]


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_batches_by_tokens_are_shared_evenly_and_of_like_length(processes):
    shares = [token_batches(processes=processes, rank=rank) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(len(LENGTHS)))
    for together in zip(*shares, strict=True):
        longest = [int(LENGTHS[batch].max()) for batch in together]
        assert max(longest) - min(longest) <= 10


def test_what_cannot_be_shared_evenly_is_refused_with_what_to_do():
    with pytest.raises(RecipeError, match="4 processes cannot share 3 training items; start fewer"):
        TokenBatches([3, 3, 3], max_tokens=9, seed=0, processes=4)
    with pytest.raises(RecipeError, match=r"hold a single row each.*Raise speed\.max_tokens_per_batch"):
        TokenBatches([9, 9, 9], max_tokens=9, seed=0, processes=2)


def test_lengths_are_those_of_the_inputs_whatever_a_column_length_says():
    items = Dataset.from_dict({"input_ids": [[1], [1, 2, 3], [1, 2]], "length": [9, 9, 9]})
    assert token_lengths(items).tolist() == [1, 3, 2]
    assert token_lengths(items.select([2, 0])).tolist() == [2, 1]
    assert token_lengths(items.with_format("torch")).tolist() == [1, 3, 2]
    assert token_lengths([{"input_ids": [1, 2]}, {"input_ids": [1]}]).tolist() == [2, 1]
    assert token_lengths(items.remove_columns("input_ids")) is None
    assert token_lengths(iter([])) is None


def test_the_trainer_draws_batches_as_its_plan_says_and_otherwise_as_transformers_does(tmp_path):
    kinds = {"LikeLengthRows": BY_LENGTH, "TokenBatches": BY_TOKENS, "SeedableRandomSampler": None}
    for kind, plan in kinds.items():
        assert type(sampler_of(trainer(tmp_path, plan).get_train_dataloader())).__name__ == kind
    loader = trainer(tmp_path, BY_TOKENS).get_train_dataloader()
    shapes = [batch["input_ids"].shape for batch in loader]
    assert len(shapes) == len(loader)
    assert all(rows * longest <= 60 for rows, longest in shapes) and sum(rows for rows, _ in shapes) == 41


def test_the_private_hook_for_training_batches_is_still_hfs():
    # A Trainer that renames it, or takes whole batches from another class, would train in another order.
    source = inspect.getsource(Trainer._get_dataloader)
    assert "self._get_train_sampler" in inspect.getsource(Trainer.get_train_dataloader)
    assert list(inspect.signature(Trainer._get_train_sampler).parameters) == ["self", "train_dataset"]
    assert "isinstance(sampler, BatchRebalanceSampler)" in source and issubclass(TokenBatches, BatchRebalanceSampler)


@pytest.mark.parametrize(("plan", "step"), [(BY_LENGTH, 16), (BY_LENGTH, 27), (BY_LENGTH, 11), (BY_TOKENS, 20)])
def test_a_run_resumed_in_the_middle_of_a_later_epoch_ends_with_the_same_bits(plan, step, tmp_path):
    whole, again = resumed(tmp_path, plan, step)
    assert torch.equal(whole, again)


def test_resuming_is_exact_under_accumulation_too(tmp_path):
    for name, plan in (("length", BY_LENGTH), ("tokens", BY_TOKENS)):
        whole, again = resumed(tmp_path / name, plan, 8, gradient_accumulation_steps=2)
        assert torch.equal(whole, again)


def test_the_gradient_of_accumulated_token_batches_is_that_of_all_their_rows_at_once(tmp_path):
    accumulated = trainer(tmp_path, BY_TOKENS, num_train_epochs=1, gradient_accumulation_steps=100, max_grad_norm=0.0)
    accumulated.train()
    at_once = trainer(tmp_path, None, num_train_epochs=1, per_device_train_batch_size=len(rows()), max_grad_norm=0.0)
    at_once.train()
    assert accumulated.state.global_step == at_once.state.global_step == 1
    assert (weights(accumulated.model) - weights(at_once.model)).abs().max() < 1e-6


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    finished = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return folder, [json.loads((folder / f"said-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.processes
def test_two_processes_of_four_rows_of_like_length_are_one_process_of_eight(two_processes, tmp_path):
    folder, _ = two_processes
    alone = trainer(tmp_path, BY_LENGTH, per_device_train_batch_size=8)
    alone.train()
    for rank in (0, 1):
        assert (torch.load(folder / f"length-{rank}.pt") - weights(alone.model)).abs().max() < 1e-6


class BothShares(TokenBatches):
    """The batches of two processes, one after the other, for one process."""

    def __init__(self, lengths, max_tokens, seed):
        super().__init__(lengths, max_tokens=max_tokens, seed=seed, processes=2)
        self.other = TokenBatches(lengths, max_tokens=max_tokens, seed=seed, processes=2, rank=1)

    def __iter__(self):
        self.other.set_epoch(self.epoch)
        for pair in zip(super().__iter__(), self.other, strict=True):
            yield from pair

    def __len__(self):
        return 2 * super().__len__()


@pytest.mark.processes
def test_two_processes_with_batches_by_tokens_are_one_that_accumulates_both(two_processes, tmp_path):
    folder, _ = two_processes
    alone = trainer(tmp_path, BY_TOKENS, gradient_accumulation_steps=2)
    alone._get_train_sampler = lambda dataset=None: BothShares(token_lengths(rows()), 60, 11)
    alone.train()
    for rank in (0, 1):
        assert (torch.load(folder / f"tokens-{rank}.pt") - weights(alone.model)).abs().max() < 1e-6


@pytest.mark.processes
def test_two_processes_resumed_in_the_middle_of_a_later_epoch_end_with_the_same_bits(two_processes):
    for said in two_processes[1]:
        assert said["resumed"] == {"length": True, "tokens": True}


@pytest.mark.processes
def test_two_processes_that_evaluate_the_longest_first_answer_in_the_rows_order(two_processes):
    for said in two_processes[1]:
        assert said["labels"] == rows(17)["labels"][:] == said["labels_for_metrics"]
        assert said["as_in_order"] < 1e-6
