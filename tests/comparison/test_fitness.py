"""A strategy that cannot train the model is refused by the model's configuration, before anything is trained."""

from __future__ import annotations

import pytest

from hf_fft.comparison import fitness
from hf_fft.comparison.choices import choices_of
from hf_fft.comparison.processes import check_apart
from hf_fft.errors import StrategyError
from hf_fft.recipe import recipe_from


def choices(model, wishes, *, task="causal_language_modeling"):
    recipe = recipe_from({"task": task, "model": str(model), "data": {"path": "nowhere.txt"}})
    return choices_of(recipe, wishes)


@pytest.fixture
def decoder(tmp_path):
    """A folder with the configuration of a language model tied to its embeddings, and nothing else."""
    from transformers import GPT2Config

    GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2).save_pretrained(tmp_path)
    return tmp_path


def test_what_cannot_train_a_tied_language_model_is_refused_in_a_process_that_reads_no_weights(decoder):
    with pytest.raises(
        StrategyError, match=r"nothing was trained. feature_based: .* GPT2LMHeadModel has no head"
    ) as said:
        check_apart(choices(decoder, ["full", "feature_based", "lora"]))
    assert str(said.value).endswith("Leave them out and compare full lora alone.")


def refused(some) -> set[str]:
    """Return the labels of the strategies that are refused one by one."""
    found = set()
    for one in some:
        try:
            fitness.refuse_misfits({one.label: one.recipe})
        except StrategyError:
            found.add(one.label)
    return found


def test_strategies_that_suit_the_model_pass(decoder, tiny_bert):
    every = ["full", "feature_based", "gradual_unfreezing", "probe_then_full", "lora"]
    assert refused(choices(decoder, every)) == {"feature_based", "probe_then_full"}
    assert refused(choices(tiny_bert, every, task="text_classification")) == set()


def test_targets_that_no_layer_has_are_refused_too(decoder):
    lora = {"name": "lora", "target_modules": ["c_attn"]}
    assert refused(choices(decoder, [lora])) == set()
    with pytest.raises(StrategyError, match='no linear layer of GPT2LMHeadModel is called "query"'):
        (one,) = choices(decoder, [{**lora, "target_modules": ["query"]}])
        fitness.refuse_misfits({one.label: one.recipe})
