"""Token classification: which token carries a word's tag, which answers for it, and that no word is lost unseen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from conftest import WORDS, make_tokenizer, tiny_config, write_rows
from datasets import ClassLabel, Dataset, Features, List, Value
from tokenizers import pre_tokenizers
from transformers import (
    AutoTokenizer,
    BertForTokenClassification,
    ByT5Tokenizer,
    EvalPrediction,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    TrainingArguments,
)

from hf_fft.data import Splits
from hf_fft.errors import RecipeError, StrategyError
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import TokenClassificationRecipe, recipe_from
from hf_fft.report.usage.token_classification import note, snippet
from hf_fft.result import load_result, read_predictions
from hf_fft.tasks import TokenClassification, task_for
from hf_fft.training import FullFinetuningTrainer

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ["O", "B-X", "I-X"]
LOST = " "  # a word without a token


def dataset(*sentences: str, names=NAMES) -> Dataset:
    """Return typed rows of sentences written as "word/label-number"."""
    pairs = [[item.rsplit("/", 1) for item in sentence.split("|")] if sentence else [] for sentence in sentences]
    columns = {
        "tokens": [[word for word, _ in row] for row in pairs],
        "tags": [[int(tag) for _, tag in row] for row in pairs],
    }
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=names))})
    return Dataset.from_dict(columns, features=features)


def fitted(rows: Dataset, tokenizer, **fields) -> TokenClassification:
    return TokenClassification(**fields).fitted(Splits(rows), tokenizer)


def as_output(encoded: Dataset, *, column: str = "labels") -> EvalPrediction:
    """Return what a perfect model gives: the labels, padded as Trainer pads."""
    answers = np.full((len(encoded), max(encoded["length"])), -100)
    for row, values in enumerate(encoded[column]):
        answers[row, : len(values)] = values
    return EvalPrediction(predictions=answers, label_ids=answers)


def test_the_first_sub_word_carries_the_tag(tokenizer):
    rows = dataset("good-film/1|movie/2|was/0")
    (item,) = fitted(rows, tokenizer).preprocess(rows, tokenizer)
    assert item["words"] == [-1, 0, 0, 0, 1, 2, -1]
    assert item["labels"] == [-100, 1, -100, -100, 2, 0, -100]
    assert (item["length"], item["text_tokens"], item["row"]) == (7, 7, 0)


def test_all_sub_words_carry_it_if_asked_and_go_on_with_the_entity(tokenizer):
    rows = dataset("good-film/1|red-red/2|one-two/0")
    (item,) = fitted(rows, tokenizer, subwords="all").preprocess(rows, tokenizer)
    assert item["labels"] == [-100, 1, 2, 2, 2, 2, 2, 0, 0, 0, -100]
    plain = dataset("good-film/1|red/0", names=["N", "V"])
    (item,) = fitted(plain, tokenizer, subwords="all").preprocess(plain, tokenizer)
    assert item["labels"] == [-100, 1, 1, 1, 0, -100]


@pytest.mark.parametrize("subwords", ["first", "all"])
@pytest.mark.parametrize(("max_length", "overlap"), [(8, 0), (8, 4), (16, 5), (32, 10)])
def test_in_windows_each_word_is_trained_once_and_answered_by_that_window(subwords, max_length, overlap, tokenizer):
    words = [f"{word}-{word}" if place % 3 else word for place, word in enumerate(WORDS)]
    rows = dataset("|".join(f"{word}/{place % 3}" for place, word in enumerate(words)), "good/1", "", "bad/0|day/1")
    task = fitted(rows, tokenizer, max_length=max_length, window_overlap=overlap, subwords=subwords)
    encoded = task.preprocess(rows, tokenizer)
    assert max(encoded["length"]) <= max_length and encoded["row"][:].count(0) > 2
    assert encoded["text_tokens"][0] == sum(1 + 2 * ("-" in word) for word in words) + 2
    if subwords == "first":
        assert sum(label != -100 for labels in encoded["labels"] for label in labels) == len(words) + 3
    predictions = task.postprocess(rows, encoded, as_output(encoded))
    assert [one.guess for one in predictions] == [one.gold for one in predictions]
    assert task.score(predictions)["accuracy"] == 1.0


def test_a_word_longer_than_a_window_is_answered_by_its_first_sub_word(tokenizer):
    rows = dataset("-".join(WORDS[:20]) + "/1|good/0")
    task = fitted(rows, tokenizer, max_length=8, window_overlap=2)
    encoded = task.preprocess(rows, tokenizer)
    assert len(encoded) > 5
    (prediction,) = task.postprocess(rows, encoded, as_output(encoded))
    assert prediction.guess == ["B-X", "O"]


def test_words_without_a_token_count_as_misses_and_are_reported(tokenizer):
    rows = dataset(f"good/1|{LOST}/2|bad/0", f"{LOST}/1", "", "red/0")
    task = fitted(rows, tokenizer)
    encoded = task.preprocess(rows, tokenizer)
    predictions = task.postprocess(rows, encoded, as_output(encoded))
    assert [one.guess for one in predictions] == [["B-X", None, "O"], [None], [], ["O"]]
    assert predictions[0].inputs == {"tokens": ["good", LOST, "bad"]} and predictions[0].gold == ["B-X", "I-X", "O"]
    scores = task.score(predictions)
    assert (scores["recall"], scores["accuracy"]) == (0.0, 3 / 5)
    report = task.report(Splits(rows), Splits(encoded)).splits["train"]
    assert report.findings == (
        "cut off, since the tokenizer has no token for them: 2 words of 2 sentences; all count as misses",
        "without a single word: 1 row",
    )
    assert report.label_counts == {"X": 2} and report.token_lengths.longest == 4


def test_kinds_that_caps_took_from_train_are_reported(tokenizer):
    names = [*NAMES, "B-Y", "I-Y"]
    splits = Splits(dataset("a/1|b/0", names=names), None, dataset("a/3|b/3", names=names))
    task = TokenClassification().fitted(splits, tokenizer)
    encoded = Splits(**{name: task.preprocess(rows, tokenizer) for name, rows in splits.items()})
    assert task.report(splits, encoded).splits["test"].findings == (
        "of kinds that train no longer shows after hold-outs and caps: Y 2; they can only be missed",
    )


def test_a_sentence_without_a_token_still_has_an_input_where_no_special_tokens_are_added():
    bare = make_tokenizer().backend_tokenizer
    bare.post_processor = None
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, unk_token="[UNK]", pad_token="[PAD]", model_max_length=64
    )
    rows = dataset("", f"{LOST}/0", "good/1")
    encoded = fitted(rows, tokenizer).preprocess(rows, tokenizer)
    assert encoded["input_ids"][:2] == [[0], [0]] and encoded["words"][:] == [[-1], [-1], [0]]


def test_rows_without_tags_can_be_predicted(tokenizer):
    rows = dataset("good/1|bad/0")
    task = fitted(rows, tokenizer)
    bare = rows.remove_columns("tags")
    encoded = task.preprocess(bare, tokenizer)
    assert "labels" not in encoded.column_names
    (prediction,) = task.postprocess(bare, encoded, EvalPrediction(np.array([[0, 1, 0, 0]]), None))
    assert (prediction.gold, prediction.guess) == (None, ["B-X", "O"])


def byte_level(kind):
    vocabulary = {token: place for place, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])}
    for letter in pre_tokenizers.ByteLevel.alphabet():
        vocabulary.setdefault(letter, len(vocabulary))
    roberta = RobertaTokenizer(vocab={**vocabulary, "Ġa": len(vocabulary)}, merges=[("Ġ", "a")], model_max_length=64)
    if kind == "roberta":
        return roberta
    names = {"unk_token": "<unk>", "pad_token": "<pad>"}
    if kind == "in a sequence":
        parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        roberta.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    return PreTrainedTokenizerFast(tokenizer_object=roberta.backend_tokenizer, model_max_length=64, **names)


@pytest.mark.parametrize("kind", ["roberta", "generic", "in a sequence"])
def test_byte_level_tokenizers_read_words_as_in_running_text_and_are_saved_that_way(kind, tmp_path):
    tokenizer, rows = byte_level(kind), dataset("as/0|ant/1|.a/0")
    plain = tokenizer(" as ant .a")["input_ids"]
    assert tokenizer(["as", "ant", ".a"], is_split_into_words=True)["input_ids"] != plain
    task = fitted(rows, tokenizer)
    assert task.preprocess(rows, tokenizer)["input_ids"][0] == plain
    tokenizer.save_pretrained(tmp_path)
    RobertaConfig().save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(["as", "ant", ".a"], is_split_into_words=True)["input_ids"] == plain


def test_a_tokenizer_that_knows_no_words_is_refused():
    rows = dataset("a/0|b/1")
    with pytest.raises(RecipeError, match="which token belongs to which word; ByT5Tokenizer is not one"):
        TokenClassification().fitted(Splits(rows), ByT5Tokenizer())


def test_the_model_carries_the_tags_and_a_head_with_another_order_is_refused(tiny_bert, tokenizer, tmp_path):
    rows = dataset("a/0|b/1")
    model = fitted(rows, tokenizer).load_model(tiny_bert)
    assert model.config.id2label == {0: "O", 1: "B-X", 2: "I-X"} and model.config.label2id["I-X"] == 2
    model.save_pretrained(tmp_path)
    other = dataset("a/0|b/1", names=["B-X", "I-X", "O"])
    with pytest.raises(StrategyError, match=r"Set task\.labels to \['O', 'B-X', 'I-X'\]"):
        fitted(other, tokenizer).load_model(str(tmp_path))


def batch_of(task, rows, tokenizer):
    items = [
        {name: item[name] for name in ("input_ids", "attention_mask", "labels")}
        for item in task.preprocess(rows, tokenizer)
    ]
    return task.collator(tokenizer)(items)


def test_the_loss_is_the_mean_over_the_tagged_tokens(tokenizer):
    rows = dataset("good-film/1|movie/2", "was/0")
    task = fitted(rows, tokenizer)
    batch = batch_of(task, rows, tokenizer)
    outputs = BertForTokenClassification(tiny_config(num_labels=3)).eval()(**batch)
    assert task.loss(outputs, batch["labels"]).item() == pytest.approx(outputs.loss.item(), rel=1e-6)
    half = task.loss(outputs, batch["labels"], torch.tensor(6))
    assert half.item() == pytest.approx(outputs.loss.item() / 2, rel=1e-6)
    smoothed = torch.nn.functional.cross_entropy(
        outputs.logits.flatten(0, 1), batch["labels"].flatten(), label_smoothing=0.1
    )
    assert task.loss(outputs, batch["labels"], label_smoothing=0.1).item() == pytest.approx(smoothed.item(), rel=1e-6)


def test_a_token_costs_four_bytes_of_evaluation_memory_and_no_logits_are_kept(tokenizer, tmp_path):
    """Forty labels for 300 sentences: float logits would take forty times as much."""
    names = ["O", *(f"{letter}-{kind}" for kind in range(20) for letter in "BI")]
    rows = dataset(*["good/0|bad/1|day/2"] * 300, names=names)
    task = fitted(rows, tokenizer)
    encoded = task.preprocess(rows, tokenizer)
    logits = torch.randn(8, 5, len(names), dtype=torch.bfloat16)
    kept = task.reduce_logits((logits, torch.zeros(8, 5, 16)), torch.zeros(8, 5))
    assert kept.shape == (8, 5) and kept.element_size() == 4 and torch.equal(kept, logits.argmax(-1).int())
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, disable_tqdm=True, per_device_eval_batch_size=100)
    trainer = FullFinetuningTrainer(
        BertForTokenClassification(tiny_config(num_labels=len(names))),
        arguments,
        data_collator=task.collator(tokenizer),
        compute_loss_func=task.loss,
        preprocess_logits_for_metrics=task.reduce_logits,
    )
    output = trainer.predict(encoded)
    assert isinstance(output.predictions, np.ndarray) and output.predictions.dtype == np.int32
    assert output.predictions.shape == (300, 5)


def test_padding_is_on_the_right_even_if_the_tokenizer_pads_on_the_left(tokenizer):
    left = make_tokenizer()
    left.padding_side = "left"
    rows = dataset("good/1", "a/0|b/0|good/1")
    task = fitted(rows, left)
    batch = batch_of(task, rows, left)
    assert batch["labels"].tolist() == [[-100, 1, -100, -100, -100], [-100, 0, 0, 1, -100]]
    assert left.padding_side == "left"


def test_plain_tags_are_judged_by_accuracy_and_entities_by_f1(tokenizer):
    plain, entities = dataset("a/0|b/1", names=["N", "V"]), dataset("a/0|b/1")
    assert fitted(plain, tokenizer).primary_metric.name == "accuracy"
    assert fitted(entities, tokenizer).primary_metric.name == "f1"
    task = fitted(plain, tokenizer)
    encoded = task.preprocess(plain, tokenizer)
    scores = task.score(task.postprocess(plain, encoded, as_output(encoded)))
    assert scores["accuracy"] == scores["f1/N"] == 1.0 and "precision" not in scores
    assert task.report(Splits(plain), Splits(encoded)).splits["train"].label_counts == {"N": 1, "V": 1}
    assert fitted(entities, tokenizer, tag_scheme="plain").primary_metric.name == "accuracy"


def test_a_metric_that_does_not_exist_is_refused(tokenizer):
    rows = dataset("a/0|b/1")
    assert fitted(rows, tokenizer, primary_metric="f1/X").primary_metric.name == "f1/X"
    with pytest.raises(RecipeError, match='"f1/Y" is not a metric here; did you mean "f1/X"'):
        fitted(rows, tokenizer, primary_metric="f1/Y")


def test_windows_must_move_on():
    with pytest.raises(ValueError, match="window_overlap is more than half of max_length"):
        TokenClassificationRecipe(max_length=16, window_overlap=9)


def iob1_rows(count: int, seed: int) -> str:
    """Write CoNLL columns in IOB1 in which "good" and "great" are a person and "bad film" is a place."""
    import random

    chance, lines = random.Random(seed), ["-DOCSTART- -X- O", ""]
    for _ in range(count):
        for _ in range(chance.randint(2, 6)):
            lines += chance.choice([["good I-PER", "great B-PER"], ["bad I-LOC", "film I-LOC"], ["red-blue O"]])
            lines.append("day O")
        lines.append("")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_bert):
    """A finished run on CoNLL columns, long sentences in windows."""
    home = tmp_path_factory.mktemp("ner")
    for seed, name in enumerate(["train", "dev", "test"]):
        (home / f"{name}.conll").write_text(iob1_rows(60 if name == "train" else 12, seed))
    values = {
        "task": {"name": "token_classification", "max_length": 16, "window_overlap": 4},
        "model": {"name": tiny_bert},
        "data": {"path": str(home)},
        "training": {
            "num_train_epochs": 10,
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 8,
            "train_sampling_strategy": "group_by_length",
            "use_cpu": True,
            "disable_tqdm": True,
        },
    }
    fine_tune(recipe_from(values), home / "run")
    return home / "run"


def test_a_run_learns_and_its_metrics_are_those_of_its_predictions(folder):
    result, predictions = load_result(folder), read_predictions(folder)
    assert result.primary_metric.name == "f1" and result.metrics["test"]["f1"] > 0.9
    assert result.recipe.task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    task = task_for(result.recipe.task)
    for split, metrics in result.metrics.items():
        again = task.score([one for one in predictions if one.split == split])
        assert {name: value for name, value in again.items() if not math.isnan(value)} == pytest.approx(
            {name: value for name, value in metrics.items() if value is not None}
        )
    assert any(one.gold.count("B-PER") > 1 for one in predictions)
    line = json.loads((folder / "predictions.jsonl").read_text().splitlines()[0])
    assert set(line["inputs"]) == {"tokens"} and len(line["gold"]) == len(line["guess"]) == len(
        line["inputs"]["tokens"]
    )


def test_the_snippet_of_the_card_gives_the_predicted_tags_with_transformers_alone(folder, monkeypatch):
    card = (folder / "README.md").read_text()
    task = load_result(folder).recipe.task
    assert snippet(task, "model") in card and note(task) in card and "hf_fft" not in snippet(task, "model")
    monkeypatch.chdir(folder)
    names = {}
    exec(snippet(task, "model"), names)
    short = [one for one in read_predictions(folder) if sum(1 + 2 * ("-" in w) for w in one.inputs["tokens"]) <= 14]
    assert len(short) > 8
    for one in short:
        assert names["tag"](one.inputs["tokens"]) == one.guess


def test_plain_tags_train_on_a_frozen_backbone_from_json_rows(tiny_bert, tmp_path):
    rows = [{"words": [*WORDS[i : i + 3], "good"], "pos": ["N", "V", "N", "ADJ"]} for i in range(24)]
    data = write_rows(tmp_path / "data", train=rows[:16], test=rows[16:])
    values = {
        "task": {"name": "token_classification", "tokens_column": "words", "tags_column": "pos", "max_length": 16},
        "model": {"name": tiny_bert},
        "data": {"path": str(data)},
        "strategy": {"name": "feature_based"},
        "training": {"num_train_epochs": 1, "use_cpu": True, "disable_tqdm": True},
    }
    result = fine_tune(recipe_from(values), tmp_path / "run")
    assert result.primary_metric.name == "accuracy" and result.recipe.task.labels == ("ADJ", "N", "V")
    assert result.cost.trainable_parameters < 100 and "accuracy" in result.metrics["test"]
