"""Listeners never make Airflow's own transaction wait for long, nor put it at risk."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import text

from ml_event_provider.dispatch.reconciler import Reconciler
from ml_event_provider.listeners import dag_runs, task_instances
from ml_event_provider.sources.airflow import dag_run_event
from ml_event_provider.store import events
from ml_event_provider.store.engine import MYSQL, MYSQL_LIMITS, transaction
from ml_event_provider.store.health import health
from ml_event_provider.store.manager import MlEventDBManager
from tests.integration.airflow_rows import NOW, ago, end_run, end_try, orm_session, start_run, task_instance, write_dag
from tests.integration.recorded import recorded, recorded_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session


@pytest.fixture
def session(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.delitem(sys.modules, "airflow.api_fastapi.main", raising=False)
    with orm_session() as session:
        yield session
        session.rollback()


@pytest.fixture
def run(session: Session) -> Any:
    reconciler(ago(7200)).reconcile_runs()
    write_dag(session)
    return start_run(session)


def reconciler(now: Any) -> Reconciler:
    return Reconciler(grace=15, now=lambda _: now)


def lock_timeout(session: Session) -> str:
    return str(session.execute(text("SHOW lock_timeout")).scalar_one())


@pytest.fixture
def on_postgresql(airflow_db: Engine) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("the bound is PostgreSQL's; SQLite's is Airflow's own busy time-out")


@pytest.mark.usefixtures("on_postgresql")
def test_a_lock_that_another_holds_stops_the_scheduler_no_longer_than_the_bound(
    session: Session, run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    end_run(run, DagRunState.FAILED, at=NOW)
    session.flush()
    same = dag_run_event(run, state="failed", workspace="default", origin="reconciler")
    with transaction() as other:
        # Whoever inserts the same key waits for this transaction's end.
        events.record_one(other, same)
        with caplog.at_level(logging.WARNING, "ml_event_provider"):
            dag_runs.on_dag_run_failed(dag_run=run, msg="")
        session.commit()
        other.rollback()
    assert "lock timeout" in caplog.text
    assert recorded() == []
    with orm_session() as another:
        assert another.get(type(run), run.id).state == "failed"
    later = reconciler(ago(-60))
    assert [event.type for event in later.reconcile_runs()] == ["airflow.dag_run.failed"]
    assert recorded_types() == ["airflow.dag_run.failed"]


@pytest.mark.usefixtures("on_postgresql")
@pytest.mark.parametrize("before", ["0", "7s"])
def test_the_bound_ends_with_the_listener(session: Session, run: Any, before: str) -> None:
    session.execute(text(f"SET LOCAL lock_timeout = '{before}'"))
    within: list[str] = []

    def looked(*arguments: Any, **options: Any) -> bool:
        within.append(lock_timeout(session))
        return True

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(events, "record_one", looked)
        dag_runs.on_dag_run_failed(dag_run=end(run), msg="")
        assert lock_timeout(session) == before

        def broken(*arguments: Any, **options: Any) -> bool:
            raise RuntimeError("a fault of ours")

        patched.setattr(events, "record_one", broken)
        dag_runs.on_dag_run_failed(dag_run=run, msg="")
    assert within == [f"{events.LISTENER_LOCK_SECONDS}s"]
    assert lock_timeout(session) == before


def end(run: Any) -> Any:
    end_run(run, DagRunState.FAILED, at=NOW)
    return run


def test_on_mysql_nothing_is_written_within_airflows_transactions_and_nothing_is_lost(
    session: Session, run: Any, airflow_db: Engine
) -> None:
    ti = task_instance(session, run)
    end_try(ti, TaskInstanceState.FAILED, at=NOW, try_number=2)
    end(run)
    for dialect in sorted(MYSQL):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(airflow_db.dialect, "name", dialect)
            dag_runs.on_dag_run_failed(dag_run=run, msg="")
            task_instances.on_task_instance_failed(previous_state=None, task_instance=ti, error="boom")
    session.commit()
    assert recorded() == []
    later = reconciler(ago(-60))
    later.reconcile_runs()
    assert sorted(recorded_types()) == ["airflow.dag_run.failed", "airflow.task_instance.failed"]


def test_mysql_is_told_of_its_limits_at_migration(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    manager = MlEventDBManager(session)
    manager.upgradedb()
    manager.create_db_from_orm()
    assert MYSQL_LIMITS not in capsys.readouterr().out
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            manager, "session", SimpleNamespace(get_bind=lambda: SimpleNamespace(dialect=SimpleNamespace(name="mysql")))
        )
        manager._tell_limits()
    assert MYSQL_LIMITS in capsys.readouterr().out


def test_mysql_is_told_of_its_limits_by_health(airflow_db: Engine) -> None:
    from ml_event_provider.store.health import database

    assert MYSQL_LIMITS not in health()["notices"]
    with airflow_db.connect() as connection, pytest.MonkeyPatch.context() as patched:
        patched.setattr(airflow_db.dialect, "name", "mysql")
        assert database.check(connection, NOW).notices == [MYSQL_LIMITS]
