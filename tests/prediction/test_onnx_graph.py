"""`hf-fft export`: an ONNX graph that gives the model's figures on batches of any size, or no file at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from finished_runs import run_of

from hf_fft.__main__ import main
from hf_fft.errors import HfFftError, MissingExtraError
from hf_fft.prediction import load_run, onnx_graph, predict
from hf_fft.prediction.onnx_graph import PACKAGES, export_onnx


@pytest.fixture
def runs(tmp_path_factory, tiny_bert, one_thread):
    """Give what returns a kind's run folder and its file of test rows."""
    return lambda kind: run_of(kind, tmp_path_factory, tiny_bert)


@pytest.fixture
def onnxruntime():
    """ONNX Runtime, where the extra is installed."""
    for package in PACKAGES:
        pytest.importorskip(package, reason='needs pip install "hf_fft[onnx]"')
    import onnxruntime

    return onnxruntime


def test_the_graph_gives_the_runs_answers_for_one_row_and_for_many(runs, tmp_path, capsys, onnxruntime):
    folder, file = runs("single")
    out = tmp_path / "graphs" / "model.onnx"
    assert main(["export", str(folder), "--out", str(out)]) == 0
    assert "no figure differs" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(out))
    names = json.loads(session.get_modelmeta().custom_metadata_map["id2label"])
    saved = load_run(folder)
    texts = [json.loads(line)["text"] for line in file.read_text().splitlines()]
    expected = [one.guess for one in predict(saved, texts)]
    for rows in (1, 3, len(texts)):
        batch = saved.tokenizer(texts[:rows], padding=True, truncation=True, max_length=16, return_tensors="np")
        (logits,) = session.run(["logits"], {one.name: batch[one.name] for one in session.get_inputs()})
        assert [names[str(label)] for label in logits.argmax(axis=1)] == expected[:rows]


def test_a_graph_with_other_figures_is_refused_and_not_left_behind(runs, tmp_path, monkeypatch, onnxruntime):
    folder, _ = runs("single")
    export = onnx_graph._export

    def changed(model, batch, graph):
        export(model, batch, graph)
        with torch.no_grad():
            model.classifier.bias += 0.5

    monkeypatch.setattr(onnx_graph, "_export", changed)
    with pytest.raises(HfFftError, match=r"differ by up to 0\.5"):
        export_onnx(load_run(folder), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused_in_words(runs, tmp_path, monkeypatch, capsys):
    folder, _ = runs("encoder_decoder")
    monkeypatch.setattr(onnx_graph, "find_spec", lambda package: None)
    with pytest.raises(MissingExtraError, match=r"hf_fft\[onnx\]"):
        export_onnx(load_run(folder), tmp_path / "model.onnx")
    monkeypatch.setattr(onnx_graph, "find_spec", lambda package: np)
    assert main(["export", str(folder), "--out", str(tmp_path / "model.onnx")]) == 2
    assert main(["export", str(folder), "--out", str(tmp_path / "model.pt")]) == 2
    errors = capsys.readouterr().err
    assert "text_generation cannot be exported" in errors and "ends in .onnx" in errors
