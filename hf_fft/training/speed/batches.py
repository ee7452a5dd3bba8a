"""Which rows make a batch: rows of like length, or as many as a number of tokens holds; and evaluation longest first.

The order of an epoch follows from seed and epoch alone. So a run that is resumed in the middle of any epoch goes on
with the very batches that it would have had, where transformers' own `LengthGroupedSampler` does so in the first epoch
only (transformers 5.23). Lengths are those of the inputs, in tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow.compute
from torch.utils.data import Sampler
from transformers import EvalPrediction, TrainingArguments
from transformers.trainer_pt_utils import BatchRebalanceSampler

from hf_fft.errors import RecipeError
from hf_fft.result import SpeedPlan

# Rows are sorted by length within blocks of at most so many batches, of which an epoch has at least two. That is twice
# what transformers takes, for half the padding: the batches are shuffled afterwards.
BLOCK_BATCHES = 100
FEWEST_BLOCKS = 2

Integers = np.ndarray


class LikeLengthRows(Sampler[int]):
    """An order of the rows in which each batch holds rows of like length, another one every epoch.

    The shuffled rows are cut into blocks, each block is sorted, and the batches are shuffled. The batch with the
    longest row comes first, so that memory that does not suffice is noticed at once.
    """

    def __init__(self, lengths: Sequence[int] | Integers, *, rows_per_batch: int, seed: int) -> None:
        """Take the rows' lengths, and the rows of a batch over all processes."""
        self.lengths = np.asarray(lengths)
        self.rows_per_batch = rows_per_batch
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Return the rows of the epoch."""
        return iter(self.order().tolist())

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.lengths)

    def order(self) -> Integers:
        """Return the rows of the epoch; those that fill no whole batch come last."""
        random, count, size = np.random.default_rng((self.seed, self.epoch)), len(self.lengths), self.rows_per_batch
        shuffled = random.permutation(count)
        block = size * max(1, min(BLOCK_BATCHES, count // (size * FEWEST_BLOCKS)))
        rows = np.concatenate(
            [_longest_first(shuffled[at : at + block], self.lengths) for at in range(0, count, block)]
        )
        whole = count - count % size
        batches = rows[:whole].reshape(-1, size)
        longest_of_each = self.lengths[batches].max(axis=1, initial=0)
        return np.concatenate([batches[_shuffled(longest_of_each, random)].ravel(), rows[whole:]])


class TokenBatches(BatchRebalanceSampler):
    """Batches of as many rows as fit into a number of tokens, padding included; every row once an epoch.

    The rows are sorted by length, ties shuffled, and packed from the longest on. The sorted lengths are the same in
    every epoch, and so is the number of batches. Over several processes the batches are planned together: each process
    takes the same number, and those taken at the same time are neighbours in length. A row longer than the budget is a
    batch of its own.

    It is a `BatchRebalanceSampler` since that is the one kind of sampler that Trainer takes for whole batches, and
    deals to the processes as it is (transformers 5.23); nothing else of it is used.
    """

    def __init__(
        self, lengths: Sequence[int] | Integers, *, max_tokens: int, seed: int, processes: int = 1, rank: int = 0
    ) -> None:
        """Take the rows' lengths, and the tokens of a batch in one process.

        Raises:
            RecipeError: if there are fewer rows than processes.
        """
        self.row_lengths = np.asarray(lengths)
        self.processes = processes
        self.rank = rank
        self.seed = seed
        self.epoch = 0
        self.rows_in_batches = _packed(np.sort(self.row_lengths)[::-1], max_tokens, multiple_of=processes)

    def __iter__(self) -> Iterator[list[int]]:
        """Return the batches of the epoch that this process takes."""
        random = np.random.default_rng((self.seed, self.epoch))
        rows = _longest_first(random.permutation(len(self.row_lengths)), self.row_lengths)
        batches = np.split(rows, np.cumsum(self.rows_in_batches)[:-1])
        longest_of_each = np.asarray([self.row_lengths[batch[0]] for batch in batches[:: self.processes]])
        for turn in _shuffled(longest_of_each, random):
            yield batches[turn * self.processes + self.rank].tolist()

    def __len__(self) -> int:
        """Count the batches of an epoch that each process takes."""
        return len(self.rows_in_batches) // self.processes


class LongestFirst(Sampler[int]):
    """The rows from the longest to the shortest, for evaluation; `restored` puts what comes of them back in order."""

    def __init__(self, lengths: Sequence[int] | Integers) -> None:
        """Take the rows' lengths."""
        self.order = _longest_first(np.arange(len(lengths)), np.asarray(lengths))

    def __iter__(self) -> Iterator[int]:
        """Return the rows."""
        return iter(self.order.tolist())

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.order)

    def restored(self, values: Any) -> Any:
        """Put arrays that came of the rows back in the rows' own order; also inside tuples, lists and mappings."""
        if isinstance(values, Mapping):
            return type(values)({name: self.restored(each) for name, each in values.items()})  # type: ignore[call-arg]
        if isinstance(values, tuple | list):
            return type(values)(self.restored(each) for each in values)
        if values is None:
            return None
        assert len(values) == len(self.order), f"{len(values)} values came of {len(self.order)} rows"
        back = np.empty_like(values)
        back[self.order] = values
        return back


def token_lengths(rows: Any) -> Integers | None:
    """Return the length of each row's inputs in tokens, or None where rows have none or their number is not known."""
    if isinstance(rows, datasets.Dataset):
        if "input_ids" not in rows.column_names:
            return None
        column = rows.with_format("arrow")["input_ids"][:]
        return pyarrow.compute.list_value_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
    if not hasattr(rows, "__len__") or not len(rows) or not isinstance(rows[0], Mapping) or "input_ids" not in rows[0]:
        return None
    return np.asarray([len(rows[index]["input_ids"]) for index in range(len(rows))])


def training_sampler(plan: SpeedPlan, arguments: TrainingArguments, lengths: Integers) -> LikeLengthRows | TokenBatches:
    """Return what draws the training rows of one process: batches by tokens where a plan says so, else by length."""
    seed = arguments.seed if arguments.data_seed is None else arguments.data_seed
    if plan.max_tokens_per_batch is not None:
        return TokenBatches(
            lengths,
            max_tokens=plan.max_tokens_per_batch,
            seed=seed,
            processes=arguments.world_size,
            rank=arguments.process_index,
        )
    rows_per_batch = arguments.train_batch_size * arguments.world_size
    return LikeLengthRows(lengths, rows_per_batch=rows_per_batch, seed=seed)


def sampler_of(loader: Any) -> Any:
    """Return the sampler from which a loader, prepared by accelerate or not, draws its rows or batches."""
    batches: Any = getattr(loader, "batch_sampler", None)
    while hasattr(batches, "batch_sampler"):
        batches = batches.batch_sampler
    return getattr(batches, "sampler", batches)


def in_order(metrics: Callable[[EvalPrediction], Any], sampler: LongestFirst) -> Callable[[EvalPrediction], Any]:
    """Return a `compute_metrics` that is given everything in the rows' own order."""

    def ordered(output: EvalPrediction) -> Any:
        return metrics(
            EvalPrediction(
                predictions=sampler.restored(output.predictions),
                label_ids=sampler.restored(output.label_ids),
                inputs=sampler.restored(output.inputs),
                losses=sampler.restored(output.losses),
            )
        )

    return ordered


def padding_share(batches: Iterable[Sequence[int]], lengths: Integers) -> float:
    """Return the share of an epoch's positions that are padding."""
    positions = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - int(lengths.sum()) / positions if positions else 0.0


def _packed(descending: Integers, max_tokens: int, *, multiple_of: int) -> list[int]:
    """Return the rows of each batch over descending lengths; the largest are halved until their number fits."""
    if len(descending) < multiple_of:
        raise RecipeError(f"{multiple_of} processes cannot share {len(descending)} training items; start fewer.")
    sizes, packed = [], 0
    while packed < len(descending):
        fitting = max(1, max_tokens // max(1, int(descending[packed])))
        sizes.append(min(fitting, len(descending) - packed))
        packed += sizes[-1]
    while len(sizes) % multiple_of:
        at = int(np.argmax(sizes))
        if sizes[at] == 1:
            raise RecipeError(
                f"{max_tokens} tokens hold a single row each, and {multiple_of} processes cannot share "
                f"{len(sizes)} of them evenly. Raise speed.max_tokens_per_batch, or start one process."
            )
        sizes[at : at + 1] = [sizes[at] - sizes[at] // 2, sizes[at] // 2]
    return sizes


def _longest_first(rows: Integers, lengths: Integers) -> Integers:
    """Sort rows by length; those of one length stay as they stand."""
    return rows[np.argsort(-lengths[rows], kind="stable")]


def _shuffled(longest_of_each: Integers, random: np.random.Generator) -> Integers:
    """Return a random order of batches in which the one with the longest row is the first."""
    order = random.permutation(len(longest_of_each))
    if len(order):
        at = int(np.argmax(longest_of_each[order]))
        order[[0, at]] = order[[at, 0]]
    return order
