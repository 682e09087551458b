"""Keeps what a connection holds out of results: remotes like to repeat what they were sent.

What is secret is not told by a field's name, since people put keys anywhere: into headers, paths, queries, templates.
So every value of a connection is masked, except of the fields below, whose values are words that errors must name.
"""

from __future__ import annotations

import base64
import json
import re
from functools import cached_property, lru_cache
from html.entities import codepoint2name
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ml_event_provider.connection import Connection

MASK: Final = "***"
#: Shorter texts are not masked: they would be found in any words (the limit of Airflow's own masker).
SHORTEST: Final = 5
#: So much of the beginning of a secret at the end of a text is taken for one that was cut; of a long text, less.
_BEGINNING: Final = 8
_LONG: Final = 400
#: Fields of connections whose values are told: how and where to send, not with what right.
SHOWN: Final = frozenset(
    {
        *("format", "message_type", "keywords", "at_mobiles", "at_user_ids", "at_all", "messages_per_minute"),
        *("to", "from_email", "auth_type", "disable_ssl", "disable_tls", "ssl_context", "channel", "base_url"),
        *("verify", "verify_ssl", "timeout", "stream", "allow_redirects", "max_redirects", "trust_env"),
        *("check_response", "srv_lookup", "retry_limit", "content-type", "accept", "accept-language", "user-agent"),
    }
)
#: Parts of a URL's path that are words of an interface, not tokens.
_PATH_WORDS: Final = frozenset(
    {
        *("alert", "alerts", "event", "events", "hooks", "ingest", "incoming", "message", "messages", "notification"),
        *("notifications", "notify", "publish", "robot", "services", "slack", "dingtalk", "teams", "trigger"),
        *("triggers", "webhook", "webhooks", "workflows"),
    }
)
#: The scheme before the credentials of an ``Authorization`` header.
_SCHEME = re.compile(r"\s*(bearer|basic|token|apikey)\s+", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"secret|token|passw|apikey|(^|[_-])(key|auth)$|authorization|credential|signature|cookie", re.IGNORECASE
)
#: A text in a template in JSON, with the key before it.
_LITERAL = re.compile(r'(?:"([\w.-]+)"\s*:\s*)?"((?:[^"\\{}]|\\.)+)"')
_WORDS = re.compile(r"[^\W\d_]{1,20}([ -][^\W\d_]{1,20})*")


class Mask:
    """Replaces what a connection holds, in all spellings in which it travels, by ``***``.

    :param template: the rule's own body template, where it has one: what is written into it is masked, too.
    """

    def __init__(self, connection: Connection, template: str = "") -> None:
        self._connection = connection
        self._template = template

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        return text if len(text) < SHORTEST else self._spelt.masked(text)

    @cached_property
    def _spelt(self) -> _Spellings:
        return _spelt(tuple(dict.fromkeys((*_secrets(self._connection), *_in_template(self._template)))))


class _Spellings:
    """All spellings of some secrets, the longest first: a secret that holds another one is replaced as a whole."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        found = {form for secret in secrets for form in _spellings(secret)}
        self._ordered = sorted((form for form in found if len(form) >= SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_pattern_of, self._ordered)), re.IGNORECASE) if self._ordered else None

    def masked(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._without_beginning(self._pattern.sub(MASK, text))

    def _without_beginning(self, text: str) -> str:
        """A text that was cut, here or by the remote, may end within a secret."""
        whole = text.rstrip(".…")
        shortest = _BEGINNING if len(whole) < _LONG else SHORTEST
        end = whole[-shortest:]
        for secret in self._ordered:
            if end not in secret:
                continue
            for length in range(min(len(secret) - 1, len(whole)), shortest - 1, -1):
                if whole.endswith(secret[:length]):
                    return whole[:-length] + MASK + text[len(whole) :]
        return text


@lru_cache(maxsize=256)
def _spelt(secrets: tuple[str, ...]) -> _Spellings:
    """Made once for a connection, not for each message."""
    return _Spellings(secrets)


def _secrets(connection: Connection) -> Iterator[str]:
    login, password = connection.login or "", connection.password or ""
    if password:
        yield password
        yield f"{login}:{password}"
    elif login and "@" not in login:
        # A key in the place of a user.
        yield login
    if "://" in password:
        yield from _in_url(password)
    elif "/" in password:
        # The end of a webhook's URL.
        yield from password.split("/")
    host = connection.host or ""
    yield from _in_url(host if "://" in host else f"//{host}")
    yield from _in_extra(connection.extra_dejson)


def _in_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        yield url
        return
    if password:
        yield password
        yield parts.password or ""
    if user or password:
        yield user
        yield f"{user}:{password}"
    yield from (value for _, value in parse_qsl(parts.query))
    yield from (part for part in (*parts.path.split("/"), parts.fragment) if part.lower() not in _PATH_WORDS)


def _in_extra(extra: Mapping[str, Any]) -> Iterator[str]:
    for name, value in extra.items():
        if name == "body_template":
            yield from _in_template(str(value))
        elif name.lower() not in SHOWN:
            yield from _in_value(value)
        elif isinstance(value, str) and "://" in value:
            yield from _in_url(value)


def _in_value(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            # What it was meant to be cannot be told: each word of it may be what is secret.
            yield from re.findall(r"[^\s\"',:{}\[\]]+", value)
    if isinstance(value, dict):
        yield from _in_extra({str(name): item for name, item in value.items()})
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _in_value(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)
        yield _SCHEME.sub("", str(value))


def _in_template(template: str) -> Iterator[str]:
    """The texts that are written into a template, but for plain words under names that are no secret's."""
    for name, text in _LITERAL.findall(template):
        if _SECRET_NAME.search(name) or not _WORDS.fullmatch(text):
            yield text


def _spellings(secret: str) -> Iterator[str]:
    """A secret as a whole, without what goes around it, and as base64."""
    for form in {secret, secret.strip(), secret.removeprefix("whsec_")}:
        yield form
        octets = form.encode("utf-8", "replace")
        yield base64.b64encode(octets).decode()
        yield base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _pattern_of(form: str) -> str:
    """A pattern for a text however it is quoted: as URL, JSON within JSON, or HTML, each character for itself."""
    return "".join(
        _BLANKS if part.isspace() else re.escape(part) if part.isascii() and part.isalnum() else _quoted(part)
        for part in re.findall(r"\s+|[A-Za-z0-9]+|.", form, re.DOTALL)
    )


#: Blanks, plus signs in forms, and line breaks as JSON has them.
_BLANKS: Final = r"(?:\s|\+|%(?:25)*(?:20|0[9ad])|\\+[nrt]|&nbsp;)+"


def _quoted(character: str) -> str:
    octets = character.encode("utf-8", "replace")
    units = character.encode("utf-16-be", "replace")
    code = ord(character)
    name = codepoint2name.get(code)
    return "(?:{})".format(
        "|".join(
            (
                r"\\+" if character == "\\" else r"\\*" + re.escape(character),
                "".join(f"%(?:25)*{octet:02x}" for octet in octets),
                "".join(rf"\\+u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)),
                rf"&(?:amp;)*#0*{code};",
                rf"&(?:amp;)*#x0*{code:x};",
                *([rf"&(?:amp;)*{name};"] if name else ()),
            )
        )
    )
