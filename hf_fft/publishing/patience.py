"""Which failures pass by themselves, how long to wait for it, and what the others mean."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from httpx2 import HTTPError
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

PASSING_STATUSES = frozenset({408, 409, 412, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT_SECONDS = 60.0
LOGIN = "Run `hf auth login`, or set HF_TOKEN to a token that may write"


def passes(error: BaseException) -> bool:
    """Say whether trying again may help: an overloaded or unreachable Hub, a lost connection, a head that moved on."""
    for one in _chain(error):
        if isinstance(one, (OfflineModeIsEnabled, FileNotFoundError)):
            return False
        if isinstance(one, HfHubHTTPError):
            return one.response.status_code in PASSING_STATUSES
        if isinstance(one, (HTTPError, ConnectionError, TimeoutError)):
            # hf_xet (1.8) has one exception for everything and the status in its text.
            refused = re.search(r"status client error \((4\d\d)", str(one))
            return refused is None or int(refused[1]) in PASSING_STATUSES
    return False


def waits(first_seconds: float) -> Iterator[float]:
    """Yield how long to wait before each further try: twice as long each time, and never quite the same."""
    seconds = first_seconds
    while True:
        yield seconds * random.uniform(0.8, 1.2)
        seconds = min(2 * seconds, LONGEST_WAIT_SECONDS)


def asked_wait(error: BaseException) -> float:
    """Return the seconds that the Hub asks to wait, 0 where it does not."""
    for one in _chain(error):
        if isinstance(one, HfHubHTTPError):
            text = one.response.headers.get("Retry-After", "")
            return float(text) if re.fullmatch(r"\d{1,9}(\.\d+)?", text) else 0.0
    return 0.0


def in_words(error: BaseException, repository: str) -> str:
    """Say what is in the way and, where one can do something about it, what."""
    for one in _chain(error):
        if isinstance(one, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, so the Hub may not be reached. Unset it"
        if isinstance(one, HfHubHTTPError):
            return _status_in_words(one, repository)
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        return f"the Hub could not be reached ({first or type(error).__name__}). Check the network and HF_ENDPOINT"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _status_in_words(error: HfHubHTTPError, repository: str) -> str:
    status = error.response.status_code
    said = (error.server_message or str(error)).strip().splitlines()[0]
    if status == 401 and not isinstance(error, (RepositoryNotFoundError, GatedRepoError)):
        return f"the Hub does not take the token: {said}. It may have expired. {LOGIN}"
    if status in (401, 403, 404):
        return f"the token has no right to write to {repository}: {said}. Check the name. {LOGIN} there"
    return f"the Hub answered {status}: {said}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
