"""What we read of Airflow's own tables: teams, tries, and what happened that nobody reported."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from airflow.models.asset import AssetEvent, AssetModel, DagScheduleAssetReference
from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.models.taskinstancehistory import TaskInstanceHistory
from sqlalchemy import and_, func, inspect, or_, select

from ml_event_provider import config, troubles
from ml_event_provider.store import schema
from ml_event_provider.store.engine import in_chunks, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row

log = logging.getLogger(__name__)

TERMINAL_RUN_STATES = ("success", "failed")
_EVENT = schema.event
#: A run's configuration may hold secrets, and no event needs it.
_RUN_ROW = [column for column in DagRun.__table__.c if column.name not in {"conf", "context_carrier"}]
#: The keys that are read forward.
RUN_KEY, ASSET_KEY, ASSET_EVENT_KEY = DagRun.id, AssetModel.id, AssetEvent.id


def workspace_of(connection: Connection, dag_id: str) -> str:
    """The Airflow team that owns the DAG, or the configured workspace."""
    return workspaces_of(connection, [dag_id])[dag_id]


def workspaces_of(connection: Connection, dag_ids: Iterable[str]) -> dict[str, str]:
    """The workspace of each DAG."""
    from airflow.configuration import conf

    found = dict.fromkeys(dag_ids, config.workspace())
    if conf.getboolean("core", "multi_team", fallback=False):
        from airflow.models.dagbundle import DagBundleModel
        from airflow.models.team import Team

        for chunk in in_chunks(sorted(found)):
            rows = connection.execute(
                select(DagModel.dag_id, Team.name)
                .join(DagBundleModel, DagModel.bundle_name == DagBundleModel.name)
                .join(DagBundleModel.teams)
                .where(DagModel.dag_id.in_(chunk))
            )
            found.update((row.dag_id, row.name) for row in rows)
    return found


def teams(connection: Connection) -> frozenset[str]:
    """The names of Airflow's teams: none where ``[core] multi_team`` is off."""
    from airflow.configuration import conf

    if not conf.getboolean("core", "multi_team", fallback=False):
        return frozenset()
    from airflow.models.team import Team

    return frozenset(connection.execute(select(Team.name)).scalars())


def connection_teams(connection: Connection, conn_ids: Iterable[str]) -> dict[str, str | None]:
    """The team of each connection in Airflow's table; ``None`` where it is everybody's."""
    from airflow.models.connection import Connection as AirflowConnection

    table = AirflowConnection.__table__
    found: dict[str, str | None] = {}
    for chunk in in_chunks(sorted(set(conn_ids))):
        query = select(table.c.conn_id, table.c.team_name).where(table.c.conn_id.in_(chunk))
        found.update((row.conn_id, row.team_name) for row in connection.execute(query))
    return found


def connections(connection: Connection) -> dict[str, str]:
    """The ids and types of Airflow's connections, from its table and from the environment.

    A secrets backend may have others.
    """
    from airflow.models.connection import Connection as AirflowConnection

    table = AirflowConnection.__table__
    found = {row.conn_id: row.conn_type for row in connection.execute(select(table.c.conn_id, table.c.conn_type))}
    owners = teams(connection)
    for name, value in os.environ.items():
        if name.startswith("AIRFLOW_CONN_"):
            conn_id = _without_team(name.removeprefix("AIRFLOW_CONN_"), owners).lower()
            kind = AirflowConnection.from_json(value).conn_type if value.startswith("{") else value.partition(":")[0]
            found.setdefault(conn_id, str(kind).replace("-", "_"))
    return found


def _without_team(name: str, owners: Iterable[str]) -> str:
    """The connection's name in a variable's, where it is a team's own: ``_RED___CHAT`` is the red team's ``CHAT``."""
    starts = (f"_{team.upper()}___" for team in owners)
    return next((name.removeprefix(start) for start in starts if name.startswith(start)), name)


def asset_consumers(connection: Connection) -> dict[str, list[str]]:
    """By an asset's name and URI, the DAGs that are scheduled on this asset alone."""
    reference = DagScheduleAssetReference.__table__
    alone = select(reference.c.dag_id).group_by(reference.c.dag_id).having(func.count() == 1)
    rows = connection.execute(
        select(AssetModel.name, AssetModel.uri, reference.c.dag_id)
        .join(reference, reference.c.asset_id == AssetModel.id)
        .where(reference.c.dag_id.in_(alone))
    )
    found: dict[str, list[str]] = {}
    for name, uri, dag_id in rows:
        for key in {name, uri}:
            found.setdefault(key, []).append(dag_id)
    return found


def all_dag_ids(connection: Connection) -> frozenset[str]:
    """The DAGs that Airflow knows, also those that are gone from its files."""
    return frozenset(connection.execute(select(DagModel.dag_id)).scalars())


def dag_ids(connection: Connection) -> list[str]:
    """The DAGs that Airflow knows and runs."""
    return list(connection.execute(select(DagModel.dag_id).where(DagModel.is_stale.is_(False))).scalars())


def tags_of(connection: Connection, dag_ids: Iterable[str]) -> dict[str, set[str]]:
    """The tags of each DAG."""
    found: dict[str, set[str]] = {dag_id: set() for dag_id in dag_ids}
    for chunk in in_chunks(sorted(found)):
        for row in connection.execute(select(DagTag.dag_id, DagTag.name).where(DagTag.dag_id.in_(chunk))):
            found[row.dag_id].add(row.name)
    return found


def owners_of(connection: Connection, dag_ids: Iterable[str]) -> dict[str, str]:
    """The owners of each DAG, as Airflow joins them."""
    found: dict[str, str] = {}
    for chunk in in_chunks(sorted(set(dag_ids))):
        rows = connection.execute(select(DagModel.dag_id, DagModel.owners).where(DagModel.dag_id.in_(chunk)))
        found.update((row.dag_id, row.owners or "") for row in rows)
    return found


def replaced_value(orm_object: Any, attribute: str) -> Any:
    """The value that an attribute had before this session changed it, or ``None`` if it is not known."""
    history = inspect(orm_object).attrs[attribute].history
    return history.deleted[0] if history.deleted else None


def try_uuid_of(connection: Connection, task_instance: Any) -> Any:
    """Airflow's UUID of the try that just ended.

    Where a retry follows, the scheduler has moved the ORM object on to the next try's UUID before it tells
    its listeners; the ended try's stands in ``task_instance_history`` or still in the session.
    """
    state = getattr(task_instance.state, "value", task_instance.state)
    if state != "up_for_retry":
        return task_instance.id
    previous = replaced_value(task_instance, "id")
    if previous is not None:
        return previous
    row = connection.execute(
        select(TaskInstanceHistory.task_instance_id).where(
            TaskInstanceHistory.dag_id == task_instance.dag_id,
            TaskInstanceHistory.run_id == task_instance.run_id,
            TaskInstanceHistory.task_id == task_instance.task_id,
            TaskInstanceHistory.map_index == task_instance.map_index,
            TaskInstanceHistory.try_number == task_instance.try_number,
        )
    ).scalar()
    return row or task_instance.id


def active_runs(connection: Connection) -> list[int]:
    """The ids of runs that are running or queued (partial indexes of Airflow's)."""
    return list(connection.execute(select(DagRun.id).where(DagRun._state.in_(["running", "queued"]))).scalars())


def run_named(connection: Connection, dag_id: str, run_id: str) -> Row[Any] | None:
    """The row of one dag run, or ``None``."""
    if not (storable(dag_id) and storable(run_id)):
        return None
    return connection.execute(select(*_RUN_ROW).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).first()


def runs_named(connection: Connection, named: Iterable[tuple[str, str]]) -> list[int]:
    """The ids of dag runs by DAG and run id."""
    found: list[int] = []
    for chunk in in_chunks(sorted(pair for pair in named if all(map(storable, pair))), 100):
        wanted = or_(*(and_(DagRun.dag_id == dag_id, DagRun.run_id == run_id) for dag_id, run_id in chunk))
        found.extend(connection.execute(select(DagRun.id).where(wanted)).scalars())
    return found


def runs_present(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Which of those dag runs there are."""
    found: set[int] = set()
    for chunk in in_chunks(ids):
        found.update(connection.execute(select(DagRun.id).where(DagRun.id.in_(chunk))).scalars())
    return found


def runs_by_id(connection: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """The rows of ``dag_run`` with those ids."""
    found: list[Row[Any]] = []
    for chunk in in_chunks(ids):
        found.extend(connection.execute(select(*_RUN_ROW).where(DagRun.id.in_(chunk))))
    return found


def tasks_of(connection: Connection, tasks: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """The serialized operators by DAG and task id, of each DAG's latest version; ``None`` where there is none.

    Costs a deserialization a DAG.
    """
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy.orm import Session

    dags: dict[str, Any] = {}
    with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
        for dag_id in {dag_id for dag_id, _ in tasks}:
            dags[dag_id] = None
            try:
                serialized = SerializedDagModel.get(dag_id, session=session)
                dags[dag_id] = serialized.dag if serialized is not None else None
            except Exception as error:  # noqa: BLE001 - told; its tasks are described without their operators
                # A timetable plugin that is gone, say: that DAG's operators stay unknown, the others do not.
                troubles.tell(log, f"The serialized DAG {dag_id} cannot be read", error)
    return {
        (dag_id, task_id): dag.get_task(task_id)
        if (dag := dags[dag_id]) is not None and dag.has_task(task_id)
        else None
        for dag_id, task_id in tasks
    }


def assets_by_id(connection: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """The assets with those ids."""
    found: list[Row[Any]] = []
    for chunk in in_chunks(ids):
        query = select(*_ASSET_COLUMNS, AssetModel.created_at, AssetModel.extra).where(AssetModel.id.in_(chunk))
        found.extend(connection.execute(query.order_by(AssetModel.id)))
    return found


def asset_events_by_id(connection: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """The asset events with those ids, with their assets."""
    found: list[Row[Any]] = []
    for chunk in in_chunks(ids):
        query = (
            select(
                *_ASSET_COLUMNS,
                AssetEvent.id.label("event_id"),
                AssetEvent.extra,
                AssetEvent.timestamp,
                AssetEvent.source_dag_id,
                AssetEvent.source_task_id,
                AssetEvent.source_run_id,
                AssetEvent.source_map_index,
            )
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetEvent.id.in_(chunk))
        )
        found.extend(connection.execute(query.order_by(AssetEvent.id)))
    return found


_ASSET_COLUMNS = (AssetModel.id, AssetModel.name, AssetModel.uri, AssetModel.group)


def import_error_ids(connection: Connection) -> list[int]:
    """The files that fail to parse now: a row a file, so the whole table is short."""
    return list(connection.execute(select(ParseImportError.id).order_by(ParseImportError.id)).scalars())


def import_errors(connection: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """The import errors with those ids."""
    found: list[Row[Any]] = []
    for chunk in in_chunks(ids):
        found.extend(
            connection.execute(
                select(
                    ParseImportError.id,
                    ParseImportError.timestamp,
                    ParseImportError.filename,
                    ParseImportError.bundle_name,
                    ParseImportError.stacktrace,
                ).where(ParseImportError.id.in_(chunk))
            )
        )
    return found
