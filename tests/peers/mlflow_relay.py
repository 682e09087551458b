"""A real HTTP server before MLflow: it forwards, unless the test has scripted its next answers."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = tuple[int, dict[str, str], bytes]

BUSY: Answer = (
    503,
    {"Content-Type": "application/json"},
    b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "busy"}',
)


@dataclass
class Relay:
    """``script`` holds the next answers; then ``upstream`` answers, or where there is none ``otherwise``.

    ``before`` is called with each request's number, from 1, before it is answered.
    """

    url: str = ""
    upstream: str = ""
    otherwise: Answer = (500, {}, b"nothing scripted")
    script: deque[Answer] = field(default_factory=deque)
    before: Callable[[int], Any] = lambda number: None
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        with self.lock:
            self.seen.append((method, path, headers, body))
            number = len(self.seen)
            scripted = self.script.popleft() if self.script else None
        self.before(number)
        if scripted is not None:
            return scripted
        if not self.upstream:
            return self.otherwise
        passed = {name: value for name, value in headers.items() if name.lower() == "content-type"}
        got = requests.request(method, self.upstream + path, data=body or None, headers=passed, timeout=30)
        return got.status_code, {"Content-Type": got.headers.get("Content-Type", "")}, got.content


@contextmanager
def running() -> Iterator[Relay]:
    """A relay on a free port, for as long as the block lasts."""
    relay = Relay()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave in two writes.
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = relay.answer(self.command, self.path, dict(self.headers.items()), body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            # A client that has timed out is gone.
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    relay.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A relay without an upstream; a test that wants one sets ``relay.upstream``."""
    with running() as relay:
        yield relay
