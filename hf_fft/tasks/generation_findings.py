"""What a data report says of prompts and targets: how many references there are, and what is cut off."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from hf_fft.recipe.task_records import GenerationRecipe


def reference_counts(references: Sequence[Sequence[str]], rows_read: Sequence[int]) -> list[str]:
    """Say how many references the rows have, where it is not one each, and of how many rows they were made."""
    counts = [len(several) for several in references]
    found = []
    if sum(rows_read) > len(rows_read):
        found.append(f"rows with the same prompt are one row: {len(rows_read):,} of {sum(rows_read):,}")
    if max(counts, default=0) > 1:
        found.append(f"references: {sum(counts):,}, up to {max(counts)} a row")
    if 0 in counts:
        found.append(f"rows with nothing to write: {counts.count(0):,}; the model learns to stop at once")
    return found


def cut_prompts(lengths: Sequence[int], max_length: int, *, decoder_only: bool) -> list[str]:
    """Say how many prompts are cut, and where."""
    cut = sum(length > max_length for length in lengths)
    what = "the end of their longest column is" if decoder_only else "their end is"
    return [f"prompts longer than {max_length} tokens: {cut:,}; {what} cut off"] if cut else []


def cut_targets(lengths: Sequence[int], recipe: GenerationRecipe) -> list[str]:
    """Say how many of the items' targets are cut in the loss."""
    longer = sum(length > recipe.max_target_length for length in lengths)
    if not longer:
        return []
    return [
        f"targets longer than {recipe.max_target_length} tokens: {longer:,} of {len(lengths):,}; their end is cut off "
        "in the loss, and scores use the whole references"
    ]


def lost_capitals(references: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Say that a model cannot write the capitals of the references, where its tokenizer has none."""
    seen = tokenizer.decode(tokenizer("A", add_special_tokens=False)["input_ids"])
    if str(seen).strip() != "a":
        return []
    with_capitals = sum(any(text != text.lower() for text in texts) for texts in references)
    if not with_capitals:
        return []
    return [
        f"rows whose references have capital letters: {with_capitals:,}; the tokenizer has none, so the model writes "
        "in lower case, and BLEU and chrF compare letters as they are"
    ]
