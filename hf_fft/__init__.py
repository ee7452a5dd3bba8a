"""Is full fine-tuning worth it on your data? A thin extension layer over the Hugging Face Trainer that measures it.

`fine_tune(load_recipe("quickstart"))` is the whole main job. Names are looked up when they are first used, so that
`import hf_fft` is light and a bad recipe is refused before torch is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_fft.compare import compare_strategies
    from hf_fft.data import load_splits
    from hf_fft.pipeline import fine_tune, load_model
    from hf_fft.recipe import Recipe, load_recipe
    from hf_fft.report import TrainingVisualizer
    from hf_fft.result import Result, load_result
    from hf_fft.training import FullFinetuningSeq2SeqTrainer, FullFinetuningTrainer

__all__ = [
    "FullFinetuningSeq2SeqTrainer",
    "FullFinetuningTrainer",
    "Recipe",
    "Result",
    "TrainingVisualizer",
    "compare_strategies",
    "fine_tune",
    "load_model",
    "load_recipe",
    "load_result",
    "load_splits",
]

_HOMES = {
    "FullFinetuningSeq2SeqTrainer": "hf_fft.training",
    "FullFinetuningTrainer": "hf_fft.training",
    "Recipe": "hf_fft.recipe",
    "Result": "hf_fft.result",
    "TrainingVisualizer": "hf_fft.report",
    "compare_strategies": "hf_fft.compare",
    "fine_tune": "hf_fft.pipeline",
    "load_model": "hf_fft.pipeline",
    "load_recipe": "hf_fft.recipe",
    "load_result": "hf_fft.result",
    "load_splits": "hf_fft.data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_fft' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
