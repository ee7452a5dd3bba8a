"""A model that writes, with plain transformers.

How it writes stands in the saved generation_config, so the snippet names no settings. transformers 5.23 has no pipeline
for encoder-decoders any more; for decoders "text-generation" adds nothing to these lines but a copy of the prompt.
"""

from __future__ import annotations

import json

from hf_fft.recipe.task_records import GenerationRecipe, TextGenerationRecipe, columns_in

TAG = "text-generation"


def what_it_does(task: TextGenerationRecipe) -> str:
    """Say it in a clause that follows "This model"."""
    return f"reads {_columns(task)} and writes {task.target_column}"


def long_inputs(task: GenerationRecipe) -> str:
    """Say what happened to longer inputs."""
    if task.architecture == "decoder_only":
        return "prompt and text together; of longer prompts the end of the longest column was cut"
    return "the end of longer ones was cut"


def snippet(task: GenerationRecipe, model: str) -> str:
    """Return Python that loads the model with transformers alone and writes for one input."""
    decoder_only = task.architecture == "decoder_only"
    kind = "AutoModelForCausalLM" if decoder_only else "AutoModelForSeq2SeqLM"
    row = json.dumps({column: f"A text for {column}." for column in columns_in(_prompt(task))}, ensure_ascii=False)
    return f"""from transformers import {kind}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({json.dumps(model)})
model = {kind}.from_pretrained({json.dumps(model)})
row = {row}
prompt = {json.dumps(_prompt(task), ensure_ascii=False)}.format_map(row)
{_reading(task)}
written = model.generate(**inputs)[0{', inputs["input_ids"].shape[1] :' if decoder_only else ""}]
answer = tokenizer.decode(written, skip_special_tokens=True).strip()
print(answer)"""


def note(task: GenerationRecipe) -> str:
    """Say where the snippet does something else than the run did."""
    notes = []
    if task.architecture == "decoder_only":
        notes.append(
            f"The run cut prompts so that prompt and text have {task.max_length} tokens together; the snippet does not."
        )
    if task.generation.get("do_sample"):
        notes.append("The texts were drawn at random (do_sample), so another draw gives others.")
    return " ".join(notes)


def _reading(task: GenerationRecipe) -> str:
    if task.architecture != "decoder_only":
        return 'inputs = tokenizer(prompt, truncation=True, return_tensors="pt")'
    if not task.chat_template:
        return 'inputs = tokenizer(prompt, return_tensors="pt")'
    return """messages = [{"role": "user", "content": prompt}]
chat = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
inputs = tokenizer(chat, add_special_tokens=False, return_tensors="pt")"""


def _prompt(task: GenerationRecipe) -> str:
    """Return the prompt that a fitted task has filled in."""
    prompt: str | None = getattr(task, "prompt", None)
    return prompt or "{source}"


def _columns(task: GenerationRecipe) -> str:
    return " and ".join(columns_in(_prompt(task)))
