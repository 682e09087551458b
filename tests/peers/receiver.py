"""An HTTP receiver that is as strict as the services it stands in for.

    with Receiver() as receiver:
        send_to(receiver.url("/webhook"))
        assert receiver.requests[0].verified

Routes, each with anything behind it: ``/webhook`` (Standard Webhooks), ``/dingtalk/robot/send``,
``/slack/services/…`` (incoming webhooks), ``/slack/api/<method>``; all others accept everything.
``receiver.next()`` scripts the next answers, whatever the route: failures, waits, resets, drips. As a program
it prints each request as a line of JSON: ``python -m tests.peers.receiver --port 8090``.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.peers.rules import Ruling, dingtalk, slack_api, slack_webhook, webhook

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROBOT_TOKEN = "robot-token-0123456789"
ROBOT_SECRET = "SEC1234567890abcdef"
SLACK_PATH = "T00000000/B00000000/abcdefghijklmnopqrstuvwx"
SLACK_TOKEN = "xoxb-1234567890-abcdefghij"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came, and what was answered."""

    channel: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    verified: bool
    problem: str
    status: int
    answer: str
    at: float

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def message_id(self) -> str:
        """The sender's idempotency key, where the protocol has one."""
        if "webhook-id" in self.headers:
            return self.headers["webhook-id"]
        with suppress(ValueError):
            document = self.json()
            if isinstance(document, dict):
                return str(document.get("msgUuid", ""))
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A scripted answer.

    ``drip`` is a wait in seconds after each byte of the body, ``head_drip`` of the head; ``reset`` closes the
    connection with RST instead of answering, ``raw`` is sent as it is instead of HTTP.
    """

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    head_drip: float = 0.0
    reset: bool = False
    raw: bytes = b""


class Receiver:
    """A receiver on a loopback port, started by ``with`` or :meth:`start`.

    :param keywords: the DingTalk robot's keywords; ``robot_secret`` may be empty for a robot without one.
    :param tls: serve https with this context.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        webhook_secret: str = WEBHOOK_SECRET,
        robot_token: str = ROBOT_TOKEN,
        robot_secret: str = ROBOT_SECRET,
        keywords: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        now: Callable[[], float] = time.time,
        on_request: Callable[[Received], None] | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.webhook_secret, self.robot_token, self.robot_secret = webhook_secret, robot_token, robot_secret
        self.keywords = keywords
        self.requests: list[Received] = []
        #: The targets of the requests as they came, with their query.
        self.raw_paths: list[str] = []
        self.connections = 0
        self.now = now
        self._tls = tls
        self._script: deque[Behaviour] = deque()
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._on_request = on_request
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after :meth:`stop` on the same port again."""
        self._stopping.clear()
        self._server = _Server((self.host, self.port), self, self._tls)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from here on and close the open ones. What was received is kept."""
        if self._server is None or self._thread is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()
        self._server = self._thread = None

    def url(self, path: str = "/", host: str = "") -> str:
        """The URL of a path."""
        return f"{'https' if self._tls else 'http'}://{host or self.host}:{self.port}{path}"

    def next(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so, one each; then as the routes say."""
        with self._lock:
            self._script.extend(behaviours)

    def clear(self) -> None:
        """Forget all requests and the script."""
        with self._lock:
            self.requests.clear()
            self._script.clear()

    @property
    def duplicates(self) -> dict[str, int]:
        """How often each message id came that was accepted more than once."""
        with self._lock:
            ids = Counter(item.message_id for item in self.requests if item.verified and item.status == 200)
        return {message_id: count for message_id, count in ids.items() if message_id and count > 1}

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Received]:
        """The requests, as soon as there are so many, or after so long."""
        end = time.monotonic() + seconds
        while len(self.requests) < count and time.monotonic() < end:
            time.sleep(0.01)
        return list(self.requests)

    def handle(self, path: str, headers: Mapping[str, str], body: bytes) -> Behaviour:
        """Judge one request, record it and give the answer."""
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        ruling = self._rule(parts.path, query, headers, body)
        with self._lock:
            behaviour = self._script.popleft() if self._script else None
            if behaviour is None:
                kind = "application/json" if ruling.answer.startswith("{") else "text/plain"
                behaviour = Behaviour(
                    status=ruling.status,
                    body=ruling.answer,
                    headers={"Content-Type": f"{kind}; charset=utf-8"},
                )
            received = Received(
                channel=ruling.channel,
                path=parts.path,
                query=query,
                headers=headers,
                body=body,
                verified=not ruling.problem,
                problem=ruling.problem,
                status=0 if behaviour.reset or behaviour.raw else behaviour.status,
                answer=behaviour.body,
                at=self.now(),
            )
            self.requests.append(received)
        if self._on_request:
            self._on_request(received)
        return behaviour

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the receiver runs."""
        self._stopping.wait(seconds)

    def _rule(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Ruling:
        if path.startswith("/webhook"):
            return webhook(self.webhook_secret, headers, body)
        if path.startswith("/dingtalk/robot/send"):
            secret = self.robot_secret
            return dingtalk(self.robot_token, secret, self.keywords, query, headers, body, self.now())
        if path.startswith("/slack/services/"):
            return slack_webhook(SLACK_PATH, path.removeprefix("/slack/services/"), headers, body)
        if path.startswith("/slack/api/"):
            return slack_api(SLACK_TOKEN, path.removeprefix("/slack/api/"), headers, body)
        return Ruling(channel="any", answer="")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], receiver: Receiver, tls: ssl.SSLContext | None) -> None:
        self.receiver = receiver
        self._tls = tls
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.receiver.connections += 1
        self._open.add(connection)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread: a slow or failing handshake must not hold up the others.
        if self._tls is not None:
            with suppress(OSError):
                request = self._tls.wrap_socket(request, server_side=True)
                self._open.add(request)
                super().finish_request(request, client_address)
                request.close()
            return
        super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no error here; anything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender went away in the middle: no request.
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.server.receiver
        receiver.raw_paths.append(self.path)
        behaviour = receiver.handle(self.path, headers, body)
        if behaviour.delay:
            receiver.pause(behaviour.delay)
        if behaviour.reset:
            # Linger 0: RST instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if behaviour.raw:
            self.wfile.write(behaviour.raw)
            self.wfile.flush()
            self.close_connection = True
            return
        self._answer(behaviour)

    def _answer(self, behaviour: Behaviour) -> None:
        payload = behaviour.body.encode()
        lines = [f"HTTP/1.1 {behaviour.status} X", f"Content-Length: {len(payload)}"]
        lines += [f"{name}: {value}" for name, value in behaviour.headers.items()]
        self._write("\r\n".join([*lines, "", ""]).encode(), behaviour.head_drip)
        self._write(payload, behaviour.drip)
        self.wfile.flush()

    def _write(self, data: bytes, drip: float) -> None:
        if not drip:
            self.wfile.write(data)
            return
        for index in range(len(data)):
            self.wfile.write(data[index : index + 1])
            self.wfile.flush()
            self.server.receiver.pause(drip)

    def log_message(self, format: str, *args: object) -> None:
        """No lines on stderr: requests are recorded."""


def closed_port() -> int:
    """A loopback port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def main() -> None:
    """Run until interrupted, a line of JSON for each request on standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    options = parser.parse_args()

    def show(received: Received) -> None:
        line = {**asdict(received), "body": received.body.decode("utf-8", "replace")}
        print(json.dumps(line, ensure_ascii=False), flush=True)

    with (
        Receiver(options.port, host=options.host, on_request=None if options.quiet else show),
        suppress(KeyboardInterrupt),
    ):
        threading.Event().wait()


if __name__ == "__main__":
    main()
