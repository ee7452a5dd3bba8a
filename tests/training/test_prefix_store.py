"""What is kept on disk is bounded, is read back or computed again, and holds no pickle."""

from __future__ import annotations

import multiprocessing
import os
import zipfile
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from prefix_case import Collator, rows
from safetensors import SafetensorError
from safetensors.torch import load_file

from hf_fft.training.frozen_prefix import store as prefix_store
from hf_fft.training.frozen_prefix.rows import column_addresses, cut_to_longest, rows_read
from hf_fft.training.frozen_prefix.store import Room, StateStore

WIDTH = 8


def states_of(number: int, tokens: int = 3) -> torch.Tensor:
    return torch.full((tokens, WIDTH), float(number))


def address_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def filled(folder: Path, numbers, *, limit: int = 2**30) -> StateStore:
    store = StateStore(folder, Room(folder.parent, limit))
    for number in numbers:
        store.keep([address_of(number)], [states_of(number, 1 + number % 4)])
    store.flush()
    return store


def values(store: StateStore, number: int) -> torch.Tensor:
    return store.gather([address_of(number)], 5, {})[0]


def test_what_was_kept_is_there_for_the_next_process_zeros_behind_the_end(tmp_path):
    filled(tmp_path / "key", range(5))
    store = StateStore(tmp_path / "key", Room(tmp_path, 2**30))
    assert len(store) == 5 and address_of(5) not in store
    for number in range(5):
        tokens = 1 + number % 4
        assert torch.equal(values(store, number)[:tokens], states_of(number, tokens))
        assert not values(store, number)[tokens:].any()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what is in memory of files")
def test_what_is_read_to_check_it_does_not_stay_in_memory(tmp_path):
    def files_kib() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

    first = StateStore(tmp_path / "key", Room(tmp_path, 2**30))
    for number in range(64):
        first.keep([address_of(number)], [torch.full((2**14, WIDTH), float(number))])  # half a MiB each
    first.release()
    before = files_kib()
    second = StateStore(tmp_path / "key", Room(tmp_path, 2**30))
    assert len(second) == 64
    assert files_kib() - before < 4 * 1024
    second.gather([address_of(number) for number in range(64)], 2**14, {})
    assert files_kib() - before > 16 * 1024


def test_rows_that_wait_for_a_segment_and_rows_just_computed_are_given_too(tmp_path):
    store = StateStore(tmp_path / "key", Room(tmp_path, 2**30))
    store.keep([address_of(1)], [states_of(1)])
    gathered = store.gather([address_of(1), address_of(2)], 3, {address_of(2): states_of(2)})
    assert gathered[:, 0, 0].tolist() == [1, 2]
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "another file"])
def test_a_damaged_segment_is_thrown_away(damage, tmp_path):
    filled(tmp_path / "key", range(5))
    (segment,) = (tmp_path / "key").iterdir()
    content = bytearray(segment.read_bytes())
    content[-9] ^= 1
    cut = {"cut": content[:-20], "flipped": content, "emptied": b"", "another file": b"PK\x03\x04 no segment"}
    segment.write_bytes(cut[damage])
    store = StateStore(tmp_path / "key", Room(tmp_path, 2**30))
    assert len(store) == 0
    assert not segment.exists()


def test_the_segments_used_longest_ago_make_room_and_those_in_use_stay(tmp_path):
    old, older = filled(tmp_path / "old", range(40)), filled(tmp_path / "older", range(40))
    sizes = {path: path.stat().st_size for path in tmp_path.rglob("*.safetensors")}
    for seconds, store in ((1000, old), (500, older)):
        for path in store.folder.iterdir():
            os.utime(path, (seconds, seconds))
    limit = sum(sizes.values()) + 100
    newest = filled(tmp_path / "newest", range(40), limit=limit)
    assert [len(list(store.folder.iterdir())) for store in (older, old, newest)] == [0, 1, 1]
    assert values(older, 3)[0, 0] == 3  # a process that reads them goes on reading
    room = Room(tmp_path, limit, in_use=set(old.folder.iterdir()) | set(newest.folder.iterdir()))
    assert not room.make(sizes[next(old.folder.iterdir())])
    assert len(list(old.folder.iterdir())) == 1


def test_a_store_without_room_goes_on_without_and_says_so(tmp_path, caplog):
    store = filled(tmp_path / "key", range(40), limit=100)
    assert store.full and not list(tmp_path.rglob("*.safetensors"))
    assert "speed.max_cache_gib" in caplog.text
    assert torch.equal(store.gather([address_of(7)], 3, {address_of(7): states_of(7)})[0], states_of(7))


@pytest.mark.parametrize("kind", [OSError, SafetensorError])  # safetensors says a full disk by an error of its own
def test_a_disk_that_refuses_is_no_end(kind, tmp_path, caplog, monkeypatch):
    def refuse(*arguments, **options):
        raise kind(28, "No space left on device")

    monkeypatch.setattr(prefix_store, "save_file", refuse)
    assert filled(tmp_path / "key", range(5)).full
    assert "No space left on device" in caplog.text


def write(folder: Path, start: int) -> None:
    torch.set_num_threads(1)
    for first in range(start, start + 40, 4):
        filled(folder, range(first, first + 6))


def test_two_processes_that_write_at_once_leave_whole_segments(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(tmp_path / "key", start)) for start in (0, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    store = StateStore(tmp_path / "key", Room(tmp_path, 2**30))
    assert len(store) == 62
    assert all(values(store, number)[0, 0] == number for number in range(62))


def test_nothing_is_pickled(tmp_path):
    filled(tmp_path / "key", range(5))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not zipfile.is_zipfile(path)
            assert set(load_file(path)) == {"addresses", "lengths", "states"}


def test_what_a_killed_process_left_unfinished_goes_after_an_hour(tmp_path):
    (tmp_path / "key").mkdir()
    old, new = tmp_path / "key" / "a.unfinished", tmp_path / "key" / "b.unfinished"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert Room(tmp_path, 2**30).make(10)
    assert (old.exists(), new.exists()) == (False, True)


def batch(numbers: list[int]) -> dict[str, torch.Tensor]:
    made = Collator()([{**rows()[number]} for number in numbers])
    del made["labels"]
    return made


def test_a_row_has_one_address_however_far_it_is_padded_and_another_for_every_changed_bit():
    (first, second), (again,) = rows_read(batch([0, 1])).addresses, rows_read(batch([0])).addresses
    assert first == again != second
    inputs = batch([0])
    for name in inputs:
        changed = {**inputs, name: inputs[name].clone()}
        changed[name][0, 0] ^= 1
        assert rows_read(changed).addresses != [first]
    types = {**inputs, "token_type_ids": torch.ones_like(inputs["input_ids"])}
    assert rows_read(types).addresses != [first]


def test_padding_on_the_left_is_part_of_the_address():
    inputs = batch([0])
    shifted = {name: torch.nn.functional.pad(value, (2, 0)) for name, value in inputs.items()}
    assert rows_read(shifted).addresses != rows_read(inputs).addresses


def test_rows_are_cut_to_the_longest_of_them():
    given = batch([0, 1, 2, 3])
    padded = {name: torch.nn.functional.pad(value, (0, 5)) for name, value in given.items()}
    cut = cut_to_longest(rows_read(padded))
    assert cut.keys() == given.keys() and all(torch.equal(cut[name], given[name]) for name in given)


@pytest.mark.parametrize(
    "arguments",
    [
        {"inputs_embeds": torch.zeros(2, 3, 4)},
        {"input_ids": torch.ones(2, 3, dtype=torch.long), "output_hidden_states": True},
        {"input_ids": torch.ones(2, 3, dtype=torch.long), "past_key_values": object()},
        {"input_ids": torch.ones(2, 3, dtype=torch.long), "attention_mask": torch.ones(2, 1, 3, 3)},
        {"input_ids": torch.ones(2, 3, dtype=torch.long), "position_ids": torch.ones(1, 3, dtype=torch.long)},
        {},
    ],
)
def test_what_is_not_rows_of_whole_numbers_has_no_addresses(arguments):
    assert rows_read(arguments) is None


def test_columns_give_the_addresses_of_batches():
    data = rows(12)
    for table in (data, data.select([3, 1, 7])):
        names = ["attention_mask", "input_ids"]
        made = Collator()(list(table))
        del made["labels"]
        assert column_addresses(table.with_format("arrow")[:], names) == rows_read(made).addresses
    gaps = Dataset.from_list([{"input_ids": [3, 4, 5], "attention_mask": [1, 0, 1]}])
    assert column_addresses(gaps.with_format("arrow")[:], ["attention_mask", "input_ids"]) is None
