"""What reaches one target about one thing comes in order, and what was overtaken is not sent.

Deliveries of one stream are leased one after the other, by their ordinals. One that waits, while a later one of its
stream tells of the same alert, is overtaken: the receiver's last word shall be the newest.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from ml_event_provider.store import schema
from ml_event_provider.store.engine import become_writer, can_skip_locked, in_chunks
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_DELIVERY = schema.delivery
_NOTIFICATION = schema.notification
_WAITING = (DeliveryState.PENDING, DeliveryState.FAILED)


class Waiting(NamedTuple):
    """A delivery that may be leased; its row is locked by whoever found it."""

    id: str
    stream: str | None
    ordinal: int
    alert_id: str


def settle_overtaken(connection: Connection, picked: Sequence[Waiting], *, now: datetime) -> list[str]:
    """End what was overtaken; return the ids of those among ``picked`` that may go."""
    streams = {one.stream for one in picked if one.stream is not None}
    if not streams:
        return [one.id for one in picked]
    ours = {one.id for one in picked}
    overtaken: dict[str, str] = {}
    blocked: set[str] = set()
    for rows in _unfinished(connection, streams):
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
        blocked.update(one for one in left[1:] if one in ours)
    _end(connection, overtaken, now)
    return [one.id for one in picked if one.id not in overtaken and one.id not in blocked]


def _unfinished(connection: Connection, streams: Collection[str | None]) -> list[list[Any]]:
    """The unfinished deliveries of each stream, in order."""
    found: list[list[Any]] = []
    for chunk in in_chunks(sorted(one for one in streams if one is not None)):
        query = (
            select(_DELIVERY.c.id, _DELIVERY.c.stream, _DELIVERY.c.alert_id, _DELIVERY.c.state)
            .where(_DELIVERY.c.stream.in_(chunk), schema.UNFINISHED)
            .order_by(_DELIVERY.c.stream, _DELIVERY.c.ordinal, _DELIVERY.c.id)
        )
        rows = connection.execute(query).all()
        found.extend(list(group) for _, group in groupby(rows, key=lambda row: row.stream))
    return found


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
