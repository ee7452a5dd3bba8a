"""Peak memory of this process, above the level at which measuring began.

On a GPU it is CUDA's own figure. Elsewhere it is the kernel's high-water mark, `VmHWM`: a process's own, where
`ru_maxrss` is inherited from the parent. Writing 5 to `clear_refs` sets the mark back to the present level (proc(5));
where that is not allowed, an earlier peak can hide a lower one, and the figure is an upper bound.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Measure from construction on; `mib()` gives the peak since."""

    def __init__(self, *, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self._level = float(torch.cuda.memory_allocated())
        else:
            self._level = _resident_bytes("VmRSS")
            _reset_high_water_mark()

    def mib(self) -> float:
        """Return the peak above the first level, in MiB."""
        peak = float(torch.cuda.max_memory_allocated()) if self._on_gpu else _resident_bytes("VmHWM")
        return max(0.0, (peak - self._level) / 2**20)


def _resident_bytes(field: str) -> float:
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
        return float(line.split()[1]) * 1024
    # macOS counts ru_maxrss in bytes, other systems in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _reset_high_water_mark() -> None:
    try:
        CLEAR.write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the mark stays where it was, as the module says
