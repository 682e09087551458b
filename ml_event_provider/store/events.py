"""Records events and reads them back. The unique key over id and source makes recording idempotent."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import object_session

from ml_event_provider.events.bounds import bounded
from ml_event_provider.events.model import Event
from ml_event_provider.store import schema
from ml_event_provider.store.engine import (
    become_writer,
    can_skip_locked,
    in_chunks,
    insert_new,
    insert_new_one,
    savepoint,
    transaction,
    utc_now,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_TABLE = schema.event
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
    """
    session = object_session(orm_object)
    if session is None:
        raise RuntimeError(f"{type(orm_object).__name__} belongs to no database session")
    with savepoint(session.connection()) as connection:
        yield connection


def record(connection: Connection, events: Sequence[Event], *, now: datetime | None = None) -> None:
    """Record the events that are new, in one statement."""
    moment = now or utc_now()
    insert_new(connection, _TABLE, [_row(event, moment) for event in events])


def record_one(connection: Connection, event: Event, *, now: datetime | None = None) -> bool:
    """Record one event; say whether it was new."""
    return insert_new_one(connection, _TABLE, _row(event, now or utc_now()))


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
        "try_uuid": _try_uuid(event),
        "matched_at": None,
        "body": event.to_json(),
    }


def _try_uuid(event: Event) -> UUID | None:
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


def find(connection: Connection, event_id: str) -> list[RecordedEvent]:
    """The events with that id: at most one from each source."""
    rows = connection.execute(select(_TABLE).where(_TABLE.c.id == event_id).order_by(_TABLE.c.seq))
    return [_recorded(row) for row in rows]


def by_seq(connection: Connection, seqs: Sequence[int]) -> dict[int, RecordedEvent]:
    """Events by their place."""
    found: dict[int, RecordedEvent] = {}
    for chunk in in_chunks(sorted(set(seqs))):
        for row in connection.execute(select(_TABLE).where(_TABLE.c.seq.in_(chunk))):
            found[row.seq] = _recorded(row)
    return found


def known_ids(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of the ids are recorded."""
    found: set[str] = set()
    for chunk in in_chunks(ids):
        found.update(connection.execute(select(_TABLE.c.id).where(_TABLE.c.id.in_(chunk))).scalars())
    return found


def latest(
    connection: Connection, *, type_prefix: str = "", workspace: str = "", limit: int = 50
) -> list[RecordedEvent]:
    """The newest events, newest first."""
    query = select(_TABLE).order_by(_TABLE.c.seq.desc()).limit(limit)
    if type_prefix:
        query = query.where(_TABLE.c.type.startswith(type_prefix, autoescape=True))
    if workspace:
        query = query.where(_TABLE.c.workspace == workspace)
    return [_recorded(row) for row in connection.execute(query)]


def take_unmatched(connection: Connection, limit: int, *, now: datetime) -> list[RecordedEvent]:
    """Take up to ``limit`` unmatched events for this transaction and mark them matched.

    Whoever rolls back leaves them unmatched; other dispatchers skip those taken meanwhile.
    """
    unmatched = select(_TABLE.c.seq).where(_TABLE.c.matched_at.is_(None)).order_by(_TABLE.c.seq).limit(limit)
    if can_skip_locked(connection):
        unmatched = unmatched.with_for_update(skip_locked=True)
    else:
        if connection.execute(unmatched.limit(1)).first() is None:
            return []
        become_writer(connection)
    seqs = list(connection.execute(unmatched).scalars())
    if not seqs:
        return []
    connection.execute(update(_TABLE).where(_TABLE.c.seq.in_(seqs)).values(matched_at=now))
    rows = connection.execute(select(_TABLE).where(_TABLE.c.seq.in_(seqs)).order_by(_TABLE.c.seq))
    return [_recorded(row) for row in rows]


def count_unmatched(connection: Connection) -> tuple[int, datetime | None]:
    """How many events wait for the dispatcher, and since when the oldest."""
    row = connection.execute(
        select(func.count(), func.min(_TABLE.c.recorded_at)).where(_TABLE.c.matched_at.is_(None))
    ).one()
    return int(row[0]), row[1]


def _recorded(row: Any) -> RecordedEvent:
    return RecordedEvent(row.seq, Event.from_json(row.body), row.recorded_at, row.matched_at)
