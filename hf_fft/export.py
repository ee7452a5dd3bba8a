"""Write a run's model as an ONNX graph, checked against the model: `python -m hf_fft.export RUN --out model.onnx`.

The tokenizer stays in the run's `model` folder: the graph takes its token ids and gives the model's logits. Needs
`pip install "hf_fft[onnx]"`. Exit codes are those of `run`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hf_fft.command_line import run_door
from hf_fft.errors import RecipeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="hf_fft.export", description="Write a run's model as an ONNX graph.")
    parser.add_argument("run", help="the run folder")
    parser.add_argument("--out", required=True, help="the file to write, such as model.onnx")
    parser.add_argument("--trust-remote-code", action="store_true", help="second consent to run a model's own code")
    options = parser.parse_args(arguments)
    return run_door(lambda: _export(options))


def _export(options: argparse.Namespace) -> None:
    out = Path(options.out).expanduser()
    if out.suffix != ".onnx" or out.is_dir():
        raise RecipeError(f"--out {options.out}: name a file that ends in .onnx.")
    from hf_fft.prediction import load_run
    from hf_fft.prediction.onnx_graph import export_onnx

    done = export_onnx(load_run(options.run, trust_remote_code=options.trust_remote_code), out)
    graph, model = done.inputs_per_second
    print(
        f"{', '.join(map(str, done.files))}: on {done.inputs} inputs of the run, no figure differs from the model's by "
        f"more than {done.largest_difference:.2g} (the largest is {done.largest_figure:.3g}).\n"
        f"ONNX Runtime answers {graph:,.0f} inputs a second, PyTorch {model:,.0f}, with the same threads.\n"
        f"The tokenizer is in {Path(options.run) / 'model'}."
    )


if __name__ == "__main__":
    sys.exit(main())
