"""Lanes: each target of a workspace has a share of the dispatchers, and a breaker, of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from ml_event_provider.store import schema
from ml_event_provider.store.engine import in_chunks, insert_new
from ml_event_provider.store.schema import Breaker, DeliveryState

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

_TABLE = schema.lane
_DELIVERY = schema.delivery


def ids(connection: Connection, targets: Collection[tuple[str, str]], *, now: datetime) -> dict[tuple[str, str], int]:
    """The lanes of targets, which workspace and ``conn_id`` name; new ones are made. Actions have no ``conn_id``."""
    found = _known(connection, targets)
    new = sorted(set(targets) - set(found))
    if new:
        rows = [{"workspace": workspace, "conn_id": conn_id, "updated_at": now} for workspace, conn_id in new]
        insert_new(connection, _TABLE, rows)
        found |= _known(connection, new)
    return found


def _known(connection: Connection, targets: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    wanted = set(targets)
    found: dict[tuple[str, str], int] = {}
    for chunk in in_chunks(sorted({conn_id for _, conn_id in wanted})):
        query = select(_TABLE.c.workspace, _TABLE.c.conn_id, _TABLE.c.id).where(_TABLE.c.conn_id.in_(chunk))
        found |= {(row.workspace, row.conn_id): row.id for row in connection.execute(query)}
    return {target: lane for target, lane in found.items() if target in wanted}


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


def standings(connection: Connection, *, now: datetime, workspaces: Collection[str] | None = None) -> list[Standing]:
    """All targets that deliveries went to, by workspace and name; only of some workspaces, if given."""
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
    rows = connection.execute(query.order_by(_TABLE.c.workspace, _TABLE.c.conn_id))
    return [Standing._make(row) for row in rows]
