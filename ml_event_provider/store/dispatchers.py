"""The dispatchers that are alive, by their heartbeats."""

from __future__ import annotations

import json
import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, insert, or_, select, update

from ml_event_provider.store import schema
from ml_event_provider.store.one_by_one import readable_rows, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

_TABLE = schema.dispatcher


class Dispatcher(NamedTuple):
    """One dispatcher process."""

    id: str
    hostname: str
    pid: int
    embedded: bool
    started_at: datetime
    heartbeat_at: datetime
    #: What it knows of itself and its machine; JSON.
    report: Mapping[str, Any] = MappingProxyType({})


def beat(connection: Connection, one: Dispatcher) -> None:
    """Record a dispatcher's heartbeat; the first one announces it."""
    told = {"heartbeat_at": one.heartbeat_at, "report": json.dumps(dict(one.report), ensure_ascii=False)}
    changed = connection.execute(update(_TABLE).where(_TABLE.c.id == one.id).values(told))
    if changed.rowcount == 0:
        connection.execute(insert(_TABLE).values({**one._asdict(), **told}))


def forget(connection: Connection, dispatcher_id: str) -> None:
    """Remove a dispatcher that ends."""
    connection.execute(delete(_TABLE).where(_TABLE.c.id == dispatcher_id))


def forget_silent(connection: Connection, *, before: datetime, after: datetime) -> None:
    """Remove dispatchers that were last heard of before a moment, or by a wrong clock after another.

    One that lives announces itself anew.
    """
    connection.execute(delete(_TABLE).where(or_(_TABLE.c.heartbeat_at < before, _TABLE.c.heartbeat_at > after)))


def all_dispatchers(connection: Connection) -> list[Dispatcher]:
    """All that announced themselves, newest heartbeat first."""
    query = select(_TABLE).order_by(_TABLE.c.heartbeat_at.desc())
    found = readable_rows(connection, query, _TABLE.c.id, _unreadable)
    return [Dispatcher(**{**row._mapping, "report": _report(row)}) for row in found]


def _report(row: Any) -> Mapping[str, Any]:
    try:
        report = json.loads(row.report or "{}")
    except (ValueError, RecursionError) as error:
        _unreadable(row.id, error)
        return {}
    return report if isinstance(report, dict) else {}


def _unreadable(dispatcher_id: str, error: Exception) -> None:
    log.error("What dispatcher %s told of itself cannot be read: %s", dispatcher_id, reason_of(error))
