"""Two processes write for each row once and in order, also where accelerate repeats rows to fill the last batch.

`Seq2SeqTrainer` 5.23 keeps the repeated rows, and pads what the processes wrote to one length with -100.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import set_seed
from write_on_two_processes import write
from writers import save_tiny_llama, save_tiny_t5

SCRIPT = Path(__file__).with_name("write_on_two_processes.py")
MODELS = {"encoder_decoder_smoothing": save_tiny_t5, "decoder_only": save_tiny_llama}


@pytest.mark.processes
def test_two_processes_write_what_one_writes(tmp_path, tokenizer, one_thread):
    alone = {}
    for kind, save in MODELS.items():
        set_seed(9)
        save(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        alone[kind] = write(tmp_path / kind, kind)
        assert len(alone[kind]) == 5 and len(set(alone[kind])) > 1
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    finished = subprocess.run([*command, str(tmp_path), *MODELS], capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for kind, guesses in alone.items():
        for rank in (0, 1):
            assert json.loads((tmp_path / kind / f"guesses-{rank}.json").read_text()) == guesses
