"""Masked language modelling: BERT's masks, the same after a resume, and a perplexity that plain transformers gives."""

from __future__ import annotations

import hashlib
import math
import pickle

import numpy as np
import pytest
import torch
from conftest import SPECIAL, WORDS, make_tokenizer, tiny_config
from datasets import Dataset, DatasetDict
from transformers import (
    AutoTokenizer,
    BertForMaskedLM,
    BertModel,
    DataCollatorForLanguageModeling,
    EvalPrediction,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from hf_fft.data import Splits
from hf_fft.errors import DataError, RecipeError, StrategyError
from hf_fft.pipeline import fine_tune
from hf_fft.recipe import recipe_from
from hf_fft.result import Metric
from hf_fft.strategies import strategy_for
from hf_fft.tasks import MaskedLanguageModeling
from hf_fft.tasks.masking import MaskingCollator

MANY = torch.randint(len(SPECIAL), len(SPECIAL) + len(WORDS), (40_000,), generator=torch.Generator().manual_seed(5))


def texts(count: int = 24, *, longest: int = 20) -> Dataset:
    return Dataset.from_dict(
        {
            "text": [
                " ".join(WORDS[(7 * row + 3 * place) % len(WORDS)] for place in range(1 + row % longest))
                for row in range(count)
            ]
        }
    )


def fitted(rows: Dataset, tokenizer, **fields) -> MaskedLanguageModeling:
    return MaskedLanguageModeling(**{"max_length": 16, "mlm_probability": 0.3, **fields}).fitted(
        Splits(rows), tokenizer
    )


def test_masks_are_eighty_ten_ten(tokenizer):
    masked = MaskingCollator(tokenizer, 0.15).masked(MANY.tolist())
    ids, labels = torch.tensor(masked["input_ids"]), torch.tensor(masked["labels"])
    chosen = labels != -100
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(labels[chosen], MANY[chosen])
    assert torch.equal(ids[~chosen], MANY[~chosen])
    hidden = (ids[chosen] == tokenizer.mask_token_id).float().mean().item()
    unchanged = (ids[chosen] == MANY[chosen]).float().mean().item()
    assert hidden == pytest.approx(0.8, abs=0.03)
    # A random word is the word itself, or a mask, once in a vocabulary.
    assert unchanged == pytest.approx(0.1, abs=0.03)


def test_special_tokens_are_never_guessed(tokenizer):
    ids = [tokenizer.cls_token_id, 9, tokenizer.unk_token_id, 10, tokenizer.sep_token_id] * 200
    labels = MaskingCollator(tokenizer, 0.9).masked(ids)["labels"]
    assert {label for label in labels if label != -100} == {9, 10}


def test_masks_are_the_same_in_any_order_and_company_and_differ_by_seed_and_epoch(tokenizer):
    items = [{"input_ids": MANY[start : start + 30 + start].tolist()} for start in range(8)]

    def batches(order, **moment):
        collator = MaskingCollator(tokenizer, 0.3)
        collator.set_moment(**moment)
        made = {}
        for chunk in order:
            batch = collator([items[index] for index in chunk])
            for place, index in enumerate(chunk):
                size = len(items[index]["input_ids"])
                made[index] = (batch["input_ids"][place, :size].tolist(), batch["labels"][place, :size].tolist())
        return made

    straight = batches([range(4), range(4, 8)], seed=3, epoch=1)
    assert batches([[7, 0], [2], [6, 5, 4, 3, 1]], seed=3, epoch=1) == straight
    assert all(batches([range(8)], seed=3, epoch=0)[index] != straight[index] for index in range(8))
    assert all(batches([range(8)], seed=4, epoch=1)[index] != straight[index] for index in range(8))


def test_masking_draws_nothing_from_the_global_state(tokenizer):
    before = torch.get_rng_state()
    MaskingCollator(tokenizer, 0.3).masked(MANY[:50].tolist())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_copy_in_a_worker_that_lives_on_is_told_the_epoch(tokenizer):
    rows = Dataset.from_dict({"input_ids": [MANY[:40].tolist()] * 4})
    collator = MaskingCollator(tokenizer, 0.3)
    loader = torch.utils.data.DataLoader(
        rows, batch_size=2, collate_fn=collator, num_workers=1, persistent_workers=True
    )
    seen = []
    for epoch in range(2):
        collator.set_moment(epoch=epoch)
        seen.append(next(iter(loader))["labels"])
    assert not torch.equal(*seen)
    collator.masked([1, 2])
    assert pickle.loads(pickle.dumps(collator)).masked([9] * 50) == collator.masked([9] * 50)


class StopAt(TrainerCallback):
    """Stop after a step, as an interruption would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = control.should_training_stop or state.global_step >= self.step
        return control


@pytest.mark.parametrize("stop", [2, 4, 5])
def test_a_run_that_is_resumed_ends_with_the_weights_of_one_that_was_not_interrupted(
    stop, tokenizer, tmp_path, one_thread
):
    rows = texts(40)
    task = fitted(rows, tokenizer)
    encoded = task.preprocess(rows, tokenizer).select(range(30))
    seen = {}

    class Remember(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            seen.setdefault(int(state.global_step // 4), collator.masked(MANY[:40].tolist()))

    def run(folder, *, until=None, resume=None):
        nonlocal collator
        set_seed(1)
        model = BertForMaskedLM(tiny_config())  # with dropout, so that the random state counts too
        collator = task.collator(tokenizer)
        arguments = TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=2,
            per_device_train_batch_size=8,
            learning_rate=1e-2,
            save_steps=1,
            seed=11,
            use_cpu=True,
            disable_tqdm=True,
        )
        callbacks = [*task.callbacks(collator), Remember(), *([StopAt(until)] if until else [])]
        trainer = Trainer(
            model,
            arguments,
            train_dataset=encoded,
            data_collator=collator,
            compute_loss_func=task.loss,
            callbacks=callbacks,
        )
        trainer.train(resume_from_checkpoint=resume)
        assert trainer.state.global_step == (until or 8)  # steps 2 and 5 are in mid-epoch, step 4 ends one
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    collator = None
    straight = run(tmp_path / "straight")
    assert seen[0] != seen[1]
    run(tmp_path / "stopped", until=stop)
    resumed = run(tmp_path / "stopped", resume=str(tmp_path / "stopped" / f"checkpoint-{stop}"))
    assert torch.equal(straight, resumed)


def evaluated(task, rows, encoded, model, tokenizer, tmp_path, batch: int = 5):
    """Predict as a run does."""
    arguments = TrainingArguments(
        output_dir=str(tmp_path), per_device_eval_batch_size=batch, use_cpu=True, disable_tqdm=True, report_to="none"
    )
    trainer = Trainer(
        model,
        arguments,
        data_collator=task.collator(tokenizer),
        compute_loss_func=task.loss,
        preprocess_logits_for_metrics=task.reduce_logits,
    )
    output = trainer.predict(encoded)
    return task.postprocess(rows, encoded, EvalPrediction(output.predictions, output.label_ids), split="test")


@pytest.mark.parametrize("packing", [True, False])
def test_every_row_gets_the_mean_loss_of_its_own_hidden_words(packing, tokenizer, tmp_path):
    rows = Dataset.from_dict({"text": ["", *texts(20)["text"], "  "]})
    task = fitted(rows, tokenizer, packing=packing)
    encoded = task.preprocess(rows, tokenizer, split="test")
    model = BertForMaskedLM(tiny_config()).eval()
    predictions = evaluated(task, rows, encoded, model, tokenizer, tmp_path)
    sums, counts, right = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows))
    for item in encoded:
        with torch.no_grad():
            logits = model(torch.tensor([item["input_ids"]])).logits[0].log_softmax(-1)
        for place, (label, row) in enumerate(zip(item["labels"], item["token_rows"], strict=True)):
            if label != -100:
                sums[row] -= logits[place, label].item()
                right[row] += logits[place].argmax().item() == label
                counts[row] += 1
    assert [prediction.row for prediction in predictions] == list(range(len(rows)))
    assert counts[0] == counts[-1] == 0 and (counts == 0).sum() > 2  # short texts may have no hidden word either
    for row, prediction in enumerate(predictions):
        expected = {"tokens": int(counts[row])}
        if counts[row]:
            expected |= {"loss": pytest.approx(sums[row] / counts[row]), "accuracy": right[row] / counts[row]}
        assert prediction.scores == pytest.approx(expected)
        assert (prediction.gold, prediction.guess, prediction.inputs) == (None, None, {"text": rows[row]["text"]})
    scores = task.score(predictions)
    assert scores["perplexity"] == pytest.approx(math.exp(sums.sum() / counts.sum()))
    assert scores["accuracy"] == pytest.approx(right.sum() / counts.sum())
    assert set(scores) == set(task.metric_names)


def test_evaluation_masks_are_the_same_for_every_call_and_training_brings_none(tokenizer):
    rows = texts()
    task = fitted(rows, tokenizer)
    first, again = (task.preprocess(rows, tokenizer, split="validation") for _ in range(2))
    assert first["labels"] == again["labels"]
    assert first["input_ids"] == again["input_ids"]
    assert "labels" not in task.preprocess(rows, tokenizer).column_names
    items = [{name: item[name] for name in ("input_ids", "labels")} for item in first]
    batch = task.collator(tokenizer)(items)
    assert [ids[: len(item["input_ids"])].tolist() for ids, item in zip(batch["input_ids"], items, strict=True)] == [
        item["input_ids"] for item in items
    ]


def test_logits_are_reduced_to_two_numbers_a_token(tokenizer):
    logits, labels = torch.randn(3, 7, 50), torch.full((3, 7), -100)
    labels[1, 2] = int(logits[1, 2].argmax())
    reduced = MaskedLanguageModeling().reduce_logits((logits, "hidden states"), labels)
    assert reduced.shape == (3, 7, 2)
    assert reduced[1, 2].tolist() == pytest.approx([-logits[1, 2].log_softmax(-1).max().item(), 1.0])
    assert reduced.sum() == pytest.approx(reduced[1, 2].sum())


def test_the_report_counts_what_makes_no_item_and_what_is_cut(tokenizer):
    rows = Dataset.from_dict({"text": ["a film", "", "A  film", " ", " ".join(WORDS)]})
    packed, alone = (fitted(rows, tokenizer, packing=packing) for packing in (True, False))
    report = packed.report(Splits(rows), Splits(packed.preprocess(rows, tokenizer))).splits["train"]
    assert report.findings[0] == "2 texts with nothing in it left out"
    assert (report.rows, report.duplicates) == (3, 1)
    assert report.token_lengths.longest == len(WORDS)
    assert report.token_lengths.share_truncated is None
    lines = alone.report(Splits(rows), Splits(alone.preprocess(rows, tokenizer))).lines()
    assert any("1 text cut after 16 tokens" in line for line in lines)
    assert any("longest 48" in line for line in lines) == (len(WORDS) + 2 == 48)


def test_too_little_text_is_refused(tokenizer):
    rows = Dataset.from_dict({"text": ["", " "]})
    with pytest.raises(DataError, match="validation holds too little text"):
        fitted(rows, tokenizer).preprocess(rows, tokenizer, split="validation")
    with pytest.raises(DataError, match="train holds too little text"):
        fitted(rows, tokenizer).preprocess(rows, tokenizer)


@pytest.mark.parametrize("values", [[1, 2], ["1", "2.5"], [None, "a"], [["a"], ["b"]]])
def test_columns_without_text_are_refused(values):
    with pytest.raises(DataError, match='Column "text"'):
        MaskedLanguageModeling().type_columns(DatasetDict({"train": Dataset.from_dict({"text": values})}))


def test_a_tokenizer_without_a_mask_is_refused_with_the_task_that_suits_it():
    tokenizer = make_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(RecipeError, match="causal_language_modeling"):
        fitted(texts(), tokenizer)


def test_a_metric_that_does_not_exist_is_refused_with_a_near_miss(tokenizer):
    with pytest.raises(RecipeError, match='did you mean "perplexity"'):
        fitted(texts(), tokenizer, primary_metric="perplexety")


def test_a_decoder_is_refused_with_the_task_that_suits_it(tmp_path):
    GPT2LMHeadModel(
        GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1, bos_token_id=1, eos_token_id=1)
    ).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r'is a decoder.*"causal_language_modeling"'):
        MaskedLanguageModeling().load_model(str(tmp_path))


def test_a_head_tied_to_the_embeddings_cannot_be_trained_alone(tmp_path):
    BertModel(tiny_config()).save_pretrained(tmp_path)  # as a sentence encoder comes: with no head for words
    model = MaskedLanguageModeling().load_model(str(tmp_path))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with pytest.raises(StrategyError, match="tied to its embeddings"):
        strategy_for("feature_based").prepare(model)


def test_a_run_on_plain_text_keeps_the_weights_of_the_lowest_perplexity(tiny_bert, tmp_path):
    lines = [" ".join(["film", "film", "plot", "film"] * (1 + row % 4)) for row in range(60)]
    (tmp_path / "train.txt").write_text("\n\n".join(lines), encoding="utf-8")
    (tmp_path / "test.txt").write_text("\n".join(lines[::4]), encoding="utf-8")
    recipe = recipe_from(
        {
            "task": {"name": "masked_language_modeling", "max_length": 16, "mlm_probability": 0.3},
            "model": tiny_bert,
            "data": {"path": str(tmp_path), "validation_fraction": 0.2},
            "training": {"num_train_epochs": 3, "learning_rate": 1e-2, "use_cpu": True, "disable_tqdm": True},
            "early_stopping": {"patience": 1},
        },
        source="test",
    )
    result = fine_tune(recipe, tmp_path / "run")
    assert result.primary_metric == Metric(name="perplexity", greater_is_better=False)
    course = {point.step: point.metrics["perplexity"] for point in result.curves.evaluation}
    assert result.best_step == min(course, key=course.get) != min(course)
    assert result.metrics["validation"]["perplexity"] == pytest.approx(min(course.values()))
    (train, *_) = result.data["splits"].values()
    assert train["findings"][0].endswith(" texts with nothing in it left out") and train["empty_texts"] == 0
    # What comes after may read longer texts than the blocks were.
    assert AutoTokenizer.from_pretrained(tmp_path / "run" / "model").model_max_length == 64
    card = (tmp_path / "run" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    names = {}
    exec(code.replace('model="model"', f'model="{tmp_path}/run/model"'), names)
    assert len(names["fill"](names["text"])) == 5


def test_plain_transformers_give_the_perplexity_of_the_saved_split_for_the_same_blocks_and_masks(tokenizer, tmp_path):
    rows = texts(30)
    task = fitted(rows, tokenizer)
    model = BertForMaskedLM(tiny_config()).eval()
    predictions = evaluated(task, rows, task.preprocess(rows, tokenizer, split="test"), model, tokenizer, tmp_path)
    stream = tokenizer("[SEP]".join(rows["text"]), add_special_tokens=False)["input_ids"]
    losses = []
    for start in range(0, len(stream), 14):
        block = torch.tensor([tokenizer.cls_token_id, *stream[start : start + 14], tokenizer.sep_token_id])
        digest = hashlib.blake2b(b"0/0/" + block.numpy().tobytes(), digest_size=8).digest()
        masking = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3)
        masking.generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
        ids, labels = masking.torch_mask_tokens(block[None].clone(), torch.isin(block, torch.arange(5))[None])
        with torch.no_grad():
            every = torch.nn.functional.cross_entropy(model(ids).logits[0], labels[0], reduction="none")
        losses += every[labels[0] != -100].tolist()
    assert task.score(predictions)["perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
