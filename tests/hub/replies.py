"""What the server answers with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that ends in an error reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


def refused(status: int, message: str, code: str | None = None) -> Refused:
    """Return the Hub's form of an error: the reason in a header, for there may be no body."""
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    body = json.dumps({"error": message}).encode()
    return Refused(Reply(status, body, {"Content-Type": "application/json", **headers}))
