"""An event and its state change commit or roll back together, and neither hurts the other."""

from __future__ import annotations

import pytest
from airflow.utils.sqlalchemy import prohibit_commit
from sqlalchemy import Engine, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from ml_event_provider.store import events, schema
from ml_event_provider.store.engine import transaction
from tests.integration.airflow_rows import NOW, end_run, orm_session, start_run, task_instance, write_dag
from tests.integration.recorded import EVENT, recorded


@pytest.fixture
def run_id(airflow_db: Engine) -> int:
    with orm_session() as session:
        write_dag(session)
        return int(start_run(session).id)


def load(session, run_id):
    from airflow.models.dagrun import DagRun

    return session.get(DagRun, run_id)


def state_of(run_id: int) -> str:

    with orm_session() as session:
        return str(load(session, run_id).state)


def test_event_and_state_change_commit_together(run_id: int) -> None:
    with orm_session() as session:
        run = load(session, run_id)
        end_run(run, "failed", at=NOW)
        with events.savepoint_of(run) as connection:
            assert events.record_one(connection, EVENT)
    assert [one.id for one in recorded()] == [EVENT.id]
    assert state_of(run_id) == "failed"


@pytest.mark.parametrize("flushed", [False, True], ids=["nothing written before", "state change flushed before"])
def test_rollback_takes_the_event_along(run_id: int, flushed: bool) -> None:
    with orm_session() as session:
        run = load(session, run_id)
        end_run(run, "failed", at=NOW)
        if flushed:
            session.flush()
        with events.savepoint_of(run) as connection:
            events.record_one(connection, EVENT)
        session.rollback()
    assert recorded() == []
    assert state_of(run_id) == "running"


@pytest.mark.parametrize("flushed", [False, True])
def test_failing_statement_leaves_the_session_whole(run_id: int, flushed: bool) -> None:
    with orm_session() as session:
        run = load(session, run_id)
        end_run(run, "success", at=NOW)
        if flushed:
            session.flush()
        with pytest.raises(IntegrityError), events.savepoint_of(run) as connection:  # noqa: PT012
            events.record_one(connection, EVENT)
            connection.execute(insert(schema.definition).values(workspace=None))
    assert recorded() == []
    assert state_of(run_id) == "success"


def test_scheduler_commit_guard_is_not_tripped(run_id: int) -> None:
    with orm_session() as session, prohibit_commit(session) as guard:
        run = load(session, run_id)
        end_run(run, "failed", at=NOW)
        with events.savepoint_of(run) as connection:
            events.record_one(connection, EVENT)
        assert recorded_elsewhere() == 0
        guard.commit()
    assert recorded_elsewhere() == 1


def recorded_elsewhere() -> int:
    with transaction() as connection:
        return int(connection.execute(select(func.count()).select_from(schema.event)).scalar_one())


def test_savepoints_nest_in_one_transaction(run_id: int) -> None:
    with orm_session() as session:
        run = load(session, run_id)
        ti = task_instance(session, run)
        with events.savepoint_of(run) as connection:
            events.record_one(connection, EVENT)
        with events.savepoint_of(ti) as connection:
            assert not events.record_one(connection, EVENT)
        session.execute(text("UPDATE dag_run SET state = 'failed'"))
    assert len(recorded()) == 1
    assert state_of(run_id) == "failed"


def test_object_without_session_gets_a_transaction_of_its_own() -> None:
    from airflow.models.dagrun import DagRun

    with events.savepoint_of(DagRun()) as connection:
        assert events.record_one(connection, EVENT)
    assert recorded_elsewhere() == 1
