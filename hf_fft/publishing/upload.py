"""The process that uploads: `python -m hf_fft.publishing.upload`, an order on standard input, a report on output.

It is a process of its own so that it can be ended: huggingface_hub (2.4) sets no time limit on its requests, sleeps as
long as a server tells it to, and its threads keep an interpreter alive.

Every try begins with reading the branch's head and what it holds. If that is what is to be published, the work is done,
whoever did it: so an answer that was lost on the way is found again, and nothing is committed twice.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token, set_client_factory
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._http import default_client_factory

from hf_fft.errors import PublishingError
from hf_fft.publishing.difference import (
    Hashes,
    Remote,
    changed_files,
    hashes_of,
    refuse_foreign_changes,
    stale_files,
)
from hf_fft.publishing.exchange import Order, Report
from hf_fft.publishing.patience import LOGIN, asked_wait, in_words, passes, waits
from hf_fft.publishing.publication import Destination
from hf_fft.publishing.staging import staged_files

# A request that has said nothing for so long is taken for lost.
SILENCE_SECONDS = 120.0
# How long to go on where the Hub has never been reached.
FIRST_CONTACT_SECONDS = 60.0


def upload(order: Order) -> Report:
    """Bring the staged folder to the Hub in one commit, trying again until it is there or the time is up.

    Raises:
        PublishingError: saying what is in the way.
    """
    if get_token() is None:
        raise PublishingError(f"there is no token for the Hub. {LOGIN}")
    api, place = HfApi(), order.destination
    staged = {name: hashes_of(path) for name, path in staged_files(Path(order.folder)).items()}
    began, first = time.monotonic(), None
    pauses = waits(order.first_wait_seconds)
    while True:
        try:
            remote = _remote(api, place)
            first = first or remote
            report = _committed(api, order, staged, first=first, now=remote)
            return report.model_copy(update={"files": {name: one.sha256 for name, one in staged.items()}})
        except PublishingError:
            raise
        except Exception as error:
            if not passes(error):
                raise PublishingError(in_words(error, place.repository)) from error
            patience = place.deadline_seconds if first is not None else FIRST_CONTACT_SECONDS
            left = began + min(patience, place.deadline_seconds) - time.monotonic()
            pause = max(next(pauses), asked_wait(error))
            if pause > left:
                raise PublishingError(f"{in_words(error, place.repository)}. Time is up") from error
            time.sleep(pause)


def _remote(api: HfApi, place: Destination) -> Remote:
    """Read the branch, and make repository and branch where they are missing."""
    try:
        return _read(api, place)
    except RevisionNotFoundError:
        api.create_branch(place.repository, branch=place.revision, exist_ok=True)
    except RepositoryNotFoundError:
        api.create_repo(place.repository, private=place.private, exist_ok=True)
        if place.revision != "main":
            api.create_branch(place.repository, branch=place.revision, exist_ok=True)
    return _read(api, place)


def _read(api: HfApi, place: Destination) -> Remote:
    information = api.model_info(place.repository, revision=place.revision)
    if place.private and information.private is False:
        raise PublishingError(
            f"{place.repository} is there already and everybody can read it. Make it private in its settings, choose "
            "another name, or publish without --private"
        )
    assert information.sha is not None
    entries = api.list_repo_tree(place.repository, revision=information.sha, recursive=True)
    files = {
        entry.path: entry.lfs.sha256 if entry.lfs is not None else entry.blob_id
        for entry in entries
        if isinstance(entry, RepoFile)
    }
    return Remote(information.sha, files)


def _committed(api: HfApi, order: Order, staged: Mapping[str, Hashes], *, first: Remote, now: Remote) -> Report:
    """Commit what the branch lacks, on top of exactly the head that was read; nothing if it lacks nothing."""
    place = order.destination
    changed, stale = changed_files(staged, now), stale_files(staged, now)
    if not changed and not stale:
        before = changed_files(staged, first), stale_files(staged, first)
        return Report(commit=now.head, url=_url(api, place, now.head), changed=before[0], removed=before[1])
    refuse_foreign_changes(staged, first, now)
    made = api.create_commit(
        place.repository,
        [
            *(CommitOperationAdd(path, Path(order.folder) / path) for path in changed),
            *(CommitOperationDelete(path) for path in stale),
        ],
        commit_message=order.message,
        revision=place.revision,
        parent_commit=now.head,
    )
    return Report(commit=made.oid, url=_url(api, place, made.oid), changed=changed, removed=stale)


def _url(api: HfApi, place: Destination, commit: str) -> str:
    return f"{api.endpoint}/{place.repository}/commit/{commit}"


def _client() -> httpx2.Client:
    client = default_client_factory()
    client.timeout = httpx2.Timeout(SILENCE_SECONDS, connect=10.0)
    return client


def _end_with_the_command() -> None:
    """End as soon as the process that gave the order has gone, which closes standard input."""
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> int:
    """Read the order, upload, and write the report."""
    order = Order.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    set_client_factory(_client)
    answers = sys.stdout
    try:
        # The answer alone belongs on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            report = upload(order)
    except PublishingError as error:
        report = Report(error=str(error))
    answers.write(report.model_dump_json() + "\n")
    answers.flush()
    # Threads that still wait for a server would keep the interpreter from ending.
    os._exit(0)


if __name__ == "__main__":
    main()
