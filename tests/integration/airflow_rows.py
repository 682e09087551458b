"""Real rows in Airflow's tables: a parsed DAG, its runs and task instances, as Airflow itself writes them."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.orm import Session

BUNDLE = "tests"
NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    """A moment before ``NOW``."""
    return NOW - timedelta(seconds=seconds)


@contextmanager
def orm_session() -> Iterator[Session]:
    """A session as the scheduler has one; commits at the end."""
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        yield session


def write_dag(
    session: Session,
    dag_id: str = "train",
    *,
    tasks: Iterable[str] = ("fit",),
    retries: int = 0,
    tags: Iterable[str] = (),
    off: Iterable[str] = (),
) -> None:
    """Parse and store a DAG of empty tasks; those named in ``off`` opt out of capture."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), tags=set(tags)) as dag:
        for task_id in tasks:
            EmptyOperator(
                task_id=task_id,
                retries=retries,
                owner="ada",
                params={"ml_events": False} if task_id in off else None,
            )
    if session.get(DagBundleModel, BUNDLE) is None:
        session.add(DagBundleModel(name=BUNDLE))
        session.flush()
    parsed = LazyDeserializedDAG.from_dag(dag)
    SerializedDAG.bulk_write_to_db(BUNDLE, None, [parsed], session=session)
    SerializedDagModel.write_dag(parsed, BUNDLE, session=session)
    session.commit()


def write_teams(session: Session) -> None:
    """Two teams, *red* and *blue*, and the DAG *trains*, which is of *blue*."""
    from airflow.models.team import Team, dag_bundle_team_association_table
    from sqlalchemy import insert

    write_dag(session, "trains")
    session.add_all([Team(name="red"), Team(name="blue")])
    session.flush()
    session.execute(insert(dag_bundle_team_association_table).values(dag_bundle_name=BUNDLE, team_name="blue"))


def start_run(session: Session, dag_id: str = "train", run_id: str = "run-1") -> DagRun:
    """A running dag run with a task instance for each task."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    serialized = SerializedDagModel.get(dag_id, session=session)
    assert serialized is not None
    run = serialized.dag.create_dagrun(
        run_id=run_id,
        run_after=ago(3600),
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.TEST,
        state=DagRunState.RUNNING,
        start_date=ago(3600),
        session=session,
    )
    session.commit()
    return run


def task_instance(session: Session, run: DagRun, task_id: str = "fit") -> TaskInstance:
    """The task instance of an unmapped task."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    return session.scalars(
        select(TaskInstance).where(
            TaskInstance.dag_id == run.dag_id,
            TaskInstance.run_id == run.run_id,
            TaskInstance.task_id == task_id,
        )
    ).one()


def end_try(ti: Any, state: str, *, at: datetime, try_number: int = 1) -> None:
    """Let a task instance's try end, as the execution API writes it."""
    ti.state = state
    ti.try_number = try_number
    ti.start_date = at - timedelta(seconds=5)
    ti.end_date = at
    ti.updated_at = at


def end_run(run: Any, state: str, *, at: datetime) -> None:
    """Let a dag run end."""
    run.state = state
    run.end_date = at
    run.updated_at = at
