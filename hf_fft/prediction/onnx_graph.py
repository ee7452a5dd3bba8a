"""A run's model as an ONNX graph, by transformers' own exporter, held against the model on rows that it answered.

The graph takes batches and lengths of any size. It is checked before it takes its place: a file that gives other
figures than the model is never left behind.
"""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from hf_fft.errors import DataError, HfFftError, MissingExtraError, RecipeError
from hf_fft.prediction.answers import as_dataset
from hf_fft.prediction.saved import SavedModel
from hf_fft.result import read_predictions

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# One forward pass answers; a model that writes is several graphs and a loop around them.
TASKS = ("text_classification", "token_classification", "question_answering")
CHECKED_ROWS = 64
CHECKED_BATCH = 8
# Of the largest figure that the model gives; float32 that is summed in another order differs by less than a tenth.
MOST_DIFFERENCE = 1e-3
# protobuf holds no more in one file.
MOST_BYTES_IN_A_FILE = 1_900_000_000

Batch: TypeAlias = dict[str, torch.Tensor]
Figures: TypeAlias = list[NDArray[Any]]


@dataclass(frozen=True)
class Checked:
    """How a graph compares with its model, on rows that the run had answered.

    Attributes:
        files: What was written.
        inputs: How many inputs both answered: a row, or one of its windows.
        largest_difference: Between two figures of the outputs, absolute.
        largest_figure: The outputs' largest, absolute.
        inputs_per_second: Of ONNX Runtime, and of PyTorch, with the same threads and batches.
    """

    files: tuple[Path, ...]
    inputs: int
    largest_difference: float
    largest_figure: float
    inputs_per_second: tuple[float, float]


def export_onnx(saved: SavedModel, out: Path) -> Checked:
    """Write a run's model as an ONNX graph once it gave the model's own figures.

    Weights stand in the file itself, or beside it in `NAME.data` where they are too large for one file.

    Raises:
        MissingExtraError: if onnx, onnxscript or onnxruntime is not installed.
        RecipeError: if the task needs more than one forward pass.
        HfFftError: if the graph gives other figures than the model; nothing is written then.
    """
    if any(find_spec(package) is None for package in PACKAGES):
        raise MissingExtraError("onnx", "Writing an ONNX graph")
    if saved.task.name not in TASKS:
        raise RecipeError(
            f"{saved.task.name} cannot be exported: ONNX is written for {', '.join(TASKS)}, where one pass through the "
            "model answers."
        )
    model = saved.trainer.model
    assert isinstance(model, PreTrainedModel)
    model = model.cpu().eval()
    batches = _batches(saved)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".hf_fft_onnx_", dir=out.parent) as folder:
        graph = Path(folder) / out.name
        _export(model, batches[0], graph)
        checked = _checked(model, batches, graph)
        for file in sorted(Path(folder).iterdir(), reverse=True):  # The graph comes last, for it needs its data.
            os.replace(file, out.parent / file.name)
    return checked


def _export(model: PreTrainedModel, batch: Batch, graph: Path) -> None:
    import onnx_ir
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # torch.onnx prints its progress, and standard output belongs to the command (torch 2.13).
    with redirect_stdout(io.StringIO()):
        program, _ = OnnxExporter().export_program(model, dict(batch), OnnxConfig(dynamic=True))
    program.metadata_props["id2label"] = json.dumps(model.config.id2label)
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if size > MOST_BYTES_IN_A_FILE:
        OnnxExporter.save_program(program, graph)
    else:
        onnx_ir.save(program, str(graph))


def _batches(saved: SavedModel) -> list[Batch]:
    """Return rows that the run answered, as the model reads them, in batches of several lengths."""
    stored = [one.inputs for one in read_predictions(saved.name)][:CHECKED_ROWS]
    if len(stored) < 2:
        raise DataError(f"{saved.name} kept {len(stored)} predictions; at least two are needed to check the graph on.")
    encoded = saved.task.preprocess(as_dataset(saved, stored), saved.tokenizer, split="test")
    names = [name for name in saved.tokenizer.model_input_names if name in encoded.column_names]
    items = encoded.select_columns(names).to_list()
    collator: Any = saved.trainer.data_collator
    groups = [items[first : first + CHECKED_BATCH] for first in range(0, len(items), CHECKED_BATCH)]
    return [dict(_padded(collator, group)) for group in groups]


def _padded(collator: Callable[[Sequence[Mapping[str, Any]]], Any], items: Sequence[Mapping[str, Any]]) -> Batch:
    batch = collator([dict(item) for item in items])
    return {name: values for name, values in batch.items() if name != "labels"}


def _checked(model: PreTrainedModel, batches: Sequence[Batch], graph: Path) -> Checked:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    wanted = [one.name for one in session.get_outputs()]
    taken = {one.name for one in session.get_inputs()}

    def by_graph(batch: Batch) -> Figures:
        return list(session.run(wanted, {name: one.numpy() for name, one in batch.items() if name in taken}))

    def by_model(batch: Batch) -> Figures:
        with torch.inference_mode():
            outputs = model(**batch)
        return [outputs[name].numpy() for name in wanted]

    ours, ours_seconds = _timed(by_model, batches)
    theirs, their_seconds = _timed(by_graph, batches)
    pairs = [(one, two) for mine, other in zip(ours, theirs, strict=True) for one, two in zip(mine, other, strict=True)]
    # numpy's maximum lets no NaN pass, which Python's may.
    largest = float(np.max([np.abs(one).max() for one, _ in pairs]))
    difference = float(np.max([np.abs(one - two).max() for one, two in pairs]))
    if not difference <= MOST_DIFFERENCE * max(1.0, largest):
        raise HfFftError(
            f"The graph gives other figures than the model: they differ by up to {difference:.3g}, where the largest "
            f"is {largest:.3g}. Nothing was written. transformers' exporter does not do this architecture justice."
        )
    inputs = sum(len(batch["input_ids"]) for batch in batches)
    files = tuple(sorted(file.name for file in graph.parent.iterdir()))
    return Checked(
        tuple(graph.parent.parent / name for name in files),
        inputs,
        difference,
        largest,
        (inputs / their_seconds, inputs / ours_seconds),
    )


def _timed(answer: Callable[[Batch], Figures], batches: Sequence[Batch]) -> tuple[list[Figures], float]:
    """Return the figures of every batch, and the seconds of a second walk: the first one is slower."""
    figures = [answer(batch) for batch in batches]
    started = time.perf_counter()
    for batch in batches:
        answer(batch)
    return figures, time.perf_counter() - started
