"""The scores of written texts are sacrebleu's and rouge_score's own, with any number of references a row."""

from __future__ import annotations

import pytest
import sacrebleu
from rouge_score import rouge_scorer

from hf_fft.errors import DataError
from hf_fft.metrics import generation_scores, generation_signatures

GUESSES = ["The cat sat on the mat.", "It rained all day\nin the north.", "nothing alike", ""]
REFERENCES = [
    ["A cat sat on the mat.", "The cat was sitting on the mat.", "There is a cat."],
    ["It rained all day\nin the far north."],
    ["quite another text", "nothing like it"],
    ["something"],
]


def test_bleu_and_chrf_are_sacrebleus_with_references_of_different_number():
    # As sacrebleu's own tests write missing references: None in the stream.
    streams = [[several[place] if place < len(several) else None for several in REFERENCES] for place in range(3)]
    scores = generation_scores(GUESSES, REFERENCES)
    assert scores["bleu"] == sacrebleu.corpus_bleu(GUESSES, streams).score
    assert scores["chrf"] == sacrebleu.corpus_chrf(GUESSES, streams).score
    assert 10 < scores["bleu"] < 100 and 10 < scores["chrf"] < 100


def test_a_missing_reference_is_none_and_not_an_empty_text():
    once = [several[:1] for several in REFERENCES]
    alone = generation_scores(GUESSES, once)
    assert alone["bleu"] == sacrebleu.corpus_bleu(GUESSES, [[one for (one,) in once]]).score
    ragged = generation_scores(GUESSES, [once[0] + once[0], *once[1:]])
    assert ragged["bleu"] == pytest.approx(alone["bleu"]) and ragged["chrf"] == pytest.approx(alone["chrf"])


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_rouge_is_the_mean_of_each_rows_best_reference(kind):
    scorer = rouge_scorer.RougeScorer([kind])
    best = [
        max(scorer.score(reference, guess)[kind].fmeasure for reference in several)
        for guess, several in zip(GUESSES, REFERENCES, strict=True)
    ]
    assert generation_scores(GUESSES, REFERENCES)[kind] == pytest.approx(sum(best) / len(best))


def test_line_breaks_end_sentences_for_rouge_lsum_alone():
    guess, reference = "one two\nthree four", "three four\none two"
    scores = generation_scores([guess], [[reference]])
    assert scores["rougeLsum"] == 1.0 and scores["rougeL"] == 0.5


def test_exact_match_compares_texts_as_they_are_but_for_white_space_around_them():
    scores = generation_scores(["A cat", " a cat\n", "a cat"], [["a cat"], ["x", "a cat"], ["a  cat"]])
    assert scores["exact_match"] == pytest.approx(1 / 3)


def test_the_signatures_say_how_the_figures_were_made():
    signatures = generation_signatures(REFERENCES)
    assert signatures["bleu"].startswith("nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert signatures["chrf"].startswith("nrefs:var|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert generation_signatures([["a"], ["b"]])["bleu"].startswith("nrefs:1|")


@pytest.mark.parametrize(("guesses", "references"), [([], []), (["a"], [[]]), (["a"], [["b"], ["c"]])])
def test_guesses_without_references_are_refused(guesses, references):
    with pytest.raises(DataError, match="Each guess needs at least one reference"):
        generation_scores(guesses, references)
