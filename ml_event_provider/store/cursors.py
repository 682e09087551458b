"""Cursors over Airflow's tables, watched runs, and jobs that one dispatcher at a time does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, insert, or_, select, update

from ml_event_provider.store import schema
from ml_event_provider.store.engine import become_writer, can_skip_locked, in_chunks, insert_new, insert_new_one

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_CURSOR = schema.cursor
_WATCHED = schema.watched_run

# Built once: each round of each workspace asks so.
_BY_NAME = _CURSOR.c.name == bindparam("of")
_LOOK = select(_CURSOR.c.name).where(_BY_NAME)
_LOCK, _LOCK_OR_PASS = _LOOK.with_for_update(), _LOOK.with_for_update(skip_locked=True)
_READ = select(_CURSOR.c.position, _CURSOR.c.since).where(_BY_NAME)
_UP = update(_CURSOR).where(_BY_NAME).values(position=_CURSOR.c.position + bindparam("by"))
_UP_TO = _UP.returning(_CURSOR.c.position)


def hold(connection: Connection, name: str, *, holder: str, now: datetime, seconds: float) -> bool:
    """Take or keep the job ``name`` for ``seconds``, unless another holds it; say whether it is ours.

    ``now`` is the database's moment. What is held for longer than twice ``seconds`` from now on was taken by a wrong
    clock, and does not count.
    """
    length = timedelta(seconds=seconds)
    take = (
        update(_CURSOR)
        .where(
            _CURSOR.c.name == name,
            or_(
                _CURSOR.c.holder.is_(None),
                _CURSOR.c.holder == holder,
                _CURSOR.c.held_until < now,
                _CURSOR.c.held_until > now + 2 * length,
            ),
        )
        .values(holder=holder, held_until=now + length)
    )
    if connection.execute(take).rowcount == 1:
        return True
    insert_new_one(connection, _CURSOR, {"name": name, "position": 0, "since": now})
    return connection.execute(take).rowcount == 1


def done(connection: Connection, name: str, *, now: datetime) -> None:
    """Note that the job came to its end."""
    move(connection, name, int(now.timestamp()))


class Job(NamedTuple):
    """A job that one dispatcher at a time does: since when there is one, who does it, when it last came to its end."""

    name: str
    since: datetime
    holder: str
    done_at: datetime | None


def jobs(connection: Connection) -> list[Job]:
    """The jobs that were ever held."""
    rows = connection.execute(select(_CURSOR).where(_CURSOR.c.name.startswith("job:")).order_by(_CURSOR.c.name))
    return [
        Job(
            row.name.removeprefix("job:"),
            row.since,
            row.holder or "",
            datetime.fromtimestamp(row.position, UTC) if row.position else None,
        )
        for row in rows
    ]


def lock(connection: Connection, name: str, *, now: datetime, wait: bool) -> bool:
    """Have ``name`` to ourselves until the transaction ends; say whether we have it, or wait for it."""
    become_writer(connection)
    query = _LOOK if not can_skip_locked(connection) else _LOCK if wait else _LOCK_OR_PASS
    if connection.execute(query, {"of": name}).first() is not None:
        return True
    if not wait and connection.execute(_LOOK, {"of": name}).first() is not None:
        # Held by another.
        return False
    # New: who inserts it waits for whoever inserts it too.
    insert_new_one(connection, _CURSOR, {"name": name, "position": 0, "since": now})
    return connection.execute(query, {"of": name}).first() is not None


def ensure(connection: Connection, names: Iterable[str], *, now: datetime) -> None:
    """Create the cursors of these names where there are none, so that :func:`lock` never waits for who makes one."""
    insert_new(connection, _CURSOR, [{"name": name, "position": 0, "since": now} for name in names])


def let_go(connection: Connection, *, holder: str) -> None:
    """Give up all jobs of a dispatcher that ends."""
    connection.execute(update(_CURSOR).where(_CURSOR.c.holder == holder).values(holder=None, held_until=None))


def read(connection: Connection, name: str) -> tuple[int, datetime] | None:
    """A cursor's position and since when it exists, or ``None`` if it is new."""
    row = connection.execute(_READ, {"of": name}).first()
    return None if row is None else (int(row.position), row.since)


def start(connection: Connection, name: str, position: int, *, now: datetime) -> tuple[int, datetime]:
    """Create a cursor at ``position``: what lies before it is not replayed."""
    connection.execute(insert(_CURSOR).values(name=name, position=position, since=now))
    return position, now


def advance(connection: Connection, name: str, *, now: datetime, by: int = 1) -> int:
    """Count a cursor up and return its position; whoever else does so waits for this transaction to end."""
    counted = _count_up(connection, name, by)
    if counted is None:
        insert_new_one(connection, _CURSOR, {"name": name, "position": 0, "since": now})
        counted = _count_up(connection, name, by)
    if counted is None:
        raise RuntimeError(f"the cursor {name} was deleted while it was counted up")
    return counted


def _count_up(connection: Connection, name: str, by: int) -> int | None:
    values = {"of": name, "by": by}
    if connection.dialect.update_returning:
        position: int | None = connection.execute(_UP_TO, values).scalar()
        return position
    if connection.execute(_UP, values).rowcount == 0:
        return None
    return int(connection.execute(_READ, {"of": name}).one().position)


def move(connection: Connection, name: str, position: int) -> None:
    """Move a cursor on."""
    connection.execute(update(_CURSOR).where(_CURSOR.c.name == name).values(position=position))


def watch(connection: Connection, run_ids: Sequence[int], *, now: datetime) -> None:
    """Watch dag runs until they ended and are complete."""
    insert_new(connection, _WATCHED, [{"dag_run_id": run_id, "since": now} for run_id in run_ids])


def watched(connection: Connection) -> list[int]:
    """The dag runs that are watched."""
    return list(connection.execute(select(_WATCHED.c.dag_run_id)).scalars())


def unwatch(connection: Connection, run_ids: Sequence[int]) -> None:
    """Watch these no longer."""
    for chunk in in_chunks(run_ids):
        connection.execute(delete(_WATCHED).where(_WATCHED.c.dag_run_id.in_(chunk)))
