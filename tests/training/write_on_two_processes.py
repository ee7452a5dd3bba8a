"""Started by torchrun from test_writing_processes.py: write for every row, and keep what each rank got."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import torch  # noqa: E402
from cases_text_generation import CASES, rows  # noqa: E402
from conftest import make_tokenizer  # noqa: E402
from transformers import EvalPrediction, Seq2SeqTrainingArguments  # noqa: E402

from hf_fft.data import Splits  # noqa: E402
from hf_fft.training import FullFinetuningSeq2SeqTrainer  # noqa: E402


def write(folder: Path, kind: str) -> list[str]:
    """Write for five rows, in batches of two, by the model that lies in the folder."""
    some, tokenizer = rows().select(range(5)), make_tokenizer()
    task = CASES[kind].task.for_model(str(folder)).fitted(Splits(some, None, None), tokenizer)
    model = task.load_model(str(folder))
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(folder / "out"), predict_with_generate=True, per_device_eval_batch_size=2, use_cpu=True
    )
    trainer = FullFinetuningSeq2SeqTrainer(
        model,
        arguments,
        data_collator=task.collator(tokenizer, model),
        compute_loss_func=task.loss,
        processing_class=tokenizer,
    )
    encoded = task.preprocess(some, tokenizer, split="test")
    output = trainer.predict(encoded)
    predictions = task.postprocess(some, encoded, EvalPrediction(output.predictions, output.label_ids))
    return [one.guess for one in predictions]


if __name__ == "__main__":
    torch.set_num_threads(1)
    home = Path(sys.argv[1])
    for name in sys.argv[2:]:
        guesses = write(home / name, name)
        (home / name / f"guesses-{os.environ['RANK']}.json").write_text(json.dumps(guesses))
