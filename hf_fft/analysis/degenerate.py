"""Whether a model gives every row the same answer, which a score can hide: the majority's share looks like skill."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from hf_fft.result import Prediction

# Numbers that differ by less than this share of the gold's spread are one answer.
SAME_NUMBER = 1e-3


def is_constant(predictions: Sequence[Prediction]) -> bool:
    """Say whether all answers are one where the gold answers are several.

    Lists of tags, one a word, are one answer if all words of all rows have the same tag.
    """
    golds, guesses = [one.gold for one in predictions], [one.guess for one in predictions]
    if all(isinstance(one, float) for one in [*golds, *guesses]) and len(predictions) > 1:
        return statistics.pstdev(guesses) <= SAME_NUMBER * statistics.pstdev(golds) > 0
    if predictions and all(_is_tagged(one) for one in predictions):
        golds, guesses = ([answer for tags in some for answer in tags] for some in (golds, guesses))
    return len(_different(guesses)) == 1 and len(_different(golds)) > 1


def _is_tagged(one: Prediction) -> bool:
    """Tell a tag for each word from a set of labels: the words are the only list among the inputs."""
    words = [value for value in one.inputs.values() if isinstance(value, list)]
    return isinstance(one.guess, list) and len(words) == 1 and len(words[0]) == len(one.guess)


def _different(answers: Sequence[Any]) -> set[str]:
    return {json.dumps(answer, sort_keys=True, default=str) for answer in answers}
