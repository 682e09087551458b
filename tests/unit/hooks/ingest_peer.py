"""A local API server: takes events as the ingest endpoint does, checks tokens, misbehaves on request."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import jwt

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

USER, PASSWORD = "ada", "correct horse battery staple"


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    path: str
    authorization: str
    content_type: str
    body: Any


class IngestPeer:
    """Serves for the time of the block. ``script`` holds what to do with the next requests instead."""

    def __init__(self, *, secret: str, context: ssl.SSLContext | None = None) -> None:
        self.secret = secret
        self.asked: list[Asked] = []
        self.script: deque[Callable[[BaseHTTPRequestHandler], None]] = deque()
        self.logins = 0
        self.valid: set[str] = set()
        self.released = threading.Event()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                peer._post(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that gave up is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def ids(self) -> list[str]:
        """The ids of all events that were taken."""
        return [one["id"] for asked in self.asked if asked.path.endswith("/events") for one in asked.body]

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        if request.path == "/auth/token":
            self._log_in(request, body)
            return
        asked = Asked(
            request.path,
            request.headers.get("authorization", ""),
            request.headers.get("content-type", ""),
            body,
        )
        if self.script:
            self.script.popleft()(request)
            return
        if not self._known(asked.authorization.removeprefix("Bearer ")):
            answer(401, {"detail": "Invalid token"})(request)
            return
        self.asked.append(asked)
        ids = [one["id"] for one in body] if isinstance(body, list) else []
        answer(202, {"ids": ids, "deliveries": ["d-1"], "matched": [{"rule": "r"}]})(request)

    def _log_in(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        self.logins += 1
        if body != {"username": USER, "password": PASSWORD}:
            answer(401, {"detail": f"wrong password {body['password']}"})(request)
            return
        token = f"session-{self.logins}"
        self.valid.add(token)
        answer(201, {"access_token": token})(request)

    def _known(self, token: str) -> bool:
        if token in self.valid:
            return True
        try:
            claims = jwt.decode(token, self.secret, algorithms=["HS512"], audience="ml-events")
        except jwt.InvalidTokenError:
            return False
        return claims["sub"] == "ml-events-service"


def answer(status: int, document: Any) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with JSON, or with raw bytes."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()

    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return send


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    request.close_connection = True
    request.connection.close()
