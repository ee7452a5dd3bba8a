"""The kinds of problem, one record each: which columns hold what, how long inputs may be, and what is measured.

Fields that mean the same have the same name in every task: `max_length` is the longest input in tokens, special tokens
included, and `primary_metric` the metric that "best" means.
"""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue, model_validator

from hf_fft.recipe.record import Names, Record

# Every task has these two; a field's description shows in editors.
MaxLength: TypeAlias = Annotated[int, Field(ge=8, description="Longest input in tokens, special tokens included.")]
PrimaryMetric: TypeAlias = Annotated[
    str | None, Field(description='The metric that "best" means; the task has a default.')
]


class TextClassificationRecipe(Record):
    """Give a text, or a pair of texts, one label, several labels, or a number."""

    name: Literal["text_classification"] = "text_classification"
    text_column: str = Field("text", description="Column with the text.")
    text_pair_column: str | None = Field(None, description="Column with the second text of a pair.")
    label_column: str = Field("label", description="Column with the label, the list of labels, or the number.")
    label_columns: Names | None = Field(
        None, description="For several labels: one column of 0 and 1 a label, instead of label_column."
    )
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] = Field(
        "single_label_classification", description="transformers' own word for what is predicted."
    )
    labels: Names | None = Field(None, description="Label names in the model's order; taken from the data if absent.")
    class_weights: Literal["auto"] | dict[str, Annotated[float, Field(ge=0)]] | None = Field(
        None, description='Weight of each label in the loss: "auto" for inverse frequency, or by name.'
    )
    max_length: MaxLength = 256
    long_text: Literal["cut", "windows"] = Field(
        "cut", description="What happens to a longer text: cut, or split into overlapping windows."
    )
    window_overlap: int = Field(64, ge=0, description="Tokens that neighbouring windows share.")
    primary_metric: PrimaryMetric = None
    hub_metrics: Names = Field((), description="More metrics, by `evaluate`: Hub names, or paths of local scripts.")

    @model_validator(mode="after")
    def _options_fit_together(self) -> TextClassificationRecipe:
        if self.label_columns is not None and self.problem_type != "multi_label_classification":
            raise ValueError('label_columns needs problem_type "multi_label_classification"')
        if self.class_weights is not None and self.problem_type != "single_label_classification":
            raise ValueError('class_weights needs problem_type "single_label_classification"')
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise ValueError("labels names a label twice")
        if self.labels is not None and self.problem_type == "regression":
            raise ValueError("labels makes no sense with regression: a number has no label names")
        if self.long_text == "windows" and self.text_pair_column is not None:
            raise ValueError('long_text "windows" works on one text, not on a pair; use "cut"')
        if self.long_text == "windows":
            refuse_large_overlap(self.window_overlap, self.max_length)
        return self


class TokenClassificationRecipe(Record):
    """Give every word of a sentence a tag, and find the entities that the tags spell."""

    name: Literal["token_classification"] = "token_classification"
    tokens_column: str = Field("tokens", description="Column with the sentence as a list of words.")
    tags_column: str = Field("tags", description="Column with the list of tags, one a word.")
    tag_scheme: Literal["auto", "IOB1", "BIO", "BIOES", "plain"] = Field(
        "auto", description='How the tags in the data spell entities; BIO is used inside. "plain" for other tags.'
    )
    labels: Names | None = Field(
        None, description="Tags in the model's order, entities in BIO; taken from the data if absent."
    )
    subwords: Literal["first", "all"] = Field(
        "first", description="Which sub-words of a word carry its tag in training; scores always read the first."
    )
    max_length: MaxLength = 256
    window_overlap: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Tokens that the windows of a longer sentence share; a quarter of max_length if absent."
    )
    primary_metric: PrimaryMetric = None

    @model_validator(mode="after")
    def _windows_move_on(self) -> TokenClassificationRecipe:
        refuse_large_overlap(self.window_overlap or 0, self.max_length)
        return self


class QuestionAnsweringRecipe(Record):
    """Find the answer to a question as a span of a context, or say that the context has none."""

    name: Literal["question_answering"] = "question_answering"
    id_column: str | None = Field("id", description="Column that names the question; null where the data have none.")
    question_column: str = Field("question", description="Column with the question.")
    context_column: str = Field("context", description="Column with the text that holds the answer.")
    answers_column: str = Field(
        "answers", description="Column with the answers as SQuAD has them: lists of text and answer_start."
    )
    max_length: MaxLength = 384
    window_overlap: int = Field(128, ge=0, description="Tokens that the windows of a longer context share.")
    max_answer_length: int = Field(30, ge=1, description="Longest answer in tokens.")
    n_best: int = Field(20, ge=1, description="Start and end positions of each window that are paired into answers.")
    no_answers: bool | None = Field(
        None, description="Whether questions may have no answer; taken from the training rows if absent."
    )
    no_answer_threshold: float | None = Field(
        None,
        description="By how much no answer must outscore the best span; tuned on validation if absent.",
    )
    primary_metric: PrimaryMetric = None

    @model_validator(mode="after")
    def _options_fit_together(self) -> QuestionAnsweringRecipe:
        if self.no_answers is False and self.no_answer_threshold is not None:
            raise ValueError("no_answer_threshold makes no sense with no_answers false: an answer is always given")
        refuse_large_overlap(self.window_overlap, self.max_length)
        return self


class GenerationRecipe(Record):
    """What all tasks share whose answer is a text that the model writes."""

    name: str  # stands first, in every kind
    architecture: Literal["pretrained", "encoder_decoder", "decoder_only", "warm_started"] = Field(
        "pretrained",
        description='As the model\'s config says, which is then "encoder_decoder" or "decoder_only"; "warm_started": '
        "an encoder-decoder whose halves both start from one encoder (arXiv:1907.12461).",
    )
    chat_template: bool = Field(
        False, description="Put the prompt into the tokenizer's chat template; decoder-only models."
    )
    max_length: Annotated[int, Field(ge=8)] = Field(
        512, description="Longest source in tokens; for decoder-only models, longest prompt and text together."
    )
    max_target_length: int = Field(128, ge=2, description="Longest target in tokens; longer ones are cut in training.")
    generation: dict[str, JsonValue] = Field(
        {}, description="Fields of transformers.GenerationConfig: num_beams, max_new_tokens, …"
    )
    primary_metric: PrimaryMetric = None

    @model_validator(mode="after")
    def _warm_started_models_do_not_chat(self) -> GenerationRecipe:
        if self.chat_template and self.architecture == "warm_started":
            raise ValueError('chat_template is for decoder-only models; architecture "warm_started" makes none')
        return self


class TextGenerationRecipe(GenerationRecipe):
    """Write a text for a text: a summary, a translation, a description."""

    name: Literal["text_generation"] = "text_generation"
    source_column: str = Field("source", description="Column with the text to start from.")
    target_column: str = Field("target", description="Column with the text to write, or a list of equally good ones.")
    prompt: str | None = Field(
        None,
        description='What the model reads, with columns in braces: "summarize: {document}"; absent, the source alone.',
    )

    @model_validator(mode="after")
    def _prompt_uses_columns(self) -> TextGenerationRecipe:
        if self.prompt is None:
            return self
        if self.source_column not in (type(self).model_fields["source_column"].default, *columns_in(self.prompt)):
            raise ValueError(f"prompt does not use source_column; write {{{self.source_column}}} in it, or drop one")
        return self


class GenerativeQuestionAnsweringRecipe(GenerationRecipe):
    """Answer a question about a context in words of the model's own."""

    name: Literal["generative_question_answering"] = "generative_question_answering"
    id_column: str | None = Field("id", description="Column that names the question; null where the data have none.")
    question_column: str = Field("question", description="Column with the question.")
    context_column: str = Field("context", description="Column with the text that holds the answer.")
    answers_column: str = Field("answers", description="Column with the answers: SQuAD's records, or lists of text.")
    prompt: str = Field(
        "question: {question} context: {context}",
        description="What the model reads, with {question}, {context} and other columns in braces.",
    )
    max_target_length: int = Field(32, ge=2, description="Longest answer in tokens; longer ones are cut in training.")

    @model_validator(mode="after")
    def _prompt_uses_columns(self) -> GenerativeQuestionAnsweringRecipe:
        columns_in(self.prompt)
        return self


class LanguageModelingRecipe(Record):
    """What both language-modelling tasks share: raw text."""

    name: str  # stands first, in every kind
    text_column: str = Field("text", description="Column with the text.")
    packing: bool = Field(True, description="Cut the joined texts into blocks of max_length; else one text an item.")
    primary_metric: PrimaryMetric = None


class MaskedLanguageModelingRecipe(LanguageModelingRecipe):
    """Guess the masked words of raw text: how an encoder adapts to a domain."""

    name: Literal["masked_language_modeling"] = "masked_language_modeling"
    max_length: MaxLength = 128
    mlm_probability: float = Field(0.15, gt=0, lt=1, description="Share of the tokens that are to be guessed.")


class CausalLanguageModelingRecipe(LanguageModelingRecipe):
    """Guess the next word of raw text: how a decoder adapts to a domain."""

    name: Literal["causal_language_modeling"] = "causal_language_modeling"
    max_length: MaxLength = 256


TaskRecipe: TypeAlias = Annotated[
    TextClassificationRecipe
    | TokenClassificationRecipe
    | QuestionAnsweringRecipe
    | TextGenerationRecipe
    | GenerativeQuestionAnsweringRecipe
    | MaskedLanguageModelingRecipe
    | CausalLanguageModelingRecipe,
    Field(discriminator="name"),
]


def columns_in(prompt: str) -> tuple[str, ...]:
    """Return the names in a prompt's braces, each once, in order; doubled braces are literal ones.

    Raises:
        ValueError: in the form that pydantic makes a fault of.
    """
    try:
        parts = list(Formatter().parse(prompt))
    except ValueError as error:
        raise ValueError(f"prompt is no template ({error}); a brace that is meant as one is written twice") from error
    names = [name for _, name, _, _ in parts if name is not None]
    for _, name, form, conversion in parts:
        if name is not None and (not name or form or conversion):
            raise ValueError(
                "prompt has braces around something else than the bare name of a column; a brace that is meant as one "
                "is written twice"
            )
    if not names:
        raise ValueError("prompt names no column in braces, so all rows would read the same")
    return tuple(dict.fromkeys(names))


def refuse_large_overlap(window_overlap: int, max_length: int) -> None:
    """Refuse windows that would hardly move on.

    Raises:
        ValueError: in the form that pydantic makes a fault of.
    """
    if window_overlap > max_length // 2:
        raise ValueError("window_overlap is more than half of max_length; windows would hardly move on")
