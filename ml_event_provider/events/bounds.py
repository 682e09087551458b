"""Keeps events within 256 KiB: the largest texts are cut, with a mark that says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import InvalidEvent

if TYPE_CHECKING:
    from ml_event_provider.events.model import Event

MAX_EVENT_BYTES = 256 * 1024
#: A text is never cut below this many characters.
SHORTEST_CUT = 200


def cut_mark(removed: int) -> str:
    """What stands at the end of a text of which ``removed`` characters were cut."""
    return f"… [cut {removed} characters]"


def cut(text: str, limit: int) -> str:
    """``text`` with at most ``limit`` characters before the mark; whole where a mark would lengthen it."""
    shortened = text[:limit] + cut_mark(len(text) - limit)
    return shortened if len(shortened) < len(text) else text


def size_of(event: Event) -> int:
    """The size of the event's JSON, in bytes."""
    return len(event.to_json().encode())


def bounded(event: Event, limit: int = MAX_EVENT_BYTES) -> Event:
    """The event, or a copy whose largest texts in ``data`` are cut until its JSON fits ``limit`` bytes.

    :raises InvalidEvent: if it is too large for another reason (very many small values), or no JSON.
    """
    size = size_of(event)
    if size <= limit:
        return event
    data = json.loads(event.to_json())["data"]
    allowed = max(map(len, _texts(data)), default=0)
    while size > limit and allowed > SHORTEST_CUT:
        allowed = max(SHORTEST_CUT, allowed // 2)
        shortened = event.with_data(_cut_all(data, allowed))
        size = size_of(shortened)
        if size <= limit:
            return shortened
    raise InvalidEvent(
        f"event {event.id!r} of type {event.type!r} has {size} bytes even with its texts cut to"
        f" {SHORTEST_CUT} characters; {limit} are allowed: send a link to the data instead"
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []


def _cut_all(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return cut(value, limit)
    if isinstance(value, dict):
        return {key: _cut_all(item, limit) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut_all(item, limit) for item in value]
    return value
