"""Whether a database session holds up others: PostgreSQL tells who waits for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from ml_event_provider.store.dispatchers import all_dispatchers
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: For how long a session may make others wait, in seconds.
BLOCKING_SECONDS = 20

#: Sessions of this database that idle in a transaction, whose client does not take their answer, or that make others
#: wait. What belongs to another role shows no
#: more than its process id.
_HOLDERS = text(
    "WITH waiting AS (SELECT unnest(pg_blocking_pids(pid)) AS pid FROM pg_stat_activity"
    "  WHERE datname = current_database() AND wait_event_type = 'Lock'),"
    " holders AS (SELECT pid, count(*) AS waits FROM waiting GROUP BY pid)"
    " SELECT a.pid, coalesce(a.application_name, '') AS name, coalesce(host(a.client_addr), 'this host') AS host,"
    "  a.state, extract(epoch FROM clock_timestamp() - a.xact_start) AS open_for,"
    "  extract(epoch FROM clock_timestamp() - a.state_change) AS idle_for, coalesce(h.waits, 0) AS waits"
    " FROM pg_stat_activity a LEFT JOIN holders h ON h.pid = a.pid"
    " WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL"
    "  AND clock_timestamp() - a.state_change > make_interval(secs => :seconds)"
    "  AND (h.waits > 0 OR (a.backend_xid IS NOT NULL"
    "   AND (a.state LIKE 'idle in transaction%' OR (a.state = 'active' AND a.wait_event_type = 'Client'))))"
    " ORDER BY a.xact_start LIMIT 10"
)

#: What a session does that holds up others, where it is not idle.
_STATES = {"active": "in one statement"}


def check(connection: Connection, moment: datetime) -> Finding:
    """Who keeps locks without working. A scheduler that was killed lives on here while its children hold its socket."""
    if connection.dialect.name != "postgresql":
        return Finding()
    held = [row._asdict() for row in connection.execute(_HOLDERS, {"seconds": BLOCKING_SECONDS})]
    problems = [
        f"database session {row['pid']} ({row['name'] or 'Airflow'}, from {row['host']}) has had a transaction open for"
        f" {row['open_for']:.0f} s, {_STATES.get(row['state'], 'idle')} for {row['idle_for']:.0f} s, and"
        f" {row['waits']} other session(s) wait for it:"
        " its process is frozen, or was killed while its children (a LocalExecutor's workers) keep its connection. End"
        f" those, or: SELECT pg_terminate_backend({row['pid']})"
        for row in held
    ]
    return Finding(problems, _ended(connection), {"blocking_sessions": [int(row["pid"]) for row in held]})


def _ended(connection: Connection) -> list[str]:
    """The sessions that dispatchers ended in the last hour, as their heartbeats tell."""
    return [
        f"database session {one['pid']} ({one['name']}, from {one['host']}) was ended at {one['at'][:16]} UTC after a"
        f" transaction of {one['open_for']:.0f} s: its process did not read the answer to a statement. It was frozen"
        " (SIGSTOP, a paused machine) or its machine is gone; end it if it is still there"
        for dispatcher in all_dispatchers(connection)
        for one in dispatcher.report.get("ended", ())
    ]
