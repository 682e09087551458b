"""Whether any dispatcher is alive."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ml_event_provider.store.dispatchers import all_dispatchers
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: A dispatcher that was silent for longer does not count as alive, in seconds.
SILENT_SECONDS = 30


def check(connection: Connection, moment: datetime) -> Finding:
    """The dispatchers by their heartbeats."""
    silent_since = moment - timedelta(seconds=SILENT_SECONDS)
    alive = [one for one in all_dispatchers(connection) if one.heartbeat_at > silent_since]
    problems = []
    if not alive:
        problems.append(
            "no dispatcher is alive: start a scheduler with [ml_events] embedded_dispatcher = True, or"
            " `airflow ml-events dispatcher`"
        )
    told = [
        {"id": one.id, "hostname": one.hostname, "embedded": one.embedded, "heartbeat_at": one.heartbeat_at}
        for one in alive
    ]
    return Finding(problems, numbers={"dispatchers": told})
