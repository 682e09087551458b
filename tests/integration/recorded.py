"""Events to record, and what stands in the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ml_event_provider.events.model import Event
from ml_event_provider.store import events, unmatched
from ml_event_provider.store.engine import transaction

EVENT = Event(
    id="e-1",
    source="/tests",
    type="tests.thing.happened",
    time=datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC),
    subject="things/1",
    data={"n": 1},
)


def event(event_id: str, **changes: Any) -> Event:
    """A copy of ``EVENT`` with another id."""
    return replace(EVENT, id=event_id, **changes)


def recorded() -> list[Event]:
    """All recorded events, oldest first."""
    with transaction() as connection:
        return [one.event for one in reversed(events.latest(connection, limit=10_000))]


def matched_now(limit: int, now: datetime, workspace: str = "default") -> list[str]:
    """Mark up to so many unmatched events as matched, without any rule; the ids of them."""
    with transaction() as connection:
        waiting = unmatched.read(connection, workspace, limit=limit)
        unmatched.mark(connection, [one.seq for one in waiting.events], now=now)
    return [one.event.id for one in waiting.events]


def recorded_types() -> list[str]:
    """The types of all recorded events, oldest first."""
    return [one.type for one in recorded()]
