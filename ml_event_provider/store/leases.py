"""Leases, by which dispatchers share the deliveries: fair between lanes, in order within a stream.

A lease ends by the database's clock. While it lasts, ``next_attempt_at`` is its end, so that one index over lanes and
that column finds all that is due: new, to be tried again, or left behind by a dispatcher that is gone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.utils.sqlalchemy import UtcDateTime
from sqlalchemy import bindparam, case, or_, select, text, update

from ml_event_provider import troubles
from ml_event_provider.store import order, schema
from ml_event_provider.store.deliveries import read
from ml_event_provider.store.engine import become_writer, can_skip_locked, in_chunks
from ml_event_provider.store.one_by_one import readable_rows, reason_of
from ml_event_provider.store.order import Waiting
from ml_event_provider.store.schema import Breaker, DeliveryState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Select

    from ml_event_provider.store.deliveries import Delivery

log = logging.getLogger(__name__)

_DELIVERY = schema.delivery
_LANE = schema.lane

# The look at what is before a delivery is one at the index for each, in order, however long its stream is: with a
# LIMIT, no database makes a join of it.
_DUE_OF_LANE = """
SELECT d.id, d.stream, d.ordinal, d.alert_id FROM ml_event_delivery d
WHERE d.lane_id = {lane} AND d.state IN ('pending', 'failed', 'leased') AND d.next_attempt_at <= :now
AND (d.stream IS NULL OR (
  SELECT e.id FROM ml_event_delivery e
  WHERE e.stream = d.stream AND e.ordinal < d.ordinal AND e.state IN ('pending', 'failed', 'leased')
  AND (e.state = 'leased' OR e.alert_id = '' OR e.alert_id <> d.alert_id)
  ORDER BY e.ordinal LIMIT 1) IS NULL)
ORDER BY d.next_attempt_at LIMIT {share}
"""
_NOW = bindparam("now", type_=UtcDateTime())
_OF_ALL_LANES = """
SELECT picked.* FROM unnest(CAST(:lanes AS bigint[]), CAST(:shares AS int[])) AS wanted(lane_id, share)
CROSS JOIN LATERAL ({of_lane} FOR UPDATE SKIP LOCKED) picked
"""
_PICK_POSTGRESQL = text(
    _OF_ALL_LANES.format(of_lane=_DUE_OF_LANE.format(lane="wanted.lane_id", share="wanted.share"))
).bindparams(_NOW)
_PICK_ONE = text(_DUE_OF_LANE.format(lane=":lane", share=":share")).bindparams(_NOW)
_PICK_ONE_LOCKED = text(_PICK_ONE.text + " FOR UPDATE OF d SKIP LOCKED").bindparams(_NOW)


class DueLane(NamedTuple):
    """A lane with something that is due, as the store knows it."""

    id: int
    workspace: str
    conn_id: str
    breaker: str
    failures: int
    slow: bool
    delivered_at: datetime | None
    #: Since when the first is due.
    due_at: datetime


def _due_lanes() -> Select[Any]:
    now, furthest = bindparam("now", type_=UtcDateTime()), bindparam("furthest", type_=UtcDateTime())
    head = (
        select(_DELIVERY.c.next_attempt_at)
        .where(_DELIVERY.c.lane_id == _LANE.c.id, schema.UNFINISHED, _DELIVERY.c.next_attempt_at <= now)
        .order_by(_DELIVERY.c.next_attempt_at)
        .limit(1)
        .scalar_subquery()
    )
    named = [_LANE.c[name] for name in DueLane._fields[:-1]]
    open_for_us = or_(
        _LANE.c.breaker == Breaker.CLOSED,
        _LANE.c.probe_at.is_(None),
        _LANE.c.probe_at <= now,
        _LANE.c.probe_at > furthest,
    )
    heads = select(*named, head.label("due_at")).where(open_for_us).subquery()
    return select(heads).where(heads.c.due_at.is_not(None)).order_by(heads.c.due_at)


# Built once: each round of leasing asks so.
_DUE_LANES = _due_lanes()
_LEASE = (
    update(_DELIVERY)
    .where(_DELIVERY.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=DeliveryState.LEASED,
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until"),
        next_attempt_at=bindparam("until"),
    )
)


def due_lanes(connection: Connection, *, now: datetime, furthest: datetime) -> list[DueLane]:
    """The lanes that may be leased from, those that have waited longest first.

    One look at the index for each lane, however many deliveries wait. A lane whose breaker is open is among them when
    it is to be tried again; ``furthest`` is the latest moment that can be true for that.
    """
    rows = readable_rows(
        connection, _DUE_LANES, _DUE_LANES.selected_columns.id, _tell_unreadable, now=now, furthest=furthest
    )
    return [DueLane(*row) for row in rows]


def _tell_unreadable(lane_id: int, error: Exception) -> None:
    troubles.tell(log, f"Lane {lane_id}, or when its first delivery is due, cannot be read: it waits", error)


def claim_probe(connection: Connection, lane_id: int, *, now: datetime, until: datetime, furthest: datetime) -> bool:
    """Take it upon us to try a lane whose breaker is open; say whether nobody else has.

    ``until`` is when another may, if nothing is heard of us.
    """
    claim = (
        update(_LANE)
        .where(
            _LANE.c.id == lane_id,
            _LANE.c.breaker != Breaker.CLOSED,
            or_(_LANE.c.probe_at.is_(None), _LANE.c.probe_at <= now, _LANE.c.probe_at > furthest),
        )
        .values(breaker=Breaker.HALF_OPEN, probe_at=until, updated_at=now)
    )
    return connection.execute(claim).rowcount == 1


def lease(
    connection: Connection, shares: Mapping[int, int], *, owner: str, now: datetime, until: datetime
) -> list[Delivery]:
    """Lease from each lane, by its id, at most its share of what is due, until ``until``.

    Of a stream the first goes, and no other before that one has ended; what a later message about the same alert
    overtook is ended, not leased. What cannot be read ends as a dead letter, and costs no other.
    """
    picked = _pick(connection, {lane: share for lane, share in shares.items() if share > 0}, now)
    ids = order.settle_overtaken(connection, picked, now=now)
    if not ids:
        return []
    for chunk in in_chunks(ids):
        connection.execute(_LEASE, {"ids": chunk, "owner": owner, "until": until})
    return read(connection, ids, unreadable=lambda key, error: _bury(connection, key, error, now=now))


def _bury(connection: Connection, delivery_id: str, error: Exception, *, now: datetime) -> None:
    values = {
        "state": DeliveryState.DEAD,
        "lease_owner": None,
        "lease_until": None,
        "finished_at": now,
        "reason": f"cannot be read: {reason_of(error)}"[:1000],
    }
    log.error("Delivery %s %s: it is a dead letter", delivery_id, values["reason"])
    connection.execute(update(_DELIVERY).where(_DELIVERY.c.id == delivery_id).values(values))


def _pick(connection: Connection, shares: Mapping[int, int], now: datetime) -> list[Waiting]:
    if not shares:
        return []
    if connection.dialect.name == "postgresql":
        wanted = {"lanes": list(shares), "shares": list(shares.values()), "now": now}
        return [Waiting(*row) for row in connection.execute(_PICK_POSTGRESQL, wanted)]
    become_writer(connection)
    query = _PICK_ONE_LOCKED if can_skip_locked(connection) else _PICK_ONE
    return [
        Waiting(*row)
        for lane, share in shares.items()
        for row in connection.execute(query, {"lane": lane, "share": share, "now": now})
    ]


def renew(connection: Connection, ids: Collection[str], *, owner: str, until: datetime) -> set[str]:
    """Keep leases until ``until``; return those that are still ours."""
    kept: set[str] = set()
    for chunk in in_chunks(sorted(ids)):
        ours = (
            _DELIVERY.c.id.in_(chunk),
            _DELIVERY.c.lease_owner == owner,
            _DELIVERY.c.state == DeliveryState.LEASED,
        )
        connection.execute(update(_DELIVERY).where(*ours).values(lease_until=until, next_attempt_at=until))
        kept.update(connection.execute(select(_DELIVERY.c.id).where(*ours)).scalars())
    return kept


def give_back(connection: Connection, *, owner: str, now: datetime, ids: Collection[str] | None = None) -> None:
    """Give back leases of ours, all of them where no ``ids`` are named: what was not tried is due as before."""
    ours = update(_DELIVERY).where(_DELIVERY.c.lease_owner == owner, _DELIVERY.c.state == DeliveryState.LEASED)
    untried = _DELIVERY.c.attempts == 0
    back = {
        "state": case((untried, DeliveryState.PENDING.value), else_=DeliveryState.FAILED.value),
        "next_attempt_at": case((untried & (_DELIVERY.c.created_at < now), _DELIVERY.c.created_at), else_=now),
        "lease_owner": None,
        "lease_until": None,
    }
    if ids is None:
        connection.execute(ours.values(back))
        return
    for chunk in in_chunks(sorted(ids)):
        connection.execute(ours.where(_DELIVERY.c.id.in_(chunk)).values(back))


def mend_far_ahead(connection: Connection, *, now: datetime, lease_end: datetime, retry_end: datetime) -> int:
    """Make due what waits for a moment that no lease, or no retry, can have; say how many there were.

    A clock that was ahead, and was put right, leaves such moments behind.
    """
    further = _DELIVERY.c.next_attempt_at > lease_end
    query = select(_DELIVERY.c.id).where(
        _DELIVERY.c.lane_id == _LANE.c.id,
        schema.UNFINISHED,
        further,
        or_(
            _DELIVERY.c.state == DeliveryState.LEASED,
            (_DELIVERY.c.state == DeliveryState.FAILED) & (_DELIVERY.c.next_attempt_at > retry_end),
        ),
    )
    ids = list(connection.execute(query.limit(500)).scalars())
    if ids:
        connection.execute(update(_DELIVERY).where(_DELIVERY.c.id.in_(ids), further).values(next_attempt_at=now))
    return len(ids)
