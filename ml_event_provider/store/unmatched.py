"""Events that wait for the rules: in which workspaces, read in the order in which they were recorded, marked after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select, update

from ml_event_provider.store import schema
from ml_event_provider.store.engine import in_chunks
from ml_event_provider.store.events import RecordedEvent, from_body
from ml_event_provider.store.one_by_one import each, reason_of
from ml_event_provider.store.quarantine import Kind, SetAside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select

_TABLE = schema.event
#: In the order of the index, as the databases see it: they do not know that ``matched_at`` is the same for all.
_IN_ORDER = (_TABLE.c.matched_at, _TABLE.c.workspace, _TABLE.c.seq)


def _workspaces() -> Select[Any]:
    first = select(_TABLE.c.workspace).where(_TABLE.c.matched_at.is_(None)).order_by(*_IN_ORDER).limit(1)
    found = select(first.scalar_subquery().label("workspace")).cte("waiting", recursive=True)
    following = first.where(_TABLE.c.workspace > found.c.workspace).correlate(found).scalar_subquery()
    found = found.union_all(select(following).where(found.c.workspace.is_not(None)))
    return select(found.c.workspace).where(found.c.workspace.is_not(None))


# Built once: each round of each workspace asks so.
_WORKSPACES = _workspaces()
_OF_WORKSPACE = (_TABLE.c.matched_at.is_(None), _TABLE.c.workspace == bindparam("workspace"))
_SEQS = (
    select(_TABLE.c.seq)
    .where(*_OF_WORKSPACE, _TABLE.c.seq > bindparam("after"))
    .order_by(*_IN_ORDER)
    .limit(bindparam("most"))
)
_SEQS_UNTIL = _SEQS.where(_TABLE.c.recorded_at <= bindparam("until"))
_READ = select(_TABLE.c.seq, _TABLE.c.recorded_at, _TABLE.c.body).where(
    _TABLE.c.seq.in_(bindparam("seqs", expanding=True))
)
_FIRST = select(_TABLE.c.recorded_at).where(*_OF_WORKSPACE).order_by(*_IN_ORDER).limit(1)
_MARK = update(_TABLE).where(_TABLE.c.seq.in_(bindparam("seqs", expanding=True))).values(matched_at=bindparam("moment"))


class Waiting(NamedTuple):
    """The next events of a workspace, and those that could not be read."""

    events: list[RecordedEvent]
    spoilt: list[SetAside]
    #: The place of the last of both; 0 if there was none.
    last: int


def workspaces(connection: Connection) -> set[str]:
    """Where events wait. What it costs depends on how many workspaces that are, not on how many events."""
    return set(connection.execute(_WORKSPACES).scalars())


def read(
    connection: Connection, workspace: str, *, limit: int, after: int = 0, recorded_until: datetime | None = None
) -> Waiting:
    """The next events of a workspace after a place, the first ``limit``. One that cannot be read costs no other."""
    wanted: dict[str, Any] = {"workspace": workspace, "after": after, "most": limit}
    if recorded_until is not None:
        wanted["until"] = recorded_until
    seqs = list(connection.execute(_SEQS if recorded_until is None else _SEQS_UNTIL, wanted).scalars())
    found: dict[int, RecordedEvent] = {}
    spoilt: list[SetAside] = []

    def read_some(some: Sequence[int]) -> None:
        for seq, recorded_at, body in connection.execute(_READ, {"seqs": some}).all():
            found[seq] = RecordedEvent(seq, from_body(body), recorded_at, None)

    def not_readable(seq: int, error: Exception) -> None:
        spoilt.append(SetAside(Kind.EVENT, str(seq), workspace, f"cannot be read: {reason_of(error)}"))

    each(connection, seqs, read_some, not_readable)
    return Waiting([found[seq] for seq in seqs if seq in found], spoilt, seqs[-1] if seqs else 0)


def first(connection: Connection, workspace: str) -> datetime | None:
    """When the first of a workspace's events that wait was recorded."""
    found: datetime | None = connection.execute(_FIRST, {"workspace": workspace}).scalar()
    return found


def mark(connection: Connection, seqs: Sequence[int], *, now: datetime) -> None:
    """These wait no longer."""
    for chunk in in_chunks(seqs):
        connection.execute(_MARK, {"seqs": chunk, "moment": now})


def unmark(connection: Connection, seqs: Sequence[int]) -> int:
    """These wait again; say how many there were."""
    return sum(
        connection.execute(update(_TABLE).where(_TABLE.c.seq.in_(chunk)).values(matched_at=None)).rowcount
        for chunk in in_chunks(seqs)
    )


def count(connection: Connection) -> tuple[int, datetime | None]:
    """How many events wait, and since when the oldest."""
    row = connection.execute(
        select(func.count(), func.min(_TABLE.c.recorded_at)).where(_TABLE.c.matched_at.is_(None))
    ).one()
    return int(row[0]), row[1]


def by_workspace(connection: Connection) -> list[tuple[str, int, datetime | None]]:
    """How many events wait in each workspace, and since when the oldest; the longest wait first."""
    rows: Any = connection.execute(
        select(_TABLE.c.workspace, func.count(), func.min(_TABLE.c.recorded_at))
        .where(_TABLE.c.matched_at.is_(None))
        .group_by(_TABLE.c.workspace)
        .order_by(func.min(_TABLE.c.recorded_at))
    )
    return [(str(workspace), int(number), oldest) for workspace, number, oldest in rows]
