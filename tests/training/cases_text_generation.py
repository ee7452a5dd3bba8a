"""Text generation: encoder-decoder, warm-started from an encoder, and decoder alone."""

from __future__ import annotations

from datasets import Dataset, Features, List, Value
from exactness import ROWS, Case, text
from writers import save_tiny_llama, save_tiny_t5

from hf_fft.tasks import TextGeneration


def rows() -> Dataset:
    """Give every row a source and a target of its own; lengths differ, so batches are padded."""
    sources = [text(index) for index in range(ROWS)]
    targets = [[text(index * 3 + 1, length=2 + index % 5)] for index in range(ROWS)]
    features = Features({"source": Value("string"), "target": List(Value("string"))})
    return Dataset.from_dict({"source": sources, "target": targets}, features=features)


SIZES = {"max_length": 48, "max_target_length": 16}
CASES = {
    "encoder_decoder_smoothing": Case(TextGeneration(**SIZES), rows, save_tiny_t5).smoothed(),
    "warm_started": Case(TextGeneration(**SIZES, architecture="warm_started"), rows),
    "decoder_only": Case(TextGeneration(**SIZES), rows, save_tiny_llama),
}
