"""What frozen layers give is computed once a row, and the run ends with the weights that it would have had."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prefix_case import ARCHITECTURES, HEADS, Collator, build, model_of, rows

from hf_fft.training.frozen_prefix import filling
from hf_fft.training.frozen_prefix import store as prefix_store
from hf_fft.training.frozen_prefix.layers import NotUnderstoodError, anatomy_of
from hf_fft.training.frozen_prefix.prefix import FrozenPrefix, precision_now
from hf_fft.training.frozen_prefix.proof import prove
from hf_fft.training.frozen_prefix.stages import Pass, Stage, passes
from hf_fft.training.frozen_prefix.store import Room
from hf_fft.training.rows_of_batch import rows_of_batch


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, one_thread):
    monkeypatch.setenv("HF_FFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "frozen_prefix"


def batch_of(head: str) -> dict[str, torch.Tensor]:
    batch = Collator()(list(rows(6)))
    del batch["labels"]
    return batch


def head_alone(model) -> Stage:
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    return Stage(0, frozenset(id(one) for one in model.parameters() if id(one) not in inside))


def tensors(outputs) -> list[torch.Tensor]:
    return [value for value in outputs.values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_at_equal_padded_length_every_cut_gives_the_whole_models_answers(name, head, tmp_path):
    model, batch = model_of(name, head).eval().requires_grad_(False), batch_of(head)
    anatomy = anatomy_of(model, batch)
    assert anatomy.bottom is not None
    real = batch["attention_mask"].bool()
    whole = tensors(model(**batch))
    for boundary in (1, 2, 3):
        prefix = FrozenPrefix(model, anatomy, Room(tmp_path / "kept", 2**30), one_vector=False)
        prefix.install()
        prefix.move_to(boundary, [], precision=precision_now("cpu"))
        for _ in range(2):  # computed, then kept
            cut = tensors(model(**batch))
            for one, other in zip(whole, cut, strict=True):
                a_token = one.shape[:2] == real.shape
                assert torch.equal(one[real], other[real]) if a_token else torch.equal(one, other)
        assert prefix.rows_computed == 6
        prefix.remove()
        assert all("forward" not in vars(module) for module in model.modules())
    assert all(torch.equal(one, other) for one, other in zip(whole, tensors(model(**batch)), strict=True))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_probe_proves_them_and_finds_heads_that_read_the_first_position_alone(name, head):
    model, batch = model_of(name, head).requires_grad_(False), batch_of(head)
    proof = prove(model, anatomy_of(model.eval(), batch), batch, [head_alone(model)])
    assert proof.one_vector == (head == "SequenceClassification")
    assert proof.bytes_a_token == 16 * 4


def test_a_head_that_reads_the_mean_keeps_all_positions():
    model = model_of("ModernBert", classifier_pooling="mean").eval()
    proof = prove(model, anatomy_of(model, batch_of("")), batch_of(""), [head_alone(model)])
    assert not proof.one_vector


SHARED = {"vocab_size": 40, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "embedding_size": 8}
T5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}


@pytest.mark.parametrize(
    ("model", "config", "sizes", "words"),
    [
        ("AlbertForSequenceClassification", "AlbertConfig", {**SHARED, "num_hidden_layers": 3}, "its layers share"),
        ("T5ForConditionalGeneration", "T5Config", T5, "an encoder-decoder has two stacks"),
        ("BertModel", "BertConfig", {**SHARED, "num_hidden_layers": 2}, "no backbone apart from its head"),
        (
            "FlaubertForSequenceClassification",
            "FlaubertConfig",
            {"vocab_size": 40, "emb_dim": 16, "n_layers": 2, "n_heads": 2},
            "lists of layers",
        ),
    ],
)
def test_a_model_that_is_built_otherwise_is_refused_with_the_reason(model, config, sizes, words):
    with pytest.raises(NotUnderstoodError, match=words):
        anatomy_of(build(model, config, sizes).eval(), batch_of(""))


@pytest.mark.parametrize("lengths", [np.arange(1, 60), np.full(7, 90), np.asarray([300, 2, 2, 2, 64, 65]), None])
def test_filling_takes_every_row_once_and_the_most_tokens_first(lengths):
    count = 5 if lengths is None else len(lengths)
    chunks = filling._chunks(range(count), lengths, 128)
    assert sorted(row for chunk in chunks for row in chunk) == list(range(count))
    if lengths is None:  # nothing is known of the rows: one at a time
        assert all(len(chunk) == 1 for chunk in chunks)
        return
    tokens = [len(chunk) * max(lengths[row] for row in chunk) for chunk in chunks]
    assert tokens == sorted(tokens, reverse=True)
    assert all(len(chunk) == 1 or size <= 128 for chunk, size in zip(chunks, tokens, strict=True))


def test_rows_that_waited_for_the_disk_are_answered_when_its_room_is_used_up(tmp_path, monkeypatch):
    model, batch = model_of("Bert").eval().requires_grad_(False), batch_of("SequenceClassification")
    whole = tensors(model(**batch))
    prefix = FrozenPrefix(model, anatomy_of(model, batch), Room(tmp_path / "kept", 10), one_vector=False)
    prefix.install()
    prefix.move_to(3, [], precision=precision_now("cpu"))
    two = {name: values[:2] for name, values in batch.items()}
    monkeypatch.setattr(prefix_store, "SEGMENT_BYTES", 4 * model.config.hidden_size * int(two["attention_mask"].sum()))
    model(**two)
    assert len(prefix.stores[3]) == 2 and not prefix.stores[3].full
    for one, other in zip(whole, tensors(model(**batch)), strict=True):
        torch.testing.assert_close(one, other)
    assert prefix.stores[3].full
    prefix.remove()


def test_a_bad_loss_is_traced_to_rows_that_came_by_number():
    batch = {"input_ids": torch.tensor([[-1], [-4]]), "labels": torch.tensor([0, 1])}
    assert rows_of_batch(rows(), batch) == [0, 3]
    assert rows_of_batch(rows().add_column("row", list(range(100, 124))), batch) == [100, 103]


def test_the_key_knows_the_precision_of_float32_products_however_it_was_set():
    before = torch.backends.mkldnn.matmul.fp32_precision
    plain = precision_now("cpu")
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        assert precision_now("cpu") != plain and precision_now("cpu").startswith("cpu, as stored")
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert precision_now("cpu") == plain
    with torch.autocast("cpu", torch.bfloat16):
        assert precision_now("cpu") == "cpu, torch.bfloat16 autocast"


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (1000, [Pass(0, 40, (3, 2, 1))]),
        (210, [Pass(0, 20, (3, 2)), Pass(20, 40, (1,))]),
        (200, [Pass(0, 10, (3,)), Pass(10, 40, (2, 1))]),
        (100, [Pass(0, 10, (3,)), Pass(10, 20, (2,)), Pass(20, 40, (1,))]),
    ],
)
def test_a_pass_serves_as_many_boundaries_as_there_is_room_for(room, expected):
    moves = [(0, 3), (5, 3), (10, 2), (20, 1), (40, 0)]
    assert passes(moves, 50, room, lambda boundary: {3: 101, 2: 100, 1: 100}[boundary]) == expected


def test_the_last_pass_ends_with_the_run():
    assert passes([(0, 2)], 7, 10, lambda _: 1) == [Pass(0, 7, (2,))]
    assert passes([(0, 0)], 7, 10, lambda _: 1) == []


def test_no_rows_are_filled_at_once():
    class Loader:
        dataset = rows().select([])

    class Trainer:
        args = None

    assert filling.fill(Trainer(), None, Loader()) == filling.Filled([], None)
