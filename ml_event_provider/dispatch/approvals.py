"""Which change of a model version's approval an event tells of.

Several sensors wait for one version, each with its own first look and its own clock, and a version may be approved,
withdrawn and approved again. A registry tells no more than how the version stands now. So what was recorded decides:
the same status as last time, and nobody saw another in between, is the same change.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ml_event_provider.events.identity import again_id
from ml_event_provider.sources.model_registry import APPROVAL_CHANGED
from ml_event_provider.store import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_event_provider.events.model import Event


def is_sighting(event: Event) -> bool:
    """Whether the event is what a sensor saw of a registry, not what another system published."""
    return event.type == APPROVAL_CHANGED and event.origin == "worker"


def named(connection: Any, event: Event, beside: Sequence[Event] = ()) -> Event:
    """The event under the id of the change that it tells of: that of a recorded one, or one of its own.

    ``beside`` are events that are recorded in the same transaction.
    """
    version = (event.type, event.source, event.subject, event.workspace)
    known = [one.event for one in events.about(connection, event)]
    known += [one for one in beside if (one.type, one.source, one.subject, one.workspace) == version]
    known.sort(key=lambda one: one.time)
    before = [one for one in known if one.time <= event.time]
    after = [one for one in known if one.time > event.time]
    if before and _same(before[-1], event):
        return replace(event, id=before[-1].id)
    if after and _same(event, after[0]):
        return replace(event, id=after[0].id)
    return replace(event, id=_free(event.id, known))


def _same(earlier: Event, later: Event) -> bool:
    """Whether two events tell of one change: the same status, and the later saw no other since."""
    seen = _seen(later)
    return earlier.data.get("status") == later.data.get("status") and (seen is None or seen <= earlier.time)


def _seen(event: Event) -> datetime | None:
    """When another status was last seen before the event."""
    try:
        return datetime.fromisoformat(str(event.data.get("previous_seen")))
    except ValueError:
        return None


def _free(event_id: str, known: Sequence[Event]) -> str:
    taken = {one.id for one in known}
    found, times = event_id, 0
    while found in taken:
        times += 1
        found = again_id(event_id, times)
    return found
