"""Calls off deliveries by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import cancelling, deliveries

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime


def cancel(connection: Any, ids: Sequence[str], *, who: str, now: datetime) -> int:
    """Call off the deliveries with these ids; say how many.

    One that is under way may arrive all the same: then it is delivered, and says so.

    :raises NotFound: if one is not there, or has ended: then none is called off.
    """
    going = set(cancelling.unfinished(connection, ids=ids)) if ids else set()
    for delivery_id in ids:
        if delivery_id not in going:
            stands = deliveries.get(connection, delivery_id).state
            raise NotFound(f"delivery {delivery_id!r} is {stands}: only one that is still to go out can be cancelled")
    return cancelling.cancel(connection, ids, reason=f"cancelled by {who}", now=now)


def cancel_all(
    connection: Any,
    *,
    workspaces: Collection[str] = (),
    rules: Collection[str] = (),
    conn_ids: Collection[str] = (),
    who: str,
    now: datetime,
) -> int:
    """Call off all deliveries of these workspaces, rules and targets (none given: of all) that are still to go out."""
    ids = cancelling.unfinished(connection, workspace=workspaces, rule=rules, conn_id=conn_ids)
    return cancelling.cancel(connection, ids, reason=f"cancelled by {who}", now=now)
