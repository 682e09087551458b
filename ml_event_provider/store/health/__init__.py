"""What is wrong, if anything: read from the store, told to the health endpoint and the command line.

Each module here looks at one part and gives a :class:`Finding`; :data:`CHECKS` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.store import migration
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.store.health import database, dispatchers, links, matching, sending, sessions, spools
from ml_event_provider.store.health.finding import Finding
from ml_event_provider.store.one_by_one import is_of_a_row, reading, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection


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


def _found(check: Callable[[Connection, datetime], Finding], connection: Connection, moment: datetime) -> Finding:
    """What a check finds. One that meets a row that cannot be read is a problem itself, and blinds no other."""
    try:
        with reading(connection):
            return check(connection, moment)
    except Exception as error:
        if not is_of_a_row(error):
            raise
        part = check.__module__.rpartition(".")[2]
        return Finding([f"health of {part} cannot be told, as a row of it cannot be read: {reason_of(error)}"])


def health(now: Callable[[Connection], datetime] = database_now) -> dict[str, Any]:
    """``status`` (``"healthy"`` or ``"unhealthy"``), ``problems`` and ``notices`` in words, and the numbers behind."""
    with transaction() as connection:
        tables = migration.standing(connection)
        if tables.remedy:
            # Nothing else can be read.
            return {"status": "unhealthy", "problems": [tables.remedy], "notices": [], "migration": tables.at}
        moment = now(connection)
        found = [_found(check, connection, moment) for check in CHECKS]
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
