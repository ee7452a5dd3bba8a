"""LoRA trains adapters and head only; `model/` is the merged whole model, `adapter/` the adapter for peft."""

from __future__ import annotations

import json
import re

import pytest
import torch
from architectures import CLASSIFIERS, GPT_LIKE, build, classifier, rows
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainingArguments,
    pipeline,
    set_seed,
)

from hf_fft.errors import StrategyError
from hf_fft.pipeline import fine_tune, prepare, trainer_for, unwrap
from hf_fft.recipe import LoraRecipe, recipe_from
from hf_fft.strategies import Lora, layer_groups
from hf_fft.strategies.lora import head_modules, linear_modules
from hf_fft.tasks import MaskedLanguageModeling, TextGeneration
from hf_fft.training import FullFinetuningTrainer

pytestmark = pytest.mark.usefixtures("one_thread")


def trainer_of(model, folder, recipe: LoraRecipe | None = None, **options) -> FullFinetuningTrainer:
    fixed = {"learning_rate": 1e-2, "save_strategy": "no", "report_to": [], "use_cpu": True, "disable_tqdm": True}
    arguments = TrainingArguments(str(folder), **{"per_device_train_batch_size": 4, "max_steps": 3, **fixed, **options})
    return FullFinetuningTrainer(model, arguments, strategy=Lora(recipe), train_dataset=rows(), eval_dataset=rows())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_adapters_and_head_move_and_nothing_else(name, tmp_path):
    set_seed(7)
    trainer = trainer_of(classifier(name), tmp_path)
    before = {key: value.detach().clone() for key, value in trainer.model.named_parameters()}
    learning = {key for key in before if "lora_" in key or ".modules_to_save." in key}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved <= learning
    assert {key for key in learning if ".modules_to_save." in key} <= moved
    assert sum("lora_B" in key for key in moved) >= 0.8 * sum("lora_B" in key for key in learning)


@pytest.mark.parametrize("name", ["Bert", "Llama", "Funnel", "GPT2", "GPT2 tied"])
def test_layer_groups_are_those_of_the_model_without_adapters(name):
    if name in CLASSIFIERS:
        model = classifier(name)
    else:
        model = build("GPT2LMHeadModel", "GPT2Config", {**GPT_LIKE, "tie_word_embeddings": name == "GPT2 tied"})
    before = {group.name: set(group.parameters) for group in layer_groups(model)}
    adapted = Lora().prepare(model)
    after = {
        group.name: {
            re.sub(r"base_model\.model\.|\.base_layer|\.original_module", "", key)
            for key in group.parameters
            if "lora_" not in key and ".modules_to_save." not in key
        }
        for group in layer_groups(adapted)
    }
    assert after == before
    assert {key for group in layer_groups(adapted) for key in group.parameters} == {
        key for key, _ in adapted.named_parameters()
    }


def test_a_language_model_tied_to_its_embeddings_has_adapters_and_no_head():
    model = build("GPT2LMHeadModel", "GPT2Config", GPT_LIKE)
    assert head_modules(model) == []
    adapted = Lora().prepare(model)
    assert [group.name for group in Lora().parameter_groups(adapted, 1e-3)] == ["adapters"]


def test_head_and_adapters_have_rates_of_their_own(tmp_path):
    trainer = trainer_of(classifier("Bert"), tmp_path, LoraRecipe(head_learning_rate=0.5))
    groups = trainer.create_optimizer().param_groups
    assert {group["name"]: group["lr"] for group in groups} == {"head": 0.5, "adapters": 1e-2}


def test_an_unknown_target_is_answered_with_the_layers_that_there_are(tmp_path):
    with pytest.raises(StrategyError, match=r'is called "qurey"; there are dense, key, query, value'):
        trainer_of(classifier("Bert"), tmp_path, LoraRecipe(target_modules=("qurey",)))
    adapted = Lora(LoraRecipe(target_modules=("query",), rank=2)).prepare(classifier("Bert"))
    assert sum("lora_A" in name for name, _ in adapted.named_parameters()) == 2


def test_the_head_that_no_checkpoint_brought_learns_though_the_output_is_tied(tiny_bert):
    model = MaskedLanguageModeling().load_model(tiny_bert)
    assert head_modules(model) == ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"]
    adapted = Lora().prepare(model)
    names = {name for name, value in adapted.named_parameters() if value.requires_grad and "lora_" not in name}
    assert len(names) == 4
    tied = adapted.base_model.model
    assert tied.cls.predictions.decoder.weight is tied.bert.embeddings.word_embeddings.weight


def test_the_cross_attention_that_no_checkpoint_brought_learns_whole(tiny_bert):
    task = TextGeneration(architecture="warm_started", max_length=32, max_target_length=8).for_model(tiny_bert)
    model = task.load_model(tiny_bert)
    whole = head_modules(model)
    assert sum(".crossattention." in name for name in whole) == 2 * 5
    assert not set(whole) & set(linear_modules(model))
    adapted = Lora().prepare(model)
    learning = [name for name, value in adapted.named_parameters() if value.requires_grad]
    assert any("crossattention.self.query.modules_to_save" in name for name in learning)
    assert not any("crossattention" in name and "lora_" in name for name in learning)


def test_the_merged_model_is_scored_in_the_precision_of_the_run(tiny_bert, review_folder, tmp_path):
    values = {
        "task": {"name": "text_classification", "max_length": 32},
        "model": tiny_bert,
        "data": {"path": str(review_folder)},
        "strategy": "lora",
        "training": {"max_steps": 1, "bf16": True, "use_cpu": True, "disable_tqdm": True},
    }
    prepared = prepare(recipe_from(values))
    trainer = trainer_for(prepared, tmp_path / "checkpoints")
    trainer.train()
    unwrap(trainer, prepared.strategy, tmp_path)
    seen = []
    trainer.model.classifier.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    trainer.predict(prepared.encoded.test)
    assert seen and all(seen)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_bert, review_folder):
    values = {
        "task": {"name": "text_classification", "max_length": 32},
        "model": tiny_bert,
        "data": {"path": str(review_folder)},
        "strategy": {"name": "lora", "rank": 4},
        # Plain transformers repeats the scores in float32.
        "training": {
            "bf16": False,
            "num_train_epochs": 3,
            "learning_rate": 1e-2,
            "use_cpu": True,
            "disable_tqdm": True,
        },
    }
    folder = tmp_path_factory.mktemp("lora") / "run"
    return folder, fine_tune(recipe_from(values), folder)


def test_the_saved_model_is_whole_and_plain_transformers_repeat_its_predictions(run):
    folder, result = run
    classify = pipeline("text-classification", model=str(folder / "model"), top_k=None)
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    for line in lines:
        (scores,) = classify([line["inputs"]["text"]])
        assert {one["label"]: one["score"] for one in scores} == pytest.approx(line["scores"], abs=1e-6)
    assert not (folder / "model" / "adapter_config.json").exists()
    assert result.cost.trainable_parameters < result.cost.total_parameters / 2


def test_the_adapter_on_the_base_model_is_the_merged_model(run, tiny_bert):
    from peft import PeftModel

    folder, _ = run
    whole = AutoModelForSequenceClassification.from_pretrained(folder / "model").eval()
    base = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=2)
    adapted = PeftModel.from_pretrained(base, str(folder / "adapter")).eval()
    batch = AutoTokenizer.from_pretrained(folder / "model")("the film was great", return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(adapted(**batch).logits, whole(**batch).logits, atol=1e-6)


def test_the_best_weights_come_back_adapters_and_head(tmp_path):
    scores = iter([3.0, 1.0, 2.0])
    kept = {"load_best_model_at_end": True, "metric_for_best_model": "eval_made_up", "greater_is_better": True}
    steps = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    trainer = trainer_of(classifier("Bert"), tmp_path, **kept, **steps)
    trainer.compute_metrics = lambda output: {"made_up": next(scores)}
    trainer.train()
    first = load_file(tmp_path / "checkpoint-1" / "adapter_model.safetensors")
    now = {
        name.replace(".default", "").replace(".modules_to_save", ""): value
        for name, value in trainer.model.named_parameters()
        if value.requires_grad
    }
    assert first.keys() == now.keys()
    assert all(torch.equal(first[name], now[name]) for name in now)


def test_a_run_resumed_ends_with_the_same_weights(tmp_path):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1}

    def weights(trainer):
        return [value.detach() for _, value in trainer.model.named_parameters() if value.requires_grad]

    set_seed(1)
    alone = trainer_of(classifier("Bert"), tmp_path / "alone", **options)
    alone.train()
    set_seed(1)
    resumed = trainer_of(classifier("Bert"), tmp_path / "resumed", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "alone" / "checkpoint-2"))
    assert all(torch.equal(one, other) for one, other in zip(weights(alone), weights(resumed), strict=True))
