"""Whether a database session holds up others: PostgreSQL tells who waits for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: For how long a session may make others wait, in seconds.
BLOCKING_SECONDS = 20

#: Sessions of this database that idle in a transaction, or make others wait. What belongs to another role shows no
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
    "  AND (h.waits > 0 OR (a.state LIKE 'idle in transaction%' AND a.backend_xid IS NOT NULL))"
    " ORDER BY a.xact_start LIMIT 10"
)


def check(connection: Connection, moment: datetime) -> Finding:
    """Who keeps locks without working. A scheduler that was killed lives on here while its children hold its socket."""
    if connection.dialect.name != "postgresql":
        return Finding()
    held = [row._asdict() for row in connection.execute(_HOLDERS, {"seconds": BLOCKING_SECONDS})]
    problems = [
        f"database session {row['pid']} ({row['name'] or 'Airflow'}, from {row['host']}) has had a transaction open for"
        f" {row['open_for']:.0f} s, idle for {row['idle_for']:.0f} s, and {row['waits']} other session(s) wait for it:"
        " its process is frozen, or was killed while its children (a LocalExecutor's workers) keep its connection. End"
        f" those, or: SELECT pg_terminate_backend({row['pid']})"
        for row in held
    ]
    return Finding(problems, numbers={"blocking_sessions": [int(row["pid"]) for row in held]})
