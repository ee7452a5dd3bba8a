"""What FullFinetuningTrainer adds to Trainer, beside the exact loss."""

from __future__ import annotations

import inspect
import json

import pytest
import torch
from conftest import tiny_config
from datasets import Dataset
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForSequenceClassification,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from hf_fft.errors import StrategyError, TrainingError
from hf_fft.training import CostMeter, FullFinetuningSeq2SeqTrainer, FullFinetuningTrainer, PeakMemory

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def rows(count: int = 12) -> Dataset:
    items = [
        {
            "input_ids": [5 + (3 * index + place) % 30 for place in range(4 + index % 5)],
            "labels": index % 2,
            "row": index,
        }
        for index in range(count)
    ]
    for item in items:
        item["attention_mask"] = [1] * len(item["input_ids"])
    return Dataset.from_list(items)


def arguments(folder, **changes) -> TrainingArguments:
    values = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "logging_steps": 1,
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,
    }
    return TrainingArguments(**{**values, **changes})


def trainer_on(folder, tokenizer, *, model=None, strategy="full", callbacks=(), **changes) -> FullFinetuningTrainer:
    return FullFinetuningTrainer(
        model if model is not None else BertForSequenceClassification(tiny_config()),
        arguments(folder, **changes),
        strategy=strategy,
        train_dataset=rows(),
        eval_dataset=rows(7),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(StrategyError, match=r'"half" is not a strategy; there are full, feature_based'):
        FullFinetuningTrainer(strategy="half")


def test_nothing_unasked_happens_in_the_class(tmp_path, tokenizer):
    plain = arguments(tmp_path)
    trainer = FullFinetuningTrainer(BertForSequenceClassification(tiny_config()), plain, processing_class=tokenizer)
    assert trainer.args is plain
    assert trainer.accelerator.mixed_precision == "no"
    ours = [type(one).__name__ for one in trainer.callback_handler.callbacks]
    assert ours.pop() == "LearningRateRecorder"
    assert ours == [
        type(one).__name__
        for one in Trainer(BertForSequenceClassification(tiny_config()), plain).callback_handler.callbacks
    ]


class Poison(TrainerCallback):
    """Make the weights infinite once a step has been taken."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == 1:
            with torch.no_grad():
                model.classifier.bias.fill_(float("inf"))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_loss_that_is_not_finite_stops_before_the_optimizer_step_and_names_step_and_rows(
    accumulation, tmp_path, tokenizer
):
    trainer = trainer_on(
        tmp_path,
        tokenizer,
        callbacks=[Poison()],
        train_sampling_strategy="sequential",
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
    )
    with pytest.raises(
        TrainingError, match=r"optimizer step 2 is not finite, on training rows 4, 5, 6, 7 \(from 0\)\."
    ):
        trainer.train()
    assert trainer.state.global_step == 1
    assert all(
        bool(parameter.isfinite().all())
        for name, parameter in trainer.model.named_parameters()
        if name != "classifier.bias"
    )


@pytest.mark.parametrize("sampling", ["random", "group_by_length", "sequential"])
def test_evaluation_keeps_the_order_of_the_rows(sampling, tmp_path, tokenizer):
    trainer = trainer_on(tmp_path, tokenizer, train_sampling_strategy=sampling, per_device_eval_batch_size=2)
    assert trainer.predict(rows(7)).label_ids.tolist() == rows(7)["labels"]


def test_the_private_hook_for_evaluation_order_is_still_hfs():
    # A Trainer that renames it would shuffle predictions again, without a word.
    assert list(inspect.signature(Trainer._get_eval_sampler).parameters) == ["self", "eval_dataset"]
    assert "self._get_eval_sampler" in inspect.getsource(Trainer)
    assert FullFinetuningTrainer._get_eval_sampler is not Trainer._get_eval_sampler


def test_the_private_count_of_items_is_still_hfs():
    assert list(inspect.signature(Trainer._get_num_items_in_batch).parameters) == ["self", "batch_samples", "device"]
    assert "self._get_num_items_in_batch" in inspect.getsource(Trainer.get_batch_samples)


def test_what_the_trainer_reads_of_hf_is_still_there(tmp_path, tokenizer):
    trainer = trainer_on(tmp_path, tokenizer)
    assert hasattr(trainer.accelerator.gradient_state, "remainder")
    assert hasattr(trainer.accelerator.gradient_state, "end_of_dataloader")


def test_learning_rates_of_every_group_stand_in_the_log(tmp_path, tokenizer):
    from hf_fft.recipe import FullRecipe
    from hf_fft.strategies import Full

    trainer = trainer_on(
        tmp_path,
        tokenizer,
        strategy=Full(FullRecipe(layer_decay=0.5)),
        learning_rate=1e-3,
        lr_scheduler_type="constant",
    )
    trainer.train()
    rates = [line["learning_rates"] for line in trainer.state.log_history if "loss" in line]
    assert rates == [{"head": 1e-3, "layer 1": 5e-4, "layer 0": 2.5e-4, "embeddings": 1.25e-4}] * 3


def test_the_recorded_rate_is_the_one_that_the_step_used(tmp_path, tokenizer):
    trainer = trainer_on(tmp_path, tokenizer, learning_rate=3e-4)
    trainer.train()
    for line in (line for line in trainer.state.log_history if "loss" in line):
        assert line["learning_rates"]["head"] == pytest.approx(line["learning_rate"])


def test_training_seconds_count_neither_evaluation_nor_saving_and_stand_at_each_evaluation():
    ticks = iter([0.0, 10.0, 13.0, 17.0, 20.0, 30.0])  # begin, step, evaluated, saved, step, evaluated
    meter, state = CostMeter(clock=lambda: next(ticks)), TrainerState()
    meter.on_train_begin(None, state, None)
    meter.on_step_end(None, state, None)
    state.log_history.append({"eval_loss": 1.0})  # as Trainer does before it calls on_evaluate
    meter.on_evaluate(None, state, None)
    meter.on_save(None, state, None)
    meter.on_step_end(None, state, None)
    state.log_history.append({"eval_loss": 0.5})
    meter.on_evaluate(None, state, None)
    assert (meter.train_seconds, meter.evaluation_seconds) == (13.0, 13.0)
    assert [line["train_seconds"] for line in state.log_history] == [10.0, 13.0]


def test_a_second_training_by_model_init_builds_and_prepares_a_new_model(tmp_path, tokenizer):
    trainer = FullFinetuningTrainer(
        model_init=lambda: BertForSequenceClassification(tiny_config()),
        args=arguments(tmp_path),
        strategy="feature_based",
        train_dataset=rows(),
        processing_class=tokenizer,
    )
    trainer.train()
    learned = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert learned == {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias"}


def logged_losses(folder, build, items, *, base=arguments, trainer_class=FullFinetuningTrainer) -> list[float]:
    """Train one step on eight rows, at once and as four accumulated micro-batches; return both logged losses."""
    logged = []
    for batch, accumulation in ((8, 1), (2, 4)):
        torch.manual_seed(0)
        geometry = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        trainer = trainer_class(build(), base(folder, **geometry), train_dataset=Dataset.from_list(items))
        trainer.train()
        logged.append(trainer.state.log_history[0]["loss"])
    return logged


def test_a_masked_language_model_without_a_task_gets_an_exact_loss_too(tmp_path):
    items = [{"input_ids": [5, 6, 7, 8], "attention_mask": [1] * 4, "labels": [-100, 6, -100, 8]} for _ in range(8)]
    at_once, accumulated = logged_losses(tmp_path, lambda: BertForMaskedLM(tiny_config(**NO_DROPOUT)), items)
    assert at_once == pytest.approx(accumulated, rel=1e-5)


def test_the_sequence_to_sequence_trainer_has_an_exact_loss(tmp_path):
    sizes = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = T5Config(**sizes, dropout_rate=0.0, decoder_start_token_id=0)
    items = [
        {"input_ids": [5, 6, 7], "decoder_input_ids": [0, 8], "labels": [8, 9 if index % 2 else -100]}
        for index in range(8)
    ]

    def base(folder, **changes):
        return Seq2SeqTrainingArguments(**{**arguments(folder, **changes).to_dict(), "output_dir": str(folder)})

    at_once, accumulated = logged_losses(
        tmp_path,
        lambda: T5ForConditionalGeneration(config),
        items,
        base=base,
        trainer_class=FullFinetuningSeq2SeqTrainer,
    )
    assert at_once == pytest.approx(accumulated, rel=1e-5)


@pytest.mark.parametrize("kind", ["T5", "BART"])
def test_a_decoder_that_nobody_gave_anything_to_read_reads_the_labels_as_in_hfs_trainer(kind, tmp_path):
    sizes = {"vocab_size": 40, "d_model": 16}
    if kind == "T5":
        model = T5ForConditionalGeneration(T5Config(**sizes, d_kv=8, d_ff=32, num_layers=1, decoder_start_token_id=0))
    else:
        layers = {f"{side}_{name}": 1 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
        model = BartForConditionalGeneration(BartConfig(**sizes, **layers, max_position_embeddings=16))
    batch = {"input_ids": torch.tensor([[5, 6, 7, 2]]), "labels": torch.tensor([[9, 8, 2, -100]])}
    trainer = FullFinetuningTrainer(model.eval(), arguments(tmp_path))
    loss, expected = (one.compute_loss(model, dict(batch)).item() for one in (trainer, Trainer(model, trainer.args)))
    assert loss == pytest.approx(expected, rel=1e-6)


def test_a_head_whose_own_loss_ignores_the_count_is_averaged_by_trainer(tmp_path):
    items = [
        {"input_ids": [[5, 6], [7, 8]], "attention_mask": [[1, 1], [1, 1]], "labels": index % 2} for index in range(8)
    ]
    at_once, accumulated = logged_losses(tmp_path, lambda: BertForMultipleChoice(tiny_config(**NO_DROPOUT)), items)
    assert at_once == pytest.approx(accumulated, rel=1e-5)


def test_logs_are_json(tmp_path, tokenizer):
    trainer = trainer_on(tmp_path, tokenizer)
    trainer.train()
    assert json.loads(json.dumps(trainer.state.log_history, allow_nan=False))


def test_a_regression_target_of_minus_100_counts_like_any_other(tmp_path, tokenizer):
    items = [{"input_ids": [5, 6], "attention_mask": [1, 1], "labels": -100.0 if index else 1.0} for index in range(4)]
    model = BertForSequenceClassification(tiny_config(num_labels=1, problem_type="regression")).eval()
    trainer = FullFinetuningTrainer(
        model, arguments(tmp_path), eval_dataset=Dataset.from_list(items), processing_class=tokenizer
    )
    with torch.no_grad():
        guess = model(input_ids=torch.tensor([[5, 6]]), attention_mask=torch.tensor([[1, 1]])).logits.item()
    expected = ((guess - 1) ** 2 + 3 * (guess + 100) ** 2) / 4
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_with_a_loss_that_knows_none_is_refused(tmp_path):
    with pytest.raises(StrategyError, match="compute_loss_func takes no label_smoothing"):
        FullFinetuningTrainer(
            BertForSequenceClassification(tiny_config()),
            arguments(tmp_path, label_smoothing_factor=0.1),
            compute_loss_func=lambda outputs, labels, num_items_in_batch=None: outputs.loss,
        )


def test_peak_memory_is_what_was_taken_since_and_given_back():
    memory = PeakMemory(on_gpu=False)
    taken = torch.ones(64 * 2**20)  # 256 MiB
    del taken
    assert 200 < memory.mib() < 400
