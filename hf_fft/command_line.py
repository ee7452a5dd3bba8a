"""What the doors share: the arguments that every recipe command takes, and how errors end a command."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
from collections.abc import Callable

from hf_fft.errors import HfFftError

# What torch 2.13 reads when it is imported, and glibc when a process begins, about memory; no value that is computed
# changes.
MEMORY_ENVIRONMENT = {
    # On CPUs the kernels of each matrix shape are kept, in two caches of 1,024: some 7 MB for each length of a batch.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "48",
    "LRU_CACHE_CAPACITY": "48",
    # Small blocks that were freed stay with their thread; between large ones, they keep those from becoming one again.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
}
OF_GLIBC = "GLIBC_TUNABLES"


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
    """Have torch keep fewer kernels, and glibc no small blocks, unless the environment says otherwise.

    glibc reads its settings when a process begins. So where this process is one of our commands it begins once more, as
    itself: same process, same words. To be called before anything heavy is imported, and before anything is read.
    """
    missing = {name: value for name, value in MEMORY_ENVIRONMENT.items() if name not in os.environ}
    if not _may_begin_once_more():
        missing.pop(OF_GLIBC, None)
    os.environ.update(missing)
    if OF_GLIBC in missing:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _may_begin_once_more() -> bool:
    """Say whether this process is one of our commands, on glibc, and no debugger watches it."""
    main = sys.modules["__main__"]
    name = main.__spec__.name if main.__spec__ is not None else os.path.basename(sys.argv[0])
    ours = name == "hf-fft" or name.partition(".")[0] == "hf_fft"
    return ours and platform.libc_ver()[0] == "glibc" and sys.gettrace() is None


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
