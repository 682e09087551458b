"""What is wrong, if anything: read from the store, told to the health endpoint and the command line.

Each module here looks at one part and gives a :class:`Finding`; :data:`CHECKS` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.store import migration
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.store.health import database, dispatchers, links, matching, sending, sessions, spools

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from ml_event_provider.store.health.finding import Finding

#: Each is given a connection and the present moment.
CHECKS: tuple[Callable[[Connection, datetime], Finding], ...] = (
    dispatchers.check,
    matching.check,
    sending.check,
    spools.check,
    sessions.check,
    database.check,
    links.check,
)


def health(now: Callable[[Connection], datetime] = database_now) -> dict[str, Any]:
    """``status`` (``"healthy"`` or ``"unhealthy"``), ``problems`` and ``notices`` in words, and the numbers behind."""
    with transaction() as connection:
        tables = migration.standing(connection)
        if tables.remedy:
            # Nothing else can be read.
            return {"status": "unhealthy", "problems": [tables.remedy], "notices": [], "migration": tables.at}
        moment = now(connection)
        found = [check(connection, moment) for check in CHECKS]
    problems = [problem for one in found for problem in one.problems]
    numbers: dict[str, Any] = {"migration": tables.at}
    for one in found:
        numbers |= one.numbers
    return {
        "status": "unhealthy" if problems else "healthy",
        "problems": problems,
        "notices": [notice for one in found for notice in one.notices],
        **numbers,
    }
