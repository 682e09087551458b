"""Whether events are matched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_event_provider.store import unmatched
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: An event that waits longer to be matched is a problem, in seconds.
UNMATCHED_SECONDS = 60


def check(connection: Connection, moment: datetime) -> Finding:
    """The events that wait for a dispatcher."""
    waiting, oldest = unmatched.count(connection)
    age = (moment - oldest).total_seconds() if oldest else 0.0
    problems = []
    if age > UNMATCHED_SECONDS:
        problems.append(f"{waiting} event(s) wait to be matched, the oldest for {age:.0f} s")
    return Finding(problems, numbers={"unmatched_events": waiting, "oldest_unmatched_seconds": round(age, 1)})
