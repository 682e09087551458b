"""Task tries that ended and nobody reported, found by joining Airflow's tables with the recorded events.

``task_instance`` has no index on times: the tries are reached through their dag runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from sqlalchemy import and_, func, literal, not_, or_, select
from sqlalchemy.orm import aliased

from ml_event_provider.store import schema
from ml_event_provider.store.engine import in_chunks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

TERMINAL_TASK_STATES = ("success", "failed", "skipped", "upstream_failed", "removed")
_TYPE = "airflow.task_instance."


def unreported_ids(
    connection: Connection,
    run_ids: Sequence[int],
    *,
    past: bool,
    since: datetime,
    young: tuple[datetime, datetime],
    after: UUID,
    limit: int,
) -> list[UUID]:
    """Terminal task tries of those runs, ended after ``since`` and not in ``young``, of which no event is recorded.

    ``past`` are the tries in Airflow's history (retried or cleared since), else the present ones. A page of ``limit``
    tries whose UUID is above ``after``.
    """
    tries, identity, ended = _tries(past)
    recorded = aliased(schema.event)
    reported = recorded.c.type == literal(_TYPE).concat(tries.state)
    if past:
        # The history calls a try that is retried ``failed`` too.
        reported = or_(reported, and_(tries.state == "failed", recorded.c.type == f"{_TYPE}up_for_retry"))
    query = (
        select(identity.label("id"))
        .join(DagRun, and_(DagRun.dag_id == tries.dag_id, DagRun.run_id == tries.run_id))
        .join(recorded, and_(recorded.c.try_uuid == identity, reported), isouter=True)
        .where(
            DagRun.id.in_(run_ids),
            tries.state.in_(TERMINAL_TASK_STATES),
            ended > since,
            not_(ended.between(*young)),
            recorded.c.seq.is_(None),
            identity > after,
        )
        .order_by(identity)
        .limit(limit)
    )
    if past:
        # Whatever is cleared or reset before it ran is archived as a failed try as well.
        query = query.where(tries.start_date.is_not(None), tries.try_number > 0)
    return list(connection.execute(query).scalars())


def tries_by_id(connection: Connection, ids: Sequence[UUID], *, past: bool) -> list[Row[Any]]:
    """The tries with those UUIDs, with what their runs say of them."""
    tries, identity, ended = _tries(past)
    found: list[Row[Any]] = []
    for chunk in in_chunks(ids):
        query = (
            select(
                identity.label("id"),
                tries.dag_id,
                tries.run_id,
                tries.task_id,
                tries.map_index,
                tries.try_number,
                tries.max_tries,
                tries.state,
                tries.start_date,
                ended.label("end_date"),
                tries.operator,
                tries.queue,
                tries.pool,
                tries.hostname,
                literal(past).label("past"),
                DagRun.logical_date,
                DagRun.run_type,
            )
            .join(DagRun, and_(DagRun.dag_id == tries.dag_id, DagRun.run_id == tries.run_id))
            .where(identity.in_(chunk))
            .order_by(identity)
        )
        found.extend(connection.execute(query))
    return found


def _tries(past: bool) -> tuple[Any, Any, Any]:
    """The table of the tries, its UUID and the moment at which a try ended."""
    tries: Any = TaskInstanceHistory if past else TaskInstance
    identity = TaskInstanceHistory.task_instance_id if past else TaskInstance.id
    return tries, identity, func.coalesce(tries.end_date, tries.updated_at)


def unfinished_tasks(connection: Connection, run_ids: Sequence[int], *, young: tuple[datetime, datetime]) -> set[int]:
    """Which of those runs have a task that is not terminal, or became so in the time ``young``."""
    found: set[int] = set()
    for chunk in in_chunks(run_ids, 200):
        ended = func.coalesce(TaskInstance.end_date, TaskInstance.updated_at)
        query = (
            select(DagRun.id)
            .join(TaskInstance, and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id))
            .where(
                DagRun.id.in_(chunk),
                or_(
                    and_(TaskInstance.state.in_(TERMINAL_TASK_STATES), ended.between(*young)),
                    and_(TaskInstance.state.is_not(None), not_(TaskInstance.state.in_(TERMINAL_TASK_STATES))),
                ),
            )
            .distinct()
        )
        found.update(connection.execute(query).scalars())
    return found
