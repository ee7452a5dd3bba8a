"""What `publish` sends and what it never sends, and how it says that it did not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from finished_run import add_adapter, make_run
from hub import loopback_hub
from hub.server import TOKEN
from safetensors.numpy import save_file

from hf_fft.__main__ import main
from hf_fft.publishing import read_publication
from hf_fft.result import Result, lock, write_result

WANDB_CANARY = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "runs" / "imdb", output_dir=str(tmp_path / "runs" / "imdb"))


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with loopback_hub(tmp_path_factory.mktemp("cas")) as hub:
        yield hub


@pytest.fixture
def online(hub, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name, value in hub.environment(tmp_path / "hf_home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_API_KEY", WANDB_CANARY)
    return hub


def publish(*words):
    return main(["publish", *map(str, words)])


def test_a_published_run_is_what_the_list_allows_and_shows_nothing_of_this_machine(
    online, run, tmp_path, capsys, caplog
):
    add_adapter(run)
    (run / "model" / "secret.json").symlink_to("/etc/passwd")
    (run / "model" / "special_tokens_map.json").symlink_to(run / "recipe.json")
    (run / "model" / "trainer.log").write_text("a log")
    (run / "predictions.jsonl").write_text("{}")
    assert publish(run, "ada/imdb", "--private") == 0
    files = online.model("ada/imdb").head.files
    assert set(files) == {
        ".gitattributes",
        "README.md",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "config.json",
        "model.safetensors",
        "recipe.json",
        "result.json",
        "tokenizer_config.json",
    }
    assert online.model("ada/imdb").private
    assert files["model.safetensors"].data == (run / "model" / "model.safetensors").read_bytes()
    assert json.loads(files["adapter/adapter_config.json"].data) == {"base_model_name_or_path": None, "r": 4}
    assert json.loads(files["tokenizer_config.json"].data) == {"model_max_length": 64}
    assert json.loads(files["recipe.json"].data)["output_dir"] == "imdb"
    assert b'model="ada/imdb"' in files["README.md"].data and b"cached in cache (3 MiB)" in files["README.md"].data
    assert str(tmp_path).encode() not in online.received() and b"/home" not in online.received()

    said = capsys.readouterr()
    done = read_publication(run)
    assert done.commit == online.model("ada/imdb").head.sha and done.commit in said.out
    assert set(done.files) == set(files) - {".gitattributes"} and set(done.changed) == set(done.files)
    assert "model/secret.json" in caplog.text and "model/training_args.bin" in caplog.text
    for canary in (TOKEN, WANDB_CANARY):
        written = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file() and not path.is_symlink())
        assert canary not in said.out + said.err + caplog.text and canary.encode() not in online.received() + written
    assert not (run / ".publishing").exists()

    assert publish(run, "ada/imdb") == 0 and "nothing had changed" in capsys.readouterr().out
    shutil.rmtree(run / "adapter")
    assert publish(run, "ada/imdb") == 0 and "2 of an earlier model removed" in capsys.readouterr().out
    assert not any(path.startswith("adapter") for path in online.model("ada/imdb").head.files)


def test_a_dry_run_shows_what_would_go_and_sends_nothing(run, capsys, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    before = sorted(run.rglob("*"))
    assert publish(run, "ada/imdb", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "model.safetensors" in said and "result.json" in said and "Left out: model/training_args.bin" in said
    assert {path.name for path in set(run.rglob("*")) - set(before)} == {".hf_fft.lock"}


SECRETS = {
    "a Hugging Face token": "hf_" + "A1b2C3d4" * 4,
    "a Weights & Biases key": 'wandb_api_key": "' + "0f" * 20 + '"',
    "an AWS key": "AKIA" + "ABCDEFGH12345678",
    "a GitHub token": "ghp_" + "a1B2c3D4e5F6" * 3,
    "an API key": "sk-proj-" + "a1B2c3D4e5" * 5,
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "the value of WANDB_API_KEY": WANDB_CANARY,
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_stays_here_and_is_not_repeated(kind, run, capsys, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", WANDB_CANARY)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (run / "model" / "chat_template.jinja").write_text(f"{{# {SECRETS[kind]} #}}")
    assert publish(run, "ada/imdb") == 9
    said = capsys.readouterr()
    assert f"chat_template.jinja holds {kind}" in said.err
    assert SECRETS[kind] not in said.err + said.out and not (run / ".publishing").exists()


def test_weights_are_looked_through_too(run, capsys, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "a token of no known shape")
    numbers = np.frombuffer(b"a token of no known shape".ljust(32), dtype=np.float64).copy()
    save_file({"weight": numbers}, run / "model" / "model.safetensors", metadata={"by": SECRETS["an AWS key"]})
    assert publish(run, "ada/imdb", "--dry-run") == 9
    said = capsys.readouterr().err
    assert "model.safetensors holds an AWS key" in said and "model.safetensors holds the value of MY_TOKEN" in said


def test_a_folder_of_this_machine_in_a_config_is_refused(run, capsys):
    (run / "model" / "config.json").write_text(json.dumps({"_name_or_path": str(run.resolve() / "model")}))
    assert publish(run, "ada/imdb", "--dry-run") == 9
    assert "config.json holds the name of a folder of this machine" in capsys.readouterr().err


def test_what_cannot_be_published_is_said_with_its_exit_code(run, tmp_path, capsys, monkeypatch):
    for name in ("imdb", "a/b/c", "ada/-x", "ada/..", "https://hf.co/a/b"):
        assert publish(run, name) == 2, name
    assert publish(run) == 2
    assert publish(run, "ada/imdb", "--deadline", "0") == 2
    assert publish(tmp_path / "nowhere", "ada/imdb") == 5
    with lock(run):
        assert publish(run, "ada/imdb") == 5
    (run / "model" / "model.safetensors").rename(tmp_path / "weights")
    (run / "model" / "model.safetensors").symlink_to(tmp_path / "weights")
    assert publish(run, "ada/imdb") == 5
    write_result(run, Result(status="failed", recipe=json_recipe(run), error="out of memory"))
    assert publish(run, "ada/imdb") == 5
    said = capsys.readouterr().err
    for words in ('"imdb" is no name', "no name to publish under", "no result.json", "is in use", "holds no model"):
        assert words in said, words
    assert "failed, so there is nothing to publish: out of memory" in said and "Traceback" not in said


def json_recipe(run: Path):
    from hf_fft.recipe import recipe_from

    return recipe_from(json.loads((run / "recipe.json").read_text()))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"HF_TOKEN": None}, "there is no token for the Hub. Run `hf auth login`"),
        ({"HF_TOKEN": "hf_" + "0" * 34}, "the Hub does not take the token: Invalid credentials"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub could not be reached"),
    ],
    ids=["no token", "a bad token", "offline", "unreachable"],
)
def test_a_hub_that_cannot_be_used_is_told_in_words(settings, words, online, run, capfd, monkeypatch):
    for name, value in settings.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    assert publish(run, "ada/other", "--private", "--revision", "dev", "--deadline", "1") == 9
    said = capfd.readouterr().err
    assert words in said and f"python -m hf_fft.publish {run} ada/other --private --revision dev" in said
    assert "0000000000" not in said and "Traceback" not in said and not (run / "publication.json").exists()


def test_a_run_whose_recipe_names_a_repository_is_no_failure_when_it_cannot_be_published(
    recipe_values, tmp_path, monkeypatch, caplog
):
    from hf_fft.pipeline import fine_tune
    from hf_fft.recipe import recipe_from

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    recipe_values["training"]["max_steps"] = 1
    recipe = recipe_from({**recipe_values, "hub": {"repository": "ada/imdb", "private": True}})
    result = fine_tune(recipe, tmp_path / "run")
    assert result.status == "finished" and not (tmp_path / "run" / "publication.json").exists()
    assert "HF_HUB_OFFLINE is set" in caplog.text
    assert f"python -m hf_fft.publish {tmp_path / 'run'} ada/imdb --private" in caplog.text
    caplog.clear()
    assert fine_tune(recipe, tmp_path / "run") == result
    assert "finished" in caplog.text and "HF_HUB_OFFLINE is set" in caplog.text, "it is tried again, and not trained"
