"""How a process without a database reaches the ingest endpoint: address, credentials, one bounded request.

Used in task processes, so it imports only what they have loaded already (httpx and PyJWT, both Airflow's
own).
"""

from __future__ import annotations

import json
import os
import threading
import time
import warnings
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

from ml_event_provider.events.wire import BATCH, write_batch
from ml_event_provider.exceptions import EndpointFailed, EventRejected, HandOverError, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_event_provider.events.model import Event

#: The audience of service tokens; a user's token has Airflow's own, so neither passes for the other.
AUDIENCE = "ml-events"
SERVICE = "ml-events-service"
#: How long a service token is valid, in seconds.
TOKEN_SECONDS = 60

_PREFIX = "/ml-events/v1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API server is and who asks. User and password log in; a password alone is a token."""

    base_url: str
    user: str = ""
    password: str = ""
    verify: bool = True

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, user={self.user!r})"


def local_endpoint() -> Endpoint:
    """The API server that this machine's configuration names; without credentials a token is minted."""
    from airflow.configuration import conf

    execution = str(conf.get("core", "execution_api_server_url", fallback="") or "").rstrip("/")
    if execution.endswith("/execution"):
        return Endpoint(execution.removesuffix("/execution"))
    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return Endpoint(base or f"http://localhost:{conf.get('api', 'port', fallback='8080')}")


def can_mint() -> bool:
    """Whether this machine holds the key that service tokens are signed with."""
    from airflow.configuration import conf

    return bool(
        conf.get("api_auth", "jwt_secret", fallback="") or conf.get("api_auth", "jwt_private_key_path", fallback="")
    )


def mint_token(now: float | None = None) -> str:
    """A short-lived service token, signed with this deployment's ``[api_auth]`` key.

    :raises HandOverError: if the machine has no such key.
    """
    import jwt
    from airflow.configuration import conf

    moment = int(time.time() if now is None else now)
    claims: dict[str, Any] = {
        "sub": SERVICE,
        "aud": AUDIENCE,
        "iat": moment,
        "nbf": moment,
        "exp": moment + TOKEN_SECONDS,
    }
    issuer = str(conf.get("api_auth", "jwt_issuer", fallback="") or "").split(",")[0].strip()
    if issuer:
        claims["iss"] = issuer
    algorithm = str(conf.get("api_auth", "jwt_algorithm", fallback="") or "GUESS")
    secret = conf.get("api_auth", "jwt_secret", fallback="")
    if conf.get("api_auth", "jwt_private_key_path", fallback=""):
        from airflow.api_fastapi.auth.tokens import JWTGenerator, get_signing_args

        generator = JWTGenerator(**get_signing_args(False), valid_for=TOKEN_SECONDS, audience=AUDIENCE)
        return str(generator.generate({"sub": SERVICE}))
    if not secret:
        raise HandOverError(
            "this machine has neither the connection to the ingest endpoint nor [api_auth] jwt_secret:"
            " create the connection that [ml_events] conn_id names (type 'ml_events': API server URL, user,"
            " password)"
        )
    with warnings.catch_warnings():
        # A short key is the deployment's choice, and Airflow says so elsewhere: not in every task's log.
        warnings.simplefilter("ignore")
        return jwt.encode(claims, str(secret), algorithm="HS512" if algorithm == "GUESS" else algorithm)


@cache
def _client(verify: bool, secure: bool) -> httpx.Client:
    # Reading the certificate store takes longer than a whole hand-over: only for https.
    return httpx.Client(verify=verify if secure else False, follow_redirects=False)


# Two processes must not share one kept-alive connection.
os.register_at_fork(after_in_child=_client.cache_clear)

_tokens: dict[Endpoint, tuple[str, float]] = {}


def call(
    endpoint: Endpoint,
    path: str,
    body: bytes,
    *,
    content_type: str,
    deadline: float,
) -> Any:
    """POST to the ingest API and return its JSON answer; ``deadline`` is a ``time.monotonic()`` value.

    :raises EventRejected: if it refused the body for good (400, 413, 415, 422).
    :raises Unauthorized: if it does not know the caller (401).
    :raises EndpointFailed: if it failed at this body (500).
    :raises HandOverError: for everything else: unreachable, too slow, 403, other 5xx.
    """
    answer = _post(endpoint, path, body, content_type, _token(endpoint, deadline), deadline)
    if answer.status_code == 401 and endpoint in _tokens:
        del _tokens[endpoint]
        answer = _post(endpoint, path, body, content_type, _token(endpoint, deadline), deadline)
    if answer.status_code in {200, 201, 202}:
        try:
            return answer.json()
        except ValueError:
            raise HandOverError(f"{endpoint.base_url} answered {answer.status_code} without JSON") from None
    problem = f"{endpoint.base_url}{_PREFIX}{path} answered HTTP {answer.status_code}: {_detail(answer)}"
    # Not 403: whoever lacks a right gets it some day, and the events must not be lost until then.
    if answer.status_code in {400, 413, 415, 422}:
        raise EventRejected(problem)
    if answer.status_code == 401:
        raise Unauthorized(problem)
    if answer.status_code == 500:
        raise EndpointFailed(problem)
    raise HandOverError(problem)


def send_events(endpoint: Endpoint, events: Sequence[Event], *, deadline: float) -> list[str]:
    """Hand events over as one CloudEvents batch; return their ids."""
    _, body = write_batch(events)
    answer = call(endpoint, "/events", body, content_type=BATCH, deadline=deadline)
    ids = answer.get("ids") if isinstance(answer, dict) else None
    if not isinstance(ids, list):
        raise HandOverError(f"{endpoint.base_url} answered something else than the ids of the events")
    return [str(one) for one in ids]


def send_json(endpoint: Endpoint, path: str, document: Mapping[str, Any], *, deadline: float) -> Any:
    """POST a JSON document to the ingest API."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return call(endpoint, path, body, content_type="application/json", deadline=deadline)


def _post(endpoint: Endpoint, path: str, body: bytes, content_type: str, token: str, deadline: float) -> httpx.Response:
    client = _client(endpoint.verify, endpoint.base_url.startswith("https:"))
    headers = {"content-type": content_type, "authorization": f"Bearer {token}"}
    url = f"{endpoint.base_url}{_PREFIX}{path}"
    # A kept-alive connection that the server closed meanwhile fails at once: one further try, on a new one.
    for last in (False, True):
        try:
            return _in_time(deadline, client, url, content=body, headers=headers)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if last:
                raise HandOverError(f"{endpoint.base_url}: {type(error).__name__}: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise HandOverError(f"{endpoint.base_url}: {type(error).__name__}: {error}") from None
    raise AssertionError("unreachable")


def _in_time(deadline: float, client: httpx.Client, url: str, **request: Any) -> httpx.Response:
    """POST in a thread that is given up at the deadline.

    httpx starts its time limit anew with every byte, and looking a host name up has none.

    :raises TimeoutError: if the deadline is over.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("no time left")
    answer: Future[httpx.Response] = Future()

    def post() -> None:
        try:
            answer.set_result(client.post(url, timeout=remaining, **request))
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=post, name="ml-events-hand-over", daemon=True).start()
    try:
        return answer.result(remaining)
    except TimeoutError:
        raise TimeoutError(f"no answer in {remaining:.1f} s") from None


def _token(endpoint: Endpoint, deadline: float) -> str:
    if not endpoint.user:
        return endpoint.password or mint_token()
    token, until = _tokens.get(endpoint, ("", 0.0))
    if time.monotonic() < until:
        return token
    client = _client(endpoint.verify, endpoint.base_url.startswith("https:"))
    try:
        answer = _in_time(
            deadline,
            client,
            f"{endpoint.base_url}/auth/token",
            json={"username": endpoint.user, "password": endpoint.password},
        )
        answer.raise_for_status()
        token = str(answer.json()["access_token"])
    except httpx.HTTPStatusError as error:
        raise HandOverError(
            f"{endpoint.base_url}/auth/token answered HTTP {error.response.status_code} to user {endpoint.user!r}"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, KeyError, TypeError) as error:
        raise HandOverError(f"{endpoint.base_url}/auth/token: {type(error).__name__}") from None
    _tokens[endpoint] = (token, time.monotonic() + 600)
    return token


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json().get("detail", "")
    except (ValueError, AttributeError):
        detail = answer.text
    return str(detail)[:500]
