"""Whatever goes wrong between here and the Hub: one commit or none, never two, never half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from finished_run import Uploader, make_run, stage
from hub import loopback_hub
from hub.repositories import Blob

BOTH = ["lfs", "xet"]
REQUESTS = {
    "both": [
        ("GET", r"/api/models/ada/{name}/revision/"),
        ("POST", r"/api/repos/create"),
        ("GET", r"/api/models/ada/{name}/tree/"),
        ("POST", r"/api/validate-yaml"),
        ("POST", r"/api/models/ada/{name}/preupload/"),
        ("POST", r"/api/models/ada/{name}/commit/"),
    ],
    "lfs": [("POST", r"/ada/{name}.git/info/lfs/"), ("PUT", r"/lfs/"), ("POST", r"/lfs-verify")],
    "xet": [("GET", r"/api/models/ada/{name}/xet-write-token/")],
}
ACTIONS = {"503": 503, "busy": (429, {"Retry-After": "7"}), "drop": "drop"}
# Where something is made, twice would be wrong.
MAKING = {"500": 500, **ACTIONS, "lost answer": "drop_after"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with loopback_hub(tmp_path_factory.mktemp("cas")) as hub:
        yield hub


@pytest.fixture(scope="module", params=BOTH)
def uploader(request, hub, tmp_path_factory):
    uploader = Uploader(hub, tmp_path_factory.mktemp("home"), xet=request.param == "xet")
    uploader.way = request.param
    yield uploader
    uploader.close()


@pytest.fixture
def model(tmp_path, uploader):
    # Other weights every time, so that none of them is there already.
    return stage(tmp_path / "model", seed=time.time_ns() % 2**32)


def test_a_request_that_fails_once_is_made_again_and_there_is_one_commit(hub, uploader, tmp_path):
    for place, (method, path) in enumerate([*REQUESTS["both"], *REQUESTS[uploader.way]]):
        makes = "create" in path or "commit" in path
        for number, (kind, action) in enumerate((MAKING if makes else ACTIONS).items()):
            name = f"{uploader.way}-{place}-{number}"
            hub.fault(method, path.format(name=name), action)
            folder = stage(tmp_path / name, seed=time.time_ns() % 2**32)
            report = uploader.upload(folder, f"ada/{name}")
            case = f"{kind} at {method} {path}"
            assert report.error is None, case
            assert hub.faults[-1].times <= 0, f"{case} was never met"
            assert hub.commits(f"ada/{name}") == ["a model"], case
            assert report.commit == hub.model(f"ada/{name}").head.sha, case
            assert "model.safetensors" in report.changed, case
            # hf_xet fetches its token and waits by itself.
            assert uploader.slept >= 7 or kind != "busy" or "xet" in path, case


def test_the_same_model_again_is_no_new_commit(hub, uploader, model):
    first = uploader.upload(model, f"ada/twice-{uploader.way}")
    again = uploader.upload(model, f"ada/twice-{uploader.way}")
    assert again.commit == first.commit and not again.changed and len(first.changed) == 5
    assert hub.commits(f"ada/twice-{uploader.way}") == ["a model"]


def test_what_an_earlier_model_left_goes_and_what_is_no_model_stays(hub, uploader, model):
    name = f"ada/stale-{uploader.way}"
    old = {"pytorch_model.bin": b"old", "adapter/adapter_config.json": b"{}", "LICENSE": b"mine", "eval.py": b"1"}
    hub.add("models", name, old)
    report = uploader.upload(model, name)
    assert report.removed == ("adapter/adapter_config.json", "pytorch_model.bin")
    kept = {".gitattributes", "LICENSE", "eval.py"}
    assert set(hub.model(name).head.files) == {path.name for path in model.iterdir()} | kept
    assert hub.commits(name) == ["a model", "files"]


def second_writer(hub, name, path):
    return lambda: hub.model(name).commit({path: Blob(b"theirs", is_large=False)}, summary="theirs")


def test_a_second_writers_files_survive_and_what_both_write_is_refused(hub, uploader, model):
    name = f"ada/two-{uploader.way}"
    hub.add("models", name, {"notes.txt": b"old"})
    hub.fault("POST", rf"{name}/commit/", second_writer(hub, name, "notes.txt"))
    assert uploader.upload(model, name).error is None
    assert hub.commits(name) == ["a model", "theirs", "files"]
    assert hub.model(name).head.files["notes.txt"].data == b"theirs"

    (model / "config.json").write_text('{"model_type": "roberta"}')
    hub.fault("POST", rf"{name}/commit/", second_writer(hub, name, "config.json"))
    report = uploader.upload(model, name)
    assert report.commit is None and "somebody else has changed config.json" in report.error
    assert hub.model(name).head.files["config.json"].data == b"theirs"
    assert uploader.upload(model, name).error is None, "the next publication knows of it, and may"


def test_a_hub_that_stays_down_costs_no_more_than_the_deadline_says(hub, uploader, model):
    name = f"ada/down-{uploader.way}"
    hub.add("models", name, {})
    hub.fault("POST", rf"{name}/commit/", 503, times=99)
    report = uploader.upload(model, name, deadline_seconds=10.0)
    assert report.commit is None and "503" in report.error and "Time is up" in report.error
    hub.faults.clear()
    hub.fault("POST", rf"{name}/commit/", (429, {"Retry-After": "86400"}))
    assert "Time is up" in uploader.upload(model, name).error
    assert hub.commits(name) == ["files"]
    assert uploader.upload(model, name).error is None and hub.commits(name) == ["a model", "files"]


def test_a_branch_is_made_and_a_public_repository_is_not_taken_for_a_private_one(hub, uploader, model):
    name = f"ada/branch-{uploader.way}"
    hub.add("models", name, {})
    report = uploader.upload(model, name, revision="experiment")
    assert hub.model(name).at("experiment").sha == report.commit and hub.commits(name) == ["files"]
    assert "everybody can read it" in uploader.upload(model, name, private=True).error
    assert uploader.upload(model, f"{name}-2", private=True).error is None and hub.model(f"{name}-2").private


def test_what_no_patience_mends_is_said_at_once(hub, uploader, model):
    hub.add("models", "meta/theirs", {})
    assert "no right to write to meta/theirs" in uploader.upload(model, "meta/theirs").error
    assert "no right to write to meta/new" in uploader.upload(model, "meta/new").error
    (model / "README.md").write_text("---\nlicense: nonsense\n---\n")
    assert '"license" must be one of' in uploader.upload(model, f"ada/bad-card-{uploader.way}").error
    hub.fault(
        "GET", r"/api/models/ada/old-token", (401, {"X-Error-Message": "Invalid credentials in Authorization header"})
    )
    error = uploader.upload(model, "ada/old-token").error
    assert "expired" in error and "hf auth login" in error and uploader.slept == 0


@pytest.mark.parametrize("way", BOTH)
def test_a_command_that_is_killed_leaves_no_half_commit_and_its_upload_ends_too(hub, tmp_path, way):
    folder, name = make_run(tmp_path / "run", seed=hash(way) % 1000), f"ada/killed-{way}"
    path = r"/lfs/" if way == "lfs" else rf"{name}/xet-write-token/"
    hub.fault("PUT" if way == "lfs" else "GET", path, 3.0)
    environment = hub.environment(tmp_path / "home", xet=way == "xet")
    command = [sys.executable, "-m", "hf_fft.publish", str(folder), name]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    begun = time.monotonic()
    while hub.faults[-1].times > 0 and time.monotonic() < begun + 60:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    # Both hold the pipe open, so it ends when both have ended.
    assert process.communicate(timeout=30)[0] is not None
    assert hub.commits(name) == [] and not (folder / "publication.json").exists()
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert len(hub.commits(name)) == 1 and not (folder / ".publishing").exists()


def test_a_hub_that_hangs_ends_at_the_deadline_and_the_printed_command_publishes(hub, tmp_path):
    folder, name = make_run(tmp_path / "run"), "ada/hangs"
    hub.fault("POST", rf"{name}/preupload/", 60.0)
    environment = hub.environment(tmp_path / "home")
    command = [sys.executable, "-m", "hf_fft.publish", str(folder), name]
    begun = time.monotonic()
    hung = subprocess.run([*command, "--deadline", "2"], env=environment, capture_output=True, text=True, timeout=120)
    assert hung.returncode == 9 and time.monotonic() < begun + 40
    assert "did not answer within 2 s" in hung.stderr and "is safe in" in hung.stderr
    assert f"python -m hf_fft.publish {folder} {name}" in hung.stderr and "Traceback" not in hung.stderr
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0 and len(hub.commits(name)) == 1
