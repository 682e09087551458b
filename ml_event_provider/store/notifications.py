"""Notifications and their deliveries, as they are made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ml_event_provider.store import schema
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
    conn_id: str
    template: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
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
    deliver(connection, [(one.id, delivery) for one in notifications for delivery in one.deliveries], now=now)


def deliver(connection: Connection, made: Sequence[tuple[str, NewDelivery]], *, now: datetime) -> None:
    """Create deliveries of notifications, which their ids name; those that exist stay as they are."""
    insert_new(connection, schema.delivery, [_row(delivery, of, now) for of, delivery in made])


def _row(delivery: NewDelivery, notification_id: str, now: datetime) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "notification_id": notification_id,
        "conn_id": delivery.conn_id,
        "template": delivery.template,
        "options": json.dumps(dict(delivery.options), ensure_ascii=False),
        "state": DeliveryState.MUTED if delivery.muted else DeliveryState.PENDING,
        "attempts": 0,
        "next_attempt_at": None if delivery.muted else delivery.not_before or now,
        "reason": delivery.muted[:1000],
        "created_at": now,
        "finished_at": now if delivery.muted else None,
        "fallback": None if delivery.fallback is None else json.dumps(dict(delivery.fallback), ensure_ascii=False),
    }
