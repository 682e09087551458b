"""What is wrong, if anything: read from the store, told to the health endpoint and the command line."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ml_event_provider.store import deliveries, dispatchers, events
from ml_event_provider.store.engine import transaction, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

#: A dispatcher that was silent for longer does not count as alive, in seconds.
SILENT_SECONDS = 30
#: An event that waits longer to be matched is a problem, in seconds.
UNMATCHED_SECONDS = 60
#: How long a dead letter is a problem, in seconds; it is kept, and counted, until it is sent again or pruned.
DEAD_SECONDS = 86_400


def health(now: Callable[[], datetime] = utc_now) -> dict[str, Any]:
    """``status`` (``"healthy"`` or ``"unhealthy"``), ``problems`` in words, and the numbers behind them."""
    moment = now()
    with transaction() as connection:
        alive = [
            one
            for one in dispatchers.all_dispatchers(connection)
            if one.heartbeat_at > moment - timedelta(seconds=SILENT_SECONDS)
        ]
        waiting, oldest = events.count_unmatched(connection)
        states = deliveries.count_by_state(connection)
        died = deliveries.count_dead(connection, since=moment - timedelta(seconds=DEAD_SECONDS))
    age = (moment - oldest).total_seconds() if oldest else 0.0
    problems = []
    if not alive:
        problems.append(
            "no dispatcher is alive: start a scheduler with [ml_events] embedded_dispatcher = True, or"
            " `airflow ml-events dispatcher`"
        )
    if age > UNMATCHED_SECONDS:
        problems.append(f"{waiting} event(s) wait to be matched, the oldest for {age:.0f} s")
    if died:
        problems.append(
            f"{died} deliveries became dead letters in the last day:"
            " see `airflow ml-events deliveries list --state dead`"
        )
    return {
        "status": "unhealthy" if problems else "healthy",
        "problems": problems,
        "dispatchers": [
            {
                "id": one.id,
                "hostname": one.hostname,
                "embedded": one.embedded,
                "heartbeat_at": one.heartbeat_at,
            }
            for one in alive
        ],
        "unmatched_events": waiting,
        "oldest_unmatched_seconds": round(age, 1),
        "deliveries": states,
    }
