"""Why events gave notifications, or gave none."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, insert, select

from ml_event_provider.store import schema
from ml_event_provider.store.one_by_one import json_object, readable_rows, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

_TABLE = schema.decision


class RecordedDecision(NamedTuple):
    """A decision to be recorded."""

    event_seq: int | None
    workspace: str
    rule: str
    rule_version: int
    key: str
    outcome: str
    facts: dict[str, Any]
    notification_id: str | None
    decided_at: datetime


def record(connection: Connection, decisions: Sequence[RecordedDecision]) -> None:
    """Record decisions."""
    if decisions:
        rows = [{**one._asdict(), "facts": json.dumps(one.facts, ensure_ascii=False)} for one in decisions]
        connection.execute(insert(_TABLE), rows)


def of_event(connection: Connection, event_seq: int) -> list[RecordedDecision]:
    """All decisions about an event, the first first."""
    query = select(_TABLE).where(_TABLE.c.event_seq == event_seq).order_by(_TABLE.c.id)
    found: list[RecordedDecision] = []
    for row in readable_rows(connection, query, _TABLE.c.id, _tell_unreadable):
        try:
            found.append(_decision(row))
        except (ValueError, TypeError, RecursionError) as error:
            _tell_unreadable(row.id, error)
    return found


def _decision(row: Any) -> RecordedDecision:
    return RecordedDecision(
        row.event_seq,
        row.workspace,
        row.rule,
        row.rule_version,
        row.key,
        row.outcome,
        json_object(row.facts),
        row.notification_id,
        row.decided_at,
    )


def _tell_unreadable(number: int, error: Exception) -> None:
    log.error("Decision %s cannot be read: %s", number, reason_of(error))


def forget(connection: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to ``limit`` decisions made before a moment; say how many."""
    ids = list(connection.execute(select(_TABLE.c.id).where(_TABLE.c.decided_at < before).limit(limit)).scalars())
    if ids:
        connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(ids)))
    return len(ids)
