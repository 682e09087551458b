"""Whether events are matched: what waits where, who is at it, which rules cannot be used, what was set aside."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from ml_event_provider.store import quarantine, schema, states, unmatched
from ml_event_provider.store.dispatchers import all_dispatchers
from ml_event_provider.store.health.dispatchers import SILENT_SECONDS
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: An event that waits longer to be matched is a problem, in seconds.
UNMATCHED_SECONDS = 60
#: A session of ours that has a transaction open for longer is told of beside it, in seconds.
OPEN_SECONDS = 5
#: How many workspaces, rules and sessions are named.
NAMED = 5

_OURS = text(
    "SELECT pid, application_name AS name, coalesce(host(client_addr), 'this host') AS host, state,"
    " extract(epoch FROM clock_timestamp() - xact_start) AS open_for"
    " FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'ml-events%'"
    "  AND pid <> pg_backend_pid() AND clock_timestamp() - xact_start > make_interval(secs => :seconds)"
    " ORDER BY xact_start LIMIT :limit"
)


def check(connection: Connection, moment: datetime) -> Finding:
    """The events that wait for a dispatcher, the rules that none can use, and what was set aside."""
    waiting = unmatched.by_workspace(connection)
    ages = {name: (moment - oldest).total_seconds() if oldest else 0.0 for name, _, oldest in waiting}
    late = [(name, number) for name, number, _ in waiting if ages[name] > UNMATCHED_SECONDS]
    unusable = _unusable(connection, moment)
    aside = quarantine.count(connection)
    problems = [
        f"{number} event(s) of workspace {name} wait to be matched, the oldest for {ages[name]:.0f} s: "
        + _why(connection, name)
        for name, number in late[:NAMED]
    ]
    if len(late) > NAMED:
        problems.append(f"events of {len(late) - NAMED} more workspace(s) wait for over {UNMATCHED_SECONDS} s")
    problems += [
        f"{what} of workspace {name} cannot be used: {why}: mend it and apply it again"
        for name, what, why in unusable[:NAMED]
    ]
    if len(unusable) > NAMED:
        problems.append(f"{len(unusable) - NAMED} more rules or what stands beside them cannot be used")
    if aside:
        told = ", ".join(f"{number} of kind {kind}" for kind, number in sorted(aside.items()))
        problems.append(
            f"{sum(aside.values())} thing(s) could not be read, matched or written and were set aside ({told}): see"
            " `airflow ml-events quarantine list`, then retry or discard them"
        )
    numbers = {
        "unmatched_events": sum(number for _, number, _ in waiting),
        "oldest_unmatched_seconds": round(max(ages.values(), default=0.0), 1),
        "unmatched_by_workspace": {name: number for name, number, _ in waiting[:100]},
        "unusable_rules": len(unusable),
        "quarantined": aside,
    }
    return Finding(problems, numbers=numbers)


def _why(connection: Connection, workspace: str) -> str:
    """Who is at a workspace's events, as far as the database tells."""
    if connection.dialect.name != "postgresql":
        return "no dispatcher runs, or it does not keep up; see the log of the dispatchers"
    name = states.lock_of(workspace)
    lock = select(schema.cursor.c.name).where(schema.cursor.c.name == name)
    exists = connection.execute(lock).first() is not None
    if not exists or connection.execute(lock.with_for_update(skip_locked=True)).first() is not None:
        return "no dispatcher is at it: none runs, or they do not keep up; start more (`airflow ml-events dispatcher`)"
    rows = connection.execute(_OURS, {"seconds": OPEN_SECONDS, "limit": NAMED}).all()
    sessions = "; ".join(
        f"database session {row.pid} ({row.name}, from {row.host}) is {row.state}, its transaction open for"
        f" {row.open_for:.0f} s"
        for row in rows
    )
    if not sessions:
        return "a dispatcher is at it and does not keep up: rules that are slow, or too many events"
    return f"a dispatcher has its lock: {sessions}. One that hangs is ended by SELECT pg_terminate_backend(number)"


def _unusable(connection: Connection, moment: datetime) -> list[tuple[str, str, str]]:
    """Workspace, kind and name, and reason of what dispatchers that are alive report they cannot use."""
    found: dict[tuple[str, str], str] = {}
    for one in all_dispatchers(connection):
        told: Any = one.report.get("unusable")
        if isinstance(told, dict) and abs(moment - one.heartbeat_at) < timedelta(seconds=SILENT_SECONDS):
            for workspace, rules in told.items():
                found.update({(str(workspace), str(what)): str(why).splitlines()[0] for what, why in rules.items()})
    return [(workspace, what, why) for (workspace, what), why in sorted(found.items())]
