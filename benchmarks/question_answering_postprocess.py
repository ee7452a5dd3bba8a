"""How many questions a second become answers once the model has run: spans, threshold and predictions, on one core.

Made-up logits and windows of the shapes that SQuAD gives: 1.3 windows a question, up to 384 tokens each. Timed are
`tuned`, which looks for the no-answer threshold, and `postprocess`, which makes the predictions. Not timed: the model,
and the scores.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import time

import numpy as np
from datasets import Dataset
from transformers import EvalPrediction

from hf_fft.recipe import QuestionAnsweringRecipe
from hf_fft.tasks import QuestionAnswering

TOKENS, QUESTION_TOKENS, WORD = 384, 14, 6


def made_up(questions: int) -> tuple[Dataset, Dataset, EvalPrediction]:
    """Return rows, their windows (three questions in ten have two), and random logits."""
    random = np.random.default_rng(0)
    room = TOKENS - QUESTION_TOKENS - 3
    context = ("words " * (2 * room)).strip()
    rows = Dataset.from_dict(
        {
            "id": [str(number) for number in range(questions)],
            "question": ["who plays the cello"] * questions,
            "context": [context] * questions,
            "answers": [
                {"text": ["words"], "answer_start": [0]} if number % 2 else {"text": [], "answer_start": []}
                for number in range(questions)
            ],
        }
    )
    source = [number for number in range(questions) for _ in range(2 if number % 10 < 3 else 1)]
    starts = [(np.arange(room) + (room - 128) * place) * WORD for place in (0, 1)]
    second = [one and source[one] == source[one - 1] for one in range(len(source))]
    encoded = Dataset.from_dict(
        {
            "row": source,
            "cls": [0] * len(source),
            "context_start": [QUESTION_TOKENS + 2] * len(source),
            "char_starts": [starts[bool(one)].astype(np.int32) for one in second],
            "char_ends": [(starts[bool(one)] + WORD - 1).astype(np.int32) for one in second],
        }
    )
    logits = random.normal(size=(len(source), TOKENS, 2)).astype(np.float32) * 2 - 4
    return rows, encoded, EvalPrediction(predictions=logits, label_ids=None)  # type: ignore[arg-type]


def main() -> None:
    """Print questions a second, the best of several rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    task = QuestionAnswering(QuestionAnsweringRecipe(no_answers=True))
    rows, encoded, output = made_up(options.questions)
    seconds: dict[str, list[float]] = {"postprocess": [], "tuned and postprocess": []}
    for _ in range(options.rounds):
        started = time.process_time()
        tuned = task.tuned(rows, encoded, output)
        middle = time.process_time()
        predictions = tuned.postprocess(rows, encoded, output)
        ended = time.process_time()
        assert len(predictions) == options.questions
        seconds["postprocess"].append(ended - middle)
        seconds["tuned and postprocess"].append(ended - started)
    print(f"{options.questions:,} questions, {len(encoded):,} windows of {TOKENS} tokens, processor time of one thread")
    for what, taken in seconds.items():
        print(f"{what}: {options.questions / min(taken):,.0f} questions a second")


if __name__ == "__main__":
    main()
