"""Calls off deliveries that nobody wants any more, before they go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import exists, not_, select, update

from ml_event_provider.store import schema
from ml_event_provider.store.choice import chosen
from ml_event_provider.store.engine import in_chunks
from ml_event_provider.store.schema import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from ml_event_provider.store.choice import Names

_DELIVERY, _NOTIFICATION = schema.delivery, schema.notification

#: The code of a delivery that was called off.
CODE: Final = "cancelled"


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
    return cancel(connection, ids, reason="its rule was deleted" + (f" by {author}" if author else ""), now=now)


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
