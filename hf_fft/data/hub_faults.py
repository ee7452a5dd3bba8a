"""Why something of the Hub could not be had, and what to do about it: one wording for models and data sets."""

from __future__ import annotations

from collections.abc import Iterator

from httpx2 import TransportError
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

OVERLOADED = 429
LOGIN = "run `hf auth login` or set HF_TOKEN"


def hub_fault(error: BaseException, page: str) -> str | None:
    """Say what the Hub has against it, as the rest of a sentence that begins with the name; None if it is not the Hub.

    Args:
        error: As `from_pretrained` or `load_dataset` raised it; what lies behind it is looked at too.
        page: The name's page, without the Hub's address: `owner/name`, `datasets/owner/name`.
    """
    found = list(_chain(error))
    if any(isinstance(one, OfflineModeIsEnabled) for one in found):
        return _offline()
    for one in found:
        if isinstance(one, LocalEntryNotFoundError):
            continue
        if isinstance(one, HfHubHTTPError):
            return _status(one, page)
    if any(isinstance(one, (LocalEntryNotFoundError, TransportError, ConnectionError)) for one in found):
        return _offline() if constants.HF_HUB_OFFLINE else _unreachable()
    return None


def gated(page: str) -> str:
    """Say what to do about something whose owner lets people in."""
    then = "the account of your token has not been let in" if get_token() else f"then {LOGIN}"
    return f"is gated: accept its conditions on {constants.ENDPOINT}/{page}; {then}"


def missing() -> str:
    """Say what to do about something that is not there, or that only others may see."""
    private = "your token may not read it" if get_token() else LOGIN
    return f"was not found on the Hub: check the spelling; if it is private, {private}"


def _status(error: HfHubHTTPError, page: str) -> str | None:
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return gated(page)
    if isinstance(error, RevisionNotFoundError):
        return "has no such revision: correct revision, or leave it out for main"
    if isinstance(error, RepositoryNotFoundError):
        return missing()
    if status == 401:
        return f"was refused because the Hub does not take your token, which may have expired: {LOGIN} anew"
    if status == 403:
        return f"may not be read with your token: {LOGIN} with one that may"
    if status == OVERLOADED or status >= 500:
        return f"cannot be had now, for the Hub answered {status}: try again in a while"
    return None


def _offline() -> str:
    return (
        "is not in the cache, and HF_HUB_OFFLINE keeps from the Hub: unset it once, and what is fetched then stays in "
        "the cache"
    )


def _unreachable() -> str:
    return f"cannot be reached at {constants.ENDPOINT}: check the network, HF_ENDPOINT and HF_HUB_OFFLINE"


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__
