"""Notifications and their deliveries, as they are made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ml_event_provider.events.identity import change_id
from ml_event_provider.store import lanes, schema, wakes
from ml_event_provider.store.engine import insert_new
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A delivery to be made: one target of one notification."""

    id: str
    conn_id: str = ""
    template: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    #: What it does in Airflow, where it goes to no connection: ``action`` and ``hops``.
    action: Mapping[str, Any] | None = None
    #: Why it is not sent; and before which moment it is not.
    muted: str = ""
    not_before: datetime | None = None
    #: Where it goes when the target never took it: ``conn_id``, ``template``, ``options``.
    fallback: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNotification:
    """What one rule says about one event or several, with its deliveries."""

    id: str
    workspace: str
    rule: str
    rule_version: int
    severity: str
    event_seq: int
    deliveries: tuple[NewDelivery, ...]
    kind: str = "fired"
    alert_id: str = ""
    members: int = 1
    #: ``facts``, and ``seqs`` of all events where there are several.
    context: Mapping[str, Any] = field(default_factory=dict)
    #: What it comes in order with, among the notifications of its rule; and its place in the workspace's order.
    stream: str | None = None
    ordinal: int = 0


def create(connection: Connection, notifications: Sequence[NewNotification], *, now: datetime) -> None:
    """Create notifications and their deliveries; those that exist stay as they are."""
    insert_new(
        connection,
        schema.notification,
        [
            {
                "id": one.id,
                "workspace": one.workspace,
                "rule": one.rule,
                "rule_version": one.rule_version,
                "severity": one.severity,
                "event_seq": one.event_seq,
                "created_at": now,
                "kind": one.kind,
                "alert_id": one.alert_id,
                "members": one.members,
                "context": json.dumps(dict(one.context), ensure_ascii=False) if one.context else None,
            }
            for one in notifications
        ],
    )
    deliver(connection, [(one, delivery) for one in notifications for delivery in one.deliveries], now=now)


class Of(Protocol):
    """What a delivery takes over from its notification."""

    @property
    def id(self) -> str:
        """The notification's id."""

    @property
    def workspace(self) -> str:
        """Its workspace."""

    @property
    def rule(self) -> str:
        """Its rule's name."""

    @property
    def alert_id(self) -> str:
        """The alert that it tells of; of several, the newest."""

    @property
    def members(self) -> int:
        """How many firings it tells of."""

    @property
    def stream(self) -> str | None:
        """What it comes in order with."""

    @property
    def ordinal(self) -> int:
        """Its place in that order."""


def deliver(connection: Connection, made: Sequence[tuple[Of, NewDelivery]], *, now: datetime) -> None:
    """Create deliveries of notifications; those that exist stay as they are."""
    known = lanes.ids(connection, {(of.workspace, one.conn_id) for of, one in made}, now=now)
    rows = [_row(one, of, known[of.workspace, one.conn_id], now) for of, one in made]
    insert_new(connection, schema.delivery, rows)
    if rows:
        wakes.tell(connection, wakes.DELIVERIES)


def _row(delivery: NewDelivery, of: Of, lane_id: int, now: datetime) -> dict[str, Any]:
    options = json.dumps(dict(delivery.options), ensure_ascii=False, sort_keys=True)
    return {
        "id": delivery.id,
        "notification_id": of.id,
        "workspace": of.workspace,
        "conn_id": delivery.conn_id,
        "lane_id": lane_id,
        "template": delivery.template,
        "options": options,
        "action": None if delivery.action is None else json.dumps(dict(delivery.action), ensure_ascii=False),
        # The same target with other options reaches others.
        "stream": None
        if of.stream is None or delivery.action is not None
        else change_id("stream", of.workspace, of.rule, of.stream, delivery.conn_id, options),
        "ordinal": of.ordinal,
        "alert_id": of.alert_id if of.members == 1 else "",
        "state": DeliveryState.MUTED if delivery.muted else DeliveryState.PENDING,
        "attempts": 0,
        "next_attempt_at": None if delivery.muted else delivery.not_before or now,
        "reason": delivery.muted[:1000],
        "created_at": now,
        "finished_at": now if delivery.muted else None,
        "fallback": None if delivery.fallback is None else json.dumps(dict(delivery.fallback), ensure_ascii=False),
    }
