"""What the doors share: the arguments that every recipe command takes, and how errors end a command."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable

from hf_fft.errors import HfFftError

# What torch 2.13 reads when it is imported, about memory; no value that is computed changes.
MEMORY_ENVIRONMENT = {
    # On CPUs the kernels of each matrix shape are kept, in two caches of 1,024: some 7 MB for each length of a batch.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "48",
    "LRU_CACHE_CAPACITY": "48",
}


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
    """Have torch keep fewer kernels once it is imported, unless the environment says otherwise."""
    for name, value in MEMORY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


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
