"""Prompts and targets to token ids, for the two kinds of model that write.

An encoder-decoder reads the prompt in its encoder, cut at its end as its tokenizer cuts. A decoder reads prompt and
target as one sequence, of which the target alone is scored; a prompt that is too long loses the end of its longest
column there, so that what the template says before and after it stays. A prompt is encoded just as the tokenizer does
it, special tokens included, so that a plain `tokenizer(prompt)` gives what was trained on. Targets end with the token
that stops writing, and a target that is too long keeps that token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerBase

from hf_fft.errors import RecipeError
from hf_fft.tasks.encoding import encode_cut
from hf_fft.tasks.losses import IGNORED
from hf_fft.tasks.pretrained import NO_LIMIT
from hf_fft.tasks.prompts import Filled

Tokens = list[int]


class EncoderDecoderInputs:
    """Inputs of a model whose encoder reads the prompt and whose decoder writes the target.

    `start_token_id` is what the decoder starts from; targets do not repeat it. `positions` is how many tokens either
    half takes.
    """

    auto_model: ClassVar[Any] = AutoModelForSeq2SeqLM
    decoder_only: ClassVar[bool] = False

    def __init__(self, start_token_id: int | None = None, *, positions: int = NO_LIMIT) -> None:
        self.start_token_id = start_token_id
        self.positions = positions

    def prompts(
        self, filled: Sequence[Filled], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int
    ) -> tuple[list[Tokens], list[int]]:
        """Return the prompts' token ids, cut, and their lengths before cutting."""
        encoded = encode_cut([one.text for one in filled], None, tokenizer, max_length=max_tokens)
        return encoded["input_ids"], encoded["text_tokens"]

    def targets(
        self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int
    ) -> tuple[list[Tokens], list[int]]:
        """Return the targets' token ids, cut, and their lengths before cutting; the last token stops the writing."""
        end = end_token_id(tokenizer)
        whole = tokenizer(text_target=list(texts), truncation=False, verbose=False)["input_ids"]
        whole = [self._ended(self._without_start(ids), end) for ids in whole]
        cut = [ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], end] for ids in whole]
        return cut, [len(ids) for ids in whole]

    def item(self, prompt: Tokens, target: Tokens | None) -> dict[str, Tokens]:
        """Return one item's columns; without a target it has no labels."""
        inputs = {"input_ids": prompt, "attention_mask": [1] * len(prompt)}
        return inputs if target is None else {**inputs, "labels": target}

    def _without_start(self, ids: Tokens) -> Tokens:
        return ids[1:] if ids and ids[0] == self.start_token_id else ids

    @staticmethod
    def _ended(ids: Tokens, end: int) -> Tokens:
        # Multilingual tokenizers put a language's token behind the end, so the end may stand anywhere.
        return ids if end in ids else [*ids, end]


class DecoderInputs:
    """Inputs of a model that goes on writing where the prompt ends; labels are -100 on the prompt."""

    auto_model: ClassVar[Any] = AutoModelForCausalLM
    decoder_only: ClassVar[bool] = True

    def __init__(self, *, positions: int = NO_LIMIT, chat_template: bool = False) -> None:
        self.positions = positions
        self.chat_template = chat_template

    def prompts(
        self, filled: Sequence[Filled], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int
    ) -> tuple[list[Tokens], list[int]]:
        """Return the prompts' token ids, cut, and their lengths before cutting."""
        asked = [self._asked(one, tokenizer) for one in filled]
        encoded = tokenizer(
            [one.text for one in asked],
            add_special_tokens=not self.chat_template,
            return_offsets_mapping=tokenizer.is_fast,
            verbose=False,
        )
        cut, lengths = [], []
        for index, (one, ids) in enumerate(zip(asked, encoded["input_ids"], strict=True)):
            ids = ids or [_first_token_id(tokenizer)]
            offsets = encoded["offset_mapping"][index] if tokenizer.is_fast else []
            cut.append(ids if len(ids) <= max_tokens else _cut_inside(ids, offsets, one, max_tokens=max_tokens))
            lengths.append(len(ids))
        return cut, lengths

    def targets(
        self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int
    ) -> tuple[list[Tokens], list[int]]:
        """Return the targets' token ids, cut, and their lengths before cutting; the last token stops the writing."""
        end = end_token_id(tokenizer)
        whole = tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        return [[*ids[: max_tokens - 1], end] for ids in whole], [len(ids) + 1 for ids in whole]

    def item(self, prompt: Tokens, target: Tokens | None) -> dict[str, Tokens]:
        """Return one item's columns; without a target it has no labels."""
        ids = prompt + (target or [])
        inputs = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        return inputs if target is None else {**inputs, "labels": [IGNORED] * len(prompt) + target}

    def _asked(self, filled: Filled, tokenizer: PreTrainedTokenizerBase) -> Filled:
        """Put the prompt into the chat template, and say where its longest column stands then."""
        if not self.chat_template:
            return filled
        message = [{"role": "user", "content": filled.text}]
        text = str(tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
        place = text.find(filled.text.strip())
        shift = 0 if place < 0 else place - (len(filled.text) - len(filled.text.lstrip()))
        return Filled(text, filled.start + shift, filled.end + shift)


GenerationInputs = EncoderDecoderInputs | DecoderInputs


def end_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that stops the writing: end of sequence, or what BERT has for it.

    Raises:
        RecipeError: if the tokenizer has none.
    """
    for end in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if end is not None:
            return int(end)
    raise RecipeError(
        "a model that writes must learn where to stop, and this tokenizer has neither an eos_token nor a sep_token. "
        "Name a tokenizer that has one in model.tokenizer."
    )


def _first_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return what stands before a text: a decoder cannot start from nothing."""
    return int(tokenizer.bos_token_id) if tokenizer.bos_token_id is not None else end_token_id(tokenizer)


def _cut_inside(ids: Tokens, offsets: Sequence[tuple[int, int]], filled: Filled, *, max_tokens: int) -> Tokens:
    """Drop the last tokens of the longest column, and then, where that is not enough, the first of the rest."""
    inside = [
        index
        for index, (start, end) in enumerate(offsets)
        if start < end and filled.start <= start and end <= filled.end
    ]
    dropped = set(inside[-(len(ids) - max_tokens) :])
    return [token for index, token in enumerate(ids) if index not in dropped][-max_tokens:]
