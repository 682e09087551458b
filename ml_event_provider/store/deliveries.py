"""Deliveries and their attempts, as people look at them and send them again."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, case, exists, func, null, select, update

from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import lanes, schema
from ml_event_provider.store.choice import chosen
from ml_event_provider.store.engine import database_now, in_chunks
from ml_event_provider.store.events import RecordedEvent, by_seq
from ml_event_provider.store.one_by_one import json_object, readable_rows, reason_of
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from ml_event_provider.store.choice import Names

log = logging.getLogger(__name__)

_NOTIFICATION = schema.notification
_DELIVERY = schema.delivery
_ATTEMPT = schema.attempt
_READ = (
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
    .where(_DELIVERY.c.id.in_(bindparam("ids", expanding=True)))
)

#: How many other events an attempt gets to tell of.
MOST_OTHERS = 20

_UNFINISHED = (DeliveryState.PENDING, DeliveryState.FAILED)
_SENT_AGAIN = (
    DeliveryState.DEAD,
    DeliveryState.DELIVERED,
    DeliveryState.MUTED,
    DeliveryState.FAILED,
    DeliveryState.OVERTAKEN,
    DeliveryState.CANCELLED,
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
    lane_id: int = 0

    @property
    def target(self) -> str:
        """Where it goes, for people: the connection's id, or ``"(Airflow)"`` for an action."""
        return self.conn_id if self.action is None else "(Airflow)"


class Attempt(NamedTuple):
    """One try of one delivery."""

    number: int
    started_at: datetime
    milliseconds: int
    outcome: str
    code: str
    reason: str


def latest(
    connection: Connection, *, state: Names = "", rule: Names = "", event_seq: int | None = None, limit: int = 50
) -> list[Delivery]:
    """The newest deliveries, newest first."""
    query = select(_DELIVERY.c.id).order_by(_DELIVERY.c.created_at.desc()).limit(limit)
    query = query.where(chosen(_DELIVERY.c.state, state))
    if rule or event_seq is not None:
        query = query.join(_NOTIFICATION, _NOTIFICATION.c.id == _DELIVERY.c.notification_id)
        query = query.where(chosen(_NOTIFICATION.c.rule, rule))
    if event_seq is not None:
        query = query.where(_NOTIFICATION.c.event_seq == event_seq)
    return read(connection, list(connection.execute(query).scalars()))


def of_notification(connection: Connection, notification_id: str) -> list[Delivery]:
    """The deliveries of a notification."""
    query = select(_DELIVERY.c.id).where(_DELIVERY.c.notification_id == notification_id)
    return read(connection, list(connection.execute(query).scalars()))


def get(connection: Connection, delivery_id: str) -> Delivery:
    """One delivery by its id.

    :raises NotFound: if there is none.
    """
    found = read(connection, [delivery_id])
    if not found:
        raise NotFound(f"there is no delivery {delivery_id!r}; see `airflow ml-events deliveries list`")
    return found[0]


def attempts_of(connection: Connection, delivery_id: str) -> list[Attempt]:
    """All attempts of a delivery, first to last."""
    rows = connection.execute(select(_ATTEMPT).where(_ATTEMPT.c.delivery_id == delivery_id).order_by(_ATTEMPT.c.id))
    return [Attempt(row.number, row.started_at, row.milliseconds, row.outcome, row.code, row.reason) for row in rows]


def send_again(connection: Connection, *, delivery_id: str = "", all_dead: bool = False) -> int:
    """Make a delivery that ended (or all dead letters) due again under its old id; say how many.

    Where a later message about the same alert arrived meanwhile, one that is asked for by name goes in no order;
    of all dead letters such a one is left alone, as overtaken.

    :raises NotFound: if ``delivery_id`` names none that ended.
    """
    now = database_now(connection)
    again = {
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "next_attempt_at": now,
        "finished_at": None,
    }
    later = _DELIVERY.alias("later")
    is_told = exists().where(
        later.c.stream == _DELIVERY.c.stream,
        later.c.alert_id == _DELIVERY.c.alert_id,
        later.c.alert_id != "",
        later.c.ordinal > _DELIVERY.c.ordinal,
        later.c.state == DeliveryState.DELIVERED,
    )
    if all_dead:
        dead = update(_DELIVERY).where(_DELIVERY.c.state == DeliveryState.DEAD)
        words = {"state": DeliveryState.OVERTAKEN, "reason": "overtaken: a later message arrived"}
        connection.execute(dead.where(is_told).values(words))
        _put_in_lanes(connection, _DELIVERY.c.state == DeliveryState.DEAD, now)
        return connection.execute(dead.values(again)).rowcount
    query = update(_DELIVERY).where(_DELIVERY.c.id == delivery_id, _DELIVERY.c.state.in_(_SENT_AGAIN))
    _put_in_lanes(connection, _DELIVERY.c.id == delivery_id, now)
    unordered = case((is_told, null()), else_=_DELIVERY.c.stream)
    if connection.execute(query.values(**again, stream=unordered)).rowcount == 0:
        stands = get(connection, delivery_id).state
        raise NotFound(f"delivery {delivery_id!r} is {stands}: it is on its way already")
    return 1


def _put_in_lanes(connection: Connection, ended: ColumnElement[bool], now: datetime) -> None:
    """Have a lane for what is to be sent again: that by which it went may have been pruned."""
    query = select(_DELIVERY.c.workspace, _DELIVERY.c.conn_id, _DELIVERY.c.lane_id)
    went = connection.execute(query.where(ended, _DELIVERY.c.state.in_(_SENT_AGAIN)).distinct()).all()
    go = lanes.ids(connection, {(one.workspace, one.conn_id) for one in went}, now=now)
    for one in went:
        lane = go[one.workspace, one.conn_id]
        if lane != one.lane_id:
            old = (_DELIVERY.c.workspace == one.workspace, _DELIVERY.c.conn_id == one.conn_id)
            moved = update(_DELIVERY).where(ended, *old, _DELIVERY.c.lane_id == one.lane_id)
            connection.execute(moved.values(lane_id=lane))


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


def read(
    connection: Connection, ids: Sequence[str], *, unreadable: Callable[[str, Exception], object] | None = None
) -> list[Delivery]:
    """Deliveries by their ids, in that order; those that exist.

    One that cannot be read costs no other: its id is given to ``unreadable`` with the reason, or else logged.
    """
    spoilt = unreadable or _tell_unreadable
    rows: dict[str, Any] = {}
    contexts: dict[str, _Context] = {}
    for chunk in in_chunks(ids):
        for row in readable_rows(connection, _READ, _DELIVERY.c.id, spoilt, ids=chunk):
            try:
                contexts[row.id] = _context(row)
            except (ValueError, TypeError, RecursionError) as error:
                spoilt(row.id, error)
                continue
            rows[row.id] = row
    seqs = [row.event_seq for row in rows.values()] + [seq for one in contexts.values() for seq in one.others]
    recorded = by_seq(connection, seqs)
    return [_delivery(rows[key], contexts[key], recorded) for key in ids if key in rows]


class _Context(NamedTuple):
    options: dict[str, Any]
    action: dict[str, Any] | None
    facts: dict[str, Any]
    others: list[int]


def _context(row: Any) -> _Context:
    context = json_object(row.context) if row.context else {}
    seqs = [seq for seq in reversed(context.get("seqs", ())) if seq != row.event_seq]
    return _Context(
        options=json_object(row.options),
        action=None if row.action is None else json_object(row.action),
        facts=context.get("facts", {}),
        others=seqs[:MOST_OTHERS],
    )


def _delivery(row: Any, context: _Context, recorded: Mapping[int, RecordedEvent]) -> Delivery:
    return Delivery(
        id=row.id,
        notification_id=row.notification_id,
        workspace=row.workspace,
        rule=row.rule,
        rule_version=row.rule_version,
        severity=row.severity,
        conn_id=row.conn_id,
        template=row.template,
        options=context.options,
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
        facts=context.facts,
        others=tuple(recorded[seq] for seq in context.others if seq in recorded),
        action=context.action,
        lane_id=row.lane_id,
    )


def _tell_unreadable(delivery_id: str, error: Exception) -> None:
    log.error("Delivery %s cannot be read: %s", delivery_id, reason_of(error))
