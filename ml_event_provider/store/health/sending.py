"""Whether messages arrive."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ml_event_provider.store.deliveries import count_by_state, count_dead
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: How long a dead letter is a problem, in seconds; it is kept, and counted, until it is sent again or pruned.
DEAD_SECONDS = 86_400


def check(connection: Connection, moment: datetime) -> Finding:
    """The deliveries that are unfinished, or became dead letters."""
    died = count_dead(connection, since=moment - timedelta(seconds=DEAD_SECONDS))
    problems = []
    if died:
        problems.append(
            f"{died} deliveries became dead letters in the last day:"
            " see `airflow ml-events deliveries list --state dead`"
        )
    return Finding(problems, numbers={"deliveries": count_by_state(connection)})
