"""The server: a socket on 127.0.0.1, a thread, a log of everything that it received, and a bounded life."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hub.faults import Action, Fault, Request
from hub.replies import Reply, refused
from hub.repositories import Blob, Repository, keeps_large
from hub.routes import answer
from hub.storage import Storage

# Forty characters after the prefix, as a real one has; what the tests look for afterwards.
TOKEN = "hf_" + "LoopbackCanaryTokenOfTheTests" + "0" * 11
IDLE_SECONDS = 120
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class LoopbackHub:
    """Repositories, a log, and the faults that are still to come.

    Attributes:
        user: Whose token `TOKEN` is.
        requests: Everything received, in order.
        unknown: Requests that no address is there for.
    """

    def __init__(self, folder: Path) -> None:
        self.user = "ada"
        self.tokens = {TOKEN}
        self.repositories: dict[str, dict[str, Repository]] = {"models": {}, "datasets": {}}
        self.storage = Storage(folder)
        self.requests: list[Request] = []
        self.unknown: list[str] = []
        self.faults: list[Fault] = []
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.hub = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def model(self, name: str) -> Repository:
        return self.repositories["models"][name]

    def add(self, kind: str, name: str, files: Mapping[str, bytes], **options: bool) -> Repository:
        """Make a repository with these files; `private` and `gated` as the Hub has them."""
        repository = self.repositories[kind][name] = Repository(kind, name, **options)
        blobs = {path: Blob(data, is_large=keeps_large(path, len(data))) for path, data in files.items()}
        repository.commit(blobs, summary="files")
        return repository

    def add_model(self, name: str, folder: str | Path, **options: bool) -> Repository:
        """Make a model repository from what `save_pretrained` wrote."""
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
        return self.add("models", name, files, **options)

    def add_data(self, name: str, files: Mapping[str, bytes], *, revision: str = "main") -> Repository:
        """Make a data repository whose files are on a branch."""
        repository = self.repositories["datasets"][name] = Repository("datasets", name)
        repository.branches.setdefault(revision, repository.head.sha)
        blobs = {path: Blob(data, is_large=keeps_large(path, len(data))) for path, data in files.items()}
        repository.commit(blobs, branch=revision, summary="files")
        return repository

    def fault(self, method: str, path: str, action: Action, *, times: int = 1) -> None:
        """Let the next `times` requests of a method whose path matches go wrong."""
        self.faults.append(Fault(method, path, action, times))

    def environment(self, home: Path, *, xet: bool = False, token: str | None = TOKEN) -> dict[str, str]:
        """Return the environment of a client: this hub and no other, a home of its own, a token."""
        kept = {name: value for name, value in os.environ.items() if name not in (*PROXIES, "HF_HUB_OFFLINE")}
        settings = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        return {**kept, **settings} | ({"HF_TOKEN": token} if token else {})

    def check_token(self, request: Request, *, writes: bool = False) -> bool:
        """Refuse a token that is none; say whether there is one."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            raise refused(401, "Invalid credentials in Authorization header")
        if writes and not token:
            raise refused(401, "Invalid username or password.")
        return bool(token)

    def repository(
        self, request: Request, kind: str, name: str, *, writes: bool = False, reads_files: bool = False
    ) -> Repository:
        """Find a repository that this request may see, or refuse it in the Hub's way."""
        known = self.check_token(request)
        found = self.repositories[kind].get(name)
        owns = known and name.split("/")[0] == self.user
        if found is None or (found.private and not owns):
            # To a stranger the Hub says no more of a private repository than of one that is not there.
            if not known:
                raise refused(401, "Invalid username or password.", "RepoNotFound")
            raise refused(404, "Repository not found", "RepoNotFound")
        if found.gated and reads_files and not owns:
            raise refused(403 if known else 401, f"Access to {kind[:-1]} {name} is restricted.", "GatedRepo")
        if writes and not owns:
            raise refused(403, f"You have read access but not the required permissions for {name}")
        return found

    def commits(self, name: str) -> list[str]:
        """Return the summaries of a model's commits on main, the newest first, without the very first."""
        repository, summaries = self.model(name), []
        commit = repository.head
        while commit.parent is not None:
            summaries.append(commit.summary)
            commit = repository.commits[commit.parent]
        return summaries

    def received(self) -> bytes:
        """Return every byte that was received, but for the header that a token belongs in."""
        parts = []
        for one in list(self.requests):
            headers = [f"{name}: {value}" for name, value in one.headers.items() if name != "authorization"]
            parts.append("\n".join([f"{one.method} {one.path}", *headers, ""]).encode() + one.body)
        return b"\n".join(parts)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: LoopbackHub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = IDLE_SECONDS

    def _handle(self) -> None:
        hub = self.server.hub
        request = Request(
            self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, self._body()
        )
        hub.requests.append(request)
        action = next((fault.action for fault in hub.faults if fault.takes(request)), None)
        if action == "drop":
            return self._drop()
        if callable(action):
            action()
        elif isinstance(action, float):
            time.sleep(action)
        elif isinstance(action, int | tuple):
            status, headers = action if isinstance(action, tuple) else (action, {})
            return self._send(Reply(status, b'{"error": "made to fail"}', headers))
        reply = answer(hub, request)
        return self._drop() if action == "drop_after" else self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, reply: Reply) -> None:
        try:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *words: object) -> None:
        """Write nothing: `requests` is the log."""


@contextmanager
def loopback_hub(folder: Path) -> Iterator[LoopbackHub]:
    """Run a hub until the block ends; a request that it did not know is an error then."""
    hub = LoopbackHub(folder)
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
    assert not hub.unknown, f"requests that the loopback hub does not know: {hub.unknown}"
