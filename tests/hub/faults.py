"""What can be made to go wrong, request by request."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Request:
    """A request as the server received it, whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


# A status, with headers or without; a connection closed before or after the work is done; seconds to wait before it;
# something to do before it.
Action: TypeAlias = int | tuple[int, dict[str, str]] | Literal["drop", "drop_after"] | float | Callable[[], object]


@dataclass
class Fault:
    """What happens to the next `times` requests of a method whose path matches."""

    method: str
    path: str
    action: Action
    times: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, request: Request) -> bool:
        """Say whether this request is hit, and count it."""
        if request.method != self.method or re.search(self.path, request.path) is None:
            return False
        with self.lock:
            self.times -= 1
            return self.times >= 0
