"""Text generation: what is read, what is learned, what is written, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import make_tokenizer, tiny_config, write_rows
from datasets import Dataset, DatasetDict
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BertModel,
    EvalPrediction,
    Seq2SeqTrainingArguments,
    T5ForConditionalGeneration,
)
from writers import ARCHITECTURES, answers_of_the_snippet, save_model, write_splits

from hf_fft.data import Splits, load_splits
from hf_fft.errors import DataError, RecipeError
from hf_fft.metrics import generation_scores
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import Recipe
from hf_fft.recipe.records import DataRecipe
from hf_fft.report.usage import usage_of
from hf_fft.tasks import TextGeneration
from hf_fft.training import FullFinetuningSeq2SeqTrainer

SIZES = {"max_length": 32, "max_target_length": 8}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_bert) -> dict[str, str]:
    """The folder that each architecture starts from."""
    home = tmp_path_factory.mktemp("writers")
    return {one: save_model(one, home / one, tiny_bert, make_tokenizer()) for one in ARCHITECTURES}


def task_of(architecture, folders, rows, tokenizer, **fields):
    task = TextGeneration(
        **{**SIZES, **({"architecture": "warm_started"} if architecture == "warm_started" else {}), **fields}
    )
    return task.for_model(folders[architecture]).fitted(Splits(rows, None, None), tokenizer)


def rows_of(*pairs: tuple[str, list[str]]) -> Dataset:
    return Dataset.from_dict({"source": [source for source, _ in pairs], "target": [list(t) for _, t in pairs]})


def typed(task, **splits: list[dict]) -> DatasetDict:
    return task.type_columns(DatasetDict({name: Dataset.from_list(rows) for name, rows in splits.items()}))


# What is read


def test_rows_that_read_alike_become_one_row_with_all_references():
    rows = [
        {"source": "a", "target": "x", "id": 1},
        {"source": "b", "target": "y", "id": 2},
        {"source": "a", "target": "z", "id": 3},
    ]
    merged = typed(TextGeneration(), test=rows)["test"]
    assert merged.to_list() == [
        {"source": "a", "target": ["x", "z"], "id": 1, "rows_read": 2},
        {"source": "b", "target": ["y"], "id": 2, "rows_read": 1},
    ]


def test_a_column_may_have_a_dot_in_its_name_and_no_brace():
    rows = [{"text.en": "a film", "target": "ein Film"}]
    task = TextGeneration(source_column="text.en")
    assert task.prompt.fill(typed(task, train=rows)["train"][0]).text == "a film"
    with pytest.raises(RecipeError, match="cannot be named in a prompt"):
        TextGeneration(source_column="a:b").text_columns()


def test_a_hold_out_never_parts_the_references_of_an_input(tmp_path):
    rows = [{"source": f"s{index % 10}", "target": f"t{index}"} for index in range(60)]
    splits = load_splits(
        DataRecipe(path=str(write_rows(tmp_path, train=rows)), validation_fraction=0.3), TextGeneration()
    )
    assert not set(splits.train["source"]) & set(splits.validation["source"])
    assert [len(references) for references in splits.validation["target"]] == [6, 6, 6]


def test_a_prompt_takes_several_columns_lists_of_sentences_and_numbers():
    task = TextGeneration(prompt="{{{kind}}} of {year}: {body}")
    row = {"kind": "sum", "year": 2024, "body": ["One. ", "Two."], "target": ["x", "y"]}
    (merged,) = typed(task, train=[row])["train"]
    assert merged["body"] == "One. Two." and merged["target"] == ["x", "y"]
    assert task.prompt.fill(merged).text == "{sum} of 2024: One. Two."


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("summarize: {document", "is no template"),
        ("summarize this", "names no column"),
        ("a {}", "something else than the bare name"),
        ("a {b:>3}", "something else than the bare name"),
        ("a {b:c}", "something else than the bare name"),
        ("a {other}", "does not use source_column"),
    ],
)
def test_a_prompt_that_is_no_template_of_columns_is_a_fault_of_the_recipe(prompt, message):
    with pytest.raises(ValueError, match=message):
        TextGeneration(source_column="document", prompt=prompt)


def test_a_column_that_the_data_lack_is_named_with_the_near_miss(tmp_path):
    folder = write_rows(tmp_path, train=[{"document": "a", "target": "x"}])
    with pytest.raises(DataError, match=r'documnt, target; .*did you mean "document"'):
        load_splits(DataRecipe(path=str(folder)), TextGeneration(prompt="summarize: {documnt}"))


@pytest.mark.parametrize("bad", ["", "  ", None, [], ["x", ""]])
def test_a_row_without_a_text_to_write_is_refused_with_its_number(bad):
    as_list = isinstance(bad, list)
    rows = [{"source": "a", "target": ["x"] if as_list else "x"}, {"source": "b", "target": bad}]
    with pytest.raises(DataError, match=r'"target": 1 row of train has no text to write.*row 2 \(counted from 1\)'):
        typed(TextGeneration(), train=rows)


def test_numbers_are_no_text_to_write():
    with pytest.raises(DataError, match="something else than a text or a list of texts, such as '3': row 1"):
        typed(TextGeneration(), train=[{"source": "a", "target": 3}])


# What is learned


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_reference_is_a_training_item_and_every_row_an_evaluation_item(architecture, folders, tokenizer):
    rows = rows_of(("the film", ["good", "very good"]), ("a plot", ["bad"]))
    task = task_of(architecture, folders, rows, tokenizer)
    training, evaluation = (task.preprocess(rows, tokenizer, split=split) for split in ("train", "test"))
    assert training["row"] == [0, 0, 1] and evaluation["row"] == [0, 1]
    assert evaluation["labels"][0] == training["labels"][0]


def test_an_encoder_decoder_learns_the_target_and_its_end_and_no_start_token_twice(folders, tokenizer):
    rows = rows_of(("the film was good", ["very good"]))
    expected = tokenizer("very good")["input_ids"]  # [CLS] very good [SEP]
    for architecture, labels in (("warm_started", expected[1:]), ("encoder_decoder", expected)):
        task = task_of(architecture, folders, rows, tokenizer)
        items = task.preprocess(rows, tokenizer)
        assert items["labels"] == [labels]
        assert items["input_ids"] == [tokenizer("the film was good")["input_ids"]]
        model = task.load_model(folders[architecture])
        batch = task.collator(tokenizer, model)([{k: items[0][k] for k in ("input_ids", "attention_mask", "labels")}])
        start = model.generation_config.decoder_start_token_id
        assert batch["decoder_input_ids"].tolist() == [[start, *labels[:-1]]]


def test_a_decoder_learns_the_completion_and_its_end_alone(folders, tokenizer):
    rows = rows_of(("the film was good", ["very good"]))
    task = task_of("decoder_only", folders, rows, tokenizer)
    (item,) = task.preprocess(rows, tokenizer)
    prompt = tokenizer("the film was good")["input_ids"]
    target = [*tokenizer("very good", add_special_tokens=False)["input_ids"], tokenizer.sep_token_id]
    assert item["input_ids"] == prompt + target
    assert item["labels"] == [-100] * len(prompt) + target


def test_a_long_target_keeps_its_end_token_and_is_reported(folders, tokenizer):
    rows = rows_of(("the film", ["one two three four five one two three four five"]), ("a", ["one"]))
    for architecture in ARCHITECTURES:
        task = task_of(architecture, folders, rows, tokenizer)
        items = task.preprocess(rows, tokenizer)
        scored = [label for label in items["labels"][0] if label != -100]
        assert len(scored) == 8 and scored[-1] == tokenizer.sep_token_id
        report = task.report(Splits(rows, None, None), Splits(items, None, None))
        assert any("targets longer than 8 tokens: 1 of 2" in line for line in report.lines())


def test_a_long_decoder_prompt_loses_the_end_of_its_longest_column_and_keeps_the_template(folders, tokenizer):
    rows = Dataset.from_dict({"a": ["one two"], "b": ["film " * 40], "target": [["good"]]})
    task = task_of("decoder_only", folders, rows, tokenizer, prompt="start {a} and {b} end now")
    items = task.preprocess(rows, tokenizer)
    prompt = items["input_ids"][0][: items["labels"][0].count(-100)]
    assert len(prompt) == 24  # 32 tokens, of which 8 are the text's
    words = tokenizer.convert_ids_to_tokens(prompt)
    assert words == ["[CLS]", "start", "one", "two", "and", *["film"] * 16, "end", "[UNK]", "[SEP]"]
    lines = task.report(Splits(rows, None, None), Splits(items, None, None)).lines()
    assert any("prompts longer than 24 tokens: 1; the end of their longest column is cut off" in line for line in lines)


def test_a_cut_does_not_depend_on_the_target(folders, tokenizer):
    source = "film " * 40
    rows = rows_of((source, ["good"]), (source, ["one two three four five"]))
    task = task_of("decoder_only", folders, rows, tokenizer)
    items = task.preprocess(rows, tokenizer)
    assert [labels.count(-100) for labels in items["labels"]] == [24, 24]


def test_the_chat_template_is_asked_for_an_answer(folders, tokenizer):
    from copy import deepcopy

    own = deepcopy(tokenizer)
    own.chat_template = (
        "[CLS] {% for message in messages %}{{ message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %} start{% endif %}"
    )
    rows = rows_of(("film " * 40, ["good"]))
    task = task_of("decoder_only", folders, rows, own, chat_template=True)
    (item,) = task.preprocess(rows, own)
    prompt = own.convert_ids_to_tokens(
        [t for t, label in zip(item["input_ids"], item["labels"], strict=True) if label == -100]
    )
    assert prompt == ["[CLS]", *["film"] * 22, "start"]
    with pytest.raises(RecipeError, match="tokenizer has none"):
        task_of("decoder_only", folders, rows, tokenizer, chat_template=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_is_the_mean_that_the_model_itself_computes_for_one_batch(architecture, folders, tokenizer):
    rows = rows_of(("the film was good", ["very good"]), ("a plot", ["one two three"]))
    task = task_of(architecture, folders, rows, tokenizer)
    model = task.load_model(folders[architecture]).eval()
    items = task.preprocess(rows, tokenizer).select_columns(["input_ids", "attention_mask", "labels"])
    batch = task.collator(tokenizer, model)(list(items))
    outputs = model(**batch)
    assert task.loss(outputs, batch["labels"]).item() == pytest.approx(outputs.loss.item(), rel=1e-5)


# What is written


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_run_scores_what_plain_transformers_writes_from_the_saved_folder(architecture, folders, tmp_path, one_thread):
    recipe = Recipe.model_validate(
        {
            "task": {
                "name": "text_generation",
                **SIZES,
                "architecture": "warm_started" if architecture == "warm_started" else "pretrained",
                "prompt": "start {source} end",
                "generation": {"num_beams": 2},
            },
            "model": {"name": folders[architecture]},
            "data": {"path": str(write_splits(tmp_path / "data"))},
            "training": {
                "num_train_epochs": 25,
                "learning_rate": 5e-3 if architecture == "warm_started" else 2e-2,
                "lr_scheduler_type": "constant",
                "per_device_train_batch_size": 8,
                "per_device_eval_batch_size": 4,
                "eval_strategy": "no",
                "train_sampling_strategy": "group_by_length",
                "bf16": True,
                "use_cpu": True,
                "disable_tqdm": True,
            },
        }
    )
    result = fine_tune(recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [(line["split"], line["row"]) for line in lines] == [("validation", row) for row in range(7)] + [
        ("test", row) for row in range(6)
    ]
    guesses = [line["guess"] for line in lines]
    assert len(set(guesses)) > 3 and all("[" not in guess for guess in guesses)
    snippet = usage_of(result.recipe.task).snippet(result.recipe.task, str(tmp_path / "run" / "model"))
    assert answers_of_the_snippet(snippet, [line["inputs"] for line in lines]) == guesses
    test = [line for line in lines if line["split"] == "test"]
    assert max(len(line["gold"]) for line in test) == 2
    expected = generation_scores([line["guess"] for line in test], [line["gold"] for line in test])
    assert result.metrics["test"] == pytest.approx(expected)
    settings = json.loads((tmp_path / "run" / "model" / "generation_config.json").read_text())
    assert settings["max_new_tokens"] == 8 and settings["num_beams"] == 2 and "max_length" not in settings


@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder_only"])
def test_evaluation_writes_from_the_prompt_alone_and_no_padding_reaches_the_decoder(
    architecture, folders, tokenizer, tmp_path, monkeypatch
):
    rows = rows_of(("the film", ["good"]), ("a very slow plot and a poor story", ["one two three"]), ("end", ["bad"]))
    task = task_of(architecture, folders, rows, tokenizer)
    model = task.load_model(folders[architecture])
    read: list[torch.Tensor] = []

    def written(self, **inputs):
        read.append(inputs["input_ids"])
        # Texts of different length a batch, so that batches are joined by padding.
        answer = torch.full((len(inputs["input_ids"]), 2 + len(read)), 9)
        return torch.cat([inputs["input_ids"], answer], dim=1) if architecture == "decoder_only" else answer

    monkeypatch.setattr(type(model), "generate", written)
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(tmp_path), predict_with_generate=True, per_device_eval_batch_size=2, use_cpu=True
    )
    trainer = FullFinetuningSeq2SeqTrainer(
        model,
        arguments,
        data_collator=task.collator(tokenizer, model),
        compute_loss_func=task.loss,
        preprocess_logits_for_metrics=task.reduce_logits,
        processing_class=tokenizer,
    )
    settings = model.generation_config.to_dict()
    encoded = task.preprocess(rows, tokenizer, split="validation")
    output = trainer.predict(encoded, metric_key_prefix="validation")
    cls, pad = tokenizer.cls_token_id, tokenizer.pad_token_id
    first = read[0][0].tolist()
    if architecture == "decoder_only":
        assert first[:-4] == [pad] * (len(first) - 4) and first[-4] == cls  # padded on the left, nothing of the target
    assert tokenizer.decode(first, skip_special_tokens=True) == "the film"
    predictions = task.postprocess(rows, encoded, EvalPrediction(output.predictions, output.label_ids))
    assert [one.guess.split() for one in predictions] == [[tokenizer.decode([9])] * n for n in (3, 3, 4)]
    assert [one.gold for one in predictions] == [["good"], ["one two three"], ["bad"]]
    assert model.generation_config.to_dict() == settings
    model.eval()
    with torch.no_grad():
        losses = []
        for several in ([0, 1], [2]):
            items = encoded.select(several).select_columns(["input_ids", "attention_mask", "labels"])
            batch = task.collator(tokenizer, model)(list(items))
            losses += [task.loss(model(**batch), batch["labels"]).item()] * len(several)
    assert output.metrics["validation_loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_minus_100_is_replaced_before_decoding(folders, tokenizer):
    rows = rows_of(("the film", ["good"]))
    task = task_of("encoder_decoder", folders, rows, tokenizer)
    encoded = task.preprocess(rows, tokenizer, split="test")
    ids = np.array([[tokenizer.convert_tokens_to_ids("good"), tokenizer.sep_token_id, -100, -100]])
    (prediction,) = task.postprocess(rows, encoded, EvalPrediction(ids, None), split="test")
    assert prediction.guess == "good"


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beam": 4}, 'did you mean "num_beams"'),
        ({"max_length": 40}, "set max_new_tokens"),
        ({"num_return_sequences": 3}, "a row has one guess"),
        ({"num_beam_groups": 2, "num_beams": 4}, "fetches the code"),
        ({"num_beams": "4"}, "should be a whole number of at least 1; it is '4'"),
        ({"num_beams": 0}, "at least 1; it is 0"),
        ({"repetition_penalty": "1.2"}, "should be a number above 0; it is '1.2'"),
        ({"do_sample": True, "temperature": -1}, "should be a number above 0; it is -1"),
        ({"do_sample": "yes"}, "should be true or false"),
        ({"num_beams": 2, "early_stopping": "often"}, 'true, false or "never"'),
        ({"temperature": 0.5}, "do_sample"),
    ],
)
def test_a_generation_setting_that_cannot_be_is_refused_before_training(settings, message, folders):
    with pytest.raises(RecipeError, match=message):
        TextGeneration(generation=settings).for_model(folders["encoder_decoder"])


def test_writing_is_greedy_however_the_checkpoint_samples_and_ends_at_the_learned_token(folders, tokenizer, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folders["decoder_only"])
    model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.9, eos_token_id=[7], max_length=50)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    rows = rows_of(("the film", ["good"]))
    task = TextGeneration(**SIZES).for_model(str(tmp_path)).fitted(Splits(rows, None, None), tokenizer)
    settings = task.load_model(str(tmp_path)).generation_config
    assert not settings.do_sample and settings.temperature is None and settings.max_length is None
    assert settings.eos_token_id == [tokenizer.sep_token_id, 7] and settings.max_new_tokens == 8


def test_the_text_takes_its_room_from_the_prompts_of_a_decoder(folders, tokenizer):
    rows = rows_of(("the film", ["good"]))
    with pytest.raises(RecipeError, match="leaves 2 of its tokens to the prompt"):
        task_of("decoder_only", folders, rows, tokenizer, max_length=32, generation={"max_new_tokens": 30})


def test_lengths_are_lowered_to_what_the_model_has_positions_for(folders, tokenizer):
    rows = rows_of(("the film", ["good"]))
    fitted = task_of("warm_started", folders, rows, tokenizer, max_length=512, max_target_length=128)
    assert (fitted.recipe.max_length, fitted.recipe.max_target_length) == (64, 64)
    with pytest.raises(RecipeError, match="max_new_tokens is 65, and the model's decoder has positions for 64"):
        task_of("warm_started", folders, rows, tokenizer, generation={"max_new_tokens": 65})


def test_an_unknown_primary_metric_is_refused_with_the_near_miss(folders, tokenizer):
    with pytest.raises(RecipeError, match='"rouge-L" is not a metric here; did you mean "rougeL"'):
        task_of("encoder_decoder", folders, rows_of(("a", ["b"])), tokenizer, primary_metric="rouge-L")


# Models


def test_an_encoder_is_refused_with_the_way_to_use_it(tmp_path):
    BertModel(tiny_config()).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r'is an encoder.*task\.architecture to "warm_started"'):
        TextGeneration().for_model(str(tmp_path))


def test_the_kind_of_model_is_read_from_its_config_and_written_into_the_filled_recipe(folders, tokenizer):
    rows = rows_of(("the film", ["good"]))
    for architecture, auto in (("encoder_decoder", AutoModelForSeq2SeqLM), ("decoder_only", AutoModelForCausalLM)):
        assert TextGeneration().auto_model_for(folders[architecture]) is auto
        assert task_of(architecture, folders, rows, tokenizer).recipe.architecture == architecture
    assert task_of("decoder_only", folders, rows, tokenizer).recipe.prompt == "{source}\n"
    with pytest.raises(RecipeError, match=r'is "decoder_only", and .* is "encoder_decoder"'):
        TextGeneration(architecture="decoder_only").for_model(folders["encoder_decoder"])
    with pytest.raises(RecipeError, match=r"call task\.for_model"):
        TextGeneration().fitted(Splits(rows, None, None), tokenizer)
    assert isinstance(TextGeneration().load_model(folders["encoder_decoder"]), T5ForConditionalGeneration)


def test_a_tokenizer_without_capitals_is_reported_where_references_have_them(folders, tokenizer):
    from copy import deepcopy

    from tokenizers import normalizers

    rows = rows_of(("the film", ["Good", "good"]), ("a plot", ["bad"])).add_column("rows_read", [2, 1])
    lower = deepcopy(tokenizer)
    lower.backend_tokenizer.normalizer = normalizers.Lowercase()
    for own, expected in ((tokenizer, False), (lower, True)):
        task = task_of("encoder_decoder", folders, rows, own)
        encoded = Splits(task.preprocess(rows, own), None, task.preprocess(rows, own, split="test"))
        lines = task.report(Splits(rows, None, rows), encoded).lines()
        assert any("capital letters: 1; the tokenizer has none" in line for line in lines) == expected
        assert any("references: 3, up to 2 a row" in line for line in lines)
        assert any("rows with the same prompt are one row: 2 of 3" in line for line in lines)
