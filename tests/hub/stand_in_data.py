"""A few rows of our own under the names of real data sets, with their columns, features, splits and files.

What the real ones look like is written here from their pages on the Hub; `benchmarks/check_hub_recipes.py` compares it
with the Hub itself where there is a network.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets import ClassLabel, Dataset, Features, Sequence, Value

TEXT = Value("string")
PARQUET = "refs/convert/parquet"
WORDS = str.split("a the film plot was good bad great poor Paris Ada Berlin ran on in 1999 and slow quick red")

BANKING_77 = [f"intent_{place:02}" for place in range(77)]
AG_NEWS = ["World", "Sports", "Business", "Sci/Tech"]
NER = [f"{part}{kind}" for kind in ("PER", "ORG", "LOC", "MISC") for part in ("B-", "I-")]
KINDS = ("corporation", "creative-work", "group", "location", "person", "product")
WNUT = [f"{part}{kind}" for kind in KINDS for part in ("B-", "I-")]
POS = ["NN", "DT", "VBD"]
CHUNK = ["O", "B-NP", "I-NP"]
ANSWERS = {"text": Sequence(TEXT), "answer_start": Sequence(Value("int32"))}

Row = dict[str, Any]


@dataclass(frozen=True)
class StandIn:
    """A data set of the Hub, made small.

    Attributes:
        features: Its columns.
        splits: Its splits, and how many rows of each are made.
        row: Makes the n-th row.
        config_name: Its only configuration.
        revision: The branch that its Parquet files are on.
    """

    features: dict[str, Any]
    splits: dict[str, int]
    row: Callable[[random.Random, int], Row]
    config_name: str = "default"
    revision: str = "main"

    def files(self) -> dict[str, bytes]:
        """Return the files of its repository, with the card that says which file is which split."""
        files = {}
        for place, (split, count) in enumerate(self.splits.items()):
            chance = random.Random(place)
            rows = [self.row(chance, number) for number in range(count)]
            data = io.BytesIO()
            Dataset.from_list(rows, features=Features(self.features)).to_parquet(data)
            files[self._place(split)] = data.getvalue()
        return files if self.revision != "main" else {**files, "README.md": self._card().encode()}

    def _place(self, split: str) -> str:
        if self.revision == PARQUET:
            return f"{self.config_name}/{split}/0000.parquet"
        folder = "data" if self.config_name == "default" else self.config_name
        return f"{folder}/{split}-00000-of-00001.parquet"

    def _card(self) -> str:
        lines = ["---", "configs:", f"- config_name: {self.config_name}", "  data_files:"]
        for split in self.splits:
            lines += [f"  - split: {split}", f"    path: {self._place(split).replace('00000-of-00001', '*')}"]
        return "\n".join([*lines, "---", ""])


def _sentence(chance: random.Random, *, longest: int = 20) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(4, longest)))


def _labelled(names: int) -> Callable[[random.Random, int], Row]:
    # Every label occurs as soon as there are as many rows as labels.
    return lambda chance, number: {"text": f"{_sentence(chance)} {number}", "label": number % names}


def _tagged(names: list[str], *, more: bool) -> Callable[[random.Random, int], Row]:
    def row(chance: random.Random, number: int) -> Row:
        tokens = [*_sentence(chance).split(), str(number)]
        kind = 1 + 2 * (number % (len(names) // 2))
        tags = [kind, kind + 1, *[0] * (len(tokens) - 2)]
        beside = {"pos_tags": [0] * len(tokens), "chunk_tags": [0] * len(tokens)} if more else {}
        return {"id": str(number), "tokens": tokens, **beside, "ner_tags": tags}

    return row


def _asked(*, always_answered: bool) -> Callable[[random.Random, int], Row]:
    def row(chance: random.Random, number: int) -> Row:
        before, answer = _sentence(chance, longest=40), f"number {number}"
        context = f"{before} {answer} {_sentence(chance)}"
        known = always_answered or number % 3 > 0
        return {
            "id": f"{number:024x}",
            "title": f"Title_{number % 12}",
            "context": context,
            "question": f"Which {_sentence(chance, longest=5)} {number}?",
            "answers": {"text": [answer], "answer_start": [len(before) + 1]}
            if known
            else {"text": [], "answer_start": []},
        }

    return row


def _described(chance: random.Random, number: int) -> Row:
    meaning = f"name[Ada {number}], food[{chance.choice(WORDS)}]"
    return {"meaning_representation": meaning, "human_reference": f"Ada {number} {_sentence(chance, longest=8)}"}


def _summed_up(chance: random.Random, number: int) -> Row:
    document = " ".join(_sentence(chance) for _ in range(4))
    return {"document": f"{document} {number}", "summary": document[:40], "id": str(number)}


def _labels(names: list[str]) -> dict[str, Any]:
    return {"text": TEXT, "label": ClassLabel(names=names)}


def _tags(names: list[str], **more: Any) -> dict[str, Any]:
    return {"id": TEXT, "tokens": Sequence(TEXT), **more, "ner_tags": Sequence(ClassLabel(names=["O", *names]))}


CONLL_MORE = {"pos_tags": Sequence(ClassLabel(names=POS)), "chunk_tags": Sequence(ClassLabel(names=CHUNK))}
SQUAD = {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT, "answers": ANSWERS}
THREE = {"train": 24, "validation": 8, "test": 8}

DATA: dict[str, StandIn] = {
    "stanfordnlp/imdb": StandIn(
        _labels(["neg", "pos"]), {"train": 40, "test": 8, "unsupervised": 4}, _labelled(2), "plain_text"
    ),
    "fancyzhx/ag_news": StandIn(_labels(AG_NEWS), {"train": 80, "test": 8}, _labelled(4)),
    "legacy-datasets/banking77": StandIn(_labels(BANKING_77), {"train": 770, "test": 77}, _labelled(77)),
    "lhoestq/conll2003": StandIn(_tags(NER, **CONLL_MORE), THREE, _tagged(NER, more=True)),
    "leondz/wnut_17": StandIn(_tags(WNUT), THREE, _tagged(WNUT, more=False), "wnut_17", PARQUET),
    "rajpurkar/squad": StandIn(SQUAD, {"train": 36, "validation": 8}, _asked(always_answered=True), "plain_text"),
    "rajpurkar/squad_v2": StandIn(SQUAD, {"train": 36, "validation": 9}, _asked(always_answered=False), "squad_v2"),
    "tuetschek/e2e_nlg": StandIn(
        {"meaning_representation": TEXT, "human_reference": TEXT}, THREE, _described, revision=PARQUET
    ),
    "EdinburghNLP/xsum": StandIn({"document": TEXT, "summary": TEXT, "id": TEXT}, THREE, _summed_up, revision=PARQUET),
}
