"""Lanes: each target of a workspace has a share of the dispatchers, and a breaker, of its own."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, exists, func, select, update

from ml_event_provider.store import schema
from ml_event_provider.store.engine import become_writer, in_chunks, insert_new
from ml_event_provider.store.one_by_one import readable_rows, reason_of
from ml_event_provider.store.schema import Breaker, DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

_TABLE = schema.lane
_DELIVERY = schema.delivery
_KNOWN = select(_TABLE.c.workspace, _TABLE.c.conn_id, _TABLE.c.id, _TABLE.c.updated_at).where(
    _TABLE.c.conn_id.in_(bindparam("conn_ids", expanding=True))
)

#: How often it is noted that deliveries are made in a lane; how long an unused one is kept at least. No transaction
#: that makes deliveries lasts for the difference, so that none finds a lane that is about to go.
NOTED, KEPT = timedelta(hours=1), timedelta(days=1)


def ids(connection: Connection, targets: Collection[tuple[str, str]], *, now: datetime) -> dict[tuple[str, str], int]:
    """The lanes of targets, which workspace and ``conn_id`` name; new ones are made. Actions have no ``conn_id``.

    What is made within the transaction may go by them: none of them is pruned meanwhile.
    """
    found = _known(connection, targets)
    stale = sorted(row.id for row in found.values() if row.updated_at < now - NOTED)
    if stale:
        for chunk in in_chunks(stale):
            connection.execute(update(_TABLE).where(_TABLE.c.id.in_(chunk)).values(updated_at=now))
        # Whatever is still there is ours until we commit.
        found = _known(connection, targets)
    new = sorted(set(targets) - set(found))
    if new:
        rows = [{"workspace": workspace, "conn_id": conn_id, "updated_at": now} for workspace, conn_id in new]
        insert_new(connection, _TABLE, rows)
        found |= _known(connection, new)
    return {target: row.id for target, row in found.items()}


def _known(connection: Connection, targets: Collection[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    wanted = set(targets)
    found: dict[tuple[str, str], Any] = {}
    for chunk in in_chunks(sorted({conn_id for _, conn_id in wanted})):
        rows = connection.execute(_KNOWN, {"conn_ids": chunk})
        found |= {(row.workspace, row.conn_id): row for row in rows}
    return {target: row for target, row in found.items() if target in wanted}


def prune(connection: Connection, *, before: datetime, now: datetime, limit: int) -> int:
    """Delete lanes that were not used since a moment, and for ``KEPT`` at least; say how many.

    One with a delivery that has not ended stays, and so does one whose breaker is open: somebody was told that its
    target does not answer. A delivery that is sent again gets its lane again (``deliveries.send_again``).
    """
    become_writer(connection)
    unused = (
        _TABLE.c.updated_at < min(before, now - KEPT),
        _TABLE.c.breaker == Breaker.CLOSED,
        ~exists().where(_DELIVERY.c.lane_id == _TABLE.c.id, schema.UNFINISHED),
    )
    found = list(connection.execute(select(_TABLE.c.id).where(*unused).limit(limit)).scalars())
    if not found:
        return 0
    # One that is being used is locked by whoever does, and then not unused any more.
    return connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(found), *unused)).rowcount


class Standing(NamedTuple):
    """How things stand with one target."""

    workspace: str
    conn_id: str
    #: A word of ``Breaker``, and since when it is open.
    breaker: str
    opened_at: datetime | None
    #: When it is tried again, where the breaker is open.
    probe_at: datetime | None
    #: How many attempts failed in a row, and what the last failure said.
    failures: int
    code: str
    reason: str
    slow: bool
    delivered_at: datetime | None
    #: Its deliveries that have not ended; since when the oldest is due, and since when the oldest that failed waits.
    waiting: int
    due_since: datetime | None
    failing_since: datetime | None

    @property
    def target(self) -> str:
        """Which target, for people."""
        return self.conn_id or "(Airflow)"

    @property
    def is_open(self) -> bool:
        """Whether it is not tried at present, but for a probe."""
        return self.breaker != Breaker.CLOSED


def standings(
    connection: Connection,
    *,
    now: datetime,
    workspaces: Collection[str] | None = None,
    unreadable: Callable[[int, Exception], object] | None = None,
) -> list[Standing]:
    """All targets that deliveries went to, by workspace and name; only of some workspaces, if given.

    One that cannot be read costs no other: its lane's id is given to ``unreadable`` with the reason, or else logged.
    """
    of_lane = select(func.count()).where(_DELIVERY.c.lane_id == _TABLE.c.id, schema.UNFINISHED)
    oldest = (
        select(_DELIVERY.c.next_attempt_at)
        .where(_DELIVERY.c.lane_id == _TABLE.c.id, schema.UNFINISHED, _DELIVERY.c.next_attempt_at <= now)
        .order_by(_DELIVERY.c.next_attempt_at)
        .limit(1)
    )
    failing = select(func.min(_DELIVERY.c.created_at)).where(
        _DELIVERY.c.lane_id == _TABLE.c.id,
        schema.UNFINISHED,
        _DELIVERY.c.state == DeliveryState.FAILED,
    )
    columns = [_TABLE.c[name] for name in Standing._fields[:-3]]
    counted = [one.scalar_subquery().label(name) for one, name in ((of_lane, "waiting"), (oldest, "due_since"))]
    query = select(*columns, *counted, failing.scalar_subquery().label("failing_since"))
    if workspaces is not None:
        query = query.where(_TABLE.c.workspace.in_(workspaces))
    query = query.order_by(_TABLE.c.workspace, _TABLE.c.conn_id)
    found = readable_rows(connection, query, _TABLE.c.id, unreadable or _tell_unreadable)
    return [Standing._make(row) for row in found]


def _tell_unreadable(lane_id: int, error: Exception) -> None:
    log.error("How target %s stands cannot be read: %s", lane_id, reason_of(error))
