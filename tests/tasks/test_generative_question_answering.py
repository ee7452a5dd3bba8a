"""Generative question answering reads answers in every form and may learn to say nothing."""

from __future__ import annotations

import json

import pytest
from conftest import make_tokenizer, write_rows
from datasets import Dataset, DatasetDict
from writers import answers_of_the_snippet, save_model

from hf_fft.data import Splits
from hf_fft.errors import DataError, RecipeError
from hf_fft.metrics import answer_scores
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import Recipe
from hf_fft.report.usage import usage_of
from hf_fft.result import Prediction
from hf_fft.tasks import GenerativeQuestionAnswering


@pytest.fixture(scope="module")
def tiny_t5(tmp_path_factory, tiny_bert) -> str:
    return save_model("encoder_decoder", tmp_path_factory.mktemp("writers") / "t5", tiny_bert, make_tokenizer())


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory, tiny_bert) -> str:
    return save_model("decoder_only", tmp_path_factory.mktemp("writers") / "llama", tiny_bert, make_tokenizer())


def typed(*answers, **fields) -> Dataset:
    rows = [
        {"id": str(index), "question": f"q{index}", "context": "the film", "answers": one}
        for index, one in enumerate(answers)
    ]
    return GenerativeQuestionAnswering(**fields).type_columns(DatasetDict({"train": Dataset.from_list(rows)}))["train"]


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": ["red", "blue"], "answer_start": [0, 4]}, {"text": [], "answer_start": []}],
        [["red", "blue"], []],
        [[{"text": "red", "answer_start": 0}, {"text": "blue", "answer_start": 4}], []],
    ],
)
def test_answers_come_as_squads_records_or_as_lists(answers):
    assert list(typed(*answers)["answers"]) == [["red", "blue"], []]


def test_an_answer_may_be_one_text():
    assert list(typed("red", "blue")["answers"]) == [["red"], ["blue"]]


@pytest.mark.parametrize("bad", [None, "", ["red", " "]])
def test_something_else_than_answers_is_refused_with_its_row(bad):
    good = ["red"] if isinstance(bad, list) else "red"
    with pytest.raises(DataError, match=r'"answers": 1 row of train has something else than answers.*row 2'):
        typed(good, bad)


def test_a_question_without_an_answer_teaches_to_stop_at_once(tiny_t5, tiny_llama, tokenizer):
    rows = typed(["red"], [])
    for folder in (tiny_t5, tiny_llama):
        task = GenerativeQuestionAnswering(max_length=64).for_model(folder).fitted(Splits(rows, None, None), tokenizer)
        _, silent = task.preprocess(rows, tokenizer)["labels"]
        words = tokenizer.decode([label for label in silent if label != -100], skip_special_tokens=True)
        assert words == "" and silent[-1] == tokenizer.sep_token_id


def test_the_prompt_names_question_and_context_whatever_the_columns_are_called(tiny_llama, tokenizer):
    task = GenerativeQuestionAnswering(question_column="ask", context_column="about", id_column=None, max_length=64)
    assert task.required_columns() == ["ask", "about", "answers"]
    filled = task.prompt.fill({"ask": "who?", "about": "a film"})
    assert filled.text == "question: who? context: a film"
    rows = Dataset.from_dict({"ask": ["who?"], "about": ["a film"], "answers": [["red"]]})
    fitted = task.for_model(tiny_llama).fitted(Splits(rows, None, None), tokenizer)
    assert fitted.recipe.prompt == "question: {ask} context: {about}\n" == fitted.prompt.template


def test_scores_are_squads_and_silence_is_right_where_there_is_no_answer():
    guesses, golds = ["The red film", "", "blue"], [["red film", "a film"], [], []]
    predictions = [
        Prediction(split="test", row=row, inputs={}, gold=gold, guess=guess)
        for row, (guess, gold) in enumerate(zip(guesses, golds, strict=True))
    ]
    scores = GenerativeQuestionAnswering().score(predictions)
    assert scores == {**answer_scores(guesses, golds), "rougeL": pytest.approx((0.8 + 1 + 0) / 3)}
    assert scores["exact_match"] == pytest.approx(2 / 3) and scores["f1/NoAns"] == 0.5


def test_an_unknown_primary_metric_is_refused(tiny_t5, tokenizer):
    with pytest.raises(RecipeError, match=r"bleu.* is not a metric here.* There are exact_match, f1, rougeL"):
        GenerativeQuestionAnswering(primary_metric="bleu").for_model(tiny_t5).fitted(
            Splits(typed(["red"]), None, None), tokenizer
        )


def test_a_run_keeps_the_questions_ids_and_its_card_reproduces_the_answers(tiny_t5, tmp_path, one_thread):
    colours = ["red", "green", "blue"]
    rows = [
        {
            "id": f"q{index}",
            "question": "the day" if index % 2 else "the night",
            "context": f"day {colours[index % 3]} night {colours[(index // 3) % 3]}",
            "answers": {"text": [colours[index % 3 if index % 2 else (index // 3) % 3]], "answer_start": [0]},
        }
        for index in range(18)
    ]
    data = write_rows(tmp_path / "data", train=rows, test=rows[:5])
    recipe = Recipe.model_validate(
        {
            "task": {"name": "generative_question_answering", "max_length": 32, "max_target_length": 4},
            "model": {"name": tiny_t5},
            "data": {"path": str(data), "validation_fraction": 0},
            "training": {"num_train_epochs": 10, "learning_rate": 2e-2, "use_cpu": True, "disable_tqdm": True},
        }
    )
    result = fine_tune(recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [line["inputs"]["id"] for line in lines] == ["q0", "q1", "q2", "q3", "q4"]
    assert set(result.metrics["test"]) == {"exact_match", "f1", "rougeL"}
    task = result.recipe.task
    snippet = usage_of(task).snippet(task, str(tmp_path / "run" / "model"))
    assert answers_of_the_snippet(snippet, [line["inputs"] for line in lines]) == [line["guess"] for line in lines]
    assert any(line["guess"] for line in lines)


def test_a_question_with_an_answer_and_without_one_is_refused():
    rows = [
        {"id": str(place), "question": "q", "context": "the film", "answers": {"text": texts, "answer_start": starts}}
        for place, (texts, starts) in enumerate([(["film"], [4]), ([], [])])
    ]
    with pytest.raises(DataError, match=r"rows 1 and 2 .* read alike"):
        GenerativeQuestionAnswering().type_columns(DatasetDict({"train": Dataset.from_list(rows)}))
