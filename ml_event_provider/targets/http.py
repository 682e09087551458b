"""HTTP/1.1 connections of one thread: guarded, kept open, each step within a deadline, and silent.

Straight over ``http.client``: HTTP libraries log each URL, in which many services keep their secret, and take more time
to prepare a request than a receiver to answer it.
"""

from __future__ import annotations

import http.client
import os
import select
import ssl
import warnings
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ml_event_provider.targets.deadline import TimedSocket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from ml_event_provider.targets.deadline import Deadline

    Connect = Callable[[str, int, Deadline], socket.socket]

#: Remote hosts to which one thread keeps connections open.
_KEPT_HOSTS: Final = 32
#: More interim answers than this are no answer.
_MOST_INTERIM: Final = 20


class Origin(NamedTuple):
    """Where a connection leads; ``verify`` is true, false, or the path of the authorities to trust."""

    scheme: str
    host: str
    port: int
    verify: bool | str


class Connections:
    """The connections that one thread of one process keeps open."""

    def __init__(self, connect: Connect) -> None:
        self.process = os.getpid()
        self._connect = connect
        self._kept: OrderedDict[Origin, Connection] = OrderedDict()

    def post(
        self, origin: Origin, path: str, body: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> http.client.HTTPResponse:
        """Send a request and read the head of its answer; then :meth:`keep` or :meth:`drop` the connection.

        :raises OSError: if it cannot be reached in time.
        :raises http.client.HTTPException: if the answer is not HTTP.
        """
        kept = self._kept.pop(origin, None)
        if kept is not None and not kept.is_dropped():
            try:
                return self._asked(kept, origin, path, body, headers, deadline)
            except (ConnectionResetError, BrokenPipeError):
                # The server closed it in this very moment, before it answered: to be asked again, as later anyway.
                pass
        elif kept is not None:
            kept.close()
        return self._asked(Connection(origin, self._connect), origin, path, body, headers, deadline)

    def _asked(
        self,
        connection: Connection,
        origin: Origin,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> http.client.HTTPResponse:
        self._kept[origin] = connection
        if len(self._kept) > _KEPT_HOSTS:
            self._kept.popitem(last=False)[1].close()
        connection.deadline = deadline
        try:
            connection.post(path, body, headers)
            return connection.getresponse()
        except BaseException:
            self.drop(origin)
            raise

    def drop(self, origin: Origin) -> None:
        """Close the connection."""
        connection = self._kept.pop(origin, None)
        if connection is not None:
            connection.close()


class Connection(http.client.HTTPConnection):
    """One guarded connection. ``deadline`` is that of the request that is under way."""

    deadline: Deadline

    def __init__(self, origin: Origin, connect: Connect) -> None:
        self.default_port = http.client.HTTPS_PORT if origin.scheme == "https" else http.client.HTTP_PORT
        # The dot at the end is for the resolver alone.
        super().__init__(origin.host.rstrip("."), origin.port)
        self._origin = origin
        self._to = connect
        self._pieces: list[bytes] | None = None
        self.response_class = self._response  # type: ignore[assignment]

    def connect(self) -> None:
        """Connect through the guard, and secure the connection."""
        self.sock = self._to(self._origin.host, self._origin.port, self.deadline)
        if self._origin.scheme == "https":
            plain = self.sock
            try:
                self.sock = _tls(self._origin.verify).wrap_socket(plain, server_hostname=self.host)
            except BaseException:
                plain.close()
                raise

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a request in one piece, where ``http.client`` sends the head and the body each for itself."""
        pieces: list[bytes] = []
        self._pieces = pieces
        try:
            self.request("POST", path, body, dict(headers))
        finally:
            self._pieces = None
        self.send(b"".join(pieces))

    def send(self, data: Any) -> None:
        """Send bytes in the time that is left."""
        if self._pieces is not None:
            self._pieces.append(data)
            return
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self.deadline.remaining())
        super().send(data)

    def is_dropped(self) -> bool:
        """Whether the other side closed it, or sent what nobody asked for."""
        if self.sock is None:
            return True
        waiting = select.poll()
        waiting.register(self.sock, select.POLLIN)
        return bool(waiting.poll(0))

    def _response(self, sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
        return _Answer(cast("socket.socket", TimedSocket(sock, self.deadline)), *args, **options)


class _Answer(http.client.HTTPResponse):
    """The final answer: interim ones (102, 103 Early Hints) before it are passed over (RFC 9110, 15.2)."""

    def begin(self) -> None:
        super().begin()
        for _ in range(_MOST_INTERIM):
            if self.status >= http.client.OK or self.status == http.client.SWITCHING_PROTOCOLS:
                return
            self.headers = self.msg = cast("Any", None)
            super().begin()
        raise http.client.HTTPException("nothing but interim answers")


def _tls(verify: bool | str) -> ssl.SSLContext:
    if verify is True:
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or _default_authorities()
    if verify is False:
        from urllib3.exceptions import InsecureRequestWarning

        warnings.warn("the server's certificate is not verified", InsecureRequestWarning, stacklevel=2)
    # Authorities that were replaced on the disk are read again.
    return _context(verify, os.stat(verify).st_mtime_ns if verify else 0)


def _default_authorities() -> str:
    import certifi

    return certifi.where()


@lru_cache(maxsize=64)
def _context(verify: bool | str, _changed: int) -> ssl.SSLContext:
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        folder = os.path.isdir(str(verify))
        context = ssl.create_default_context(
            capath=str(verify) if folder else None, cafile=None if folder else str(verify)
        )
    context.set_alpn_protocols(["http/1.1"])
    return context
