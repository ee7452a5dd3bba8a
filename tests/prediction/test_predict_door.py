"""`hf-fft predict`: rows from anywhere, a line for each, metrics where they are labelled, faults in words."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import sys

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from finished_runs import run_of

from hf_fft.__main__ import main
from hf_fft.prediction import load_run, predict, readable_rows
from hf_fft.result import load_result, read_predictions


@pytest.fixture
def runs(tmp_path_factory, tiny_bert, one_thread):
    """Give what returns a kind's run folder and its file of test rows."""
    return lambda kind: run_of(kind, tmp_path_factory, tiny_bert)


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def told(tmp_path, *words) -> list[dict]:
    """Run the door and return the lines that it wrote."""
    out = tmp_path / "out.jsonl"
    assert main(["predict", *map(str, words), "--out", str(out)]) == 0
    return lines_of(out)


def say(monkeypatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_every_format_packed_or_not_gives_the_same_lines(runs, tmp_path):
    folder, file = runs("single")
    rows = lines_of(file)[:6]
    expected = told(tmp_path, folder, file)[:6]
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in rows))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.txt").write_text("".join(f"{row['text']}\n" for row in rows))
    features = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})
    numbers = [{**row, "label": ["pos", "neg"].index(row["label"])} for row in rows]
    Dataset.from_list(numbers, features=features).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    (tmp_path / "b.json.bz2").write_bytes(bz2.compress((tmp_path / "a.json").read_bytes()))
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    files = [*sorted(tmp_path.glob("a.*")), *sorted(tmp_path.glob("b.*"))]
    assert len(files) == 8
    for one in files:
        lines = told(tmp_path, folder, one)
        assert [line["guess"] for line in lines] == [line["guess"] for line in expected], one
        assert [line["probability"] for line in lines] == pytest.approx([line["probability"] for line in expected])
        assert [line["row"] for line in lines] == list(range(6))


def test_standard_input_gives_lines_to_standard_output(runs, monkeypatch, capsys):
    folder, _ = runs("single")
    stored = {one.inputs["text"]: one for one in read_predictions(folder) if one.split == "test"}
    texts = list(stored)[:3]
    capsys.readouterr()
    say(monkeypatch, "\n".join(texts) + "\n")
    assert main(["predict", str(folder), "-", "--top-k", "9"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["guess"] for line in lines] == [stored[text].guess for text in texts]
    for line, text in zip(lines, texts, strict=True):
        assert line["scores"] == pytest.approx(stored[text].scores) and set(line["scores"]) == {"neg", "pos"}
        assert list(line["scores"].values()) == sorted(line["scores"].values(), reverse=True)
        assert line["probability"] == line["scores"][line["guess"]]
    say(monkeypatch, "".join(json.dumps({"text": text, "id": 7}) + "\n" for text in texts))
    assert main(["predict", str(folder), "-", "--with-inputs"]) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["guess"] for line in again] == [line["guess"] for line in lines]
    assert again[2]["inputs"] == {"text": texts[2], "id": 7} and "scores" not in again[2]
    say(monkeypatch, "text;id\nthe film;1\n")
    wanted = ["--format", "csv", "--set", "data.options.delimiter=;"]
    assert main(["predict", str(folder), "-", *wanted]) == 0
    assert json.loads(capsys.readouterr().out)["row"] == 0


def test_columns_may_be_named_and_csv_comes_out(runs, tmp_path):
    folder, file = runs("pair")
    expected = [line["guess"] for line in told(tmp_path, folder, file)]
    rows = [{"review": row["text"], "text": "not this", "other": row["other"], "n": 1} for row in lines_of(file)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out.csv"
    words = ["predict", str(folder), str(tmp_path / "in.jsonl"), "--columns", "text=review", "--out", str(out)]
    assert main([*words, "--with-inputs", "--top-k", "1"]) == 0
    with out.open(newline="") as stream:
        cells = list(csv.DictReader(stream))
    assert [cell["guess"] for cell in cells] == expected
    assert [cell["inputs.review"] for cell in cells] == [row["review"] for row in rows]
    assert list(cells[0]) == [
        "row", "guess", "probability", "scores",
        "inputs.review", "inputs.text", "inputs.other", "inputs.n",
    ]  # fmt: skip
    assert json.loads(cells[0]["scores"]) == {cells[0]["guess"]: pytest.approx(float(cells[0]["probability"]))}


def test_the_threshold_decides_which_of_several_labels_are_given(runs, tmp_path):
    folder, file = runs("multi")
    stored = [one for one in read_predictions(folder) if one.split == "test"]
    by_text = {
        line["inputs"]["text"]: line for line in told(tmp_path, folder, file, "--threshold", "0.3", "--with-inputs")
    }
    expected = [[label for label, score in one.scores.items() if score >= 0.3] for one in stored]
    assert [by_text[one.inputs["text"]]["guess"] for one in stored] == expected
    assert expected != [one.guess for one in stored]
    line = by_text[stored[0].inputs["text"]]
    assert line["probabilities"] == pytest.approx([stored[0].scores[label] for label in line["guess"]], abs=1e-6)


@pytest.mark.parametrize("kind", ["single", "tags", "questions", "encoder_decoder", "masked", "regression"])
def test_score_prints_the_runs_metrics_and_unlabelled_rows_need_none(kind, runs, tmp_path, capsys):
    folder, file = runs(kind)
    capsys.readouterr()
    assert main(["predict", str(folder), str(file), "--score"]) == 0
    table = capsys.readouterr().out
    metric = load_result(folder).primary_metric.name
    (row,) = [line.split() for line in table.splitlines() if line.startswith(f"{metric} ")]
    headings = table.splitlines()[0]
    assert "test.jsonl" in headings and "the run's test" in headings
    assert row[1] == row[3], table
    needed = set(load_run(folder).task.text_columns())
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps({name: row[name] for name in needed}) + "\n" for row in lines_of(file)))
    assert len(told(tmp_path, folder, bare)) == len(lines_of(file))
    if kind != "masked":
        assert main(["predict", str(folder), str(bare), "--score"]) == 2
        assert "reads the columns" in capsys.readouterr().err


def test_one_label_alone_can_be_scored_and_an_unknown_one_is_refused(runs, tmp_path, capsys):
    folder, _ = runs("single")
    file = tmp_path / "in.csv"
    file.write_text("text,label\nthe film,pos\na plot,pos\n")
    assert main(["predict", str(folder), str(file), "--score", "--out", str(tmp_path / "x.jsonl")]) == 0
    assert "accuracy" in capsys.readouterr().out and len(lines_of(tmp_path / "x.jsonl")) == 2
    file.write_text("text,label\nthe film,pos\na plot,positive\n")
    assert main(["predict", str(folder), str(file), "--score", "--out", str(tmp_path / "y.jsonl")]) == 2
    assert '"positive" (1 row)' in capsys.readouterr().err and not (tmp_path / "y.jsonl").exists()


def test_a_model_that_hf_fft_did_not_train_is_scored_by_its_own_labels(runs, tmp_path, capsys):
    folder, file = runs("single")
    named = ["--model", str(folder / "model"), "--task", "text_classification"]
    assert main(["predict", *named, str(file), "--score", "--columns", "text=text"]) == 0
    accuracy = load_result(folder).metrics["test"]["accuracy"]
    assert any(line.split() == ["accuracy", f"{accuracy:.3f}"] for line in capsys.readouterr().out.splitlines())
    rows = [{"review": row["text"], "stars": ["neg", "pos"].index(row["label"])} for row in lines_of(file)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["--set", "task.text_column=review", "--set", "task.label_column=stars"]
    assert main(["predict", *named, str(tmp_path / "in.jsonl"), "--score", *columns]) == 0
    assert f"{accuracy:.3f}" in capsys.readouterr().out
    base = load_result(folder).recipe.model.name
    assert main(["predict", "--model", base, "--task", "text_classification", str(file)]) == 2
    assert main(["predict", *named, "--set", 'task.labels=["a", "b", "c"]', str(file)]) == 2
    errors = capsys.readouterr().err
    assert "no weights for classifier" in errors and "3 names" in errors


def test_entities_have_their_places_in_words_and_in_running_text(runs, monkeypatch, capsys, tmp_path):
    folder, file = runs("tags")
    lines = told(tmp_path, folder, file)
    found = [(line, entity) for line in lines for entity in line["entities"]]
    assert found and all(len(line["guess"]) == len(line["words"]) for line in lines)
    for line, entity in found:
        assert " ".join(line["words"])[entity["start"] : entity["end"]] == entity["text"] != ""
        assert entity["type"] == "X"
    words = next(line["words"] for line, entity in found)
    text = "  " + ",  ".join(words) + "."
    capsys.readouterr()
    say(monkeypatch, text + "\n")
    assert main(["predict", str(folder), "-"]) == 0
    (line,) = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [word for word in line["words"] if word not in ",."] == words
    assert len(line["guess"]) == 2 * len(words) and line["words"].count(",") == len(words) - 1
    assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in line["entities"])
    columns = "\n\n".join("\n".join(one["words"]) for one in lines[:5])
    (tmp_path / "in.conll").write_text(columns + "\n")
    assert [one["guess"] for one in told(tmp_path, folder, tmp_path / "in.conll")] == [
        one["guess"] for one in lines[:5]
    ]


def test_answers_have_their_place_and_nested_squad_without_answers_is_read(runs, tmp_path):
    folder, file = runs("questions")
    rows = lines_of(file)
    lines = told(tmp_path, folder, file, "--top-k", "3")
    for line, row in zip(lines, rows, strict=True):
        assert line["id"] == row["id"] and set(line) == {
            "row", "id", "guess", "start", "end", "probability", "no_answer", "scores",
        }  # fmt: skip
        assert row["context"][line["start"] : line["end"]] == line["guess"] if line["guess"] else line["start"] is None
        assert len(line["scores"]) <= 3
    paragraphs = [{"context": row["context"], "qas": [{"id": row["id"], "question": row["question"]}]} for row in rows]
    (tmp_path / "in.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    assert [line["guess"] for line in told(tmp_path, folder, tmp_path / "in.json")] == [line["guess"] for line in lines]
    least = ["--set", "task.no_answer_threshold=-1000.0"]
    assert {line["guess"] for line in told(tmp_path, folder, file, *least)} == {""}


def test_language_models_give_each_text_its_own_perplexity(runs, tmp_path):
    folder, _ = runs("causal")
    (tmp_path / "in.txt").write_text("the film was good\n\nthe\nthe film was good\n")
    first, empty, single, last = told(tmp_path, folder, tmp_path / "in.txt")
    assert {**first, "row": 3} == last and first["tokens"] == 4
    assert first["perplexity"] == pytest.approx(2.718281828 ** first["loss"])
    assert empty["tokens"] == 0 and empty["perplexity"] is None and single["tokens"] == 1
    (tmp_path / "in.txt").write_text("\n\n")
    assert [line["tokens"] for line in told(tmp_path, folder, tmp_path / "in.txt")] == [0, 0]


def test_bad_rows_are_named_by_their_number_and_nothing_is_written(runs, tmp_path, capsys):
    folder, _ = runs("single")
    good = [json.dumps({"text": "the film"})] * 4
    bad = {
        '{"text": null}': 'row 5 (counted from 1): the column "text" should hold a text; found null',
        '{"text": "\\ud83d"}': "row 5 (counted from 1)",
        '{"texts": "a"}': "row 5 (counted from 1): text_classification reads the columns text; this row has texts; did",
        "{": "line 5: broken JSON",
    }
    for line, fault in bad.items():
        file = tmp_path / "in.jsonl"
        file.write_text("\n".join([*good, line]) + "\n")
        assert main(["predict", str(folder), str(file), "--out", str(tmp_path / "out.jsonl")]) == 2
        assert fault in capsys.readouterr().err
    (tmp_path / "empty.csv").write_text("text\n")
    assert main(["predict", str(folder), str(tmp_path / "empty.csv"), "--out", str(tmp_path / "out.jsonl")]) == 2
    assert not list(tmp_path.glob("*out.jsonl*"))


def test_what_cannot_be_asked_for_is_refused_in_words(runs, tmp_path, capsys):
    folder, file = runs("single")
    asked = {
        "no result.json": [str(tmp_path), str(file)],
        "There is no file": [str(folder), str(tmp_path / "nowhere.csv")],
        "RUN FILE; found 1": [str(folder)],
        "--model and --task go together": ["--model", "x", str(file)],
        "extension says the format": [str(folder), str(file), "--out", "x.txt"],
        "A threshold decides": [str(folder), str(file), "--threshold", "0.4"],
        "--columns body=…": [str(folder), str(file), "--columns", "body=text"],
        "write NAME=COLUMN": [str(folder), str(file), "--columns", "text"],
        "not an option of jsonl": [str(folder), str(file), "--set", "data.options.delimiter=;"],
        "a run's model is the one in its folder": [str(folder), str(file), "--set", "model.name=other"],
    }
    for fault, words in asked.items():
        assert main(["predict", *words]) in (2, 5), words
        assert fault in capsys.readouterr().err, words


def test_python_takes_texts_rows_and_runs(runs):
    folder, file = runs("single")
    rows = lines_of(file)[:5]
    texts = [one.guess for one in predict(folder, (row["text"] for row in rows))]
    saved = load_run(folder)
    assert texts == [one.guess for one in predict(saved, rows)]
    (row,) = readable_rows([{"text": "a film"}], saved.task, names={}, shown="rows")
    assert row.inputs == {"text": "a film"} and row.labels == {}
