"""Webhooks: signed JSON (Standard Webhooks), CloudEvents in both HTTP modes, or the rule's own JSON.

Every request carries ``webhook-id`` (the delivery's id, the same on every try) and ``webhook-timestamp``, and
with a signing secret ``webhook-signature`` (Standard Webhooks 1.0.0: HMAC-SHA256 of ``id.timestamp.body``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from ml_event_provider.events import Event
from ml_event_provider.events.wire import write_binary, write_structured
from ml_event_provider.hookspecs import hookimpl
from ml_event_provider.targets.answers import UnusableError, outcome_of, told
from ml_event_provider.targets.connections import json_bytes, object_of, text_of, url_of
from ml_event_provider.targets.endpoint import below
from ml_event_provider.targets.model import Capabilities, Message, Result
from ml_event_provider.targets.network import NETWORK, Network
from ml_event_provider.targets.secrets import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ml_event_provider.connection import Connection
    from ml_event_provider.targets import Target

FORMATS: Final = ("standard", "cloudevents-structured", "cloudevents-binary", "custom")
#: Standard Webhooks 1.0.0, "Signature scheme": the size of a symmetric secret in bytes.
SECRET_BYTES: Final = range(24, 65)

#: Extras of Airflow's ``http`` connections that are options of its hook; all others are headers.
_HTTP_OPTIONS = frozenset(
    {
        *("stream", "cert", "proxies", "proxy", "timeout", "verify", "verify_ssl", "allow_redirects"),
        *("max_redirects", "trust_env", "check_response", "srv_lookup"),
        *("format", "signing_secret", "previous_secret", "headers", "bearer_token", "body_template"),
    }
)
#: Set by this module or the HTTP library, never by a connection.
_OWN_HEADERS = re.compile(r"(webhook|ce)-.*|host|content-length|transfer-encoding|connection", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class WebhookTarget:
    """Posts to any URL.

    In connections of type ``mleventswebhook`` the password is the signing secret. In those of type ``http``
    login and password are HTTP's basic authentication, the secret is the extra ``signing_secret``, and
    further extras are headers, as for ``HttpHook``. The rule's option ``endpoint`` names what lies below
    the URL's path.

    :param now: the time in seconds since 1970.
    """

    connection_types: tuple[str, ...] = ("mleventswebhook", "ml_events_webhook", "http")
    channel = "webhook"
    capabilities = Capabilities(dialect="json", max_title_bytes=1024, max_body_bytes=64_000)
    caller_options: frozenset[str] = frozenset()

    def __init__(self, network: Network = NETWORK, now: Callable[[], float] = time.time) -> None:
        self._network = network
        self._now = now

    def send(self, connection: Connection, message: Message, *, timeout: float) -> Result:
        """Post one message; 2xx is success."""
        mask = Mask(connection, text_of(message.options, "body_template"))
        return told(connection, mask, lambda: self._send(connection, message, timeout, mask))

    def parts(self, connection: Connection, options: Mapping[str, Any]) -> frozenset[str]:
        """CloudEvents carry the event alone, a body that the user wrote what it says, all others title and body."""
        extra = connection.extra_dejson
        kind = text_of(extra, "format")
        if kind.startswith("cloudevents-"):
            return frozenset()
        if options.get("body_template") or extra.get("body_template"):
            return frozenset({"json"})
        return frozenset({"body", "json"} if kind == "custom" else {"title", "body", "json"})

    def check(self, connection: Connection, *, timeout: float) -> Result:
        """Post a signed event of type ``ml_event_provider.connection.test``."""
        event = Event(
            id=str(uuid4()),
            source="/ml_event_provider",
            type="ml_event_provider.connection.test",
            time=datetime.fromtimestamp(self._now(), UTC),
            data={"conn_id": connection.conn_id or ""},
        )
        message = Message(
            delivery_id=f"test-{event.id}",
            event=event,
            title="Connection test",
            body="Connection test of ml_event_provider",
            parts={"json": '{"type": "ml_event_provider.connection.test"}'},
        )
        return self.send(connection, message, timeout=timeout)

    def _send(self, connection: Connection, message: Message, timeout: float, mask: Mask) -> Result:
        extra = connection.extra_dejson
        url = url_of(connection, "http" if connection.conn_type == "http" else "https")
        endpoint = text_of(message.options, "endpoint")
        if endpoint:
            url = below(url, endpoint)
        headers, body = _content(_format(text_of(extra, "format"), message), message)
        headers = {**_own_headers(connection), **headers}
        headers.update(_signature_headers(connection, message.delivery_id, int(self._now()), body))
        answer = self._network.post(
            url, body, headers, timeout=timeout, verify=_verify(extra), mask=mask, status_decides=True
        )
        return answer if isinstance(answer, Result) else outcome_of(answer, self._now)


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The ``v1`` signature of Standard Webhooks."""
    digest = hmac.new(secret, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def secret_bytes(text: str, field: str) -> bytes:
    """The key in ``whsec_`` + base64.

    :raises UnusableError: if it is no base64 or not of 24 to 64 bytes; the text names the field.
    """
    encoded = text.strip().removeprefix("whsec_")
    advice = "make one with: echo whsec_$(openssl rand -base64 32)"
    try:
        secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableError(f"the {field} must be whsec_ and base64; {advice}") from None
    if len(secret) not in SECRET_BYTES:
        raise UnusableError(f"the {field} has {len(secret)} bytes where Standard Webhooks wants 24 to 64; {advice}")
    return secret


def _format(chosen: str, message: Message) -> str:
    """The connection's format; a body that the user wrote is what is meant, unless CloudEvents were asked for."""
    if "json" in message.parts and chosen in {"", "standard"}:
        return "custom"
    return chosen or "standard"


def _content(kind: str, message: Message) -> tuple[dict[str, str], bytes]:
    event = message.event
    if kind == "standard":
        return {"Content-Type": "application/json"}, json_bytes(_standard(message))
    if kind == "cloudevents-structured":
        content_type, body = write_structured(event)
        return {"Content-Type": content_type}, body
    if kind == "cloudevents-binary":
        return write_binary(event)
    if kind == "custom":
        text = message.parts.get("json") or message.body
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnusableError(f"the rendered body is not JSON ({error}): correct the body template") from None
        return {"Content-Type": "application/json"}, text.encode("utf-8", "replace")
    raise UnusableError(f"the extra field 'format' is {kind!r}; it is one of {', '.join(FORMATS)}")


def _standard(message: Message) -> dict[str, Any]:
    event = message.event.to_dict()
    links = {"run": message.run_url, "log": message.log_url}
    return {
        "type": message.event.type,
        "timestamp": event["time"],
        "data": {
            "event": event,
            "rule": message.rule,
            "severity": message.severity,
            "title": message.title,
            "body": message.body,
            "links": {name: url for name, url in links.items() if url},
            **({} if message.about.ordinary else {"alert": message.about.to_dict()}),
        },
    }


def _own_headers(connection: Connection) -> dict[str, str]:
    """The headers that the connection adds: its own, a bearer token, basic authentication."""
    extra = connection.extra_dejson
    headers = object_of(extra, "headers")
    if connection.conn_type == "http":
        headers = {**{name: value for name, value in extra.items() if name not in _HTTP_OPTIONS}, **headers}
        if connection.login:
            pair = f"{connection.login}:{connection.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    if token := text_of(extra, "bearer_token"):
        headers["Authorization"] = f"Bearer {token}"
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not isinstance(value, str | int | float):
            raise UnusableError(f"the header {name!r} is no HTTP header: give a name and a text")
        if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", str(value)):
            raise UnusableError(f"the value of the header {name!r} holds a line break or characters beyond Latin-1")
    return {name: str(value).strip() for name, value in headers.items() if not _OWN_HEADERS.fullmatch(name)}


def _verify(extra: Mapping[str, Any]) -> bool | str:
    """The extra ``verify``: true, false, or the path of the CAs to trust."""
    value = extra.get("verify", extra.get("verify_ssl"))
    text = "true" if value is None else str(value).strip()
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if not Path(text).exists():
        raise UnusableError(f"the extra field 'verify' names {text}, which does not exist")
    return text


def _signature_headers(connection: Connection, message_id: str, now: int, body: bytes) -> dict[str, str]:
    extra = connection.extra_dejson
    if connection.conn_type == "http":
        secret, field = text_of(extra, "signing_secret"), "extra field 'signing_secret'"
    else:
        secret, field = (connection.password or "").strip(), "signing secret (the field password)"
    secrets = [secret_bytes(secret, field)] if secret else []
    if previous := text_of(extra, "previous_secret"):
        secrets.append(secret_bytes(previous, "extra field 'previous_secret'"))
    headers = {"webhook-id": message_id, "webhook-timestamp": str(now)}
    if secrets:
        headers["webhook-signature"] = " ".join(sign(key, message_id, now, body) for key in secrets)
    return headers


@hookimpl
def ml_event_targets() -> Iterable[Target]:
    """The webhook target."""
    return (WebhookTarget(),)
