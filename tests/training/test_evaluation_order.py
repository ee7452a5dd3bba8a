"""Evaluation from the longest row to the shortest, with everything that comes of it in the rows' own order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_tokenizer
from datasets import Dataset
from length_case import BY_LENGTH, rows, trainer
from transformers import (
    BertForSequenceClassification,
    BertForTokenClassification,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    default_data_collator,
    set_seed,
)

from hf_fft.training import FullFinetuningSeq2SeqTrainer
from hf_fft.training.speed.batches import LongestFirst


def both(folder, **changes):
    """Return two trainers of one model: one that evaluates by length, one in the order of the rows."""
    return trainer(folder, BY_LENGTH, **changes), trainer(folder, None, **changes)


def widths_of(one, items) -> list[int]:
    return [batch["input_ids"].shape[1] for batch in one.get_test_dataloader(items)]


def test_the_longest_rows_run_first_and_the_answers_come_in_the_order_of_the_rows(tmp_path):
    by_length, in_order = both(tmp_path)
    widths = widths_of(by_length, rows())
    assert widths == sorted(widths, reverse=True) != widths_of(in_order, rows())
    one, other = by_length.predict(rows()), in_order.predict(rows())
    assert one.label_ids.tolist() == rows()["labels"][:]
    np.testing.assert_allclose(one.predictions, other.predictions, atol=1e-6)
    assert one.metrics["test_loss"] == pytest.approx(other.metrics["test_loss"], rel=1e-5)


def test_metrics_are_computed_in_the_order_of_the_rows(tmp_path):
    by_length, _ = both(tmp_path, include_for_metrics=["inputs", "loss"])
    seen = []
    by_length.compute_metrics = lambda output: seen.append(output) or {"rows": len(output.label_ids)}
    metrics = by_length.evaluate()
    assert metrics["eval_rows"] == 17 and by_length.compute_metrics(seen[0]) == {"rows": 17}
    assert seen[0].label_ids.tolist() == rows(17)["labels"][:]
    assert seen[0].inputs[:, 1].tolist() == [5 + index for index in range(17)]
    assert seen[0].losses.shape == (17,)


def test_the_loss_of_evaluation_is_the_same_also_during_training(tmp_path):
    by_length, in_order = both(tmp_path, eval_strategy="epoch", train_sampling_strategy="sequential")
    by_length.speed = BY_LENGTH.model_copy(update={"batches_by_length": False})
    logs = []
    for one in (by_length, in_order):
        one.train()
        logs.append([line["eval_loss"] for line in one.state.log_history if "eval_loss" in line])
    assert logs[0] == pytest.approx(logs[1], rel=1e-5) and len(logs[0]) == 3


class TwoOutputs(BertForSequenceClassification):
    """A head whose second output has a width that follows from the batch's longest row."""

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        output = super().forward(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
        output["attentions"] = (input_ids.float(),)
        return output


def test_tuples_of_arrays_padded_to_different_lengths_come_back_row_by_row(tmp_path):
    by_length, _ = both(tmp_path, model=TwoOutputs)
    logits, (ids,) = by_length.predict(rows()).predictions
    assert logits.shape == (41, 2) and ids.shape[1] == max(map(len, rows()["input_ids"]))
    for index, row in enumerate(rows()["input_ids"]):
        assert ids[index, : len(row)].tolist() == row


def test_labels_of_every_token_come_back_row_by_row(tmp_path):
    items = rows().map(lambda row: {"labels": [token % 2 for token in row["input_ids"]]})
    by_length, in_order = both(tmp_path, model=BertForTokenClassification)
    for one in (by_length, in_order):
        one.data_collator = DataCollatorForTokenClassification(make_tokenizer())
    one, other = by_length.predict(items), in_order.predict(items)
    assert one.label_ids.shape == other.label_ids.shape
    np.testing.assert_array_equal(one.label_ids, other.label_ids)
    real = other.label_ids != -100
    np.testing.assert_allclose(one.predictions[real], other.predictions[real], atol=1e-6)


@pytest.mark.parametrize("changes", [{"eval_accumulation_steps": 2}, {"per_device_eval_batch_size": 64}])
def test_the_order_does_not_depend_on_how_much_is_kept_on_the_device(changes, tmp_path):
    by_length, in_order = both(tmp_path, **changes)
    np.testing.assert_allclose(by_length.predict(rows()).predictions, in_order.predict(rows()).predictions, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"dataloader_drop_last": True}, {"eval_do_concat_batches": False}, {"batch_eval_metrics": True}]
)
def test_where_trainer_gives_batches_or_drops_rows_the_rows_keep_their_order(changes, tmp_path):
    by_length, in_order = both(tmp_path, **changes)
    assert widths_of(by_length, rows()) == widths_of(in_order, rows())
    first, second = (np.concatenate(one.predict(rows()).predictions) for one in (by_length, in_order))
    np.testing.assert_array_equal(first, second)


def test_rows_without_token_ids_keep_their_order(tmp_path):
    by_length, _ = both(tmp_path)
    by_length.data_collator = default_data_collator
    items = Dataset.from_dict({"inputs_embeds": [[[0.1] * 16]] * 5, "labels": [0, 1, 1, 0, 1]})
    assert by_length.predict(items).label_ids.tolist() == [0, 1, 1, 0, 1]


def test_evaluation_runs_in_the_precision_of_the_run(tmp_path):
    seen = set()
    for precise in (False, True):
        one = trainer(tmp_path, BY_LENGTH, bf16=not precise)
        one.model.bert.pooler.dense.register_forward_hook(lambda module, given, gave: seen.add(gave.dtype))
        assert one.predict(rows(5)).predictions.dtype == np.float32
    assert seen == {torch.bfloat16, torch.float32}


def written(folder, speed):
    """Write with a tiny T5; return what was written, the labels, and what metrics were given."""
    set_seed(3)
    sizes = {"vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, dropout_rate=0.0, decoder_start_token_id=0))
    items = rows(17).map(lambda row: {"labels": row["input_ids"][1:4]})
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(folder),
        per_device_eval_batch_size=3,
        predict_with_generate=True,
        generation_max_length=6,
        use_cpu=True,
        disable_tqdm=True,
    )
    seen = []
    one = FullFinetuningSeq2SeqTrainer(
        model,
        arguments,
        speed=speed,
        eval_dataset=items,
        processing_class=make_tokenizer(),
        data_collator=DataCollatorForSeq2Seq(make_tokenizer(), model=model),
        compute_metrics=lambda output: seen.append(output.label_ids) or {},
    )
    one.evaluate()
    output = one.predict(items)
    return output.predictions, output.label_ids, seen[0]


def test_the_trainer_of_models_that_write_answers_in_the_order_of_the_rows_too(tmp_path):
    for one, other in zip(written(tmp_path, BY_LENGTH), written(tmp_path, None), strict=True):
        np.testing.assert_array_equal(one, other)


def test_restoring_looks_into_everything_and_refuses_what_is_not_one_a_row():
    sampler = LongestFirst([1, 3, 2])
    assert list(sampler) == [1, 2, 0]
    numbers = np.asarray([1, 2, 0])
    restored = sampler.restored({"a": (numbers, [numbers * 10]), "b": None})
    assert restored["a"][0].tolist() == [0, 1, 2] and restored["a"][1][0].tolist() == [0, 10, 20]
    assert restored["b"] is None
    with pytest.raises(AssertionError, match="2 values came of 3 rows"):
        sampler.restored(np.zeros(2))
