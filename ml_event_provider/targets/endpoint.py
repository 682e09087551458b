"""The address below a connection's own: a rule may name what lies under its path, and nothing beside it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from ml_event_provider.targets.answers import UnusableError

#: What no URL holds as it is; an HTTP library or a server would encode, drop or end at it.
_NOT_IN_URLS: Final = re.compile(r"[\x00-\x20\x7f#\\]|://")
#: What no name of a path is, decoded: control characters, bytes that are no UTF-8, another URL.
_NOT_IN_PATHS: Final = re.compile(r"[\x00-\x1f\x7f\ufffd]|://")
_SEPARATORS: Final = re.compile(r"[/\\]")
#: How often a server and what stands before it may decode one after the other.
_DECODINGS: Final = 4


def below(url: str, endpoint: str) -> str:
    """The URL of ``endpoint``, a path with perhaps a query, below the path of ``url``; the query of both is kept.

    :raises UnusableError: if it leads out of that path, in whatever spelling a server may understand.
    """
    path, _, query = endpoint.partition("?")
    shown = f"the option 'endpoint' is {endpoint[:200]!r}"
    if _NOT_IN_URLS.search(path) or any(_NOT_IN_PATHS.search(text) for text in _readings(path)):
        raise UnusableError(f"{shown}: give a path below the connection's URL, encoded, like v2/alerts")
    # What stands behind a semicolon some servers drop.
    segments = (segment for text in _readings(path) for segment in _SEPARATORS.split(text))
    if any(segment.partition(";")[0] in {".", ".."} for segment in segments):
        raise UnusableError(f"{shown}: it may not lead out of the connection's path by '..'")
    if _NOT_IN_URLS.search(query.replace("://", "")):
        raise UnusableError(f"{shown}: encode what stands in its query")
    parts = urlsplit(url)
    whole = f"{parts.path.rstrip('/')}/{path.lstrip('/')}"
    return urlunsplit(parts._replace(path=whole, query="&".join(part for part in (parts.query, query) if part)))


def _readings(path: str) -> list[str]:
    """The path as it is, and as servers may read it: decoded, perhaps again, with look-alikes of dots and slashes."""
    found = [path]
    for _ in range(_DECODINGS):
        decoded = unquote(found[-1])
        if decoded == found[-1]:
            break
        found.append(decoded)
    return [*found, *(unicodedata.normalize("NFKC", text) for text in found)]
