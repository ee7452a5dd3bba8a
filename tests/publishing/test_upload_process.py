"""What the command makes of what the uploading process says, however long or short that is."""

from __future__ import annotations

import sys

import pytest

from hf_fft.publishing.exchange import Order
from hf_fft.publishing.publication import Destination
from hf_fft.publishing.publish import _uploaded

SAYS = {
    "much": 'print(Report(commit="c" * 40, files={f"file-{n}": "0" * 64 for n in range(3_000)}).model_dump_json())',
    "half": 'sys.stdout.write(Report(commit="c" * 40).model_dump_json()[:20])',
    "nothing": "pass",
    "hangs": "import time; time.sleep(60)",
}


@pytest.fixture
def uploaded(tmp_path, monkeypatch):
    """Run the command's part against a process that says what a test wants."""

    def run(what: str, *, deadline: float = 60.0):
        stub = tmp_path / "stub"
        lines = ["import sys", "from hf_fft.publishing.exchange import Report", "sys.stdin.readline()", SAYS[what]]
        stub.write_text("\n".join([f"#!{sys.executable}", *lines]))
        stub.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(stub))
        monkeypatch.setitem(_uploaded.__globals__, "GRACE_SECONDS", 1.0)
        place = Destination(repository="ada/model", deadline_seconds=deadline)
        return _uploaded(Order(folder=str(tmp_path), destination=place, message="m"))

    return run


def test_a_report_longer_than_a_pipe_is_read_whole(uploaded):
    report = uploaded("much")
    assert report.error is None and len(report.files) == 3_000


@pytest.mark.parametrize("what", ["half", "nothing"])
def test_a_process_that_dies_while_it_speaks_has_said_nothing(uploaded, what):
    assert "ended with exit code" in uploaded(what).error


def test_a_process_that_hangs_is_ended_at_the_deadline(uploaded):
    assert uploaded("hangs", deadline=1.0).error == "the Hub did not answer within 1 s"
