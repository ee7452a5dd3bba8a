"""Peak memory of `hf_fft.predict` on a short and on a long CSV file: it must not grow with the rows.

    python benchmarks/predict_memory.py [ROWS ...]

A tiny BERT is trained on a few rows, then each file is predicted in a process of its own, whose high-water mark
(`VmHWM`) is told. Without numbers: 2,000 and 200,000 rows. Ends with 1 if the last needs 300 MiB more than the first.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hf_fft.command_line import MEMORY_ENVIRONMENT

ROWS = (2_000, 200_000)
MOST_MIB = 300
WORDS = str.split("a the film plot cast was is and but not very good bad great poor fine dull bright slow quick warm")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
CHILD = """
import sys
from pathlib import Path
from hf_fft.predict import main
code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
sys.exit(code)
"""


def save_tiny_bert(folder: Path) -> None:
    """Save a random two-layer BERT with a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=256,
    )  # fmt: skip
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=256, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def text(chance: random.Random) -> str:
    """Make up a text of 20 to 200 words."""
    return " ".join(chance.choices(WORDS, k=chance.randint(20, 200)))


def train(home: Path) -> Path:
    """Train the tiny model on a few rows and return the run folder."""
    from hf_fft import Recipe, fine_tune

    save_tiny_bert(home / "bert")
    chance = random.Random(1)
    rows = [{"text": text(chance), "label": chance.choice(["neg", "pos"])} for _ in range(64)]
    (home / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "task": "text_classification",
        "model": str(home / "bert"),
        "data": {"path": str(home / "train.jsonl")},
        "training": {"max_steps": 2, "use_cpu": True, "disable_tqdm": True},
    }
    fine_tune(Recipe.model_validate(values), home / "run")
    return home / "run"


def measure(run: Path, rows: int, home: Path) -> tuple[float, float]:
    """Predict a CSV file of so many rows; return the process's peak in MiB, and the seconds."""
    chance = random.Random(2)
    file, out = home / f"{rows}.csv", home / f"{rows}.jsonl"
    with file.open("w") as stream:
        stream.write("id,review\n")
        stream.writelines(f"{row},{text(chance)}\n" for row in range(rows))
    words = [str(run), str(file), "--columns", "text=review", "--out", str(out)]
    started = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-c", CHILD, *words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**MEMORY_ENVIRONMENT, **os.environ},  # as the command has it
    )
    seconds = time.perf_counter() - started
    with out.open() as stream:
        assert [json.loads(line)["row"] for line in stream] == list(range(rows))
    return int(finished.stdout.split()[-1]) / 1024, seconds


def main() -> int:
    """Measure, print, and say by the exit code whether memory grew."""
    sizes = [int(word) for word in sys.argv[1:]] or list(ROWS)
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        run = train(Path(folder))
        for rows in sizes:
            peak, seconds = measure(run, rows, Path(folder))
            peaks.append(peak)
            print(f"{rows:>9,} rows: peak {peak:,.0f} MiB, {seconds:.0f} s", flush=True)
    growth = peaks[-1] - peaks[0]
    print(f"growth: {growth:,.0f} MiB; at most {MOST_MIB} MiB are allowed")
    return 0 if growth <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
