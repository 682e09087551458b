"""What a message says where its own template could not be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.messages.dialects import DIALECTS
from ml_event_provider.messages.plain import cut, size
from ml_event_provider.messages.shortening import shorten

if TYPE_CHECKING:
    from ml_event_provider.events.model import Event


def with_line(body: str, language: str, unused: str, max_body_bytes: int) -> str:
    """``body``, shortened to make room for a line that says that another template was to be used."""
    line = DIALECTS[language].note("⚠️ " + cut(unused, 300)).strip("\n")
    room = max_body_bytes - size(line) - 2
    return f"{shorten(body, room, language)}\n\n{line}" if room > size(line) else body


def with_row(html: str, unused: str) -> str:
    """An HTML page with such a line below its heading."""
    note = DIALECTS["html"].note("⚠️ " + cut(unused, 300))
    before, end, after = html.partition("</h1>")
    return before + end + note + after if end else note + html


def without_template(event: Event, language: str) -> dict[str, str]:
    """Title and body for when not even a built-in template can be used."""
    facts = DIALECTS[language].facts((("Type", event.type), ("Subject", event.subject), ("Time", event.time)))
    return {"title": f"{event.type} {event.subject}", "body": facts}
