"""One call of MLflow's REST API 2.0 (https://mlflow.org/docs/latest/api_reference/rest-api.html)."""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn
from urllib.parse import quote, urlsplit, urlunsplit

from ml_event_provider.exceptions import RegistryError
from ml_event_provider.registries.model import RegistryRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import PreparedRequest

    from ml_event_provider.connection import Connection

API = "/api/2.0/mlflow/"
#: Client errors that another try may cure.
_PASSING = frozenset({408, 425, 429})
_WORDS = 500
#: The longest answer that is read, unpacked, in bytes: a page of model versions is a hundredth of it.
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_PIECE: Final = 64 * 1024


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


def base_url(connection: Connection) -> str:
    """The tracking server's address, without a closing slash, as Airflow's HTTP connections give it.

    :raises RegistryRefused: if the connection has no usable host, or holds credentials in it.
    """
    where = f"connection {connection.conn_id!r}"
    host = (connection.host or "").strip()
    if not host:
        raise RegistryRefused(f"{where} has no host: set it to the MLflow tracking server's URL")
    try:
        parts = urlsplit(host if "://" in host else f"{connection.schema or 'http'}://{host}")
        port = parts.port or connection.port
    except ValueError:
        raise RegistryRefused(f"{where}: its host is no URL") from None
    if parts.username or parts.password:
        raise RegistryRefused(f"{where}: its host holds credentials; put them into login and password")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise RegistryRefused(f"{where}: its host is no http or https URL")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return urlunsplit((parts.scheme, f"{name}:{port}" if port else name, parts.path.rstrip("/"), "", ""))


def call(
    connection: Connection,
    path: str,
    *,
    timeout: float,
    query: Mapping[str, str | int] | None = None,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``path`` below ``/api/2.0/mlflow/`` answers: to GET with ``query``, or to POST with ``body``.

    :param timeout: the longest wait for the whole answer, in seconds.
    :raises RegistryRefused: if MLflow refuses the request for good; ``code`` is its ``error_code``.
    :raises RegistryError: if it cannot be reached, is busy, or answers what MLflow does not.
    """
    response, where = fetch(connection, API + path, timeout=timeout, query=query, body=body)
    document: object = None
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        pass  # The text is judged below.
    if response.status == 200 and isinstance(document, dict):
        return document
    _complain(response, document, f"MLflow at {where}", connection)


def fetch(
    connection: Connection,
    path: str,
    *,
    timeout: float,
    query: Mapping[str, str | int] | None = None,
    body: Mapping[str, Any] | None = None,
) -> tuple[Answer, str]:
    """The answer to GET, or to POST where there is a body, and the URL without its query, for messages.

    :raises RegistryRefused: if the request cannot be sent as it is: a value that JSON does not have, half a character.
    :raises RegistryError: if there is no answer.
    """
    import requests
    from requests.exceptions import InvalidHeader, InvalidJSONError, InvalidURL

    where = base_url(connection) + path
    try:
        answer = _in_time(timeout, lambda: _asked(where, connection, query=query, body=body, timeout=timeout))
    except (requests.Timeout, TimeoutError):
        raise RegistryError(f"MLflow at {where} did not answer within {timeout:g} s") from None
    except (InvalidJSONError, InvalidHeader, InvalidURL, TypeError, UnicodeError) as error:
        words = _without_secrets(_cause(error), connection)
        raise RegistryRefused(f"the request to MLflow at {where} cannot be sent: {words}") from None
    except requests.RequestException as error:
        raise RegistryError(
            f"MLflow at {where} cannot be reached: {_without_secrets(_cause(error), connection)}"
        ) from None
    return answer, where


def _asked(
    where: str,
    connection: Connection,
    *,
    query: Mapping[str, str | int] | None,
    body: Mapping[str, Any] | None,
    timeout: float,
) -> Answer:
    import requests

    with requests.request(
        "GET" if body is None else "POST",
        where,
        params=query,
        json=body,
        auth=_authorization(connection),
        timeout=timeout,
        # A redirected POST becomes a GET.
        allow_redirects=False,
        stream=True,
        # What unpacks to gigabytes is not asked for.
        headers={"Accept-Encoding": "identity"},
    ) as response:
        read = bytearray()
        for piece in response.iter_content(_PIECE):
            read += piece
            if len(read) > MAX_ANSWER_BYTES:
                raise RegistryError(f"MLflow at {where} answers more than {MAX_ANSWER_BYTES} bytes")
        return Answer(response.status_code, response.headers, bytes(read))


def _in_time(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """Ask in a thread that is given up in the end: ``requests`` starts its time limit anew with every byte.

    :raises TimeoutError: if there is no whole answer within ``seconds``.
    """
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=run, name="ml-events-registry-request", daemon=True).start()
    return answer.result(seconds)


def _authorization(connection: Connection) -> Callable[[PreparedRequest], PreparedRequest]:
    """Basic with login and password, bearer with a password alone. A callable also keeps ``~/.netrc`` out."""
    from requests.auth import HTTPBasicAuth

    def authorize(request: PreparedRequest) -> PreparedRequest:
        if connection.login:
            # As UTF-8: requests itself would encode texts as Latin-1.
            basic = HTTPBasicAuth(connection.login.encode(), (connection.password or "").encode())
            request = basic(request)
        elif connection.password:
            request.headers["Authorization"] = f"Bearer {connection.password}"
        return request

    return authorize


def _complain(response: Answer, document: object, where: str, connection: Connection) -> NoReturn:
    status = response.status
    if isinstance(document, dict) and "error_code" in document:
        code = str(document["error_code"])
        words = _without_secrets(str(document.get("message", "")), connection)[:_WORDS]
        message = f"{where} answered HTTP {status} {code}: {words}"
        if 400 <= status < 500 and status not in _PASSING:
            raise RegistryRefused(message, code)
        raise RegistryError(message)
    if 300 <= status < 400:
        target = response.headers.get("Location", "").partition("?")[0]
        raise RegistryRefused(
            f"{where} answered HTTP {status}, a redirect to {_without_secrets(target, connection)!r}:"
            " set the connection's host to the tracking server itself"
        )
    message = f"{where} answered HTTP {status}: {_without_secrets(_text(response), connection)}"
    if status in {401, 403}:
        raise RegistryRefused(f"{message} (look at the connection's login and password)")
    raise RegistryError(f"{message} (not MLflow's JSON: is the connection's host the tracking server?)")


def _text(response: Answer) -> str:
    """The answer's words on one line; of an HTML page its title."""
    text = response.text.strip()
    if text[:1] == "<":
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = f"an HTML page titled '{title[1].strip()}'" if title else "an HTML page"
    return " ".join(text[:_WORDS].split()) or "no text"


def _cause(error: BaseException) -> str:
    """The innermost reason, without urllib3's object addresses."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return re.sub(r"<?[\w.]+\(?[^()<>]*\)? object at 0x[0-9a-f]+>?: ", "", str(error))[:_WORDS]


def _without_secrets(text: str, connection: Connection) -> str:
    """The text without the password, as it is, in a URL, in JSON, and as it travels."""
    if not connection.password:
        return text
    password = connection.password
    pair = b64encode(f"{connection.login or ''}:{password}".encode()).decode()
    for form in (pair, json.dumps(password)[1:-1], quote(password, safe=""), quote(password), password):
        text = text.replace(form, "***")
    return text
