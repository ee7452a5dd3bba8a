"""A run folder and a destination in, a commit on the Hub out; the run folder is only read, and locked meanwhile.

Whatever goes wrong, the model is as it was: the error says so and names the command that tries again.
"""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from hf_fft.errors import PublishingError
from hf_fft.publishing.exchange import Order, Report
from hf_fft.publishing.publication import Destination, Publication, write_publication
from hf_fft.publishing.staging import chosen_files, staged, staged_files
from hf_fft.result import lock

# The process ends by itself at the deadline, unless it hangs in a request.
GRACE_SECONDS = 5.0

logger = logging.getLogger(__name__)


def publish(
    folder: Path, destination: Destination, texts: Mapping[str, str], *, message: str, holds_lock: bool = False
) -> Publication:
    """Put a run's model on the Hub in one commit, and write `publication.json` into the run folder.

    Nothing is committed where the Hub has all of it already.

    Args:
        folder: A run folder.
        destination: Where to.
        texts: README.md, recipe.json and result.json as they are to be published.
        message: The commit's summary.
        holds_lock: Whether this process owns the run folder already.

    Raises:
        PublishingError: saying what is in the way, and how to try again.
        RunFolderError: if the folder is in use, or holds no model.
    """
    with nullcontext() if holds_lock else lock(folder), staged(folder, texts) as place:
        report = _uploaded(Order(folder=str(place), destination=destination, message=message))
        if report.commit is None:
            raise PublishingError(
                f"{folder} was not published: {report.error}. The model is safe in {folder / 'model'}; to try again: "
                f"{retry_command(folder, destination)}"
            )
        publication = Publication(
            repository=destination.repository,
            revision=destination.revision,
            commit=report.commit,
            url=report.url,
            files=report.files,
            changed=report.changed,
            removed=report.removed,
        )
        write_publication(folder, publication)
    return publication


def planned_files(folder: Path, texts: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """Return what would be published, with sizes in bytes, and what would be left out; looks for secrets as well.

    Raises:
        PublishingError: if something in it should not leave this machine.
    """
    _, left_out = chosen_files(folder)
    with lock(folder), staged(folder, texts) as place:
        return {name: path.stat().st_size for name, path in staged_files(place).items()}, left_out


def retry_command(folder: Path, destination: Destination) -> str:
    """Return the command that publishes the same again."""
    branch = [] if destination.revision == "main" else ["--revision", destination.revision]
    private = ["--private"] if destination.private else []
    words = ["python", "-m", "hf_fft.publish", str(folder), destination.repository, *private, *branch]
    return shlex.join(words)


def _uploaded(order: Order) -> Report:
    """Run the upload in a process of its own, and end it if it hangs."""
    command = [sys.executable, "-m", "hf_fft.publishing.upload"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    late = threading.Event()

    def give_up() -> None:
        late.set()
        process.kill()

    deadline = threading.Timer(order.destination.deadline_seconds + GRACE_SECONDS, give_up)
    deadline.start()
    try:
        process.stdin.write(order.model_dump_json().encode() + b"\n")
        process.stdin.flush()
        # Standard input stays open: the process ends when it closes. What it says may be longer than a pipe holds.
        answer = process.stdout.read()
    finally:
        deadline.cancel()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    whole = answer.endswith(b"\n")
    if late.is_set() and not whole:
        return Report(error=f"the Hub did not answer within {order.destination.deadline_seconds:g} s")
    if not whole:
        return Report(error=f"the upload ended with exit code {process.returncode} and said nothing")
    return Report.model_validate_json(answer)
