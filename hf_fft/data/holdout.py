"""Which rows are held out: by chance, keeping the share of every label, or whole groups.

All functions return sorted row numbers, and the same ones for the same seed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy

logger = logging.getLogger(__name__)


def random_indices(total: int, fraction: float, seed: int) -> numpy.ndarray:
    """Return a random share of row numbers, at least one."""
    count = max(1, round(fraction * total))
    return numpy.sort(numpy.random.default_rng(seed).permutation(total)[:count])


def stratified_indices(labels: Sequence[int], fraction: float, seed: int, name: str) -> numpy.ndarray:
    """Return a share of row numbers in which every label keeps its share; by chance alone where that cannot be done.

    A label with a single row stays in train, since nothing could be learned of it otherwise.
    """
    counts = Counter(labels)
    single = [label for label, count in counts.items() if count == 1]
    if single:
        logger.warning("%d labels have a single row; it stays in train, so %s lacks them", len(single), name)
    rows = numpy.array([index for index, label in enumerate(labels) if counts[label] > 1], dtype=int)
    count, classes = max(1, round(fraction * len(labels))), len(counts) - len(single)
    if count < classes or len(rows) - count < classes:
        logger.warning("%s is held out by chance alone: %d rows cannot show all %d labels", name, count, classes)
        return numpy.sort(rows[random_indices(len(rows), fraction, seed)]) if len(rows) else rows
    from sklearn.model_selection import train_test_split

    held = train_test_split(
        rows, test_size=count, random_state=seed, stratify=numpy.array([labels[row] for row in rows])
    )[1]
    return numpy.sort(held)


def grouped_indices(groups: Sequence[Hashable], fraction: float, seed: int) -> numpy.ndarray:
    """Return the row numbers of a random share of groups, at least one group and not all; there must be two."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    share = min(max(1, round(fraction * len(numbers))), len(numbers) - 1)
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    codes = numpy.array([numbers[group] for group in groups])
    return numpy.sort(next(splitter.split(codes, groups=codes))[1])
