"""Every shipped recipe that names the Hub runs unchanged against one, and what a run publishes is what it trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hf_fft.data.wheels import is_wheel_path
from hf_fft.publishing import read_publication
from hf_fft.recipe import load_recipe, shipped_recipes
from hf_fft.result import load_result, read_predictions
from hub import loopback_hub
from hub.server import TOKEN
from hub.stand_in_data import DATA
from hub.stand_in_models import MODELS, stand_in_model

CANARY = "9f8e7d6c5b4a39281706" * 2
STEPS = 2

RUN_ALL = """
import sys
from hf_fft.__main__ import main
folder, steps, *names = sys.argv[1:]
short = ["training.use_cpu=true", "training.disable_tqdm=true", f"training.max_steps={steps}"]
short = [word for setting in short for word in ("--set", setting)]
for name in names:
    assert main(["run", name, *short, "--output-dir", f"{folder}/{name}"]) == 0, name
    if name == "imdb":
        place = ["--set", "hub.repository=ada/imdb", "--set", "hub.private=true"]
        assert main(["run", name, *short, *place, "--output-dir", f"{folder}/{name}"]) == 0
"""

FETCH = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
folder, *names = sys.argv[1:]
texts = ["A good film, and not slow.", "poor plot"]
def logits(place):
    inputs = AutoTokenizer.from_pretrained(place)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return AutoModelForSequenceClassification.from_pretrained(place).eval()(**inputs).logits
mine = logits(folder)
print(json.dumps([torch.equal(mine, logits(name)) for name in names]))
print(json.dumps(pipeline("text-classification", model=names[0])(texts[0])))
assert "hf_fft" not in sys.modules
"""


def names_the_hub(name: str) -> bool:
    recipe = load_recipe(name)
    return not is_wheel_path(recipe.model.name) and not Path(recipe.data.path).exists()


RECIPES = [name for name in shipped_recipes() if names_the_hub(name)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("shipped")


@pytest.fixture(scope="module")
def hub(place):
    with loopback_hub(place / "cas") as hub:
        for name in MODELS:
            hub.add_model(name, stand_in_model(name, place / "stand-ins" / name.replace("/", "-")))
        for name, data in DATA.items():
            hub.add_data(name, data.files(), revision=data.revision)
        yield hub


def process(hub, home, code, *words, **options):
    environment = {**hub.environment(home, **options), "WANDB_API_KEY": CANARY}
    command = [sys.executable, *code, *map(str, words)]
    # Nothing lies here that a name of the Hub could mean.
    home.mkdir(exist_ok=True)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, cwd=home)


@pytest.fixture(scope="module")
def ran(hub, place):
    """All of them, in one process."""
    finished = process(hub, place / "home", ["-c", RUN_ALL], place / "runs", STEPS, *RECIPES)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished


def test_recipes_and_stand_ins_name_the_same():
    recipes = [load_recipe(name) for name in RECIPES]
    assert {recipe.model.name for recipe in recipes} == set(MODELS) and len(RECIPES) == 10
    assert {(recipe.data.path, recipe.data.revision or "main") for recipe in recipes} == {
        (name, data.revision) for name, data in DATA.items()
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_runs_unchanged(name, ran, place):
    folder, shipped = place / "runs" / name, load_recipe(name)
    result = load_result(folder)
    assert result.status == "finished" and result.cost.optimizer_steps == STEPS
    assert result.primary_metric.name in result.metrics["test"]
    assert result.recipe.task.name == shipped.task.name and result.recipe.data == shipped.data
    labels = getattr(shipped.task, "labels", None)
    assert labels is None or result.recipe.task.labels == labels
    assert {one.split for one in read_predictions(folder)} == {"validation", "test"}
    metadata = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert metadata["base_model"] == shipped.model.name and metadata["datasets"] == [shipped.data.path]
    assert metadata["model-index"][0]["results"][0]["dataset"]["split"] == "test"


def test_a_published_model_is_the_trained_one(ran, hub, place):
    folder = place / "runs" / "imdb"
    done = read_publication(folder)
    assert done.commit == hub.model("ada/imdb").head.sha and hub.model("ada/imdb").private
    assert hub.commits("ada/imdb") == ["text_classification, full, by hf_fft"]
    again = process(hub, place / "home", ["-m", "hf_fft.publish"], folder, "ada/imdb-by-xet", xet=True)
    assert again.returncode == 0, again.stderr
    fetched = process(hub, place / "elsewhere", ["-c", FETCH], folder / "model", "ada/imdb", "ada/imdb-by-xet")
    assert fetched.returncode == 0, fetched.stderr[-3000:]
    equal, answer = map(json.loads, fetched.stdout.splitlines())
    assert equal == [True, True] and answer[0]["label"] in {"neg", "pos"}
    card = yaml.safe_load(hub.model("ada/imdb").head.files["README.md"].data.decode().split("---")[1])
    assert card["model-index"][0]["name"] == "imdb"
    assert card["model-index"][0]["results"][0]["dataset"] == {
        "name": "stanfordnlp/imdb",
        "type": "stanfordnlp/imdb",
        "split": "test",
    }


def test_no_secret_is_anywhere(ran, hub, place):
    written = [path for path in (place / "runs").rglob("*") if path.is_file()]
    assert len(written) > 10 * len(RECIPES)
    for canary in (TOKEN, CANARY):
        assert canary not in ran.stdout + ran.stderr and canary.encode() not in hub.received()
        assert not [path for path in written if canary.encode() in path.read_bytes()]
    assert any(one.headers.get("authorization") == f"Bearer {TOKEN}" for one in hub.requests)
