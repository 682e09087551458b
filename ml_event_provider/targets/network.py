"""One ``post`` for all HTTP targets: checked addresses only, one time limit, no redirects, no proxies.

Connections are kept alive, one set for each thread. What goes wrong becomes a :class:`Result`, without the
URL's path and query, since many services keep their secret there.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from ml_event_provider import __version__, config
from ml_event_provider.exceptions import ForbiddenAddress
from ml_event_provider.targets import address
from ml_event_provider.targets.deadline import Deadline, TimedSocket
from ml_event_provider.targets.failures import explain
from ml_event_provider.targets.model import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: How much of an answer is read, in bytes.
MAX_ANSWER_BYTES = 64 * 1024
#: Remote hosts to which one thread keeps connections open.
_KEPT_HOSTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered. Header names are in lower case; ``body`` holds at most 64 KiB."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    mask: Callable[[str], str] = str

    @property
    def text(self) -> str:
        """The body as text, without secrets."""
        return self.mask(self.body.decode("utf-8", "replace"))

    @property
    def words(self) -> str:
        """The body as one short line without secrets, to be told as a reason."""
        return short(self.text)

    def json(self) -> Any:
        """The body as JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Network:
    """Sends HTTP requests to addresses that ``allowed_hosts`` and the guard let through.

    :param allowed_hosts: gives the internal hosts that may be reached, by default the option of that name.
    :param resolver: ``socket.getaddrinfo`` or a stand-in.
    """

    def __init__(
        self,
        allowed_hosts: Callable[[], Iterable[str]] = config.allowed_hosts,
        resolver: address.Resolver = socket.getaddrinfo,
    ) -> None:
        self._allowed_hosts = allowed_hosts
        self._resolver = resolver
        self._thread = threading.local()

    def connect(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        """A checked TCP connection; see :func:`address.connect`."""
        return address.connect(host, port, deadline, allowed=self._allowed_hosts(), resolver=self._resolver)

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        timeout: float,
        verify: bool | str = True,
        mask: Callable[[str], str] = str,
    ) -> Answer | Result:
        """POST and read the answer, all within ``timeout`` seconds.

        :param verify: whether the server's certificate must be valid, or the path of the CAs to trust;
            ``REQUESTS_CA_BUNDLE`` is honoured.
        :param mask: takes secrets out of the answer's text.
        :return: the answer, whatever its status, or the result if there was none.
        """
        try:
            prepared = _prepared(url, body, headers)
        except (requests.RequestException, ValueError):
            return Result.refused("URL", "the connection's URL must be http:// or https:// and a host")
        if verify is True:
            verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        adapter = self._adapter()
        adapter.deadline = Deadline(timeout)
        try:
            response = adapter.send(prepared, stream=True, timeout=timeout, verify=verify)
            return _answer(response, mask)
        except ForbiddenAddress as error:
            return Result.refused("forbidden address", str(error))
        except (OSError, HTTPError, http.client.HTTPException) as error:
            code, words = explain(error)
            return Result.retry(code, f"{origin(url)}: {words}")

    def _adapter(self) -> _Adapter:
        adapter: _Adapter | None = getattr(self._thread, "adapter", None)
        # A forked child must not talk on its parent's connections.
        if adapter is None or adapter.process != os.getpid():
            adapter = self._thread.adapter = _Adapter(self)
        return adapter


def short(text: str) -> str:
    """Foreign text as one line of at most 500 characters, without control characters."""
    line = " ".join(text.split())
    return "".join(character for character in line if character.isprintable())[:500]


def origin(url: str) -> str:
    """Scheme, host and port of a URL: what may be shown of it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the URL"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _prepared(url: str, body: bytes, headers: Mapping[str, str]) -> requests.PreparedRequest:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError
    request = requests.PreparedRequest()
    # "identity": an answer that unpacks to gigabytes is not asked for.
    fixed = {"User-Agent": f"airflow-provider-ml-events/{__version__}", "Accept-Encoding": "identity"}
    request.prepare(method="POST", url=url, headers={**fixed, **headers}, data=body)
    return request


def _answer(response: requests.Response, mask: Callable[[str], str]) -> Answer:
    body = b""
    # Once more after the last byte: only then an answer that breaks off is told from one that ends.
    while len(body) <= MAX_ANSWER_BYTES:
        part = response.raw.read(MAX_ANSWER_BYTES + 1 - len(body), decode_content=False)
        if not part:
            break
        body += part
    if len(body) > MAX_ANSWER_BYTES:
        response.raw.close()
    response.raw.release_conn()
    return Answer(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        body=body[:MAX_ANSWER_BYTES],
        mask=mask,
    )


class _Adapter(HTTPAdapter):
    """One thread's connections. ``deadline`` is that of the request that is under way."""

    deadline: Deadline

    def __init__(self, network: Network) -> None:
        self._network = network
        self.process = os.getpid()
        super().__init__(pool_connections=_KEPT_HOSTS, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        adapter = self

        class Timed(http.client.HTTPResponse):
            """Read within the deadline."""

            def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
                super().__init__(cast("socket.socket", TimedSocket(sock, adapter.deadline)), *args, **options)

        class Guarded(HTTPConnection):
            """Connects through the guard."""

            response_class = Timed

            def _new_conn(self) -> socket.socket:
                return adapter.connect(self.host, self.port)

        class GuardedTLS(Guarded, HTTPSConnection):
            """The same over TLS; name and certificate are checked against the URL's host."""

        class Pool(HTTPConnectionPool):
            ConnectionCls = Guarded

        class PoolTLS(HTTPSConnectionPool):
            ConnectionCls = GuardedTLS

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": PoolTLS}

    def connect(self, host: str, port: int) -> socket.socket:
        """A checked connection for the request that is under way."""
        return self._network.connect(host.strip("[]"), port, self.deadline)


#: What targets use unless they are given another one.
NETWORK = Network()
