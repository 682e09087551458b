"""Leases whatever is due, for tests to which fairness does not matter."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ml_event_provider.store import leases

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from ml_event_provider.store.deliveries import Delivery

MINUTE = timedelta(minutes=1)


def lease_any(connection: Connection, *, owner: str, limit: int = 1000, now: datetime) -> list[Delivery]:
    """Up to ``limit`` deliveries for a minute, those of the lane that waited longest first."""
    leased: list[Delivery] = []
    for lane in leases.due_lanes(connection, now=now, furthest=now + timedelta(days=1)):
        left = limit - len(leased)
        leased += leases.lease(connection, {lane.id: left}, owner=owner, now=now, until=now + MINUTE) if left else []
    return leased
