"""The one door to `evaluate`: a metric of the Hub by its name, or a script of your own by its path.

`evaluate.load("accuracy")` first looks for ./accuracy/accuracy.py in the working directory and runs it if it is there,
so a stray folder can change a figure. Here a bare name means the Hub, and a path means a file that exists; neither ever
turns into the other. Scripts that strangers publish as owner/name are not fetched.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

from hf_fft.errors import DataError

COMPUTED_HERE = (
    "accuracy, f1, precision, recall and the Matthews correlation for one label; f1, exact_match and hamming_loss for "
    "several labels; pearson, spearman, rmse, mae and r2 for numbers"
)


def hub_metric(name: str) -> Callable[..., dict[str, float]]:
    """Load a metric of `evaluate` and return its `compute(predictions=..., references=...)`.

    A name with a separator, or one that ends in .py, is a local script: a file, or a folder with a script of the same
    name in it. Of what the metric returns, the finite numbers are kept. Loading runs the metric's code.

    Raises:
        DataError: if the metric cannot be found, reached or loaded; on use, if it refuses the predictions.
    """
    module = _load(name, str(_local_script(name)) if _is_path(name) else _bare_name(name))

    def compute(**columns: Any) -> dict[str, float]:
        try:
            values = module.compute(**columns)
        except (ValueError, TypeError) as fault:
            raise DataError(f'The metric "{name}" cannot score these predictions: {fault}') from fault
        return _finite_numbers(values or {})

    return compute


def _is_path(name: str) -> bool:
    return "/" in name or os.sep in name or name.endswith(".py") or name.startswith(("~", "."))


def _local_script(name: str) -> Path:
    path = Path(name).expanduser().resolve()
    script = path / f"{path.name}.py" if path.is_dir() else path
    if not script.is_file() or script.suffix != ".py":
        raise DataError(
            f'The metric "{name}" is a path, and there is no script {script}. Give the path of a .py file, of a folder '
            f"with a script of the same name in it, or the bare name of a metric on the Hub. A metric published as "
            f"owner/name is not fetched: download its script, read it, and give its path."
        )
    return script


def _bare_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", name):
        raise DataError(f'"{name}" is not the name of a metric. Names look like "accuracy" or "google_bleu".')
    if os.path.lexists(os.path.join(name, f"{name}.py")):
        raise DataError(
            f'The metric "{name}" could mean the one on the Hub, or {name}/{name}.py in the working directory. Write '
            f"./{name} if you mean the script; otherwise rename that folder or start from another one."
        )
    return name


# Kept, since a task asks again at every evaluation.
@cache
def _load(name: str, target: str) -> Any:
    import evaluate

    try:
        # In memory, since several processes would lock one another out of one cache file.
        return evaluate.load(target, keep_in_memory=True)
    except ImportError as fault:
        raise DataError(f'The metric "{name}" needs a package that is not installed. {fault}') from fault
    except (FileNotFoundError, ConnectionError) as fault:
        raise DataError(
            f'The metric "{name}" could not be fetched from the Hub: there is no connection, or no such metric. Check '
            f"the name and the network, or give the path of a local script. hf_fft itself computes, without the Hub, "
            f"{COMPUTED_HERE}."
        ) from fault
    except (OSError, ValueError, TypeError, AttributeError, SyntaxError) as fault:
        raise DataError(f'The metric "{name}" could not be loaded: {type(fault).__name__}: {fault}') from fault


def _finite_numbers(values: dict[str, Any]) -> dict[str, float]:
    numbers = {
        key: float(value) for key, value in values.items() if isinstance(value, Real) and not isinstance(value, bool)
    }
    return {key: number for key, number in numbers.items() if math.isfinite(number)}
