"""Keeps a connection's secrets out of results: remotes like to repeat what they were sent."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ml_event_provider.connection import Connection

MASK: Final = "***"
#: Shorter texts are not masked: they would be found in any words (the limit of Airflow's own masker).
SHORTEST: Final = 5
#: Path segments from this length on are taken for tokens: ``/services/T0…/B0…/x7Yz…``.
_TOKEN_LENGTH = 16
_SECRET_NAME = re.compile(r"secret|token|passw|key|auth|credential|signature|cookie", re.IGNORECASE)


class Mask:
    """Replaces a connection's secrets, in all spellings in which they travel, by ``***``."""

    def __init__(self, connection: Connection) -> None:
        spellings = {
            form for secret in _secrets(connection) for form in _spellings(secret) if len(form) >= SHORTEST
        }
        # The longest first, so that a secret that holds another one is replaced as a whole.
        ordered = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        return self._pattern.sub(MASK, text) if self._pattern else text


def _secrets(connection: Connection) -> Iterator[str]:
    if connection.password:
        yield connection.password
        yield f"{connection.login or ''}:{connection.password}"
    for url in (connection.host, connection.password):
        yield from _in_url(url or "")
    yield from _in_extra(connection.extra_dejson)


def _in_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return
    if password:
        yield password
        yield f"{unquote(parts.username or '')}:{unquote(password)}"
    yield from (value for _, value in parse_qsl(parts.query))
    yield from (segment for segment in parts.path.split("/") if len(segment) >= _TOKEN_LENGTH)


def _in_extra(extra: Mapping[str, Any]) -> Iterator[str]:
    for name, value in extra.items():
        if name == "headers" and isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                yield value
        if isinstance(value, dict):
            yield from _in_extra(value)
        elif isinstance(value, str) and _SECRET_NAME.search(name):
            yield value
            # "Bearer x", "Basic x"
            yield value.rpartition(" ")[2]


def _spellings(secret: str) -> Iterator[str]:
    for form in {secret, secret.strip(), secret.removeprefix("whsec_")}:
        yield form
        yield quote(form, safe="")
        yield quote(form)
        yield quote_plus(form)
        yield json.dumps(form)[1:-1]
        yield base64.b64encode(form.encode("utf-8", "replace")).decode()
