"""Deliveries and their attempts; the leases by which dispatchers share the work."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, func, insert, literal, null, or_, select, update

from ml_event_provider.events.identity import change_id
from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import schema
from ml_event_provider.store.engine import become_writer, can_skip_locked, in_chunks, utc_now
from ml_event_provider.store.events import RecordedEvent, by_seq
from ml_event_provider.store.notifications import NewDelivery, deliver
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_NOTIFICATION = schema.notification
_DELIVERY = schema.delivery
_ATTEMPT = schema.attempt

#: How many other events an attempt gets to tell of.
MOST_OTHERS = 20

_UNFINISHED = (DeliveryState.PENDING, DeliveryState.FAILED)
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


class Delivery(NamedTuple):
    """A delivery with all that an attempt needs."""

    id: str
    notification_id: str
    workspace: str
    rule: str
    rule_version: int
    severity: str
    #: The target's connection; empty where it is an ``action`` in Airflow.
    conn_id: str
    template: str | None
    options: dict[str, Any]
    state: str
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    code: str
    reason: str
    recorded: RecordedEvent | None
    kind: str = "fired"
    alert_id: str = ""
    members: int = 1
    facts: Mapping[str, Any] = MappingProxyType({})
    #: The other events of a notification that tells of several, newest first; at most ``MOST_OTHERS``.
    others: tuple[RecordedEvent, ...] = ()
    #: What it does in Airflow, where it goes to no connection: ``action`` and ``hops``.
    action: Mapping[str, Any] | None = None

    @property
    def target(self) -> str:
        """Where it goes, for people: the connection's id, or ``"(Airflow)"`` for an action."""
        return self.conn_id if self.action is None else "(Airflow)"


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
    options: Mapping[str, Any] | None = None
    #: False where nothing was sent, because the target asked to wait its turn.
    attempted: bool = True


class Attempt(NamedTuple):
    """One try of one delivery."""

    number: int
    started_at: datetime
    milliseconds: int
    outcome: str
    code: str
    reason: str


def lease(connection: Connection, *, owner: str, limit: int, now: datetime, until: datetime) -> list[Delivery]:
    """Lease up to ``limit`` deliveries that are due, or whose lease ran out, until ``until``."""
    due = (
        select(_DELIVERY.c.id)
        .where(
            or_(
                and_(_DELIVERY.c.state.in_(_UNFINISHED), _DELIVERY.c.next_attempt_at <= now),
                and_(_DELIVERY.c.state == DeliveryState.LEASED, _DELIVERY.c.lease_until < now),
            )
        )
        .order_by(_DELIVERY.c.next_attempt_at)
        .limit(limit)
    )
    values = {"state": DeliveryState.LEASED, "lease_owner": owner, "lease_until": until}
    if can_skip_locked(connection):
        due = due.with_for_update(skip_locked=True)
    else:
        if connection.execute(due.limit(1)).first() is None:
            return []
        become_writer(connection)
    ids = list(connection.execute(due).scalars())
    if not ids:
        return []
    connection.execute(update(_DELIVERY).where(_DELIVERY.c.id.in_(ids)).values(values))
    return _read(connection, ids)


def settle(connection: Connection, settlements: Sequence[Settlement], *, owner: str, now: datetime) -> None:
    """Record attempts and what became of their deliveries.

    A delivery that another dispatcher leased meanwhile keeps that one's state unless this attempt delivered
    it.
    """
    if not settlements:
        return
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
    # Most attempts of a batch end alike: one statement for each way of ending.
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for one in settlements:
        options = None if one.options is None else json.dumps(dict(one.options), ensure_ascii=False)
        ending = (one.state, one.number, one.next_attempt_at, one.code[:100], one.reason[:1000], options)
        alike[ending].append(one.delivery_id)
    for (state, number, next_attempt_at, code, reason, options), ids in alike.items():
        finished = state not in _UNFINISHED
        values: dict[str, Any] = {
            "state": state,
            "attempts": number,
            "next_attempt_at": next_attempt_at,
            "lease_owner": None,
            "lease_until": None,
            "code": code,
            "reason": reason,
            "finished_at": now if finished else None,
        }
        if options is not None:
            values["options"] = options
        for chunk in in_chunks(ids):
            query = update(_DELIVERY).where(_DELIVERY.c.id.in_(chunk)).values(values)
            if state == DeliveryState.DEAD:
                _fall_back(connection, chunk, owner, now)
            if state != DeliveryState.DELIVERED:
                query = query.where(_DELIVERY.c.lease_owner == owner)
            connection.execute(query)


def _fall_back(connection: Connection, ids: Sequence[str], owner: str, now: datetime) -> None:
    """Deliver to the fall-backs of deliveries that die now."""
    dying = connection.execute(
        select(_DELIVERY.c.id.label("delivery_id"), _DELIVERY.c.fallback, *_TAKEN_OVER)
        .join(_NOTIFICATION, _NOTIFICATION.c.id == _DELIVERY.c.notification_id)
        .where(_DELIVERY.c.id.in_(ids), _DELIVERY.c.lease_owner == owner, _DELIVERY.c.fallback.is_not(None))
    )
    made = [(row, NewDelivery(id=change_id("fallback", row.delivery_id), **json.loads(row.fallback))) for row in dying]
    deliver(connection, made, now=now)


def release(connection: Connection, *, owner: str) -> None:
    """Give back the leases of a dispatcher that ends."""
    connection.execute(
        update(_DELIVERY)
        .where(_DELIVERY.c.lease_owner == owner, _DELIVERY.c.state == DeliveryState.LEASED)
        .values(state=DeliveryState.PENDING, lease_owner=None, lease_until=None)
    )


def latest(
    connection: Connection, *, state: str = "", rule: str = "", event_seq: int | None = None, limit: int = 50
) -> list[Delivery]:
    """The newest deliveries, newest first."""
    query = select(_DELIVERY.c.id).order_by(_DELIVERY.c.created_at.desc()).limit(limit)
    if state:
        query = query.where(_DELIVERY.c.state == state)
    if rule or event_seq is not None:
        query = query.join(_NOTIFICATION, _NOTIFICATION.c.id == _DELIVERY.c.notification_id)
    if rule:
        query = query.where(_NOTIFICATION.c.rule == rule)
    if event_seq is not None:
        query = query.where(_NOTIFICATION.c.event_seq == event_seq)
    return _read(connection, list(connection.execute(query).scalars()))


def of_notification(connection: Connection, notification_id: str) -> list[Delivery]:
    """The deliveries of a notification."""
    query = select(_DELIVERY.c.id).where(_DELIVERY.c.notification_id == notification_id)
    return _read(connection, list(connection.execute(query).scalars()))


def get(connection: Connection, delivery_id: str) -> Delivery:
    """One delivery by its id.

    :raises NotFound: if there is none.
    """
    found = _read(connection, [delivery_id])
    if not found:
        raise NotFound(f"there is no delivery {delivery_id!r}; see `airflow ml-events deliveries list`")
    return found[0]


def attempts_of(connection: Connection, delivery_id: str) -> list[Attempt]:
    """All attempts of a delivery, first to last."""
    rows = connection.execute(select(_ATTEMPT).where(_ATTEMPT.c.delivery_id == delivery_id).order_by(_ATTEMPT.c.id))
    return [Attempt(row.number, row.started_at, row.milliseconds, row.outcome, row.code, row.reason) for row in rows]


def send_again(connection: Connection, *, delivery_id: str = "", all_dead: bool = False) -> int:
    """Make a delivery that ended (or all dead letters) due again under its old id; say how many.

    :raises NotFound: if ``delivery_id`` names none that ended.
    """
    again = {"state": DeliveryState.PENDING, "attempts": 0, "next_attempt_at": utc_now(), "finished_at": None}
    if all_dead:
        query = update(_DELIVERY).where(_DELIVERY.c.state == DeliveryState.DEAD)
        return connection.execute(query.values(again)).rowcount
    ended = (DeliveryState.DEAD, DeliveryState.DELIVERED, DeliveryState.MUTED, DeliveryState.FAILED)
    query = update(_DELIVERY).where(_DELIVERY.c.id == delivery_id, _DELIVERY.c.state.in_(ended))
    if connection.execute(query.values(again)).rowcount == 0:
        stands = get(connection, delivery_id).state
        raise NotFound(f"delivery {delivery_id!r} is {stands}: it is on its way already")
    return 1


def count_by_state(connection: Connection) -> dict[str, int]:
    """How many deliveries stand in each unfinished or dead state."""
    rows = connection.execute(
        select(_DELIVERY.c.state, func.count())
        .where(_DELIVERY.c.state.in_([*_UNFINISHED, DeliveryState.LEASED, DeliveryState.DEAD]))
        .group_by(_DELIVERY.c.state)
    )
    return {str(state): int(count) for state, count in rows}


def count_dead(connection: Connection, *, since: datetime) -> int:
    """How many deliveries died since a moment and have not been sent again."""
    query = select(func.count()).where(_DELIVERY.c.state == DeliveryState.DEAD, _DELIVERY.c.finished_at > since)
    return int(connection.execute(query).scalar_one())


def _read(connection: Connection, ids: Sequence[str]) -> list[Delivery]:
    rows: dict[str, Any] = {}
    for chunk in in_chunks(ids):
        query = (
            select(
                _DELIVERY,
                _NOTIFICATION.c.rule,
                _NOTIFICATION.c.rule_version,
                _NOTIFICATION.c.severity,
                _NOTIFICATION.c.event_seq,
                _NOTIFICATION.c.kind,
                _NOTIFICATION.c.alert_id.label("newest_alert"),
                _NOTIFICATION.c.members,
                _NOTIFICATION.c.context,
            )
            .join(_NOTIFICATION, _NOTIFICATION.c.id == _DELIVERY.c.notification_id)
            .where(_DELIVERY.c.id.in_(chunk))
        )
        rows.update((row.id, row) for row in connection.execute(query))
    contexts = {key: json.loads(row.context) if row.context else {} for key, row in rows.items()}
    others = {
        key: [seq for seq in reversed(context.get("seqs", ())) if seq != rows[key].event_seq][:MOST_OTHERS]
        for key, context in contexts.items()
    }
    seqs = [row.event_seq for row in rows.values()] + [seq for group in others.values() for seq in group]
    recorded = by_seq(connection, seqs)
    return [
        Delivery(
            id=row.id,
            notification_id=row.notification_id,
            workspace=row.workspace,
            rule=row.rule,
            rule_version=row.rule_version,
            severity=row.severity,
            conn_id=row.conn_id,
            template=row.template,
            options=json.loads(row.options),
            state=row.state,
            attempts=row.attempts,
            next_attempt_at=row.next_attempt_at,
            created_at=row.created_at,
            finished_at=row.finished_at,
            code=row.code,
            reason=row.reason,
            recorded=recorded.get(row.event_seq),
            kind=row.kind,
            alert_id=row.newest_alert,
            members=row.members,
            facts=contexts[row.id].get("facts", {}),
            others=tuple(recorded[seq] for seq in others[row.id] if seq in recorded),
            action=None if row.action is None else json.loads(row.action),
        )
        for row in (rows[delivery_id] for delivery_id in ids if delivery_id in rows)
    ]
