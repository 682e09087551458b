"""Ends sessions of ours whose process stopped reading in the middle of a statement's answer.

PostgreSQL's bounds do not reach such a session: it is not idle, it waits for no lock, and its statement cannot be
cancelled while the server is writing. It would keep its locks for as long as the process is frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from ml_event_provider.store.engine import IDLE_SECONDS, transaction

if TYPE_CHECKING:
    from datetime import datetime

#: Sessions of our own role, in a transaction, whose statement waits for the client to take or to send something.
_UNREAD = text(
    "SELECT pid, backend_start, query_start, application_name AS name, xact_start,"
    " coalesce(host(client_addr), 'this host') AS host, clock_timestamp() AS now"
    " FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
    " AND application_name LIKE 'ml-events%' AND xact_start IS NOT NULL"
    " AND state = 'active' AND wait_event_type = 'Client'"
)
_END = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid = :pid AND backend_start = :backend_start AND query_start = :query_start"
    " AND state = 'active' AND wait_event_type = 'Client'"
)


class Statement(NamedTuple):
    """One statement of one session."""

    pid: int
    backend_start: datetime
    query_start: datetime


class Ended(NamedTuple):
    """A session that was ended: which, whose (``ml-events`` and a dispatcher's id), from where, and when."""

    pid: int
    name: str
    host: str
    #: For how long its transaction had been open, in seconds.
    open_for: float
    at: datetime


class Unread:
    """The statements that waited for their client at each look so far. Times are the database's.

    :param seconds: for how long a statement may wait for its client.
    """

    def __init__(self, *, seconds: float = IDLE_SECONDS) -> None:
        self._seconds = seconds
        self._since: dict[Statement, datetime] = {}

    def end(self) -> list[Ended]:
        """Look once more; end the sessions that waited at each look for too long, and return them.

        :raises DBAPIError: if the database does not let us.
        """
        with transaction() as connection:
            if connection.dialect.name != "postgresql":
                return []
            rows = {Statement(*row[:3]): row for row in connection.execute(_UNREAD)}
            self._since = {one: self._since.get(one, row.now) for one, row in rows.items()}
            stuck = [row for one, row in rows.items() if (row.now - self._since[one]).total_seconds() >= self._seconds]
            return [
                Ended(row.pid, row.name, row.host, (row.now - row.xact_start).total_seconds(), row.now)
                for row in stuck
                if connection.execute(_END, Statement(*row[:3])._asdict()).scalar()
            ]
