"""Blocks lose no token, have exactly the length asked for, and know which row each token came from."""

from __future__ import annotations

import time
from itertools import chain

import numpy as np
import pytest
from datasets import Dataset

from hf_fft.tasks import blocks

BERT = blocks.Frame((101,), (102,), 102, ends_texts=False)
GPT = blocks.Frame((), (), 0, ends_texts=True)
LLAMA = blocks.Frame((1,), (), 2, ends_texts=True)


def tokens(*texts: list[int]) -> blocks.Tokens:
    lengths = [len(text) for text in texts]
    rows = np.repeat(np.arange(len(texts)), lengths)
    return blocks.Tokens(np.array(list(chain.from_iterable(texts)), dtype=np.int64), rows, np.cumsum([0, *lengths]))


def items(made: blocks.Tokens) -> list[list[int]]:
    return [ids.tolist() for ids in np.split(made.ids, made.bounds[1:-1])]


def made(frame: blocks.Frame, *texts: list[int], max_length: int, packing: bool = True):
    both = blocks.items_of(tokens(*texts), frame, max_length=max_length, packing=packing)
    return items(both[0]), [ids.tolist() for ids in np.split(both[0].rows, both[0].bounds[1:-1])], both[1].tolist()


def test_blocks_of_an_encoder_begin_and_end_as_its_inputs_do_and_the_last_may_be_shorter():
    ids, rows, first = made(BERT, [11, 12, 13], [21, 22], [31], max_length=6)
    assert ids == [[101, 11, 12, 13, 102, 102], [101, 21, 22, 102, 31, 102]]
    assert rows == [[-1, 0, 0, 0, -1, -1], [-1, 1, 1, -1, 2, -1]]
    assert first == [0, 1]
    ids, _, first = made(BERT, [11, 12, 13], [21, 22], max_length=5)
    assert ids == [[101, 11, 12, 13, 102], [101, 102, 21, 22, 102]]
    assert first == [0, 0]  # the separator that begins the second block still counts to the first text


def test_every_text_of_a_decoder_ends_also_the_last():
    ids, rows, _ = made(GPT, [11, 12, 13], [21], max_length=4)
    assert ids == [[11, 12, 13, 0], [21, 0]]
    assert rows == [[0, 0, 0, -1], [1, -1]]
    assert made(LLAMA, [11, 12, 13], [21], max_length=4)[0] == [[1, 11, 12, 13], [1, 2, 21, 2]]


def test_one_text_an_item_is_cut_and_loses_its_end():
    assert made(GPT, [11, 12, 13, 14], [21], max_length=4, packing=False)[0] == [[11, 12, 13, 14], [21, 0]]
    assert made(BERT, [11, 12, 13], [21], max_length=4, packing=False)[0] == [[101, 11, 12, 102], [101, 21, 102]]


@pytest.mark.parametrize("packing", [True, False])
def test_texts_without_tokens_make_no_item(packing):
    ids, rows, first = made(LLAMA, [], [11], [], [], [21, 22], [], max_length=4, packing=packing)
    assert [one for item in ids for one in item if one > 10] == [11, 21, 22]
    assert {row for item in rows for row in item} == {-1, 1, 4}
    assert set(first) <= {1, 4}
    assert made(BERT, [], max_length=4, packing=packing) == ([[]], [[]], [])


def test_a_tokenizer_without_a_separator_joins_texts_as_they_are():
    frame = blocks.Frame((), (), None, ends_texts=True)
    assert made(frame, [11, 12, 13], [21], max_length=2)[0] == [[11, 12], [13, 21]]


def test_packing_loses_no_token_and_fills_every_block_but_the_last():
    generator = np.random.default_rng(0)
    texts = [generator.integers(1000, 2000, size).tolist() for size in generator.integers(0, 40, 200)]
    ids, rows, _ = made(BERT, *texts, max_length=32)
    assert {len(item) for item in ids[:-1]} == {32}
    back = [[] for _ in texts]
    for item, owners in zip(ids, rows, strict=True):
        for one, row in zip(item, owners, strict=True):
            if row >= 0:
                back[row].append(one)
    assert back == texts


def test_the_tokens_that_a_tokenizer_puts_around_a_text_are_read_from_itself(tokenizer):
    assert blocks.tokens_around(tokenizer) == ((tokenizer.cls_token_id,), (tokenizer.sep_token_id,))


def test_a_column_of_lists_comes_back_flat_also_after_rows_were_selected():
    rows = Dataset.from_dict({"ids": [[1, 2], [], [3], [4, 5, 6]]}).select([3, 1, 0])
    values, lengths = blocks.flat_column(rows, "ids")
    assert values.tolist() == [4, 5, 6, 1, 2]
    assert lengths.tolist() == [3, 0, 2]


def test_a_million_tokens_are_packed_in_a_moment():
    lengths = np.full(10_000, 100)
    many = blocks.Tokens(np.arange(1_000_000), np.repeat(np.arange(10_000), lengths), np.cumsum([0, *lengths]))
    started = time.process_time()
    packed, _ = blocks.items_of(many, BERT, max_length=128, packing=True)
    assert time.process_time() - started < 2
    assert packed.lengths()[:-1].tolist() == [128] * (len(packed.bounds) - 2)
