"""What the doors share: the arguments that every recipe command takes, and how errors end a command."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence

from hf_fft.errors import HfFftError

# What torch 2.13 reads when it is imported, and glibc when a process begins, about memory; no value that is computed
# changes.
MEMORY_ENVIRONMENT = {
    # On CPUs the kernels of each matrix shape are kept, in two caches of 1,024: some 7 MB for each length of a batch.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "48",
    "LRU_CACHE_CAPACITY": "48",
    # Small blocks that were freed stay with their thread; between large ones they keep those apart.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
}
OF_GLIBC = "GLIBC_TUNABLES"
# The process that has begun once more.
BEGUN = "HF_FFT_BEGUN"
SCRIPT = "hf-fft"


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that trains."""
    parser.add_argument("recipe", help="a recipe file, or the name of one that comes with the library")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a value: training.learning_rate=1e-4"
    )
    parser.add_argument("--output-dir", help="where results go; a folder under runs/ with the recipe's name otherwise")
    parser.add_argument("--overwrite", action="store_true", help="replace what another run left in the run folder")
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="second consent to run a model's own code; the recipe has the first",
    )


def spare_memory() -> None:
    """Have torch keep fewer kernels, and glibc no cache of small blocks, unless the environment says otherwise.

    glibc reads its settings when a process begins. So where this process is one of our commands it begins once more, as
    itself: same process, same words. To be called before anything heavy is imported, and before standard input is read.
    """
    missing = {name: value for name, value in MEMORY_ENVIRONMENT.items() if name not in os.environ}
    of_glibc = missing.pop(OF_GLIBC, None)
    os.environ.update(missing)
    if of_glibc is not None and _may_begin_once_more():
        os.environ.update({OF_GLIBC: of_glibc, BEGUN: str(os.getpid())})
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        except OSError:  # it is an economy, and the run goes on without
            del os.environ[OF_GLIBC]


def _may_begin_once_more() -> bool:
    """Say whether this process is one of our commands, on glibc, begun once, and no debugger watches it."""
    watched = sys.gettrace() is not None or "pydevd" in sys.modules
    again = os.environ.get(BEGUN) == str(os.getpid())  # the setting was taken away meanwhile
    glibc = platform.libc_ver()[0] == "glibc"
    return glibc and not watched and not again and bool(sys.executable) and _is_our_command(sys.orig_argv[1:])


def _is_our_command(words: Sequence[str]) -> bool:
    """Say whether the interpreter was told to run one of our modules or our script, and nothing around it."""
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(rest, None)
            continue
        flags = re.fullmatch("-([^cmWX]+|[^cmWX]*([cmWX])(.*))", word)
        if flags is None:
            return os.path.basename(word) == SCRIPT
        value = flags[3] or next(rest, "") if flags[2] else ""
        if flags[2] in ("c", "m"):
            return flags[2] == "m" and value.partition(".")[0] == "hf_fft"
    return False


def run_door(work: Callable[[], None]) -> int:
    """Do a command's work and return its exit code; an error of ours is said in words, without a traceback."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hf_fft").setLevel(logging.INFO)
    try:
        work()
    except HfFftError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0
