"""Lanes: each target of a workspace has a share of the dispatchers, and a breaker, of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ml_event_provider.store import schema
from ml_event_provider.store.engine import in_chunks, insert_new

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

_TABLE = schema.lane


def ids(connection: Connection, targets: Collection[tuple[str, str]], *, now: datetime) -> dict[tuple[str, str], int]:
    """The lanes of targets, which workspace and ``conn_id`` name; new ones are made. Actions have no ``conn_id``."""
    found = _known(connection, targets)
    new = sorted(set(targets) - set(found))
    if new:
        rows = [{"workspace": workspace, "conn_id": conn_id, "updated_at": now} for workspace, conn_id in new]
        insert_new(connection, _TABLE, rows)
        found |= _known(connection, new)
    return found


def _known(connection: Connection, targets: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    wanted = set(targets)
    found: dict[tuple[str, str], int] = {}
    for chunk in in_chunks(sorted({conn_id for _, conn_id in wanted})):
        query = select(_TABLE.c.workspace, _TABLE.c.conn_id, _TABLE.c.id).where(_TABLE.c.conn_id.in_(chunk))
        found |= {(row.workspace, row.conn_id): row.id for row in connection.execute(query)}
    return {target: lane for target, lane in found.items() if target in wanted}
