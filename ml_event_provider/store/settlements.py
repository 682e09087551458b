"""What became of deliveries: attempts are recorded in batches, and no odd one keeps the others from being recorded."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, literal, null, select, update

from ml_event_provider.events.identity import change_id
from ml_event_provider.store import breakers, one_by_one, quarantine, schema
from ml_event_provider.store.engine import in_chunks
from ml_event_provider.store.notifications import NewDelivery, deliver
from ml_event_provider.store.quarantine import Kind, SetAside
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from ml_event_provider.store.breakers import Heard

log = logging.getLogger(__name__)

_NOTIFICATION = schema.notification
_DELIVERY = schema.delivery
_ATTEMPT = schema.attempt

_AGAIN = (
    update(_DELIVERY)
    .where(_DELIVERY.c.id == bindparam("of"), _DELIVERY.c.lease_owner == bindparam("owner"))
    .values(
        state=DeliveryState.FAILED,
        lease_owner=None,
        lease_until=None,
        finished_at=None,
        **{name: bindparam(name) for name in ("attempts", "next_attempt_at", "failed_at", "code", "reason")},
    )
)

#: What the databases' integers hold.
_MOST = 2**31 - 1
_WAITING = (DeliveryState.PENDING, DeliveryState.FAILED)
#: What a fall-back's delivery takes over (``notifications.Of``). It goes out when its time has come, in no order.
_TAKEN_OVER = (
    _NOTIFICATION.c.id,
    _NOTIFICATION.c.workspace,
    _NOTIFICATION.c.rule,
    _NOTIFICATION.c.alert_id,
    _NOTIFICATION.c.members,
    null().label("stream"),
    literal(0).label("ordinal"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How an attempt ended and what becomes of its delivery."""

    delivery_id: str
    number: int
    started_at: datetime
    milliseconds: int
    outcome: str
    code: str
    reason: str
    state: DeliveryState
    next_attempt_at: datetime | None = None
    #: Whether the remote itself named that time.
    wished: bool = False
    options: Mapping[str, Any] | None = None
    #: False where nothing was sent, because the target asked to wait its turn.
    attempted: bool = True
    #: What it tells of the target; ``None`` where it tells nothing.
    heard: Heard | None = None

    def quiet(self) -> Settlement:
        """The same, where what it tells of the target is known already."""
        return self if self.heard is None else replace(self, heard=None)


def settle(connection: Connection, settlements: Sequence[Settlement], *, owner: str, now: datetime) -> None:
    """Record attempts and what became of their deliveries, and what they tell of the targets.

    A delivery that another dispatcher leased meanwhile keeps that one's state unless this attempt delivered
    it.
    """
    if not settlements:
        return
    one_by_one.each(
        connection,
        settlements,
        lambda some: _settle(connection, some, owner, now),
        lambda one, error: _set_aside(connection, one, error, owner, now),
    )
    one_by_one.each(
        connection,
        [one.heard for one in settlements if one.heard is not None],
        lambda some: breakers.note(connection, some, now=now),
        lambda one, error: log.error("What was heard of target %d cannot be kept: %s", one.lane_id, error),
    )


def _set_aside(connection: Connection, one: Settlement, error: Exception, owner: str, now: datetime) -> None:
    """Keep the words of an answer that cannot be stored apart; its delivery ends as it did, without them."""
    words = ascii({"outcome": one.outcome, "code": one.code, "reason": one.reason})
    reason = f"{one_by_one.reason_of(error)}; the answer: {words}"
    quarantine.set_aside(connection, [SetAside(Kind.SETTLEMENT, one.delivery_id, "", reason)], now=now)
    plain = replace(
        one,
        code="",
        reason="the answer cannot be stored: see `airflow ml-events quarantine list`",
        options=None,
        number=min(one.number, _MOST),
        milliseconds=min(one.milliseconds, _MOST),
    )
    _settle(connection, [plain], owner, now)


def _settle(connection: Connection, settlements: Sequence[Settlement], owner: str, now: datetime) -> None:
    attempts = [
        {
            "delivery_id": one.delivery_id,
            "number": one.number,
            "started_at": one.started_at,
            "milliseconds": one.milliseconds,
            "outcome": one.outcome,
            "code": one.code[:100],
            "reason": one.reason[:1000],
        }
        for one in settlements
        if one.attempted
    ]
    if attempts:
        connection.execute(insert(_ATTEMPT), attempts)
    # Each that is tried again has a moment of its own; of the others most end alike: one statement for each way.
    again: list[dict[str, Any]] = []
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for one in settlements:
        if one.state == DeliveryState.FAILED and one.options is None:
            again.append(
                {
                    "of": one.delivery_id,
                    "owner": owner,
                    "attempts": one.number,
                    "next_attempt_at": one.next_attempt_at,
                    "failed_at": None if one.wished else now,
                    "code": one.code[:100],
                    "reason": one.reason[:1000],
                }
            )
            continue
        options = None if one.options is None else json.dumps(dict(one.options), ensure_ascii=False)
        words = one.code[:100], one.reason[:1000]
        ending = (one.state, one.number, one.next_attempt_at, one.wished, *words, options)
        alike[ending].append(one.delivery_id)
    if again:
        connection.execute(_AGAIN, again)
    for (state, number, next_attempt_at, wished, code, reason, options), ids in alike.items():
        values: dict[str, Any] = {
            "state": state,
            "attempts": number,
            "next_attempt_at": next_attempt_at,
            "failed_at": None if wished or state != DeliveryState.FAILED else now,
            "lease_owner": None,
            "lease_until": None,
            "code": code,
            "reason": reason,
            "finished_at": None if state in _WAITING else now,
        }
        if options is not None:
            values["options"] = options
        for chunk in in_chunks(ids):
            query = update(_DELIVERY).where(_DELIVERY.c.id.in_(chunk)).values(values)
            if state == DeliveryState.DEAD:
                fall_back(connection, chunk, now=now, owner=owner)
            if state != DeliveryState.DELIVERED:
                query = query.where(_DELIVERY.c.lease_owner == owner)
            connection.execute(query)


def fall_back(connection: Connection, ids: Sequence[str], *, now: datetime, owner: str | None) -> None:
    """Deliver to the fall-backs of deliveries that die now; only of those that are leased by ``owner``, if given."""
    query = (
        select(_DELIVERY.c.id.label("delivery_id"), _DELIVERY.c.fallback, *_TAKEN_OVER)
        .join(_NOTIFICATION, _NOTIFICATION.c.id == _DELIVERY.c.notification_id)
        .where(_DELIVERY.c.id.in_(ids), _DELIVERY.c.fallback.is_not(None))
    )
    if owner is not None:
        query = query.where(_DELIVERY.c.lease_owner == owner)
    dying = connection.execute(query).all()
    made = [(row, NewDelivery(id=change_id("fallback", row.delivery_id), **json.loads(row.fallback))) for row in dying]
    if made:
        deliver(connection, made, now=now)


def give_up(connection: Connection, *, due_before: datetime, now: datetime) -> int:
    """End what has been due since before a moment at targets that are not tried any more; say how many.

    Each dies with what its target's last failure said, and goes to its fall-back.
    """
    lane = schema.lane
    query = (
        select(_DELIVERY.c.id, lane.c.id.label("lane_id"), lane.c.conn_id, lane.c.code, lane.c.reason, lane.c.opened_at)
        .where(
            _DELIVERY.c.lane_id == lane.c.id,
            lane.c.breaker != schema.Breaker.CLOSED,
            schema.UNFINISHED,
            _DELIVERY.c.state != DeliveryState.LEASED,
            _DELIVERY.c.next_attempt_at < due_before,
        )
        .limit(500)
    )
    by_lane: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query).all():
        by_lane[row.lane_id].append(row)
    for rows in by_lane.values():
        ids = [row.id for row in rows]
        first = rows[0]
        since = f" since {first.opened_at:%Y-%m-%d %H:%M:%S} UTC" if first.opened_at else ""
        died = {
            "state": DeliveryState.DEAD,
            "code": first.code,
            "reason": f"{first.conn_id} has not answered{since}: {first.reason}"[:1000],
            "next_attempt_at": None,
            "finished_at": now,
        }
        fall_back(connection, ids, now=now, owner=None)
        waiting = update(_DELIVERY).where(_DELIVERY.c.id.in_(ids), _DELIVERY.c.state.in_(_WAITING))
        connection.execute(waiting.values(died))
    return sum(len(rows) for rows in by_lane.values())
