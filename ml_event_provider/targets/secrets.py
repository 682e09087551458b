"""Keeps a connection's secrets out of results: remotes like to repeat what they were sent."""

from __future__ import annotations

import base64
import json
import re
from functools import cached_property
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
#: Texts shorter than this were not cut by anybody here.
_CUT_LENGTH = 400
#: The scheme before the credentials of an ``Authorization`` header.
_SCHEME = re.compile(r"\s*(bearer|basic|token|apikey)\s+", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"secret|token|passw|apikey|(^|[_-])(key|auth)$|authorization|credential|signature|cookie", re.IGNORECASE
)


class Mask:
    """Replaces a connection's secrets, in all spellings in which they travel, by ``***``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if len(text) < SHORTEST or self._pattern is None:
            return text
        masked = self._pattern.sub(MASK, text)
        return self._without_beginning(masked) if len(masked) >= _CUT_LENGTH else masked

    @cached_property
    def _ordered(self) -> list[str]:
        """All spellings, the longest first: a secret that holds another one is replaced as a whole."""
        found = {form for secret in _secrets(self._connection) for form in _spellings(secret)}
        return sorted((form for form in found if len(form) >= SHORTEST), key=len, reverse=True)

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return re.compile("|".join(map(re.escape, self._ordered))) if self._ordered else None

    def _without_beginning(self, text: str) -> str:
        """A text that was cut may end within a secret."""
        for secret in self._ordered:
            for length in range(min(len(secret) - 1, len(text)), SHORTEST - 1, -1):
                if text.endswith(secret[:length]):
                    return text[:-length] + MASK
        return text


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
            yield _SCHEME.sub("", value)


def _spellings(secret: str) -> Iterator[str]:
    for form in {secret, secret.strip(), " ".join(secret.split()), secret.removeprefix("whsec_")}:
        yield form
        yield quote(form, safe="")
        yield quote(form)
        yield quote_plus(form)
        for ascii_only in (True, False):
            escaped = json.dumps(form, ensure_ascii=ascii_only)[1:-1]
            yield escaped
            # An answer in JSON that quotes a request in JSON.
            yield json.dumps(escaped)[1:-1]
        yield base64.b64encode(form.encode("utf-8", "replace")).decode()
