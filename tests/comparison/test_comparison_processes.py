"""Processes of their own: their last words, their end by a signal, and that none outlives its comparison."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from made_runs import made_recipe

from hf_fft.comparison.processes import call, failed


def test_the_last_words_are_the_reason_and_a_signal_is_named():
    code, words = call([sys.executable, "-c", "import sys; print('first\\nlast words', file=sys.stderr); sys.exit(3)"])
    assert (code, words) == (3, "last words")
    assert failed(made_recipe(), code, words).error == "last words"
    code, words = call([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert failed(made_recipe(), code, words).error == "the process was ended by SIGKILL"
    assert failed(made_recipe(), 1, "").error == "the process ended with exit code 1"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a child with its parent")
def test_a_run_ends_with_its_comparison_even_if_that_is_killed(tmp_path):
    note = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(60)"
    code = f"import sys; from hf_fft.comparison.processes import call; call([sys.executable, '-c', {child!r}])"
    parent = subprocess.Popen([sys.executable, "-c", code])
    assert _within(30, lambda: note.exists() and note.read_text())
    parent.kill()
    parent.wait()
    assert _within(10, lambda: not _is_alive(int(note.read_text())))


def _within(seconds, is_so):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def _is_alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_run_that_is_interrupted_takes_its_process_with_it(monkeypatch):
    started = []

    class Interrupted(subprocess.Popen):
        def wait(self, timeout=None):
            if not started:
                started.append(self)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        call([sys.executable, "-c", "import time; time.sleep(60)"])
    assert started[0].returncode == -signal.SIGKILL
