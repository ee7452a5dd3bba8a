"""What all benchmarks share: interleaved runs, a look at who else used the machine, medians, the table, the last line.

    from measuring import finish, interleaved, machine, median, options, paired, spread, table

    arguments = options(__doc__, repeats=5).parse_args()            # --repeats, --retries; add your own first
    runs = interleaved({"plain": plain, "ours": ours}, arguments)   # A B, B A, A B, …
    print(table(["variant", "seconds", "spread"], [[name, median(runs[name]), spread(runs[name])] for name in runs]))
    finish({"ratio_plain": paired(runs["plain"], runs["ours"])}, runs)

A variant is a function without arguments that does the work once. What it returns, if anything, is a dictionary of
figures kept with its run; `seconds` is the time of the call unless it is among them, so that loading a model need not
be timed. `Apart(build, name)` is a variant that lives in a process of its own, so that what one does to its process
(the allocator, the peak of memory) does not touch another: `build(name)` runs there once and returns the variant. Ours
gets `environment=MEMORY_ENVIRONMENT`, as our commands have it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import gc
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

# A run during which others took more of the cores than this is flagged and repeated.
OTHERS_LIMIT = 0.05
PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")

Run = dict[str, Any]
Variant = Callable[[], Mapping[str, Any] | None]


def options(description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--repeats", type=int, default=repeats, help=f"runs of each variant ({repeats})")
    parser.add_argument("--retries", type=int, default=3, help="how often a disturbed run is repeated at most (3)")
    return parser


def interleaved(variants: Mapping[str, Variant], arguments: argparse.Namespace) -> dict[str, list[Run]]:
    """Run every variant `repeats` times, in turns whose order alternates, and repeat a run that others disturbed.

    Each run holds `seconds`, `others` (share of the cores that others took, None where it cannot be known) and what
    the variant returned.
    """
    runs: dict[str, list[Run]] = {name: [] for name in variants}
    for turn in range(arguments.repeats):
        names = list(variants)
        for name in names if turn % 2 == 0 else reversed(names):
            runs[name].append(_undisturbed(name, variants[name], retries=arguments.retries))
    return runs


def measured(variant: Variant) -> Run:
    """Run a variant once."""
    gc.collect()
    busy, own, started = _busy_seconds(), _own_seconds(), time.perf_counter()
    figures = dict(variant() or {})
    seconds = time.perf_counter() - started
    busy_after, own_after = _busy_seconds(), _own_seconds()
    others = None
    if busy is not None and busy_after is not None:
        others = max(0.0, (busy_after - busy) - (own_after - own)) / (seconds * len(_affinity()))
    return {"seconds": seconds, "others": others, **figures}


class Apart:
    """A variant in a process of its own, which waits between runs and ends with this one."""

    def __init__(
        self, build: Callable[..., Variant], *arguments: Any, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the process; `build` and its arguments must be known at the top of a module.

        Args:
            environment: What the process has besides ours, where ours does not say otherwise.
        """
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        with _added(environment or {}):
            context.Process(target=_wait_for_runs, args=(there, build, arguments), daemon=True).start()
        there.close()

    def __call__(self) -> Run:
        """Run it once over there, measured over there."""
        self._here.send("run")
        return self._here.recv()


@contextlib.contextmanager
def _added(environment: Mapping[str, str]) -> Iterator[None]:
    missing = {name: value for name, value in environment.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


def _wait_for_runs(pipe: Any, build: Callable[..., Variant], arguments: tuple[Any, ...]) -> None:
    variant = build(*arguments)
    with contextlib.suppress(EOFError):  # whoever asked has ended
        while pipe.recv() == "run":
            pipe.send(measured(variant))


def median(runs: Sequence[Run], figure: str = "seconds") -> float:
    """Return the median of a figure over runs."""
    return statistics.median(run[figure] for run in runs)


def spread(runs: Sequence[Run], figure: str = "seconds") -> str:
    """Return the lowest and the highest value of a figure, for a table."""
    values = [run[figure] for run in runs]
    return f"{_cell(min(values))}–{_cell(max(values))}"


def paired(above: Sequence[Run], below: Sequence[Run], figure: str = "seconds") -> float:
    """Return the median over turns of one variant's figure divided by another's in the same turn."""
    return statistics.median(one[figure] / other[figure] for one, other in zip(above, below, strict=True))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; numbers are rounded to four digits."""
    cells = [list(header), *[[_cell(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def machine() -> dict[str, Any]:
    """Describe where and when the figures were made."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")]
    extensions = [name for name in ("avx512_bf16", "amx_bf16") if name in cpu]
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": " ".join([models[0] if models else platform.machine(), *extensions]),
        "cores": len(_affinity()),
        "python": platform.python_version(),
        "commit": subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown",
        **{package: version(package) for package in PACKAGES},
    }


def finish(figures: Mapping[str, Any], runs: Mapping[str, Sequence[Run]] | None = None) -> None:
    """Name the runs that stayed disturbed, describe the machine, and print the last line: one JSON object."""
    every = [(f"{name} {turn}", run) for name in runs or {} for turn, run in enumerate((runs or {})[name], 1)]
    disturbed = [name for name, run in every if _is_disturbed(run)]
    if disturbed:
        print(f"\nOthers used the machine during these runs, though repeated: {', '.join(disturbed)}.")
    print("\n" + ", ".join(f"{key} {value}" for key, value in machine().items()))
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({**rounded, "disturbed_runs": len(disturbed)}, allow_nan=False), flush=True)


def _undisturbed(name: str, variant: Variant, *, retries: int) -> Run:
    run = measured(variant)
    for _ in range(retries):
        if not _is_disturbed(run):
            break
        print(f"{name}: others took {run['others']:.0%} of the cores; run again", file=sys.stderr, flush=True)
        again = measured(variant)
        run = min(run, again, key=lambda one: one["others"])
    return run


def _is_disturbed(run: Run) -> bool:
    return run["others"] is not None and run["others"] > OTHERS_LIMIT


def _busy_seconds() -> float | None:
    """Return the seconds that our cores have been busy since the machine started, for whomever."""
    ours, total = {f"cpu{number}" for number in _affinity()}, 0.0
    if not Path("/proc/stat").exists():
        return None
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in ours:
            user, nice, system, _idle, _waiting, interrupt, soft_interrupt, stolen = map(int, ticks[:8])
            total += user + nice + system + interrupt + soft_interrupt + stolen
    return total / os.sysconf("SC_CLK_TCK") or None


def _own_seconds() -> float:
    """Return the processor time of this process and of those it waited for."""
    return sum(os.times()[:4])


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
