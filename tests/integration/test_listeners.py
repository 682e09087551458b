"""Listeners record what Airflow's own objects tell, in their own transaction, and never fail their caller."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.state import DagRunState, TaskInstanceState

from ml_event_provider.events.catalogue import validate_data
from ml_event_provider.listeners import dag_runs, guard, task_instances
from ml_event_provider.sources.airflow import dag_run_event
from tests.integration.airflow_rows import (
    NOW,
    ago,
    end_run,
    end_try,
    orm_session,
    start_run,
    task_instance,
    write_dag,
)
from tests.integration.recorded import recorded, recorded_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session


@pytest.fixture
def session(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The scheduler's session. Other tests of the same process may have loaded the API server."""
    monkeypatch.delitem(sys.modules, "airflow.api_fastapi.main", raising=False)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/a/")
    with orm_session() as session:
        yield session
        session.rollback()


@pytest.fixture
def in_api_server(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    monkeypatch.setitem(sys.modules, "airflow.api_fastapi.main", ModuleType("airflow.api_fastapi.main"))


@pytest.fixture
def run(session: Session) -> Any:
    write_dag(session, retries=1, tags={"nightly", "fraud"})
    return start_run(session)


LISTENERS = {
    "running": dag_runs.on_dag_run_running,
    "success": dag_runs.on_dag_run_success,
    "failed": dag_runs.on_dag_run_failed,
}


@pytest.mark.parametrize("state", ["success", "failed"])
def test_ended_run_is_recorded_with_its_state_change(session: Session, run: Any, state: str) -> None:
    end_run(run, DagRunState(state), at=NOW)
    LISTENERS[state](dag_run=run, msg="task_failure")
    assert recorded() == []
    session.commit()
    (event,) = recorded()
    assert validate_data(event) == []
    assert (event.type, event.subject, event.origin) == (
        f"airflow.dag_run.{state}",
        "dags/train/runs/run-1",
        "scheduler",
    )
    assert event.time == NOW
    assert event.data == {
        "dag_id": "train",
        "run_id": "run-1",
        "run_type": "manual",
        "state": state,
        "previous_state": "running",
        "run_after": "2026-11-22T11:00:00.123456Z",
        "start_date": "2026-11-22T11:00:00.123456Z",
        "end_date": "2026-11-22T12:00:00.123456Z",
        "duration": 3600.0,
        "clear_number": 0,
        "triggered_by": "test",
        "message": "task_failure",
        "tags": ["fraud", "nightly"],
        "url": "https://airflow.example.com/a/dags/train/runs/run-1",
    }
    assert event.owner == "ada"


def test_started_run_is_recorded_at_its_start(session: Session, run: Any) -> None:
    dag_runs.on_dag_run_running(dag_run=run, msg="")
    session.commit()
    (event,) = recorded()
    assert (event.type, event.time) == ("airflow.dag_run.running", ago(3600))
    assert "message" not in event.data


def test_airflow_calls_us_through_its_own_listener_manager(session: Session, run: Any) -> None:
    """The plugin's listeners fit Airflow's hookspecs, under the scheduler's own commit guard."""
    with prohibit_commit(session) as guarded_session:
        end_run(run, DagRunState.FAILED, at=NOW)
        run.notify_dagrun_state_changed(msg="task_failure")
        guarded_session.commit()
    assert recorded_types() == ["airflow.dag_run.failed"]


def test_airflows_failure_handling_records_the_try_that_ended(session: Session, run: Any) -> None:
    ti = task_instance(session, run)
    ti.state, ti.try_number, ti.start_date = TaskInstanceState.RUNNING, 1, ago(10)
    session.commit()
    ended_try = ti.id
    ti.handle_failure("boom", session=session)
    session.commit()
    (event,) = [one for one in recorded() if one.type.startswith("airflow.task_instance.")]
    assert event.type == "airflow.task_instance.up_for_retry"
    assert event.data["try_id"] == str(ended_try)
    assert event.data["exception"]["message"] == "boom"


@pytest.mark.parametrize("change", ["rollback", "commit"])
def test_event_shares_the_fate_of_the_state_change(session: Session, run: Any, change: str) -> None:
    end_run(run, DagRunState.FAILED, at=NOW)
    dag_runs.on_dag_run_failed(dag_run=run, msg="")
    getattr(session, change)()
    assert len(recorded()) == (change == "commit")


def test_transaction_tried_again_records_once(session: Session, run: Any) -> None:
    for _ in range(2):
        end_run(run, DagRunState.FAILED, at=NOW)
        dag_runs.on_dag_run_failed(dag_run=run, msg="")
        session.flush()
        dag_runs.on_dag_run_failed(dag_run=run, msg="")
    session.commit()
    assert recorded_types() == ["airflow.dag_run.failed"]


def test_listener_and_row_agree_on_the_runs_id(session: Session, run: Any, airflow_db: Engine) -> None:
    from ml_event_provider.store.airflow_tables import run_named

    end_run(run, DagRunState.FAILED, at=NOW)
    dag_runs.on_dag_run_failed(dag_run=run, msg="")
    session.commit()
    with airflow_db.connect() as connection:
        row = run_named(connection, "train", "run-1")
    again = dag_run_event(row, state="failed", workspace="default", origin="reconciler")
    assert [one.id for one in recorded()] == [again.id]


def test_cleared_run_that_fails_again_is_another_event(session: Session, run: Any) -> None:
    for _ in range(2):
        end_run(run, DagRunState.FAILED, at=NOW)
        dag_runs.on_dag_run_failed(dag_run=run, msg="")
        run.state, run.clear_number = DagRunState.QUEUED, run.clear_number + 1
        session.commit()
    assert recorded_types() == ["airflow.dag_run.failed"] * 2


@pytest.mark.parametrize("flushed", [False, True], ids=["new try not flushed", "new try flushed"])
def test_retried_try_is_reported_under_its_own_uuid(session: Session, run: Any, flushed: bool) -> None:
    ti = task_instance(session, run)
    ti.state, ti.try_number = TaskInstanceState.RUNNING, 1
    session.commit()
    ended_try = ti.id
    end_try(ti, TaskInstanceState.RUNNING, at=NOW)
    ti.prepare_db_for_next_try(session)
    ti.state = TaskInstanceState.UP_FOR_RETRY
    if flushed:
        session.flush()
    assert ti.id != ended_try
    task_instances.on_task_instance_failed(previous_state=TaskInstanceState.RUNNING, task_instance=ti, error="killed")
    session.commit()
    (event,) = recorded()
    assert validate_data(event) == []
    assert (event.type, event.data["try_id"], event.data["try_number"]) == (
        "airflow.task_instance.up_for_retry",
        str(ended_try),
        1,
    )
    assert (event.data["previous_state"], event.data["exception"]) == (
        "running",
        {"type": "", "message": "killed"},
    )


@pytest.mark.parametrize(
    ("listener", "state", "more"),
    [
        (task_instances.on_task_instance_success, "success", {}),
        (task_instances.on_task_instance_failed, "failed", {"error": ValueError("boom")}),
        (task_instances.on_task_instance_skipped, "skipped", {}),
    ],
)
def test_ended_task_is_recorded(session: Session, run: Any, listener: Any, state: str, more: dict[str, Any]) -> None:
    ti = task_instance(session, run)
    end_try(ti, TaskInstanceState(state), at=NOW)
    listener(previous_state=None, task_instance=ti, **more)
    session.commit()
    (event,) = recorded()
    assert validate_data(event) == []
    assert (event.type, event.subject) == (
        f"airflow.task_instance.{state}",
        "dags/train/runs/run-1/tasks/fit",
    )
    assert "manual" not in event.data
    assert event.data["try_id"] == str(ti.id)


def test_running_tasks_can_be_left_out(session: Session, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__CAPTURE_RUNNING", "False")
    ti = task_instance(session, run)
    task_instances.on_task_instance_running(previous_state=None, task_instance=ti)
    session.commit()
    assert recorded() == []


def set_by_hand(session: Session, ti: Any, *states: str) -> None:
    listeners = {
        "success": task_instances.on_task_instance_success,
        "skipped": task_instances.on_task_instance_skipped,
    }
    for number, state in enumerate(states):
        end_try(ti, TaskInstanceState(state), at=NOW + timedelta(seconds=number))
        if state == "failed":
            task_instances.on_task_instance_failed(previous_state=None, task_instance=ti, error="set by hand")
        else:
            listeners[state](previous_state=None, task_instance=ti)
        session.commit()


@pytest.mark.usefixtures("in_api_server")
@pytest.mark.parametrize(
    ("states", "recorded_states"),
    [
        (["failed"], ["failed"]),
        (["failed", "failed"], ["failed"]),
        (["failed", "success", "failed"], ["failed", "success", "failed"]),
        (["failed", "success", "failed", "failed", "success"], ["failed", "success", "failed", "success"]),
        (["skipped", "success", "skipped", "success", "skipped"], ["skipped", "success"] * 2 + ["skipped"]),
    ],
)
def test_each_state_set_by_hand_is_an_event(
    session: Session, run: Any, states: list[str], recorded_states: list[str]
) -> None:
    set_by_hand(session, task_instance(session, run), *states)
    found = recorded()
    assert [one.data["state"] for one in found] == recorded_states
    assert len({one.id for one in found}) == len(found)
    assert {(one.origin, one.data["manual"]) for one in found} == {("api-server", True)}


@pytest.mark.parametrize(
    ("name", "value"),
    [("EXCLUDE_DAGS", "tr*"), ("INCLUDE_DAGS", "other"), ("EXCLUDE_TASKS", "train.*")],
)
def test_what_is_excluded_is_not_recorded(
    session: Session, run: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW__ML_EVENTS__{name}", value)
    ti = task_instance(session, run)
    end_try(ti, TaskInstanceState.SUCCESS, at=NOW)
    task_instances.on_task_instance_success(previous_state=None, task_instance=ti)
    if name != "EXCLUDE_TASKS":
        dag_runs.on_dag_run_running(dag_run=run, msg="")
    session.commit()
    assert recorded() == []


def test_dag_with_the_off_tag_is_not_recorded(session: Session, run: Any) -> None:
    run.dag = SimpleNamespace(tags={"ml-events:off"}, owner="ada")
    dag_runs.on_dag_run_running(dag_run=run, msg="")
    session.commit()
    assert recorded() == []


def test_failing_listener_neither_raises_nor_hurts_the_state_change(
    session: Session, run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ml_event_provider.store import schema

    counted: list[str] = []
    monkeypatch.setattr(guard, "count", counted.append)
    end_run(run, DagRunState.FAILED, at=NOW)
    session.flush()
    session.connection().exec_driver_sql("ALTER TABLE ml_event_event RENAME TO ml_event_gone")
    with caplog.at_level(logging.ERROR, guard.log.name):
        dag_runs.on_dag_run_failed(dag_run=run, msg="")
    session.connection().exec_driver_sql("ALTER TABLE ml_event_gone RENAME TO ml_event_event")
    session.commit()
    assert counted == ["listener_errors"]
    assert "on_dag_run_failed failed; the state change itself is not affected" in caplog.text
    session.refresh(run)
    assert run.state == "failed"
    assert schema.event.name == "ml_event_event"
