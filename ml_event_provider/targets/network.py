"""One ``post`` for all HTTP targets: checked addresses only, one time limit, no redirects, no proxies.

Connections are kept alive, one set for each thread. What goes wrong becomes a :class:`Result`, without the
URL's path and query, since many services keep their secret there.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from ml_event_provider import __version__, config
from ml_event_provider.exceptions import ForbiddenAddress
from ml_event_provider.targets import address
from ml_event_provider.targets.deadline import Deadline
from ml_event_provider.targets.failures import explain
from ml_event_provider.targets.hosts import ascii_host
from ml_event_provider.targets.http import Connections, Origin
from ml_event_provider.targets.model import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: How much of an answer is read, in bytes.
MAX_ANSWER_BYTES = 64 * 1024
#: How long the rest of an answer is waited for whose status has said all that counts, in seconds.
_REST_SECONDS: Final = 2.0
#: What is left as it is in a URL's path and query; all else is percent-encoded.
_URL_SAFE: Final = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered. Header names are in lower case; ``body`` holds at most 64 KiB.

    ``broken`` says, as code and words, why the body is not whole.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    mask: Callable[[str], str] = str
    broken: tuple[str, str] | None = None

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
        status_decides: bool = False,
    ) -> Answer | Result:
        """POST and read the answer, all within ``timeout`` seconds.

        :param verify: whether the server's certificate must be valid, or the path of the CAs to trust;
            ``REQUESTS_CA_BUNDLE`` is honoured.
        :param mask: takes secrets out of the answer's text.
        :param status_decides: whether the status says all, so that a body which is slow or breaks off changes nothing.
        :return: the answer, whatever its status, or the result if there was none.
        """
        try:
            place, path, own = _taken_apart(url, verify)
        except ValueError as error:
            return Result.refused("URL", f"the connection's URL must be http:// or https:// and a host{error}")
        deadline = Deadline(timeout)
        connections = self._connections()
        try:
            response = connections.post(place, path, body, {**_FIXED, **headers, **own}, deadline)
            if status_decides:
                deadline.shorten(_REST_SECONDS)
            answer = _read(response, mask)
            if answer.broken or not response.isclosed() or response.will_close:
                connections.drop(place)
        except ForbiddenAddress as error:
            return Result.refused("forbidden address", str(error))
        except (OSError, http.client.HTTPException) as error:
            code, words = explain(error)
            return Result.retry(code, f"{origin(url)}: {words}")
        except ValueError:
            return Result.refused("header", "a header's name or value cannot be sent")
        if answer.broken and not status_decides:
            return Result.retry(answer.broken[0], f"{origin(url)}: {answer.broken[1]}")
        return answer

    def _connections(self) -> Connections:
        known: Connections | None = getattr(self._thread, "connections", None)
        # A forked child must not talk on its parent's connections.
        if known is None or known.process != os.getpid():
            known = self._thread.connections = Connections(self.connect)
        return known


def short(text: str) -> str:
    """Foreign text as one line of at most 500 characters, without control characters."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = " ".join("".join(filter(str.isprintable, line)).split())
    return line[:500].rstrip()


def origin(url: str) -> str:
    """Scheme, host and port of a URL: what may be shown of it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the URL"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


#: "identity": an answer that unpacks to gigabytes is not asked for.
_FIXED: Final = {
    "User-Agent": f"airflow-provider-ml-events/{__version__}",
    "Accept-Encoding": "identity",
    "Accept": "*/*",
}


def _taken_apart(url: str, verify: bool | str) -> tuple[Origin, str, dict[str, str]]:
    """Where a URL leads, what is asked for there, and the headers that its credentials make."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise ValueError from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError
    try:
        host = ascii_host(parts.hostname)
    except ValueError as error:
        raise ValueError(f"; {error}") from None
    path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_URL_SAFE)
    own = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        own["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return Origin(parts.scheme, host, port, verify), path, own


def _read(response: http.client.HTTPResponse, mask: Callable[[str], str]) -> Answer:
    body, broken = b"", None
    try:
        # More than the limit, to tell an answer that ends there from one that goes on.
        body = response.read(MAX_ANSWER_BYTES + 1)
        if response.length and len(body) <= MAX_ANSWER_BYTES:
            raise http.client.IncompleteRead(body, response.length)
    except (OSError, http.client.HTTPException) as error:
        broken = explain(error)
    return Answer(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=body[:MAX_ANSWER_BYTES],
        mask=mask,
        broken=broken,
    )


#: What targets use unless they are given another one.
NETWORK = Network()
