"""Extractive question answering with plain transformers.

transformers 5.23 has no pipeline for it any more, so the snippet does it by itself: windows, the best legal span of any
of them and, where the model was trained on questions without an answer, the threshold that the run chose.
"""

from __future__ import annotations

import json

from hf_fft.recipe import QuestionAnsweringRecipe

TAG = "question-answering"


def what_it_does(task: QuestionAnsweringRecipe) -> str:
    """Say it in a clause that follows "This model"."""
    none = ", or says that it has none" if task.no_answers else ""
    return f"finds the answer to a question as a span of a context{none}"


def long_inputs(task: QuestionAnsweringRecipe) -> str:
    """Say what happened to longer contexts."""
    return f"longer contexts were read in windows that share {task.window_overlap} tokens"


def snippet(task: QuestionAnsweringRecipe, model: str) -> str:
    """Return Python that loads the model with transformers alone and answers one question."""
    return f'''import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({json.dumps(model)})
model = AutoModelForQuestionAnswering.from_pretrained({json.dumps(model)}).eval()


def answer(question, context):
    texts, side = ((question, context), 1) if tokenizer.padding_side == "right" else ((context, question), 0)
    room = {task.max_length} - len(tokenizer([question], [""])["input_ids"][0])
    windows = tokenizer(
        *texts,
        truncation=("only_first", "only_second")[side],
        max_length={task.max_length},
        stride=min({task.window_overlap}, room // 2),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    best, text{", none" if task.no_answers else ""} = -torch.inf, ""{", torch.inf" if task.no_answers else ""}
    for window, ids in enumerate(windows["input_ids"]):
        with torch.no_grad():
            scores = model(**{{name: torch.tensor([windows[name][window]]) for name in tokenizer.model_input_names}})
        starts, ends = scores.start_logits[0], scores.end_logits[0]
{_null(task)}        outside = torch.tensor([one != side for one in windows.sequence_ids(window)])
        starts, ends = starts.masked_fill(outside, -torch.inf), ends.masked_fill(outside, -torch.inf)
        likely_ends = ends.topk(min({task.n_best}, len(ids))).indices.tolist()
        for start in starts.topk(min({task.n_best}, len(ids))).indices.tolist():
            for end in [*likely_ends, start]:
                span = context[windows["offset_mapping"][window][start][0] : windows["offset_mapping"][window][end][1]]
                score = (starts[start] + ends[end]).item()
                if start <= end < start + {task.max_answer_length} and score > best and span.strip():
                    best, text = score, span.strip()
    return {_answer(task)}


print(answer("What did Ada play?", "On Sunday Ada played the cello, and nobody slept."))'''


def note(task: QuestionAnsweringRecipe) -> str:
    """Say nothing: the snippet does what the run did."""
    return ""


def _null(task: QuestionAnsweringRecipe) -> str:
    if not task.no_answers:
        return ""
    return """        cls = ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else 0
        none = min(none, (starts[cls] + ends[cls]).item())
"""


def _answer(task: QuestionAnsweringRecipe) -> str:
    if not task.no_answers:
        return "text"
    return f'"" if none - best > {task.no_answer_threshold or 0.0!r} else text  # "" means: there is no answer'
