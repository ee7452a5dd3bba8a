"""Nested SQuAD JSON, versions 1.1 and 2.0, into flat rows.

A file is one object: `data`, a list of articles, each with a `title` and `paragraphs`; each paragraph a `context` and
`qas`; each question an `id`, the `question` and `answers`. In version 2.0 `is_impossible` says that a question has no
answer; here an empty list of answers says it. The columns are those of the Hub's `squad`: id, title, context, question,
answers. `plausible_answers` are left aside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from hf_fft.data.strict_json import parsed
from hf_fft.data.wording import did_you_mean, listed
from hf_fft.errors import DataError

ANSWERS = {"text": List(Value("string")), "answer_start": List(Value("int32"))}
COLUMNS = Features(
    {name: Value("string") for name in ("id", "title", "context", "question")} | {"answers": ANSWERS},
)
_TYPES = {str: "a text", int: "a whole number", list: "a list", dict: "an object", bool: "true or false"}


def is_squad(file: Path) -> bool:
    """Tell from its content whether a JSON file is nested SQuAD: one object with articles that have paragraphs."""
    try:
        return is_squad_text(file.read_text(encoding="utf-8-sig"))
    except ValueError:
        return False


def is_squad_text(text: str) -> bool:
    """Tell whether the text of a JSON file is nested SQuAD."""
    if not text.lstrip().startswith("{") or '"paragraphs"' not in text:
        return False
    try:
        articles = json.loads(text).get("data")
    except (ValueError, RecursionError):
        return False
    return isinstance(articles, list) and any(isinstance(one, dict) and "paragraphs" in one for one in articles)


def read_squad(files: Sequence[Path], shown: Sequence[str]) -> Dataset:
    """Read nested files into rows, one behind another; `shown` are the names for messages.

    Raises:
        DataError: naming file, article, paragraph and question, if something is missing, of the wrong type, or says
            both that a question has an answer and that it has none.
    """
    rows = [row for file, name in zip(files, shown, strict=True) for row in _file_rows(file, name)]
    if not rows:
        raise DataError(f"{listed(shown)}: no questions; at least one is needed.")
    columns = {column: [row[column] for row in rows] for column in COLUMNS}
    try:
        return Dataset.from_dict(columns, features=COLUMNS)
    except UnicodeEncodeError as error:
        found = error.object[error.start : error.end].encode("unicode_escape").decode()
        raise DataError(f"{listed(shown)}: {found} is half a character. Correct the text around it.") from error


def _file_rows(file: Path, shown: str) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error
    yield from squad_rows(text, shown)


def squad_rows(text: str, shown: str, *, needs_answers: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the questions of a nested file's text as flat rows; `answers` is missing where it may be and is.

    Raises:
        DataError: as `read_squad` does.
    """
    content = parsed(text, shown)
    if not isinstance(content, dict):
        raise DataError(f'{shown}: SQuAD JSON is one object with the key "data"; found {_kind(content)}.')
    for number, article in enumerate(_value(content, "data", list, shown), start=1):
        yield from _article_rows(article, f"{shown}, article {number}", needs_answers)


def _article_rows(article: Any, place: str, needs_answers: bool) -> Iterator[dict[str, Any]]:
    _check_object(article, place)
    title = _value(article, "title", str, place) if "title" in article else ""
    place = f'{place} ("{title}")' if title else place
    for number, paragraph in enumerate(_value(article, "paragraphs", list, place), start=1):
        here = f"{place}, paragraph {number}"
        _check_object(paragraph, here)
        context = _value(paragraph, "context", str, here)
        for index, question in enumerate(_value(paragraph, "qas", list, here), start=1):
            yield {
                "title": title,
                "context": context,
                **_question(question, f"{here}, question {index}", needs_answers),
            }


def _question(question: Any, place: str, needs_answers: bool) -> dict[str, Any]:
    _check_object(question, place)
    name = _value(question, "id", str, place)
    place = f'{place} (id "{name}")'
    text = _value(question, "question", str, place)
    if not needs_answers and "answers" not in question:
        return {"id": name, "question": text}
    answers = _value(question, "answers", list, place)
    impossible = _value(question, "is_impossible", bool, place) if "is_impossible" in question else not answers
    if impossible == bool(answers):
        said = "true, but there are answers" if impossible else "false, but there is no answer"
        raise DataError(f"{place}: is_impossible is {said}. Correct one of the two, or remove the question.")
    for number, answer in enumerate(answers, start=1):
        _check_object(answer, f"{place}, answer {number}")
    places = [f"{place}, answer {number + 1}" for number in range(len(answers))]
    return {
        "id": name,
        "question": text,
        "answers": {
            "text": [_value(answer, "text", str, here) for answer, here in zip(answers, places, strict=True)],
            "answer_start": [
                _value(answer, "answer_start", int, here) for answer, here in zip(answers, places, strict=True)
            ],
        },
    }


def _check_object(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise DataError(f"{place}: an object is needed; found {_kind(value)}.")


def _value(record: dict[str, Any], key: str, kind: type[Any], place: str) -> Any:
    if key not in record:
        guess = did_you_mean(key, record) or "."
        raise DataError(f'{place} has no "{key}"{guess} It has {listed(record)}.')
    value = record[key]
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or abs(value) >= 2**31)):
        raise DataError(f'{place}: "{key}" should be {_TYPES[kind]}; found {_kind(value)}.')
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return next((word for kind, word in _TYPES.items() if type(value) is kind), f"the number {value}")
