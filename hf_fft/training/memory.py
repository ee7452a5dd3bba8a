"""Peak memory of this process, above the level at which measuring began.

On a GPU it is CUDA's own figure. Elsewhere it is the kernel's high-water mark, `VmHWM`: a process's own, where
`ru_maxrss` is inherited from the parent. Writing 5 to `clear_refs` sets the mark back to the present level (proc(5));
where that is not allowed, an earlier peak can hide a lower one, and the figure is an upper bound.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
MEMINFO = Path("/proc/meminfo")
GROUP = Path("/proc/self/cgroup")
CONTROL_GROUPS = Path("/sys/fs/cgroup")
CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Measure from construction on; `mib()` gives the peak since.

    Attributes:
        available: Bytes that were free at construction.
    """

    def __init__(self, *, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self.available = available_bytes(on_gpu=on_gpu)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self._level = float(torch.cuda.memory_allocated())
        else:
            self._level = _resident_bytes("VmRSS")
            _reset_high_water_mark()

    def restart(self) -> None:
        """Forget the peaks so far; the first level stays."""
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            give_free_memory_back()
            _reset_high_water_mark()

    def mib(self) -> float:
        """Return the peak above the first level, in MiB."""
        peak = float(torch.cuda.max_memory_allocated()) if self._on_gpu else _resident_bytes("VmHWM")
        return max(0.0, (peak - self._level) / 2**20)

    def held_mib(self) -> float:
        """Return what is held now above the first level, in MiB."""
        held = float(torch.cuda.memory_allocated()) if self._on_gpu else _resident_bytes("VmRSS")
        return max(0.0, (held - self._level) / 2**20)


def available_bytes(*, on_gpu: bool) -> int:
    """Return the memory that this process may still take: of the GPU, or of the machine and its control group."""
    if on_gpu:
        return int(torch.cuda.mem_get_info()[0])
    return min([_machine_bytes(), *_control_group_bytes()])


def _machine_bytes() -> int:
    if MEMINFO.exists():
        line = next(line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _control_group_bytes() -> list[int]:
    """Return what is left under each limit of this process's control groups, of either version.

    File pages that were not used lately are not counted as taken, for the system drops them first.
    """
    groups = GROUP.read_text().splitlines() if GROUP.exists() else []
    paths = [line.split(":", 2)[1:] for line in groups]
    inside = {path.lstrip("/") for controller, path in paths if controller in ("", "memory")} | {""}
    files = (
        ("memory.max", "memory.current", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "total_inactive_file",
        ),
    )
    left = []
    for limit_file, usage_file, inactive in files:
        room, limit_name, usage_name = Path(limit_file).parent, Path(limit_file).name, Path(usage_file).name
        for path in inside:
            folder = CONTROL_GROUPS / room / path
            limit, usage = folder / limit_name, folder / usage_name
            if not limit.is_file() or not usage.is_file() or not limit.read_text().strip().isdigit():
                continue
            pairs = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
            spare = next((int(count) for name, count in pairs if name == inactive), 0)
            left.append(max(0, int(limit.read_text()) - int(usage.read_text()) + spare))
    return left


def give_free_memory_back() -> None:
    """Hand the pages back to the system that malloc keeps for later (glibc; elsewhere nothing happens)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


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
