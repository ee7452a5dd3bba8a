"""The card is the golden text, shows nothing of the machine, and its snippet runs on plain transformers."""

import os
from pathlib import Path

import pytest
import yaml
from made_up import SCORES, made_up_failure, made_up_recipe, made_up_result, made_up_result_of

from hf_fft.recipe import TextClassificationRecipe, is_hub_name
from hf_fft.report import model_card
from hf_fft.report.usage import USAGES
from hf_fft.report.usage.text_classification import note, snippet
from hf_fft.report.wording import place_text, without_local_paths

GOLDEN = Path(__file__).parent / "golden_card.md"


def metadata(card):
    return yaml.safe_load(card.split("---")[1])


def test_the_card_is_the_golden_text():
    card = model_card(made_up_result())
    if os.environ.get("HF_FFT_WRITE_GOLDEN"):
        GOLDEN.write_text(card, encoding="utf-8")
    assert card == GOLDEN.read_text(encoding="utf-8")


def test_the_metadata_are_hugging_faces():
    data = metadata(model_card(made_up_result()))
    assert data["base_model"] == "google-bert/bert-base-uncased" and data["datasets"] == ["stanfordnlp/imdb"]
    assert data["library_name"] == "transformers" and data["pipeline_tag"] == "text-classification"
    assert data["tags"] == ["hf_fft", "full"]
    (results,) = data["model-index"][0]["results"]
    assert results["dataset"]["split"] == "test"
    assert {one["type"]: one["value"] for one in results["metrics"]} == {"accuracy": 0.861, "f1_macro": 0.858}


def test_a_card_shows_no_path_of_this_machine(tmp_path):
    recipe = made_up_recipe(
        model={"name": "/home/ada/models/tiny/", "tokenizer": r"C:\models\tokens"},
        data={"path": str(tmp_path / "secret" / "reviews"), "splits": {"test": "/home/ada/test.csv"}},
        output_dir="/scratch/ada/runs/best one",
        task={"hub_metrics": ["/home/ada/kappa.py"]},
    )
    card = model_card(made_up_result(recipe=recipe, notes=("cached in /home/ada/.cache/hf_fft (3 MiB)",)))
    assert "/home" not in card and str(tmp_path) not in card and "ada" not in card and "C:" not in card
    assert '"name": "tiny"' in card and '"path": "reviews"' in card and "cached in hf_fft (3 MiB)" in card
    data = metadata(card)
    assert "base_model" not in data and "datasets" not in data and data["model-index"][0]["name"] == "best one"


def test_a_wheel_is_shown_as_it_is_and_is_no_hub_name():
    place = "wheel:some-weights==1.0/some_weights/model"
    card = model_card(made_up_result(recipe=made_up_recipe(model=place)))
    assert place in card and "base_model" not in metadata(card)


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("imdb", True),
        ("stanfordnlp/imdb", True),
        ("reviews.csv", False),
        ("data/reviews.jsonl.gz", False),
        ("./imdb", False),
        ("../imdb", False),
        ("/imdb", False),
        ("a/b/c", False),
        ("wheel:a==1/b", False),
        ("here", False),
    ],
)
def test_hub_names_are_told_from_places(name, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert is_hub_name(name) == hub


def test_places_and_texts_lose_local_paths_alone():
    assert place_text("data/reviews.csv") == "reviews.csv"
    assert without_local_paths("see https://hf.co/a/b and /a/b/c.txt, ~/x/y or and/or") == (
        "see https://hf.co/a/b and c.txt, y or and/or"
    )


def test_what_is_no_data_set_of_the_hub_is_not_called_one():
    for path in ("wheel:some-rows==1.0/some_rows/rows.csv", "data/reviews.csv"):
        (result,) = metadata(model_card(made_up_result(recipe=made_up_recipe(data={"path": path}))))["model-index"][0][
            "results"
        ]
        assert result["dataset"]["type"] == "custom" and result["dataset"]["name"].endswith(path.split("/")[-1])


def test_scores_stand_with_their_intervals():
    card = model_card(made_up_result(intervals={"test": {"accuracy": (0.8434, 0.8786)}}))
    assert "| metric | validation | test | test, 95 % |" in card
    assert "| accuracy | 0.871 | 0.861 | 0.843–0.879 |" in card and "| f1_macro | 0.858 | 0.858 | – |" in card
    assert "a thousand draws" in card


@pytest.mark.parametrize("task", SCORES)
def test_the_hubs_own_reader_takes_the_metadata(task):
    from huggingface_hub import ModelCard

    data = ModelCard(model_card(made_up_result_of(task), model="ada/a-model")).data
    results = data.eval_results
    assert data.to_dict()["library_name"] == "transformers"
    assert {one.dataset_split for one in results} <= {"test", "validation"} and len(results) == len(data.metrics)
    assert all(isinstance(one.metric_value, float) for one in results)


def test_a_failed_and_a_bare_run_have_a_card():
    assert "The run failed: torch.OutOfMemoryError" in model_card(made_up_failure())
    bare = model_card(made_up_result(metrics={}, cost=None, data={}, environment=None, notes=()))
    assert "There are none." in bare and "No data report was kept." in bare and "model-index" not in metadata(bare)


@pytest.mark.parametrize("task", SCORES)
def test_every_task_has_a_card_with_its_own_tag_and_code(task):
    card = model_card(made_up_result_of(task))
    (metric, _), _ = SCORES[task]
    data = metadata(card)
    assert data["pipeline_tag"] == USAGES[task].TAG and data["metrics"][0] == metric
    assert not any("/" in one["type"] for one in data["model-index"][0]["results"][0]["metrics"])
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, task, "exec")
    assert "from transformers import" in code and "hf_fft" not in code


def test_the_card_names_what_scores_are_broken_down_by():
    assert "Each type on the test split:" in model_card(made_up_result_of("token_classification"))
    assert "| kind of question (test) | exact_match | f1 |" in model_card(made_up_result_of("question_answering"))


def test_columns_of_the_data_that_no_split_has_are_left_out():
    card = model_card(made_up_result_of("masked_language_modeling"))
    assert "| split | rows | repeated texts | empty texts |\n" in card


def test_the_published_name_stands_in_snippet_and_index():
    card = model_card(made_up_result(), model="ada/imdb-full")
    assert 'model="ada/imdb-full"' in card and metadata(card)["model-index"][0]["name"] == "imdb-full"


def test_windows_are_named_where_the_snippet_reads_less():
    assert "first 256 tokens only" in note(TextClassificationRecipe(long_text="windows"))
    assert note(TextClassificationRecipe()) == ""


@pytest.fixture(scope="module")
def save_model(tmp_path_factory):
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    def save(problem_type, labels):
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("model")
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "text", "first", "second", "."]
        (folder / "vocab.txt").write_text("\n".join(words))
        tokenizer = BertTokenizer(str(folder / "vocab.txt"))
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
            num_labels=labels,
            problem_type=problem_type,
            initializer_range=1.0,
        )
        model = BertForSequenceClassification(config).eval()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder, model, tokenizer

    return save


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [("single_label_classification", 3), ("multi_label_classification", 3), ("regression", 1)],
)
def test_the_snippet_scores_with_transformers_alone(problem_type, labels, pair, save_model):
    import torch

    folder, model, tokenizer = save_model(problem_type, labels)
    task = TextClassificationRecipe(
        problem_type=problem_type, text_pair_column="second" if pair else None, max_length=8
    )
    names = {}
    exec(snippet(task, str(folder)), names)
    texts = ("A first text.", "A second text.") if pair else ("A text.",)
    inputs = tokenizer(*texts, truncation=True, max_length=8, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    scores = {one["label"]: one["score"] for one in names["scores"]}
    said = {
        "single_label_classification": logits.softmax(-1),
        "multi_label_classification": logits.sigmoid(),
        "regression": logits,
    }[problem_type]
    expected = {f"LABEL_{place}": pytest.approx(float(score), abs=1e-5) for place, score in enumerate(said)}
    assert scores == expected
    if problem_type == "single_label_classification":
        assert names["answer"] == f"LABEL_{int(logits.argmax())}"
    elif problem_type == "multi_label_classification":
        assert set(names["answer"]) == {f"LABEL_{place}" for place in range(labels) if logits[place] >= 0}
    else:
        assert names["answer"] == pytest.approx(float(logits[0]), abs=1e-5)


def test_the_snippet_cuts_long_texts(save_model):
    folder, _, _ = save_model("single_label_classification", 2)
    names = {}
    exec(snippet(TextClassificationRecipe(max_length=8), str(folder)), names)
    assert len(names["classify"](["a text " * 100])[0]) == 2
