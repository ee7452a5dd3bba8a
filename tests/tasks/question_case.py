"""What the tests of question answering share: rows, their windows, logits that say something, and odd tokenizers."""

from __future__ import annotations

import json

import numpy as np
from conftest import make_tokenizer
from datasets import Dataset
from tokenizers import pre_tokenizers, processors
from transformers import (
    EvalPrediction,
    PreTrainedTokenizerFast,
)

from hf_fft.data import Splits, load_splits
from hf_fft.recipe.records import DataRecipe
from hf_fft.tasks import QuestionAnswering

LONG = "film movie plot cast was is and but not very good bad great poor fine dull bright slow quick warm"


def row(question: str, context: str, *answers: str, name: str = "q", shift: int = 0) -> dict:
    starts = [context.index(answer) + shift for answer in answers]
    record = {"text": list(answers), "answer_start": starts}
    return {"id": name, "title": "t", "question": question, "context": context, "answers": record}


def typed(task: QuestionAnswering, tmp_path, *rows: dict, split: str = "train") -> Dataset:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({**one, "id": f"{one['id']}{place}"}) + "\n" for place, one in enumerate(rows)))
    return load_splits(DataRecipe(path=str(path), validation_fraction=0.0), task).train


def prepared(tmp_path, *rows: dict, tokenizer=None, **fields):
    """Return a fitted task, its typed rows, and the windows of them."""
    task, tokenizer = QuestionAnswering(**fields), tokenizer or make_tokenizer()
    kept = typed(task, tmp_path, *rows)
    fitted = task.fitted(Splits(kept), tokenizer)
    return fitted, kept, fitted.preprocess(kept, tokenizer)


def said(encoded: Dataset, *peaks: tuple[int, int, float], null: float = 0.0) -> EvalPrediction:
    """Return logits with one high start and end a window, or with what is high at CLS, padded as Trainer pads."""
    logits = np.full((len(encoded), max(encoded["length"]), 2), -100.0, np.float32)
    for window, (start, end, height) in enumerate(peaks):
        logits[window, : encoded["length"][window]] = -9.0
        logits[window, encoded["cls"][window]] = null / 2
        logits[window, start, 0] = logits[window, end, 1] = height / 2
    return EvalPrediction(predictions=logits, label_ids=None)


def roberta_like() -> PreTrainedTokenizerFast:
    """A tokenizer as RoBERTa's: bytes, a question between <s> and </s></s>, no token types."""
    from tokenizers import Tokenizer, models

    letters = {token: place for place, token in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}
    letters |= {letter: len(letters) + place for place, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    raw = Tokenizer(models.BPE(letters, [], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", cls_token="<s>", sep_token="</s>",
        model_max_length=64, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def xlnet_like() -> PreTrainedTokenizerFast:
    """A tokenizer as XLNet's: context, question, CLS at the end; it pads on the left."""
    usual = make_tokenizer()
    raw = usual.backend_tokenizer
    ids = [(name, usual.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    raw.post_processor = processors.TemplateProcessing(
        single="$A [SEP] [CLS]", pair="$A [SEP] $B:1 [SEP]:1 [CLS]:2", special_tokens=ids
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, **{**usual.init_kwargs, "padding_side": "left"})
