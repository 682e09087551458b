"""Reading an Airflow connection's fields, whose extras come as JSON, as text or as form values."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from ml_event_provider.targets.answers import UnusableError

#: Comma and semicolon, also in full width, as Chinese keyboards write them.
_SEPARATORS = re.compile("[,;\uff0c\uff1b\n]")

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.connection import Connection


def url_of(connection: Connection, default_scheme: str, default_host: str = "") -> str:
    """The URL from ``host``, with ``schema`` and ``port`` where it lacks them (as Airflow's ``HttpHook``).

    :raises UnusableError: if it is none.
    """
    host = (connection.host or default_host).strip()
    if not host:
        raise UnusableError("the field host is empty: give the URL")
    url = host if "://" in host else f"{connection.schema or default_scheme}://{host}"
    try:
        parts = urlsplit(url)
        # The port is checked when it is read.
        port = parts.port
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError
        if connection.port and port is None:
            parts = parts._replace(netloc=f"{parts.netloc}:{connection.port}")
    except ValueError:
        raise UnusableError("the field host is no URL: give http:// or https://, a host and a path") from None
    return urlunsplit(parts)


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """A field's text without spaces around it; empty if it is missing."""
    value = fields.get(name)
    return "" if value is None else str(value).strip()


def flag_of(fields: Mapping[str, Any], name: str) -> bool:
    """A field that is true or false, as JSON or as text."""
    return text_of(fields, name).lower() in {"true", "t", "1", "yes", "on"}


def list_of(fields: Mapping[str, Any], name: str) -> list[str]:
    """A field that is a list, or a text separated by commas (full-width ones too) or semicolons."""
    value = fields.get(name)
    if value is None:
        return []
    if isinstance(value, list | tuple | set | frozenset):
        items = [str(item) for item in value]
    else:
        items = _SEPARATORS.split(str(value))
    return [item for item in (item.strip() for item in items) if item]


def object_of(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that is a JSON object, as such or as text.

    :raises UnusableError: if it is something else.
    """
    value = fields.get(name)
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise UnusableError(f"the extra field {name!r} is not valid JSON") from None
    if not value:
        return {}
    if not isinstance(value, dict):
        raise UnusableError(f"the extra field {name!r} must be a JSON object")
    return value


def json_bytes(document: Any) -> bytes:
    """Compact JSON in UTF-8; half surrogates become question marks.

    :raises UnusableError: if a value is no JSON.
    """
    try:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnusableError(f"the message cannot be written as JSON: {error}") from None
    return text.encode("utf-8", "replace")
