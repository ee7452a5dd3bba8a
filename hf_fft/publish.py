"""Put a finished run on the Hugging Face Hub: `python -m hf_fft.publish RUN [USER/NAME]`.

    python -m hf_fft.publish runs/imdb ada/bert-imdb --private
    python -m hf_fft.publish runs/imdb ada/bert-imdb --dry-run       what would go; nothing is sent

Model, tokenizer, card, recipe and result go in one commit; an adapter too where there is one. The token is the one of
HF_TOKEN or of `hf auth login`. The same command again commits nothing if nothing has changed.

Exit codes: 0 it is there, 1 a bug, 2 a name to put right, 5 a run folder that is taken or is none, 9 it is not there
(the model is safe in the run folder, and the message says how to try again), 130 interrupted.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_fft.command_line import run_door
from hf_fft.errors import RecipeError, RunFolderError
from hf_fft.recipe import HUB_REPOSITORY
from hf_fft.result import Result, load_result

if TYPE_CHECKING:
    from hf_fft.publishing import Destination

DEADLINE_SECONDS = 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="hf_fft.publish", description="Put a finished run on the Hugging Face Hub.")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("repository", nargs="?", help="USER/NAME on the Hub; the recipe's hub.repository if left out")
    parser.add_argument("--private", action="store_true", help="make the repository private if it is to be made")
    parser.add_argument("--revision", default="main", help="the branch; main if left out")
    parser.add_argument("--dry-run", action="store_true", help="show what would go, and send nothing")
    parser.add_argument(
        "--deadline", type=float, default=DEADLINE_SECONDS, metavar="SECONDS", help="when to give up; 3600"
    )
    options = parser.parse_args(arguments)
    return run_door(lambda: _publish(options))


def _publish(options: argparse.Namespace) -> None:
    result = load_result(options.run)
    if result.status == "failed":
        raise RunFolderError(f"The run in {options.run} failed, so there is nothing to publish: {result.error}")
    place = _place(options, result)

    from hf_fft.publishing import planned_files, publish
    from hf_fft.report import publication_message, published_texts

    texts = published_texts(result, place.repository)
    if options.dry_run:
        sizes, left_out = planned_files(options.run, texts)
        print(f"To {place.repository} ({place.revision}) would go:")
        print("\n".join(f"  {size / 2**20:>10.2f} MiB  {name}" for name, size in sizes.items()))
        print(f"Left out: {', '.join(left_out)}" if left_out else "Nothing of model/ and adapter/ is left out.")
        return
    done = publish(options.run, place, texts, message=publication_message(result))
    removed = f", {len(done.removed)} of an earlier model removed" if done.removed else ""
    what = f"{len(done.changed)} files{removed}" if done.changed or done.removed else "nothing had changed"
    print(f"{done.repository} ({done.revision}) is at commit {done.commit}: {what}.\n{done.url}")


def _place(options: argparse.Namespace, result: Result) -> Destination:
    """Return where to: what the command line says, otherwise what the recipe says."""
    from hf_fft.publishing import Destination

    asked = result.recipe.hub
    repository = options.repository or (asked.repository if asked is not None else None)
    if repository is None:
        raise RecipeError("There is no name to publish under: give USER/NAME, or hub.repository in the recipe.")
    if re.fullmatch(HUB_REPOSITORY, repository) is None or len(repository) > 96:
        raise RecipeError(f'"{repository}" is no name of a repository on the Hub; expected USER/NAME.')
    if not options.deadline > 0:
        raise RecipeError(f"--deadline is a number of seconds above 0; found {options.deadline:g}.")
    return Destination(
        repository=repository,
        private=options.private or (asked is not None and asked.repository == repository and asked.private),
        revision=options.revision,
        deadline_seconds=options.deadline,
    )


if __name__ == "__main__":
    sys.exit(main())
