"""HF's own card, as our trainer writes it: a base model that is not on the Hub is not given as one."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard
from transformers import BertForSequenceClassification, TrainingArguments

from hf_fft.training import FullFinetuningTrainer


@pytest.mark.parametrize(
    ("origin", "shown", "base"),
    [
        ("google-bert/bert-base-uncased", "[google-bert/bert-base-uncased](https://", "google-bert/bert-base-uncased"),
        ("wheel:some-weights==1.0/some_weights/model", "fine-tuned version of `model` on", None),
        ("/home/ada/models/tiny", "fine-tuned version of `tiny` on", None),
    ],
)
def test_only_a_name_of_the_hub_is_a_base_model(origin, shown, base, tiny_bert, tmp_path):
    model = BertForSequenceClassification.from_pretrained(tiny_bert, num_labels=2)
    model.config._name_or_path = origin
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, save_strategy="no")
    FullFinetuningTrainer(model, arguments).create_model_card(tags=["mine"])
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == base and "mine" in card.data.tags
    assert shown in card.text and "trained from scratch" not in card.text
    assert "wheel:" not in str(card) and "/home" not in str(card)
