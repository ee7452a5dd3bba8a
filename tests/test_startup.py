"""Starting is light: a door that only talks imports nothing heavy, and a run only what its task and strategy need."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from hf_fft import command_line

HEAVY = {"torch", "transformers", "datasets", "numpy", "pandas", "pyarrow", "sklearn", "scipy", "matplotlib", "peft"}
# What only some tasks score with, and what only the end of a run draws with.
LATE = {"sacrebleu", "rouge_score", "nltk", "seqeval", "matplotlib", "evaluate", "wandb", "sklearn.model_selection"}

TALK = """
import json, sys
from hf_fft.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(name for name in sys.modules)]))
"""
UNTIL_TORCH = """
import json, os, sys
from importlib.abc import MetaPathFinder

class Stop(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            found = {name: value for name, value in os.environ.items() if "CAPACITY" in name}
            os.write(1, json.dumps([0, found]).encode())
            os._exit(0)

sys.meta_path.insert(0, Stop())
from hf_fft.__main__ import main
main(sys.argv[1:])
"""
# Python imports it at its start, so every process that begins adds a line.
AT_THE_START = """
import os
with open("beginnings.txt", "a") as stream:
    stream.write(f"{os.getpid()} {os.environ.get('GLIBC_TUNABLES')}\\n")
"""
UP_TO_TRAINING = """
import json, sys
from pathlib import Path
from hf_fft.pipeline import fill_in, prepare, trainer_for
from hf_fft.recipe import load_recipe
filled, notes = fill_in(load_recipe("recipe.json"))
trainer_for(prepare(filled, notes), Path("checkpoints"))
print(json.dumps([0, sorted(name for name in sys.modules)]))
"""


def modules_after(code, *words, cwd):
    finished = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120, cwd=cwd, check=True
    )
    exit_code, modules = json.loads(finished.stdout.strip().splitlines()[-1])
    return exit_code, set(modules)


@pytest.mark.parametrize(
    ("words", "ends_with"),
    [
        (["--help"], 0),
        (["run", "--help"], 0),
        (["compare", "--help"], 0),
        (["run", "bad.json"], 2),
        (["compare", "bad.json"], 2),
        (["run", "no-such-recipe"], 2),
        (["compare", "quickstart", "--strategies", "ful"], 2),
    ],
    ids=str,
)
def test_help_and_a_refusal_import_nothing_heavy(words, ends_with, tmp_path):
    (tmp_path / "bad.json").write_text('{"task": {"name": "text_clasification"}, "training": {"batch_size": 8}}')
    exit_code, modules = modules_after(TALK, *words, cwd=tmp_path)
    assert exit_code == ends_with
    assert not HEAVY & modules


def test_a_run_imports_metrics_plots_and_hold_outs_no_sooner_than_it_needs_them(recipe_values, tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps(recipe_values))
    _, modules = modules_after(UP_TO_TRAINING, cwd=tmp_path)
    assert "torch" in modules and not LATE & modules


@pytest.mark.parametrize("speed", ["auto", "off"])
@pytest.mark.parametrize("words", [["run", "recipe.json"], ["predict", "run", "rows.csv"]], ids=str)
def test_what_torch_reads_about_memory_is_set_before_it_is_imported(words, speed, recipe_values, tmp_path, monkeypatch):
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    (tmp_path / "recipe.json").write_text(json.dumps({**recipe_values, "speed": speed}))
    finished = subprocess.run(
        [sys.executable, "-c", UNTIL_TORCH, *words], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    _, found = json.loads(finished.stdout)
    ours = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "48"}
    plain = words[0] == "run" and speed == "off"
    assert found == {"LRU_CACHE_CAPACITY": "7", **({} if plain else ours)}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
@pytest.mark.parametrize(
    ("said", "speed", "beginnings"),
    [
        (None, "auto", [None, "glibc.malloc.tcache_count=0"]),
        (None, "off", [None]),
        ("glibc.malloc.arena_max=2", "auto", ["glibc.malloc.arena_max=2"]),
    ],
    ids=["begins once more", "plain", "said otherwise"],
)
@pytest.mark.parametrize("module", ["hf_fft", "hf_fft.run"])
def test_a_command_begins_once_more_with_glibc_s_setting_and_the_same_words(
    module, said, speed, beginnings, recipe_values, tmp_path, monkeypatch
):
    if said is None:
        monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    else:
        monkeypatch.setenv("GLIBC_TUNABLES", said)
    (tmp_path / "sitecustomize.py").write_text(AT_THE_START)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "a recipe.json").write_text(json.dumps({**recipe_values, "speed": speed}))
    words = [*(["run"] if module == "hf_fft" else []), "a recipe.json", "--set", "data.path=nowhere/at all"]
    finished = subprocess.run(
        [sys.executable, "-m", module, *words], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert finished.returncode == 2 and "nowhere/at all" in finished.stderr
    lines = [line.split(" ", 1) for line in (tmp_path / "beginnings.txt").read_text().splitlines()]
    assert [line[1] for line in lines] == [str(one) for one in beginnings]
    assert len({line[0] for line in lines}) == 1  # it stays the same process


def test_a_program_of_somebody_else_is_never_begun_once_more(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("this is pytest's process"))
    command_line.spare_memory()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "48" and "GLIBC_TUNABLES" not in os.environ


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("-m hf_fft.run x", True),
        ("-um hf_fft run x", True),
        ("-X dev -W ignore -mhf_fft.predict x", True),
        ("-X importtime --check-hash-based-pycs always -P /some/bin/hf-fft run x", True),
        ("-m memray run -m hf_fft.run x", False),
        ("-m hf_fftings", False),
        ("-c import hf_fft.run", False),
        ("/some/bin/ipython -m hf_fft.run", False),
        ("hf_fft.run.py", False),
        ("-", False),
        ("- -m hf_fft.run x", False),
        ("", False),
    ],
)
def test_a_command_is_told_by_the_interpreter_s_own_words(words, ours):
    assert command_line._is_our_command(words.split()) is ours


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_a_command_begins_no_third_time_and_goes_on_where_it_cannot_begin_again(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "hf_fft.run", "x"])
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    monkeypatch.setattr(sys, "stdout", None)
    begun = []

    def refuse(*words):
        begun.append(words)
        raise OSError("not permitted")

    monkeypatch.setattr(os, "execv", refuse)
    monkeypatch.setattr(os, "environ", {})
    command_line.spare_memory()
    assert begun == [(sys.executable, [sys.executable, "-m", "hf_fft.run", "x"])]
    assert "GLIBC_TUNABLES" not in os.environ and os.environ["LRU_CACHE_CAPACITY"] == "48"
    command_line.spare_memory()
    assert len(begun) == 1
