"""Numbers: pure functions over what is right (gold) and what a model says (guess), and a door to the Hub's metrics."""

from hf_fft.metrics.answers import answer_scores, exact_match, normalize_answer, token_f1
from hf_fft.metrics.classification import (
    SMALLER_IS_BETTER,
    greater_is_better,
    multi_label_scores,
    regression_scores,
    single_label_scores,
)
from hf_fft.metrics.generation import generation_scores, generation_signatures, rouge_scores
from hf_fft.metrics.hub import hub_metric
from hf_fft.metrics.language_modeling import language_modeling_scores
from hf_fft.metrics.tagging import entity_scores, tag_scores

__all__ = [
    "SMALLER_IS_BETTER",
    "answer_scores",
    "entity_scores",
    "exact_match",
    "generation_scores",
    "generation_signatures",
    "greater_is_better",
    "hub_metric",
    "language_modeling_scores",
    "multi_label_scores",
    "normalize_answer",
    "regression_scores",
    "rouge_scores",
    "single_label_scores",
    "tag_scores",
    "token_f1",
]
