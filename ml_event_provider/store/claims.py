"""What task processes say of how their try ended, held against Airflow's own tables before it is recorded.

A task process hands its end over before Airflow has committed it: a failure is reported to the API server only when the
process is gone, and a success may not have arrived. What is said of a try whose end is not committed waits here
(``ml_event_claim``); what its row then contradicts is not told.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from sqlalchemy import delete, select

from ml_event_provider.events.model import Event
from ml_event_provider.store import events, schema
from ml_event_provider.store.engine import can_skip_locked, database_now, in_chunks, insert_new
from ml_event_provider.store.unreported import TERMINAL_TASK_STATES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

_TABLE = schema.claim
_TYPE = "airflow.task_instance."
#: Who speaks of a try from within its own process.
_SPEAKERS = frozenset({"worker", "callback"})
#: How many claims are judged in one transaction.
BATCH = 500
#: After how long a try that never ended in the tables is one that never will.
LONGEST = timedelta(days=1)


class Judged(NamedTuple):
    """What is so, what is not committed yet, and what the tables contradict."""

    true: list[Event]
    open: list[Event]
    false: list[Event]


def record(connection: Connection, said: Sequence[Event]) -> None:
    """Record what is so at once; what is not committed yet, as soon as it is (:func:`settle`)."""
    judged = judge(connection, said)
    events.record(connection, judged.true)
    if judged.open:
        now = database_now(connection)
        rows = [
            {
                "event_id": event.id,
                "source": event.source,
                "try_uuid": events.try_of(event),
                "body": event.to_json(),
                "claimed_at": now,
            }
            for event in judged.open
        ]
        insert_new(connection, _TABLE, rows)


def judge(connection: Connection, said: Sequence[Event]) -> Judged:
    """Hold the ends of tries against their rows. Of tries that Airflow does not know, and of all else, all is so."""
    tries = {number: one for number, event in enumerate(said) if (one := _claimed_try(event)) is not None}
    states = _states(connection, list(tries.values()))
    judged = Judged([], [], [])
    for number, event in enumerate(said):
        state = states.get(tries[number], None) if number in tries else None
        if state is None or _agree(_said_state(event), state):
            judged.true.append(event)
        elif state not in _ENDED:
            judged.open.append(event)
        elif _was_so(connection, event):
            judged.true.append(event)
        else:
            log.warning(
                "Not told: a task process said %s of %s, and Airflow's tables say %s",
                _said_state(event),
                event.subject,
                state,
            )
            judged.false.append(event)
    return judged


def settle(
    connection: Connection, *, now: datetime | None = None, limit: int = BATCH, after: int = 0
) -> tuple[int, int | None]:
    """Judge a page of claims again; return how many were settled, and the page's end, ``None`` behind the last one.

    ``now`` is the database's moment unless given.
    """
    query = select(_TABLE).where(_TABLE.c.id > after).order_by(_TABLE.c.id).limit(limit)
    if can_skip_locked(connection):
        query = query.with_for_update(skip_locked=True)
    rows = connection.execute(query).all()
    if not rows:
        return 0, None
    moment = now or database_now(connection)
    readable: dict[int, Event] = {}
    for row in rows:
        try:
            readable[row.id] = Event.from_json(row.body)
        except ValueError as error:
            log.error("Not told: what task try %s said of its end cannot be read: %s", row.try_uuid, error)
    judged = judge(connection, list(readable.values()))
    events.record(connection, judged.true)
    waiting = {(event.id, event.source) for event in judged.open}
    settled: list[int] = []
    for row in rows:
        said = readable.get(row.id)
        if said is not None and (said.id, said.source) in waiting:
            if moment - row.claimed_at < LONGEST:
                continue
            log.warning("Not told: the end of %s never reached Airflow's tables", said.subject)
        settled.append(row.id)
    for chunk in in_chunks(settled):
        connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(chunk)))
    return len(settled), rows[-1].id if len(rows) == limit else None


#: States of tries that are over, as the tables write them.
_ENDED = frozenset({*TERMINAL_TASK_STATES, "up_for_retry"})
#: What a task process may say of its end.
_ENDS = frozenset({"success", "failed", "skipped", "up_for_retry"})
#: Airflow's history calls a try that is retried ``failed``, too.
_FAILED = frozenset({"failed", "up_for_retry"})


def _claimed_try(event: Event) -> UUID | None:
    if event.origin not in _SPEAKERS or _said_state(event) not in _ENDS:
        return None
    return events.try_of(event)


def _said_state(event: Event) -> str:
    return event.type.removeprefix(_TYPE) if event.type.startswith(_TYPE) else ""


def _states(connection: Connection, tries: Sequence[UUID]) -> dict[UUID, str]:
    """The state of each try that Airflow knows; one that is over and was archived counts as its archive says."""
    found: dict[UUID, str] = {}
    for chunk in in_chunks(sorted(set(tries))):
        for query in (
            select(TaskInstance.id, TaskInstance.state).where(TaskInstance.id.in_(chunk)),
            select(TaskInstanceHistory.task_instance_id, TaskInstanceHistory.state).where(
                TaskInstanceHistory.task_instance_id.in_(chunk)
            ),
        ):
            found |= {UUID(str(row[0])): str(row[1] or "none") for row in connection.execute(query)}
    return found


def _agree(said: str, state: str) -> bool:
    return said == state or {said, state} <= _FAILED


def _was_so(connection: Connection, event: Event) -> bool:
    """Whether the try did end so before somebody set it to what it is: Airflow's log of changes tells."""
    data = event.data
    query = select(Log.id).where(
        Log.dag_id == data.get("dag_id"),
        Log.task_id == data.get("task_id"),
        Log.run_id == data.get("run_id"),
        Log.map_index == data.get("map_index", -1),
        Log.try_number == data.get("try_number"),
        Log.event == _said_state(event),
    )
    return connection.execute(query.limit(1)).first() is not None
