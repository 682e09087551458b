"""Records events and reads them back. The unique key over id and source makes recording idempotent."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from pydantic_core import from_json
from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import object_session

from ml_event_provider.events.belonging import dag_of
from ml_event_provider.events.bounds import bounded
from ml_event_provider.events.model import Event
from ml_event_provider.store import schema, wakes
from ml_event_provider.store.choice import begins, chosen
from ml_event_provider.store.engine import (
    MYSQL,
    database_now,
    in_chunks,
    insert_new,
    insert_new_one,
    savepoint,
    transaction,
)
from ml_event_provider.store.one_by_one import json_object, readable_rows, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select

    from ml_event_provider.store.choice import Names

log = logging.getLogger(__name__)

_TABLE = schema.event
_BY_SEQ = select(_TABLE).where(_TABLE.c.seq.in_(bindparam("seqs", expanding=True)))
#: How long a listener waits for a lock, in seconds: as long as Airflow's own transaction stands still for us.
LISTENER_LOCK_SECONDS = 2
_BOUND = text(f"SELECT current_setting('lock_timeout'), set_config('lock_timeout', '{LISTENER_LOCK_SECONDS}s', true)")
_UNBOUND = text("SELECT set_config('lock_timeout', :before, true)")
#: What is read forward.
KEY = _TABLE.c.seq
_TRY_PREFIX = "airflow.task_instance."


class RecordedEvent(NamedTuple):
    """An event with its place in the store."""

    seq: int
    event: Event
    recorded_at: datetime
    matched_at: datetime | None


@contextmanager
def savepoint_of(orm_object: Any) -> Iterator[Connection]:
    """A savepoint on the connection of the session that holds ``orm_object``.

    What is written there commits or rolls back together with the object's own state change, and a failing
    statement does not hurt the session. ``session.begin_nested()`` would trip the scheduler's commit guard.
    An object that belongs to no session (``airflow dags test``) has no transaction to share: it gets one of its own.
    On PostgreSQL no lock is waited for longer than ``LISTENER_LOCK_SECONDS``.
    """
    session = object_session(orm_object)
    if session is None:
        with transaction() as connection:
            yield connection
        return
    with savepoint(session.connection()) as connection, _short_waits(connection):
        yield connection


@contextmanager
def _short_waits(connection: Connection) -> Iterator[None]:
    """What a rolled-back savepoint undoes by itself, a released one leaves: the bound is taken back at the end."""
    if connection.dialect.name != "postgresql":
        yield
        return
    before = connection.execute(_BOUND).scalar_one()
    yield
    connection.execute(_UNBOUND, {"before": before})


def shares_transactions(orm_object: Any) -> bool:
    """Whether events may be written within Airflow's own transactions.

    Not on MySQL and MariaDB: there a deadlock inside a savepoint rolls back all of Airflow's transaction.
    """
    session = object_session(orm_object)
    return session is None or session.get_bind().dialect.name not in MYSQL


def record(connection: Connection, events: Sequence[Event], *, now: datetime | None = None) -> None:
    """Record the events that are new, in one statement; ``now`` is the database's moment unless given."""
    if not events:
        return
    moment = now or database_now(connection)
    insert_new(connection, _TABLE, [_row(event, moment) for event in events])
    wakes.tell(connection, wakes.EVENTS)


def record_one(connection: Connection, event: Event, *, now: datetime | None = None) -> bool:
    """Record one event; say whether it was new. ``now`` is the database's moment unless given."""
    new = insert_new_one(connection, _TABLE, _row(event, now or database_now(connection)))
    if new:
        wakes.tell(connection, wakes.EVENTS)
    return new


def record_now(events: Sequence[Event]) -> None:
    """Record events in a transaction of their own."""
    with transaction() as connection:
        record(connection, events)


def _row(event: Event, now: datetime) -> dict[str, Any]:
    event = bounded(event)
    return {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "workspace": event.workspace,
        "origin": event.origin,
        "time": event.time,
        "recorded_at": now,
        "try_uuid": try_of(event),
        "dag_id": dag_of(event),
        "matched_at": None,
        "body": event.to_json(),
    }


def try_of(event: Event) -> UUID | None:
    """Airflow's UUID of the task try that the event tells of."""
    if not event.type.startswith(_TRY_PREFIX):
        return None
    try:
        return UUID(str(event.data.get("try_id")))
    except ValueError:
        return None


def latest_state_of_try(connection: Connection, try_uuid: UUID | str) -> tuple[str | None, dict[str, int]]:
    """The state that was recorded last for a task try, and how often each state was."""
    types = connection.execute(
        select(_TABLE.c.type).where(_TABLE.c.try_uuid == UUID(str(try_uuid))).order_by(_TABLE.c.seq)
    ).scalars()
    counts: dict[str, int] = {}
    last: str | None = None
    for name in types:
        last = str(name).removeprefix(_TRY_PREFIX)
        counts[last] = counts.get(last, 0) + 1
    return last, counts


def recorded_of(connection: Connection, ids: Sequence[str]) -> list[str]:
    """The ids among ``ids`` that are recorded, in the order in which they were."""
    found = connection.execute(select(_TABLE.c.id).where(_TABLE.c.id.in_(ids)).order_by(_TABLE.c.seq))
    return [str(event_id) for event_id in found.scalars()]


def dag_runs_of(connection: Connection, seqs: Sequence[int]) -> set[tuple[str, str]]:
    """The dag runs, by DAG and run id, that those among the events tell of that tell of one."""
    named: set[tuple[str, str]] = set()
    for chunk in in_chunks(seqs):
        query = select(_TABLE).where(
            _TABLE.c.seq.in_(chunk), _TABLE.c.type.startswith("airflow.dag_run.", autoescape=True)
        )
        for one in _readable(connection, query):
            named.add((str(one.event.data.get("dag_id")), str(one.event.data.get("run_id"))))
    return named


def find(connection: Connection, event_id: str) -> list[RecordedEvent]:
    """The events with that id: at most one from each source."""
    return _readable(connection, select(_TABLE).where(_TABLE.c.id == event_id).order_by(_TABLE.c.seq))


def about(connection: Connection, event: Event, limit: int = 200) -> list[RecordedEvent]:
    """The newest events of the type, source, subject and workspace of ``event``, by their own times, oldest first."""
    query = (
        select(_TABLE)
        .where(
            _TABLE.c.type == event.type,
            _TABLE.c.source == event.source,
            _TABLE.c.subject == event.subject,
            _TABLE.c.workspace == event.workspace,
        )
        .order_by(_TABLE.c.time.desc(), _TABLE.c.seq.desc())
        .limit(limit)
    )
    return _readable(connection, query)[::-1]


def belonging_of(connection: Connection, event: Event) -> tuple[str, str | None] | None:
    """The workspace and the DAG of what is recorded under an event's id and source, if anything is."""
    query = select(_TABLE.c.workspace, _TABLE.c.dag_id)
    row = connection.execute(query.where(_TABLE.c.id == event.id, _TABLE.c.source == event.source)).first()
    return None if row is None else (row.workspace, row.dag_id)


def place_of(connection: Connection, event: Event) -> int:
    """The place of a recorded event."""
    query = select(_TABLE.c.seq).where(_TABLE.c.id == event.id, _TABLE.c.source == event.source)
    return int(connection.execute(query).scalar_one())


def by_seq(connection: Connection, seqs: Sequence[int]) -> dict[int, RecordedEvent]:
    """Events by their place."""
    found: dict[int, RecordedEvent] = {}
    for chunk in in_chunks(sorted(set(seqs))):
        for one in _readable(connection, _BY_SEQ, seqs=chunk):
            found[one.seq] = one
    return found


def known_ids(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of the ids are recorded."""
    found: set[str] = set()
    for chunk in in_chunks(ids):
        found.update(connection.execute(select(_TABLE.c.id).where(_TABLE.c.id.in_(chunk))).scalars())
    return found


def latest(
    connection: Connection, *, type_prefix: Names = "", workspace: Names = "", limit: int = 50
) -> list[RecordedEvent]:
    """The newest events, newest first."""
    query = select(_TABLE).where(begins(_TABLE.c.type, type_prefix), chosen(_TABLE.c.workspace, workspace))
    query = query.order_by(_TABLE.c.seq.desc()).limit(limit)
    return _readable(connection, query)


def history(
    connection: Connection, *, since: datetime, until: datetime, types: Sequence[str] | None, workspaces: Sequence[str]
) -> Iterator[tuple[int, float, dict[str, Any]]]:
    """The events recorded in a time, in the order of recording: place, moment (seconds since 1970), event as JSON.

    One that cannot be read is logged and left out.
    """
    query = (
        select(_TABLE.c.seq, _TABLE.c.recorded_at, _TABLE.c.body)
        .where(_TABLE.c.recorded_at >= since, _TABLE.c.recorded_at < until, _TABLE.c.workspace.in_(workspaces))
        .order_by(_TABLE.c.seq)
    )
    if types is not None:
        query = query.where(_TABLE.c.type.in_(types))
    found = connection.execute(query, execution_options={"stream_results": True, "yield_per": 2000})
    for seq, recorded_at, body in found:
        try:
            document = from_json(body)
        except ValueError as error:
            log.error("Recorded event (seq %s) cannot be read: %s", seq, error)
            continue
        if not isinstance(document, dict):
            log.error("Recorded event (seq %s) is no object", seq)
            continue
        yield seq, recorded_at.timestamp(), document


def from_body(body: str) -> Event:
    """The event of a stored body.

    :raises ValueError: if it is none; so do :class:`TypeError` and :class:`RecursionError`.
    """
    # Not the strict reader of what others send: what is stored was valid when it was recorded.
    return Event.from_dict(json_object(body))


def _readable(connection: Connection, query: Select[Any], **values: Any) -> list[RecordedEvent]:
    """The rows' events. A row that cannot be read is logged, and does not hold up the others."""

    def unreadable(seq: int, error: Exception) -> None:
        log.error("Recorded event (seq %s) cannot be read: %s", seq, reason_of(error))

    found: list[RecordedEvent] = []
    for row in readable_rows(connection, query, KEY, unreadable, **values):
        try:
            found.append(RecordedEvent(row.seq, from_body(row.body), row.recorded_at, row.matched_at))
        except (ValueError, TypeError, RecursionError) as error:
            unreadable(row.seq, error)
    return found
