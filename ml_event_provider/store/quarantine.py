"""What was set aside because it could not be read, matched or written, so that the rest goes on."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, func, select

from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import schema
from ml_event_provider.store.choice import chosen
from ml_event_provider.store.engine import in_chunks, insert_new_one
from ml_event_provider.store.one_by_one import readable_rows, reason_of, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from ml_event_provider.store.choice import Names

log = logging.getLogger(__name__)

_TABLE = schema.quarantine


class Kind(StrEnum):
    """What was set aside, and what its ``reference`` names."""

    #: An event that cannot be read, or that no rule can be asked about: its ``seq``.
    EVENT = "event"
    #: An event that one rule could not digest: its ``seq`` and the rule's name, with a blank between.
    MATCH = "match"
    #: What a rule remembered and cannot be read: the state's id. The rule began anew there.
    STATE = "state"
    #: An event that cannot be deleted with those of its age: its ``seq``.
    PRUNE = "prune"
    #: A row of Airflow's tables that cannot be read or makes no event: its table and key. Runs, tries and import
    #: errors are tried again whenever they are looked at.
    ROW = "row"
    #: A target's answer that cannot be stored: the delivery's id. The delivery ended without it.
    SETTLEMENT = "settlement"


class SetAside(NamedTuple):
    """Something to be set aside."""

    kind: Kind
    reference: str
    workspace: str
    reason: str


class Quarantined(NamedTuple):
    """Something that is set aside."""

    id: int
    kind: str
    reference: str
    workspace: str
    reason: str
    set_aside_at: datetime

    @property
    def seq(self) -> int | None:
        """The place of the event that it is about, if it is about one."""
        first = self.reference.split(" ", 1)[0]
        return int(first) if self.kind not in {Kind.STATE, Kind.ROW, Kind.SETTLEMENT} and first.isdigit() else None

    @property
    def rule(self) -> str:
        """The rule that could not digest the event, where it was one."""
        return self.reference.split(" ", 1)[1] if self.kind == Kind.MATCH else ""


def set_aside(connection: Connection, some: Sequence[SetAside], *, now: datetime) -> None:
    """Set aside, and say so; what is already, stays as it is."""
    for one in some:
        row = {
            "kind": one.kind,
            "reference": storable(one.reference)[:255],
            "workspace": storable(one.workspace)[:100],
            "reason": storable(one.reason),
            "set_aside_at": now,
        }
        if insert_new_one(connection, _TABLE, row):
            log.error("Set aside: %s %s of workspace %s: %s", one.kind, one.reference, one.workspace, one.reason)


def find(connection: Connection, *, kind: Names = "", workspace: Names = "", limit: int = 1000) -> list[Quarantined]:
    """What is set aside, the newest first."""
    query = select(_TABLE).where(chosen(_TABLE.c.kind, kind), chosen(_TABLE.c.workspace, workspace))
    query = query.order_by(_TABLE.c.id.desc()).limit(limit)
    return [Quarantined(*row) for row in readable_rows(connection, query, _TABLE.c.id, _unreadable)]


def _unreadable(number: int, error: Exception) -> None:
    log.error("What is set aside under %s cannot be read: %s", number, reason_of(error))


def get(connection: Connection, number: int) -> Quarantined:
    """What is set aside under a number.

    :raises NotFound: if nothing is.
    """
    row = connection.execute(select(_TABLE).where(_TABLE.c.id == number)).first()
    if row is None:
        raise NotFound(f"nothing is set aside under {number}; see `airflow ml-events quarantine list`")
    return Quarantined(*row)


def remove(connection: Connection, numbers: Iterable[int]) -> int:
    """Forget that something was set aside; say how many there were."""
    gone = 0
    for chunk in in_chunks(numbers):
        gone += connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(chunk))).rowcount
    return gone


def count(connection: Connection) -> dict[str, int]:
    """How many of each kind are set aside."""
    rows = connection.execute(select(_TABLE.c.kind, func.count()).group_by(_TABLE.c.kind))
    return {str(kind): int(number) for kind, number in rows}
