"""What reaches one target about one thing comes in order, and what was overtaken is not sent.

Deliveries of one stream are leased one after the other, by their ordinals. One that waits, while a later one of its
stream tells of the same alert, is overtaken: the receiver's last word shall be the newest.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, select, text, update

from ml_event_provider.store import schema
from ml_event_provider.store.engine import become_writer, can_skip_locked, in_chunks
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_DELIVERY = schema.delivery
_NOTIFICATION = schema.notification
#: So many of a stream are looked at in one go; of more that one message overtakes, the rest is ended in the next.
MOST = 500
_FIRST_OF_STREAMS = text("""
SELECT s.stream, e.* FROM unnest(CAST(:streams AS text[])) AS s(stream)
CROSS JOIN LATERAL (
  SELECT d.id, d.ordinal, d.alert_id, d.state FROM ml_event_delivery d
  WHERE d.stream = s.stream AND d.state IN ('pending', 'failed', 'leased')
  ORDER BY d.ordinal, d.id LIMIT :most) e
""")
_WAITING = (DeliveryState.PENDING, DeliveryState.FAILED)


class Waiting(NamedTuple):
    """A delivery that may be leased; its row is locked by whoever found it."""

    id: str
    stream: str | None
    ordinal: int
    alert_id: str


def settle_overtaken(connection: Connection, picked: Sequence[Waiting], *, now: datetime) -> list[str]:
    """End what was overtaken; return the ids of those among ``picked`` that may go."""
    of_stream: dict[str, set[str]] = defaultdict(set)
    for one in picked:
        if one.stream is not None:
            of_stream[one.stream].add(one.id)
    if not of_stream:
        return [one.id for one in picked]
    overtaken: dict[str, str] = {}
    blocked: set[str] = set()
    for stream, rows in _unfinished(connection, of_stream).items():
        ours = of_stream[stream]
        # The newest of each alert overtakes those before it; from there on the order is kept.
        newest = {row.alert_id: row.id for row in rows if row.alert_id}
        waits = {
            row.id: newest[row.alert_id]
            for row in rows
            if row.alert_id and newest[row.alert_id] != row.id and (row.id in ours or row.state in _WAITING)
        }
        held = _lock(connection, set(waits) - ours)
        gone = {one: by for one, by in waits.items() if one in ours or one in held}
        overtaken |= gone
        left = [row.id for row in rows if row.id not in gone]
        # Whatever else is still before it, leased by others or not ours to end, goes first.
        goes = set(left[:1]) & ours
        if len(rows) == MOST and len(newest) == 1 and all(row.alert_id for row in rows):
            # All that was looked at tells of one alert: what follows may overtake the last of it, too.
            goes = set()
        blocked |= ours - gone.keys() - goes
    _end(connection, overtaken, now)
    return [one.id for one in picked if one.id not in overtaken and one.id not in blocked]


def _unfinished(connection: Connection, streams: Collection[str]) -> dict[str, list[Any]]:
    """The first unfinished deliveries of each stream, in order; at most ``MOST`` of each."""
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_FIRST_OF_STREAMS, {"streams": sorted(streams), "most": MOST}).all()
        found: dict[str, list[Any]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: (row.ordinal, row.id)):
            found[row.stream].append(row)
        return found
    query = (
        select(_DELIVERY.c.id, _DELIVERY.c.alert_id, _DELIVERY.c.state)
        .where(_DELIVERY.c.stream == bindparam("one"), schema.UNFINISHED)
        .order_by(_DELIVERY.c.ordinal, _DELIVERY.c.id)
        .limit(MOST)
    )
    return {stream: list(connection.execute(query, {"one": stream}).all()) for stream in sorted(streams)}


def _lock(connection: Connection, ids: Collection[str]) -> set[str]:
    """Have those to ourselves that nobody is about to lease."""
    if not ids:
        return set()
    become_writer(connection)
    query = select(_DELIVERY.c.id).where(_DELIVERY.c.id.in_(ids), _DELIVERY.c.state.in_(_WAITING))
    if can_skip_locked(connection):
        query = query.with_for_update(skip_locked=True)
    return set(connection.execute(query).scalars())


def _end(connection: Connection, overtaken: dict[str, str], now: datetime) -> None:
    """Note which message, of what kind and from when, went instead."""
    by_later: dict[str, list[str]] = defaultdict(list)
    for one, later in overtaken.items():
        by_later[later].append(one)
    for chunk in in_chunks(sorted(by_later)):
        query = (
            select(_DELIVERY.c.id, _NOTIFICATION.c.kind, _NOTIFICATION.c.created_at)
            .join(_NOTIFICATION, _NOTIFICATION.c.id == _DELIVERY.c.notification_id)
            .where(_DELIVERY.c.id.in_(chunk))
        )
        for row in connection.execute(query).all():
            ended = {
                "state": DeliveryState.OVERTAKEN,
                "reason": f"overtaken by {row.kind} at {row.created_at:%Y-%m-%d %H:%M:%S} UTC",
                "code": "",
                "next_attempt_at": None,
                "lease_owner": None,
                "lease_until": None,
                "finished_at": now,
            }
            connection.execute(update(_DELIVERY).where(_DELIVERY.c.id.in_(by_later[row.id])).values(ended))
