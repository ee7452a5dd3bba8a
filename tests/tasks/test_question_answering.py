"""Question answering: windows, labels, answers, thresholds and what is told of answers that cannot be given."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import make_tokenizer, tiny_config
from question_case import LONG, prepared, roberta_like, row, said, typed, xlnet_like
from transformers import (
    BertForQuestionAnswering,
    BertModel,
    ByT5Tokenizer,
    EvalPrediction,
    XLNetConfig,
    XLNetForQuestionAnsweringSimple,
)
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from hf_fft.data import Splits, load_splits
from hf_fft.errors import DataError, RecipeError
from hf_fft.recipe.records import DataRecipe
from hf_fft.tasks import QuestionAnswering

pytestmark = pytest.mark.usefixtures("one_thread")


def test_windows_hold_the_whole_question_and_overlap(tmp_path):
    rows = [row("a the this", LONG, "fine dull"), row("good", "the film", "film")]
    task, _, encoded = prepared(tmp_path, *rows, max_length=16, window_overlap=4)
    words = LONG.split()
    held = [
        [rows[where]["context"][start:end] for start, end in zip(starts, ends, strict=True)]
        for where, starts, ends in zip(encoded["row"], encoded["char_starts"], encoded["char_ends"], strict=True)
    ]
    assert held == [words[0:10], words[6:16], words[12:20], ["the", "film"]]
    assert encoded["row"][:] == [0, 0, 0, 1] and encoded["length"][:] == [16, 16, 14, 6]
    assert encoded["context_start"][:] == [5, 5, 5, 3] and encoded["text_tokens"][:] == [26, 26, 26, 6]
    # "fine dull" are the words 14 and 15: whole in the second and the third window, and CLS stands for "not here".
    assert encoded["labels"][:] == [[0, 0], [13, 14], [7, 8], [4, 4]]
    assert task.recipe.no_answers is False


def test_an_answer_cut_by_a_windows_edge_is_not_in_it(tmp_path):
    _, _, encoded = prepared(tmp_path, row("a", LONG, "quick warm"), max_length=22, window_overlap=2)
    assert [len(starts) for starts in encoded["char_starts"]] == [18, 4]
    assert encoded["labels"][:] == [[0, 0], [5, 6]]


def test_the_first_of_several_answers_is_trained_on_and_white_space_around_it_is_not(tmp_path):
    _, _, encoded = prepared(tmp_path, row("a", "the good film", " good ", "film"), max_length=16, window_overlap=4)
    assert encoded["labels"][:] == [[4, 4]]


def test_a_long_question_gets_a_smaller_overlap_and_is_told(tmp_path):
    question = "a the this that film movie plot cast"
    task, rows, encoded = prepared(tmp_path, row(question, LONG, "film"), max_length=20, window_overlap=8)
    assert [len(starts) for starts in encoded["char_starts"]] == [9, 9, 9, 5]  # they share four, not eight
    (finding,) = task.report(Splits(rows), Splits(encoded)).splits["train"].findings
    assert finding == "Questions so long that the windows of their context share less than window_overlap: 1 (q0)."


def test_a_question_that_leaves_no_room_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"1 question leaves fewer than 8 of 16 tokens .* in train, row 2 "):
        prepared(tmp_path, row("a", LONG, "film"), row("a " * 9, LONG, "film"), max_length=16, window_overlap=4)


def test_a_long_question_about_a_context_that_fits_is_read(tmp_path):
    _, _, encoded = prepared(tmp_path, row("a " * 9, "the good film", "film"), max_length=16, window_overlap=4)
    assert encoded["length"][:] == [15] and encoded["labels"][:] == [[13, 13]]


def test_an_empty_context_has_one_window_and_no_answer(tmp_path):
    task, rows, encoded = prepared(
        tmp_path, row("a", "", name="e"), row("a", "the film", "film"), max_length=16, window_overlap=4
    )
    assert encoded["labels"][0] == [0, 0]
    empty, other = task.postprocess(rows, encoded, said(encoded, (0, 0, 1.0), (4, 4, 5.0)))
    assert (empty.guess, empty.n_best) == ("", {"": 1.0}) and other.guess == "film"
    assert task.tuned(rows, encoded, said(encoded, (0, 0, 1.0), (4, 4, 5.0))).recipe.no_answer_threshold < np.inf


def test_the_best_window_answers_and_other_windows_count_for_nothing(tmp_path):
    task, rows, encoded = prepared(tmp_path, row("a the this", LONG, "fine"), max_length=16, window_overlap=4)
    output = said(encoded, (5, 5, 4.0), (13, 14, 8.0), (5, 6, 6.0))
    (prediction,) = task.postprocess(rows, encoded, output, split="test")
    assert (prediction.guess, prediction.gold, prediction.scores) == ("fine dull", ["fine"], {})
    assert prediction.split == "test" and set(prediction.inputs) == {"id", "question", "context"}
    assert list(prediction.n_best)[:3] == ["fine dull", "great poor", "film"]
    assert sum(prediction.n_best.values()) == pytest.approx(1.0)


def test_spans_are_never_backward_too_long_or_outside_the_context(tmp_path):
    rows = [row("a the this", LONG, "fine")]
    task, kept, encoded = prepared(tmp_path, *rows, max_length=32, window_overlap=4, max_answer_length=3, n_best=4)
    for start, end in [(8, 6), (6, 9), (1, 2), (2, 7)]:
        (prediction,) = task.postprocess(kept, encoded, said(encoded, (start, end, 30.0)))
        assert 1 <= len(prediction.guess.split()) <= 3 and prediction.guess in LONG
        assert len(prediction.n_best) <= 4


QUESTIONS = [("good film", "film"), ("good film", ""), ("good film", "good"), ("good film", "")]


def unanswered(tmp_path, **fields):
    rows = [row("a", context, *([answer] if answer else [])) for context, answer in QUESTIONS]
    task, kept, encoded = prepared(tmp_path, *rows, max_length=16, window_overlap=4, **fields)
    tokens = [3 if answer == "good" else 4 for _, answer in QUESTIONS]
    peaks = [(token, token, height) for token, height in zip(tokens, (6.0, 2.0, 3.0, 1.0), strict=True)]
    return task, kept, encoded, said(encoded, *peaks, null=4.0)


def test_no_answer_is_given_where_it_outscores_the_best_span_by_more_than_the_threshold(tmp_path):
    task, rows, encoded, output = unanswered(tmp_path, no_answer_threshold=1.5)
    assert task.recipe.no_answers
    predictions = task.postprocess(rows, encoded, output)
    assert [one.scores["no_answer"] for one in predictions] == [-2.0, 2.0, 1.0, 3.0]
    assert [one.guess for one in predictions] == ["film", "", "good", ""]
    assert task.score(predictions)["f1"] == 1.0
    assert task.tuned(rows, encoded, output) is task
    assert next(iter(predictions[1].n_best)) == "" and list(predictions[0].n_best)[:2] == ["film", ""]


def test_the_threshold_is_tuned_where_the_recipe_gives_none(tmp_path):
    task, rows, encoded, output = unanswered(tmp_path)
    untuned = task.postprocess(rows, encoded, output)
    assert [one.guess for one in untuned] == ["film", "", "", ""]  # the threshold is 0 so far
    tuned = task.tuned(rows, encoded, output)
    assert tuned.recipe.no_answer_threshold == 1.5
    assert task.compute_metrics(rows, encoded)(output)["f1"] == 1.0


def test_rows_of_one_kind_tune_nothing(tmp_path):
    task, rows, _, output = unanswered(tmp_path)
    answered = [place for place, answers in enumerate(rows["answers"]) if answers["text"]]
    kept = rows.select(answered)
    windows = task.preprocess(kept, make_tokenizer())
    few = EvalPrediction(predictions=output.predictions[answered], label_ids=None)
    assert task.tuned(kept, windows, few).recipe.no_answer_threshold == 0.0


def test_the_lowest_windows_no_answer_counts(tmp_path):
    rows = [row("a the this", LONG, name="x"), row("a", "good", "good")]
    task, kept, encoded = prepared(tmp_path, *rows, max_length=16, window_overlap=4)
    output = said(encoded, (5, 5, 1.0), (5, 5, 2.0), (5, 5, 3.0), (4, 4, 1.0))
    for window, null in enumerate((8.0, 5.0, 6.0)):
        output.predictions[window, 0] = null / 2
    assert task.postprocess(kept, encoded, output)[0].scores["no_answer"] == 5.0 - 3.0


def test_rows_without_an_answer_are_told_where_the_training_rows_have_none(tmp_path):
    task, rows, encoded = prepared(tmp_path, row("a", "good", "good"), max_length=16, window_overlap=4)
    test = typed(task, tmp_path, row("a", "good"), row("a", "good", "good"))
    windows = task.preprocess(test, make_tokenizer())
    report = task.report(Splits(rows, None, test), Splits(encoded, None, windows))
    assert report.splits["test"].label_counts == {"answerable": 1, "unanswerable": 1}
    assert report.splits["train"].findings == ()
    assert "an answer is always given, and wrong: 1 (q0)" in report.splits["test"].findings[0]
    guesses = task.postprocess(test, windows, said(windows, (3, 3, -5.0), (3, 3, 1.0), null=9.0))
    assert [one.guess for one in guesses] == ["good", "good"] and guesses[0].scores == {}
    assert task.score(guesses)["exact_match/NoAns"] == 0.0


def test_answers_that_cannot_be_given_are_told(tmp_path):
    rows = [
        row("a", LONG, "movie plot cast was is and"),
        row("a", LONG, LONG[5:110].strip()),
        row("a", LONG, "dull", shift=3),
    ]
    task, kept, encoded = prepared(tmp_path, *rows, max_length=16, window_overlap=4, max_answer_length=5)
    findings = task.report(Splits(kept), Splits(encoded)).splits["train"].findings
    assert [finding.split(":")[0] for finding in findings] == [
        "Answers that stand not at answer_start but at one other place, and were looked up there",
        "First answers that no window holds whole",
        "First answers of more than 5 tokens (max_answer_length)",
    ]
    assert [finding.rsplit(": ", 1)[1] for finding in findings] == ["1 (q2).", "1 (q1).", "1 (q0)."]
    where = {at: label for at, label in zip(encoded["row"], encoded["labels"], strict=True) if label != [0, 0]}
    assert set(where) == {0, 2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answers": {"text": ["cat"], "answer_start": [0]}}, r'1 answer of train cannot be placed.*q0 \("cat" at 0\)'),
        ({"answers": "film"}, "no answers as SQuAD has them"),
        ({"context": 7}, "should hold text"),
        ({"id": None}, "no id, or one that another row has"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(change, words, tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({**row("a", "the film", "film", name="q0"), **change}) + "\n")
    with pytest.raises(DataError, match=words):
        load_splits(DataRecipe(path=str(path), validation_fraction=0.0), QuestionAnswering())


def test_an_id_must_name_one_question_unless_there_are_none(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text((json.dumps(row("a", "the film", "film")) + "\n") * 2)
    data = DataRecipe(path=str(path), validation_fraction=0.0)
    with pytest.raises(DataError, match=r"one that another row has.*rows 1, 2"):
        load_splits(data, QuestionAnswering())
    task = QuestionAnswering(id_column=None)
    rows = load_splits(data, task).train
    fitted = task.fitted(Splits(rows), make_tokenizer())
    encoded = fitted.preprocess(rows, make_tokenizer())
    first, _ = fitted.postprocess(rows, encoded, said(encoded, (4, 4, 1.0), (4, 4, 1.0)))
    assert set(first.inputs) == {"question", "context"}


def test_a_metric_or_a_tokenizer_that_cannot_serve_is_refused(tmp_path):
    rows = typed(QuestionAnswering(), tmp_path, row("a", "the film", "film"))
    with pytest.raises(RecipeError, match=r'"bleu" is not a metric here. There are f1, exact_match'):
        QuestionAnswering(primary_metric="bleu").fitted(Splits(rows), make_tokenizer())
    with pytest.raises(RecipeError, match="ByT5Tokenizer is not one"):
        QuestionAnswering().fitted(Splits(rows), ByT5Tokenizer())


def test_the_loss_is_the_models_own_where_nothing_is_padded_and_ignores_padding_elsewhere(tmp_path):
    rows = [row("a the this", LONG, "fine dull"), row("a", "the film", "film")]
    task, _, encoded = prepared(tmp_path, *rows, max_length=16, window_overlap=4)
    model = BertForQuestionAnswering(tiny_config(initializer_range=1.0)).eval()
    collate = task.collator(make_tokenizer())
    alone = []
    for item in encoded:
        batch = collate([item])
        (labels,) = batch.pop("labels")[:, :2]
        own = model(**batch, start_positions=labels[:1], end_positions=labels[1:])
        outputs = model(**batch)
        assert task.loss(outputs, labels[None]).item() == pytest.approx(own.loss.item(), rel=1e-6)
        alone.append(own.loss.item())
    together = collate(list(encoded))
    labels = together.pop("labels")
    assert labels.shape == (4, 3) and labels[:, 2].tolist() == encoded["length"][:]
    assert task.loss(model(**together), labels).item() == pytest.approx(np.mean(alone), rel=1e-5)


def test_smoothing_spreads_over_the_windows_own_tokens():
    start, end = torch.tensor([[2.0, 1.0, 0.0, 50.0]]), torch.tensor([[0.0, 3.0, 1.0, 50.0]])
    outputs = QuestionAnsweringModelOutput(start_logits=start, end_logits=end)
    loss = QuestionAnswering().loss(outputs, torch.tensor([[0, 1, 3]]), label_smoothing=0.3)
    cross_entropy = torch.nn.functional.cross_entropy
    expected = [
        cross_entropy(logits[:, :3], torch.tensor([gold]), label_smoothing=0.3)
        for logits, gold in ((start, 0), (end, 1))
    ]
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item())


def test_rows_left_out_carry_no_loss_and_no_gradient():
    start = torch.randn(2, 4, requires_grad=True)
    outputs = QuestionAnsweringModelOutput(start_logits=start, end_logits=start * 2)
    labels = torch.tensor([[1, 2, 3], [-100, -100, -100]])
    loss = QuestionAnswering().loss(outputs, labels, label_smoothing=0.1)
    loss.backward()
    first = QuestionAnsweringModelOutput(start_logits=start[:1], end_logits=start[:1] * 2)
    assert loss.item() == pytest.approx(QuestionAnswering().loss(first, labels[:1], label_smoothing=0.1).item())
    assert start.grad[1].abs().sum() == 0 and start.grad[0, :3].isfinite().all() and start.grad[0, 3] == 0


def test_bytes_of_one_character_are_one_place_and_there_may_be_no_token_types(tmp_path):
    rows = [row("who", "an é owl 🦉 hoots", "🦉"), row("who", "an é owl 🦉 hoots", "é owl")]
    task, kept, encoded = prepared(tmp_path, *rows, tokenizer=roberta_like(), max_length=40, window_overlap=4)
    assert "token_type_ids" not in encoded.column_names
    start, end = encoded["labels"][0]
    assert end - start == 3  # four bytes
    peaks = [(*label, 9.0) for label in encoded["labels"]]
    assert [one.guess for one in task.postprocess(kept, encoded, said(encoded, *peaks))] == ["🦉", "é owl"]


def test_a_tokenizer_that_pads_on_the_left_gets_the_context_first(tmp_path):
    rows = [row("a the this", LONG, "quick"), row("a", "the film", "film"), row("a", "the film")]
    tokenizer = xlnet_like()
    task, kept, encoded = prepared(tmp_path, *rows, tokenizer=tokenizer, max_length=20, window_overlap=4)
    assert encoded["context_start"][:] == [0] * len(encoded)
    assert [encoded["cls"][0], *encoded["cls"][-2:]] == [19, 5, 5] and encoded["labels"][-1] == [5, 5]
    config = XLNetConfig(vocab_size=len(tokenizer), d_model=16, n_layer=2, n_head=2, d_inner=32, initializer_range=1.0)
    model = XLNetForQuestionAnsweringSimple(config).eval()
    collate = task.collator(tokenizer)
    batch = collate(list(encoded))
    labels = batch.pop("labels")
    together = model(**batch)
    logits = task.reduce_logits((together.start_logits, together.end_logits), labels)
    for window, item in enumerate(encoded):
        alone = collate([item])
        alone.pop("labels")
        assert torch.allclose(logits[window, : item["length"], 0], model(**alone).start_logits[0], atol=1e-5)
    peaks = [(*label, 9.0) if label[0] != cls else (0, 0, 1.0) for label, cls in zip(encoded["labels"], encoded["cls"])]
    guesses = task.postprocess(kept, encoded, said(encoded, *peaks, null=3.0))
    assert [one.guess for one in guesses] == ["quick", "film", ""]


def test_only_start_and_end_are_kept_of_what_a_model_returns():
    start, end = torch.randn(2, 5).bfloat16(), torch.randn(2, 5).bfloat16()
    kept = QuestionAnswering().reduce_logits((start, end, (torch.zeros(2, 5, 8),)), torch.zeros(2, 3))
    assert kept.shape == (2, 5, 2) and kept.dtype == torch.float32
    assert torch.equal(kept[..., 1], end.float())


def test_a_checkpoint_with_another_number_of_labels_gets_two_scores_a_token(tmp_path):
    BertModel(tiny_config(num_labels=5), add_pooling_layer=False).save_pretrained(tmp_path)
    assert QuestionAnswering().load_model(str(tmp_path)).qa_outputs.out_features == 2
