"""What a task process says of its end is told when Airflow has committed it, and only then."""

from __future__ import annotations

import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.utils.state import TaskInstanceState
from sqlalchemy import func, select, update

from ml_event_provider.dispatch.housekeeping import record_spooled, settle_claims
from ml_event_provider.dispatch.reconciler import Reconciler
from ml_event_provider.sources.airflow import task_instance_event
from ml_event_provider.store import claims, schema
from ml_event_provider.store.engine import transaction
from tests.integration.airflow_rows import NOW, ago, end_try, orm_session, start_run, task_instance, write_dag
from tests.integration.recorded import event, recorded, recorded_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from ml_event_provider.events.model import Event


@pytest.fixture
def session(airflow_db: Engine) -> Iterator[Session]:
    with orm_session() as session:
        yield session
        session.rollback()


@pytest.fixture
def ti(session: Session) -> Any:
    """A try that runs."""
    Reconciler(grace=15, now=lambda _: ago(7200)).reconcile_runs()
    write_dag(session, retries=1)
    one = task_instance(session, start_run(session))
    one.state, one.try_number, one.start_date = TaskInstanceState.RUNNING, 1, ago(5)
    session.commit()
    return one


def said(ti: TaskInstance, state: str, origin: str = "worker") -> Event:
    """What its process hands over."""
    told = SimpleNamespace(
        id=ti.id,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index,
        try_number=ti.try_number,
        max_tries=ti.max_tries,
        start_date=ago(5),
        end_date=NOW,
    )
    return task_instance_event(told, state=state, workspace="default", origin=origin)


def waiting() -> int:
    with transaction() as connection:
        return int(connection.execute(select(func.count()).select_from(schema.claim)).scalar_one())


def end(session: Session, ti: Any, state: str, at: Any = NOW) -> None:
    end_try(ti, TaskInstanceState(state), at=at)
    session.commit()


@pytest.mark.parametrize("state", ["success", "failed", "skipped"])
def test_what_is_committed_is_told_at_once(session: Session, ti: Any, state: str) -> None:
    end(session, ti, state)
    record_spooled([said(ti, state)])
    assert recorded_types() == [f"airflow.task_instance.{state}"]
    assert waiting() == 0


@pytest.mark.parametrize("origin", ["worker", "callback"])
@pytest.mark.parametrize("state", ["success", "failed", "skipped"])
def test_what_is_not_committed_is_told_once_it_is(session: Session, ti: Any, state: str, origin: str) -> None:
    for _ in range(2):
        record_spooled([said(ti, state, origin)])
        settle_claims()
    assert (recorded(), waiting()) == ([], 1)
    end(session, ti, state)
    settle_claims()
    assert recorded_types() == [f"airflow.task_instance.{state}"]
    assert recorded()[0].origin == origin
    assert waiting() == 0


@pytest.mark.parametrize("early", [False, True], ids=["spooled", "handed over before"])
def test_a_success_that_never_reached_the_api_server_is_not_told(
    session: Session, ti: Any, early: bool, caplog: pytest.LogCaptureFixture
) -> None:
    success = said(ti, "success")
    if early:
        record_spooled([success])
    end(session, ti, "failed")
    with caplog.at_level(logging.WARNING):
        if early:
            settle_claims()
        else:
            record_spooled([success])
    assert (recorded(), waiting()) == ([], 0)
    assert "said success of dags/train/runs/run-1/tasks/fit, and Airflow's tables say failed" in caplog.text
    Reconciler(grace=15, now=lambda _: ago(-60)).reconcile_runs()
    assert recorded_types() == ["airflow.task_instance.failed"]


def test_a_success_that_somebody_set_to_failed_afterwards_was_one(session: Session, ti: Any) -> None:
    from airflow.models.log import Log

    success = said(ti, "success")
    end(session, ti, "success")
    # As the execution API writes beside each end that a task process reports.
    session.add(
        Log(
            event="success",
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index,
            try_number=ti.try_number,
        )
    )
    end(session, ti, "failed")
    record_spooled([success])
    assert recorded_types() == ["airflow.task_instance.success"]


@pytest.mark.parametrize("state", ["failed", "up_for_retry"])
def test_a_try_that_is_archived_is_told_as_its_process_knew_it(session: Session, ti: Any, state: str) -> None:
    told = said(ti, state)
    record_spooled([told])
    assert recorded() == []
    end_try(ti, TaskInstanceState.RUNNING, at=NOW)
    ti.prepare_db_for_next_try(session)
    ti.state = TaskInstanceState.UP_FOR_RETRY
    session.commit()
    assert str(ti.id) != told.data["try_id"]
    settle_claims()
    assert [one.id for one in recorded()] == [told.id]


def test_what_airflow_does_not_know_or_others_say_is_believed(session: Session, ti: Any) -> None:
    unknown = event(
        "unknown",
        type="airflow.task_instance.failed",
        origin="worker",
        data={"try_id": "0197a000-0000-7000-8000-00000000dead"},
    )
    record_spooled([unknown, said(ti, "running"), said(ti, "failed", origin="scheduler"), event("other")])
    assert len(recorded()) == 4


def test_a_try_whose_end_never_comes_is_given_up_after_a_day(ti: Any, caplog: pytest.LogCaptureFixture) -> None:
    record_spooled([said(ti, "success")])
    with transaction() as connection:
        claimed = connection.execute(select(schema.claim.c.claimed_at)).scalar_one()
        assert claims.settle(connection, now=claimed + timedelta(hours=23)) == (0, None)
        assert claims.settle(connection, now=claimed + timedelta(hours=25)) == (1, None)
    assert (recorded(), waiting()) == ([], 0)
    assert "never reached Airflow's tables" in caplog.text


def test_a_claim_that_cannot_be_read_does_not_stop_the_others(session: Session, ti: Any) -> None:
    record_spooled([said(ti, "failed"), said(ti, "skipped")])
    with transaction() as connection:
        spoilt = connection.execute(select(func.min(schema.claim.c.id))).scalar_one()
        connection.execute(update(schema.claim).where(schema.claim.c.id == spoilt).values(body="{"))
    end(session, ti, "skipped")
    settle_claims()
    assert (recorded_types(), waiting()) == (["airflow.task_instance.skipped"], 0)


def test_claims_are_settled_page_by_page_past_those_that_wait(
    session: Session, ti: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BATCH", 1)
    record_spooled([said(ti, "success"), said(ti, "skipped"), said(ti, "failed")])
    assert waiting() == 3
    end(session, ti, "failed")
    with transaction() as connection:
        place: int | None = 0
        while place is not None:
            _, place = claims.settle(connection, now=NOW, limit=1, after=place)
    assert (recorded_types(), waiting()) == (["airflow.task_instance.failed"], 0)
