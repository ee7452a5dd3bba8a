"""One set of label names for all splits, and what may be wrong with it.

Labels arrive as text. The names come from the recipe, from the data's own `ClassLabel`, or from the training rows, in
this order of precedence; then every label must be among them, and every label of validation and test must be seen in
training.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError

logger = logging.getLogger(__name__)

MOST_LABELS = 1_000
_INTEGER = re.compile(r"-?\d+")


def agree_on_names(
    texts: Mapping[str, list[str]], column: str, names: Sequence[str] | None, brought: Sequence[str] | None
) -> tuple[list[str], dict[str, list[int]]]:
    """Return the label names in their order, and every split's labels as ids; `brought` are the data's own names.

    Without a split `train` nothing is learned from these rows, and `names` alone say what a label may be.

    Raises:
        DataError: if a label is in no list of names or never in train, or if there are too few or too many.
    """
    if names is not None:
        texts = _translated(texts, names, brought)
    chosen = list(names or brought or _sorted(set(texts["train"])))
    counts = {split: Counter(labels) for split, labels in texts.items()}
    train = counts.get("train")
    if train is not None:
        _check_variety(texts["train"], column, is_given=names is not None or brought is not None)
    for split, count in counts.items():
        if names is not None:
            _refuse_unknown(count, chosen, split, column)
        if train is not None:
            _refuse_unseen(count, train, split, column)
    if train is not None and (absent := [name for name in chosen if name not in train]):
        logger.warning('column "%s": labels without a single row in train: %s', column, listed(absent))
    ids = {name: index for index, name in enumerate(chosen)}
    return chosen, {split: [ids[text] for text in labels] for split, labels in texts.items()}


def _translated(
    texts: Mapping[str, list[str]], names: Sequence[str], brought: Sequence[str] | None
) -> Mapping[str, list[str]]:
    """Rename labels that are places in `names`, not names: the data's own ids, integers, false and true."""
    found = set().union(*texts.values())
    if found <= set(names):
        return texts
    places: Mapping[str, int]
    if brought is not None and len(brought) == len(names) and not set(brought) & set(names):
        logger.info("task.labels renames the labels of the data in their order: %s", listed(brought))
        places = {label: index for index, label in enumerate(brought)}
    elif found <= {"False", "True"}:
        places = {"False": 0, "True": 1}
    elif all(_INTEGER.fullmatch(text) for text in found) and not found & set(names):
        places = {text: int(text) for text in found}
    else:
        return texts
    renamed = {text: names[place] for text, place in places.items() if 0 <= place < len(names)}
    return {split: [renamed.get(text, text) for text in labels] for split, labels in texts.items()}


def _sorted(labels: Iterable[str]) -> list[str]:
    labels = list(labels)
    if all(_INTEGER.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def _refuse_unknown(count: Counter[str], chosen: list[str], split: str, column: str) -> None:
    unknown = _sorted(set(count) - set(chosen))
    if unknown:
        raise DataError(
            f'Column "{column}" of {split} has labels that are not in task.labels ({listed(chosen)}): '
            f"{_counted(unknown, count)}{did_you_mean(unknown[0], chosen) or '.'} "
            + ("Numbers count the names from 0. " if all(_INTEGER.fullmatch(label) for label in unknown) else "")
            + "Add or correct them."
        )


def _refuse_unseen(count: Counter[str], train: Counter[str], split: str, column: str) -> None:
    unseen = _sorted(set(count) - set(train))
    if unseen:
        raise DataError(
            f'Column "{column}": {split} has labels that train never shows: {_counted(unseen, count)}'
            f"{did_you_mean(unseen[0], train) or '.'} The labels of train are {listed(_sorted(train))}. "
            "Correct them, or drop those rows with data.exclude."
        )


def _check_variety(train: Sequence[str], column: str, *, is_given: bool) -> None:
    distinct = sorted(set(train))
    if len(distinct) < 2:
        raise DataError(
            f'Column "{column}" of train has only one label, {listed(distinct)}; at least two are needed to '
            "learn from. Check task.label_column and data.exclude."
        )
    one_a_row = len(train) >= 20 and len(distinct) > len(train) / 2
    if not is_given and (one_a_row or len(distinct) > MOST_LABELS):
        raise DataError(
            f'Column "{column}" has {len(distinct):,} different values in {len(train):,} rows of train, such as '
            f"{listed(distinct[:3])}: these are hardly labels. Set task.label_column to another column, "
            'task.problem_type to "regression" for numbers, or task.labels if they are meant.'
        )
    plain = Counter(label.strip().casefold() for label in distinct)
    twins = [label for label in distinct if plain[label.strip().casefold()] > 1]
    if twins:
        logger.warning('column "%s": labels that differ only in case or spaces: %s', column, listed(map(repr, twins)))


def _counted(labels: Sequence[str], count: Counter[str]) -> str:
    return listed(f'"{label}" ({count[label]:,} {"row" if count[label] == 1 else "rows"})' for label in labels)
