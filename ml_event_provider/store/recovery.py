"""What failed while a target did not answer is due again when it does, and not only at its own next try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from ml_event_provider.store import schema
from ml_event_provider.store.engine import become_writer, can_skip_locked
from ml_event_provider.store.schema import Breaker, DeliveryState

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

_LANE = schema.lane
_DELIVERY = schema.delivery

#: Lanes that one call looks at, and deliveries of each.
LANES, BATCH = 20, 500


def make_due(connection: Connection, *, now: datetime) -> int | None:
    """Make due what failed before its target answered again; say how many, ``None`` where nothing is left to do.

    What waits because the remote named a time keeps that. It comes after all that is due already, and each lane gives
    no more than its share, as ever.
    """
    become_writer(connection)
    # The lane's row is ours meanwhile: what it says is true, and two dispatchers never do the same.
    query = (
        select(_LANE.c.id, _LANE.c.recovered_at)
        .where(_LANE.c.recovered_at.is_not(None), _LANE.c.breaker == Breaker.CLOSED)
        .order_by(_LANE.c.id)
        .limit(LANES)
    )
    if can_skip_locked(connection):
        query = query.with_for_update(skip_locked=True)
    lanes = connection.execute(query).all()
    made = sum(_make_due(connection, lane.id, lane.recovered_at, now) for lane in lanes)
    return made if lanes else None


def _make_due(connection: Connection, lane_id: int, recovered_at: datetime, now: datetime) -> int:
    query = (
        select(_DELIVERY.c.id)
        .where(
            _DELIVERY.c.lane_id == lane_id,
            schema.UNFINISHED,
            _DELIVERY.c.next_attempt_at > now,
            _DELIVERY.c.state == DeliveryState.FAILED,
            _DELIVERY.c.failed_at <= recovered_at,
        )
        .limit(BATCH)
    )
    if can_skip_locked(connection):
        query = query.with_for_update(skip_locked=True)
    ids = list(connection.execute(query).scalars())
    if ids:
        connection.execute(update(_DELIVERY).where(_DELIVERY.c.id.in_(ids)).values(next_attempt_at=now))
    if len(ids) < BATCH:
        connection.execute(update(_LANE).where(_LANE.c.id == lane_id).values(recovered_at=None))
    return len(ids)
