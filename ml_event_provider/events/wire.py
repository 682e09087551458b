"""Events on the wire: the CloudEvents 1.0.2 HTTP binding with the JSON event format, in all three modes.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_to_bytes

from ml_event_provider.events.bounds import MAX_EVENT_BYTES, size_of
from ml_event_provider.events.model import Event, is_json_type
from ml_event_provider.events.strict_json import parse_json, shown
from ml_event_provider.exceptions import InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
#: Every charset whose bytes are the same in UTF-8.
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]*)', re.IGNORECASE)
_PREFIX: Final = "ce-"
#: What a header value carries as it is: printable ASCII without space, ``"`` and ``%`` (section 3.1.3.2).
_SAFE: Final = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")


def read_request(headers: Mapping[str, str], body: bytes, *, max_event_bytes: int = MAX_EVENT_BYTES) -> list[Event]:
    """The events of one HTTP request, each once, in their order; all of them or none.

    The content type tells the mode: structured, batch, or binary (``ce-*`` headers and any JSON type). Plain
    ``application/json`` without such headers may hold one event or a list of events in the JSON event format.
    An event without ``time`` gets the present moment, one without ``origin`` is from ``ingest``.

    :param max_event_bytes: the largest that one event's JSON may be, in bytes.
    :raises InvalidEvent: if any event cannot be read; in a batch the message begins with ``event 3 of 10:``.
    """
    fields = _fields(headers)
    content_type = fields.get("content-type", "").strip()
    media_type = content_type.partition(";")[0].strip().lower()
    binary = any(name.startswith(_PREFIX) for name in fields)
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in _CHARSETS:
        raise InvalidEvent(f"Content-Type has the charset {shown(charset[1])}; send UTF-8")
    if media_type == BATCH:
        return _read_list(parse_json(body), max_event_bytes)
    if media_type == STRUCTURED:
        return [_read_one(parse_json(body), max_event_bytes)]
    if media_type.startswith("application/cloudevents"):
        raise InvalidEvent(f"Content-Type is {shown(content_type)}; of the event formats only JSON is understood")
    if binary:
        return [_read_binary(fields, content_type, body, max_event_bytes)]
    if media_type == "application/json":
        document = parse_json(body)
        if isinstance(document, list):
            return _read_list(document, max_event_bytes)
        if isinstance(document, dict) and "specversion" in document:
            return [_read_one(document, max_event_bytes)]
    raise InvalidEvent(
        f"Content-Type is {shown(content_type)} and the request is no event: send one event as {STRUCTURED},"
        f" a list as {BATCH}, or JSON data with ce-specversion, ce-id, ce-source and ce-type headers"
    )


def write_structured(event: Event) -> tuple[str, bytes]:
    """Content type and body of one event in structured mode.

    :raises InvalidEvent: if its data cannot be JSON.
    """
    return f"{STRUCTURED}; charset=utf-8", event.to_json().encode()


def write_batch(events: Iterable[Event]) -> tuple[str, bytes]:
    """Content type and body of any number of events in batch mode.

    :raises InvalidEvent: if the data of one cannot be JSON.
    """
    return f"{BATCH}; charset=utf-8", f"[{','.join(event.to_json() for event in events)}]".encode()


def write_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """Headers and body of one event in binary mode; the body is its data.

    :raises InvalidEvent: if its data cannot be JSON.
    """
    document = json.loads(event.to_json())
    data = document.pop("data")
    headers = {"Content-Type": document.pop("datacontenttype")}
    headers.update((_PREFIX + name, quote(_canonical(value), safe=_SAFE)) for name, value in document.items())
    return headers, json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def _canonical(value: str | int) -> str:
    """An attribute's text form (CloudEvents 1.0, section "Type system")."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that matter here, by lower-case name."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        if name != "content-type" and not name.startswith(_PREFIX):
            continue
        if name in found:
            raise InvalidEvent(f"the header {shown(name)} occurs twice")
        found[name] = value
    return found


def _read_one(document: Any, max_event_bytes: int) -> Event:
    if not isinstance(document, dict):
        raise InvalidEvent(f"an event is a JSON object, not {type(document).__name__}")
    event = Event.from_dict(document)
    size = size_of(event)
    if size > max_event_bytes:
        raise InvalidEvent(f"the event has {size} bytes; {max_event_bytes} are allowed: send a link to the data")
    return event


def _read_list(documents: Any, max_event_bytes: int) -> list[Event]:
    if not isinstance(documents, list):
        raise InvalidEvent(f"a batch is a JSON array of events, not {type(documents).__name__}")
    found: dict[tuple[str, str], Event] = {}
    for number, document in enumerate(documents, 1):
        try:
            event = _read_one(document, max_event_bytes)
        except InvalidEvent as error:
            raise InvalidEvent(f"event {number} of {len(documents)}: {error}") from None
        found.setdefault((event.source, event.id), event)
    return list(found.values())


def _read_binary(fields: Mapping[str, str], content_type: str, body: bytes, max_event_bytes: int) -> Event:
    if body and not is_json_type(content_type):
        raise InvalidEvent(f"Content-Type is {shown(content_type)}; only JSON data is understood")
    document: dict[str, Any] = {
        name.removeprefix(_PREFIX): _attribute(name, value)
        for name, value in fields.items()
        if name.startswith(_PREFIX)
    }
    for name in ("data", "datacontenttype"):
        if name in document:
            raise InvalidEvent(f"the header 'ce-{name}' has no meaning: data is the body, its type Content-Type")
    if body:
        document["data"] = parse_json(body)
    return _read_one(document, max_event_bytes)


def _attribute(name: str, value: str) -> str:
    """A header value's text: quotes are removed, then one round of percent-decoding (section 3.1.3.2)."""
    value = value.strip(" \t")
    if not value.isascii():
        raise InvalidEvent(f"the header {shown(name)} holds characters that are not ASCII; percent-encode them")
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidEvent(f"the header {shown(name)} is not percent-encoded UTF-8: {shown(value)}") from None
