"""The processor: its name, how many of its cores this process may use, and how many threads torch should start."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(groups: Path = CONTROL_GROUPS) -> int:
    """Count the cores that this process may run on: those of its affinity, or fewer where its control group says so."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *_quotas(groups)]))


def threads_for(*, cores: int, processes: int, present: int, asked: str | None) -> int | None:
    """Return the threads of one of several processes that share cores; None where torch's own choice is as good.

    Args:
        cores: That all processes of this machine may use together.
        processes: Of this run, on this machine.
        present: What torch has chosen.
        asked: OMP_NUM_THREADS. It is left as it is, but for the 1 that torchrun sets for several processes where
            nobody set anything.
    """
    fair = max(1, cores // processes)
    if asked is not None and not (processes > 1 and asked == "1"):
        return None
    # torch starts one thread a physical core, which may rightly be fewer than there are logical ones.
    return fair if present > fair or (asked == "1" and present < fair) else None


def processor_name() -> str:
    """Name the processor as it names itself."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _quotas(groups: Path) -> list[int]:
    """Return the limits in whole cores that control groups set, if any (cgroups 2: quota and period in cpu.max)."""
    found = []
    own = Path("/proc/self/cgroup")
    inside = [line.split("::/", 1)[1] for line in own.read_text().splitlines() if "::/" in line] if own.exists() else []
    for place in {groups, *(groups / name for name in inside)}:
        limit = place / "cpu.max"
        words = limit.read_text().split() if limit.is_file() else []
        if len(words) == 2 and words[0] != "max":
            found.append(math.ceil(int(words[0]) / int(words[1])))
    return found
