"""The variables of a template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.messages.about import About
from ml_event_provider.messages.appearance import appearance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.events.model import Event


def values_of(
    event: Event, channel: str, rule: str, severity: str, options: Mapping[str, Any] | None, about: About | None
) -> dict[str, Any]:
    """The variables of a template."""
    about = about or About()
    icon, tone = about.appearance(*appearance(event, severity))
    return {
        "event": event,
        "data": event.data,
        "rule": rule,
        "severity": severity,
        "channel": channel,
        "options": options or {},
        "icon": icon,
        "tone": tone,
        "state": event.type.rsplit(".", 1)[-1],
        "alert": about,
    }
