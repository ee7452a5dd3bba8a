"""`hf-fft DOOR …`, or `python -m hf_fft DOOR …`: picks a door and opens it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

DOORS = {
    "run": "train what a recipe says",
    "compare": "train a recipe by several strategies and lay the results side by side",
    "predict": "answer rows by a finished run, or score a file",
    "export": "write a finished run's model as an ONNX graph",
    "publish": "put a finished run on the Hugging Face Hub",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the door that the first argument names."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in DOORS:
        return int(import_module(f"hf_fft.{words[0]}").main(words[1:]))
    wanted_help = bool(words) and words[0] in {"-h", "--help"}
    lines = [f"  {name:<10}{purpose}" for name, purpose in DOORS.items()]
    text = "\n".join(["usage: hf-fft DOOR …    (hf-fft DOOR --help says more)", "", *lines])
    print(text, file=sys.stdout if wanted_help else sys.stderr)
    return 0 if wanted_help else 2


if __name__ == "__main__":
    sys.exit(main())
