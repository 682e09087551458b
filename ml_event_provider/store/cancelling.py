"""Calls off deliveries that nobody wants any more, before they go out."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import exists, not_, select, update

from ml_event_provider.store import schema
from ml_event_provider.store.choice import chosen
from ml_event_provider.store.engine import in_chunks
from ml_event_provider.store.one_by_one import json_object
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from ml_event_provider.store.choice import Names

_DELIVERY, _NOTIFICATION = schema.delivery, schema.notification

#: The code of a delivery that was called off, and how the reason begins where it was with its rule.
CODE: Final = "cancelled"
_WITH_ITS_RULE: Final = "its rule was deleted"
#: What is told of an alert once, and not again by its next message.
_AFTER_ALL: Final = ("resolved", "escalated")


def unfinished(
    connection: Connection, *, ids: Names = (), workspace: Names = (), rule: Names = (), conn_id: Names = ()
) -> list[str]:
    """The ids of the deliveries of these kinds that are still to go out, the oldest first."""
    return _ids(
        connection,
        chosen(_DELIVERY.c.id, ids),
        chosen(_DELIVERY.c.workspace, workspace),
        chosen(_NOTIFICATION.c.rule, rule),
        chosen(_DELIVERY.c.conn_id, conn_id),
    )


def with_deleted_rules(connection: Connection, workspace: str, *, author: str, now: datetime) -> int:
    """Call off what a workspace's rules that are no more had still to send; say how many deliveries that were."""
    was, stands = (
        exists().where(
            table.c.kind == "rule",
            table.c.workspace == _DELIVERY.c.workspace,
            table.c.name == _NOTIFICATION.c.rule,
        )
        for table in (schema.definition_version, schema.definition)
    )
    # What was sent without a rule has version 0, and only a name.
    of_rule = _NOTIFICATION.c.rule_version > 0
    ids = _ids(connection, _DELIVERY.c.workspace == workspace, of_rule, was, not_(stands))
    return cancel(connection, ids, reason=_WITH_ITS_RULE + (f" by {author}" if author else ""), now=now)


def follow_renamed(
    connection: Connection, workspace: str, name: str, new: str, *, since: datetime, now: datetime
) -> dict[str, set[str]]:
    """What was called off with a rule, since a moment, goes out by the rule's new name.

    Not what tells that an alert lasts, which must come in order with what is told of it from now on: return, by the
    alert's id, the targets that are to hear so anew.
    """
    query = (
        select(
            _DELIVERY.c.id,
            _DELIVERY.c.conn_id,
            _DELIVERY.c.stream,
            _DELIVERY.c.notification_id,
            _NOTIFICATION.c.kind,
            _NOTIFICATION.c.alert_id,
            _NOTIFICATION.c.context,
        )
        .join(_NOTIFICATION, _NOTIFICATION.c.id == _DELIVERY.c.notification_id)
        .where(
            _DELIVERY.c.state == DeliveryState.CANCELLED,
            _DELIVERY.c.code == CODE,
            _DELIVERY.c.reason.startswith(_WITH_ITS_RULE),
            _DELIVERY.c.finished_at >= since,
            _DELIVERY.c.workspace == workspace,
            _NOTIFICATION.c.rule == name,
        )
    )
    unheard: dict[str, set[str]] = defaultdict(set)
    back: list[Any] = []
    for row in connection.execute(query):
        if row.stream is None or row.kind in _AFTER_ALL:
            back.append(row)
            continue
        for alert in (row.alert_id, *_members(row.context)):
            unheard[alert].add(row.conn_id)
    due = {"state": DeliveryState.PENDING, "next_attempt_at": now, "code": "", "reason": "", "finished_at": None}
    for chunk in in_chunks([row.id for row in back]):
        connection.execute(update(_DELIVERY).where(_DELIVERY.c.id.in_(chunk)).values(due))
    for chunk in in_chunks(sorted({row.notification_id for row in back})):
        connection.execute(update(_NOTIFICATION).where(_NOTIFICATION.c.id.in_(chunk)).values(rule=new))
    return unheard


def _members(context: str | None) -> list[str]:
    """The alerts of which a message about several tells."""
    try:
        members = json_object(context or "{}").get("facts", {}).get("members", [])
        return [str(one[3]) for one in members]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # The one that the message itself names is told anew.
        return []


def cancel(connection: Connection, ids: Sequence[str], *, reason: str, now: datetime) -> int:
    """Call off the deliveries among these that are still to go out; say how many were."""
    values: dict[str, Any] = {
        "state": DeliveryState.CANCELLED,
        "next_attempt_at": None,
        # Whoever leased it settles it no more, unless it was delivered after all.
        "lease_owner": None,
        "lease_until": None,
        "code": CODE,
        "reason": reason[:1000],
        "finished_at": now,
    }
    return sum(
        connection.execute(
            update(_DELIVERY).where(_DELIVERY.c.id.in_(chunk), schema.UNFINISHED).values(values)
        ).rowcount
        for chunk in in_chunks(ids)
    )


def _ids(connection: Connection, *conditions: ColumnElement[bool]) -> list[str]:
    query = (
        select(_DELIVERY.c.id)
        .join(_NOTIFICATION, _NOTIFICATION.c.id == _DELIVERY.c.notification_id)
        .where(schema.UNFINISHED, *conditions)
        .order_by(_DELIVERY.c.created_at, _DELIVERY.c.id)
    )
    return list(connection.execute(query).scalars())
