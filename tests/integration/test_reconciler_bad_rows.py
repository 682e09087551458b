"""A row of Airflow's tables that cannot be read or makes no event is set aside, and the others are told of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import Engine, text

from ml_event_provider.dispatch import reconciler as module
from ml_event_provider.dispatch.reconciler import Reconciler
from ml_event_provider.store import quarantine
from ml_event_provider.store.engine import transaction
from tests.integration.airflow_rows import NOW, ago, end_run, end_try, orm_session, start_run, task_instance, write_dag
from tests.integration.recorded import recorded, recorded_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session


@pytest.fixture
def session(airflow_db: Engine) -> Iterator[Session]:
    now = [ago(7200)]
    made = Reconciler(grace=15, now=lambda _: now[0])
    made.reconcile_runs()
    made.read_tables()
    with orm_session() as session:
        yield session
        session.rollback()


def later() -> Reconciler:
    return Reconciler(grace=15, now=lambda _: ago(-60))


def spoil(session: Session, table: str, column: str, where: str) -> None:
    """Write a moment that the database holds and Python cannot read."""
    moment = "20000-01-01 00:00:00+00" if session.get_bind().dialect.name == "postgresql" else "the day after"
    session.execute(text(f"UPDATE {table} SET {column} = '{moment}' WHERE {where}"))
    session.commit()


def aside() -> list[str]:
    with transaction() as connection:
        return sorted(one.reference for one in quarantine.find(connection, kind="row"))


@pytest.fixture
def runs(session: Session) -> list[Any]:
    """Three runs that ended, of which nobody told."""
    write_dag(session, tasks=("fit", "load", "gate"))
    made = [start_run(session, run_id=f"run-{number}") for number in range(3)]
    for run in made:
        for task in ("fit", "load", "gate"):
            end_try(task_instance(session, run, task), TaskInstanceState.FAILED, at=NOW)
        end_run(run, DagRunState.FAILED, at=NOW)
    session.commit()
    return made


def test_a_run_that_cannot_be_read_is_set_aside_and_the_others_are_told_of(
    session: Session, runs: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(session, "dag_run", "end_date", "run_id = 'run-1'")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            later().reconcile_runs()
    told = [event.data["run_id"] for event in recorded() if event.type == "airflow.dag_run.failed"]
    assert sorted(told) == ["run-0", "run-2"]
    assert recorded_types().count("airflow.task_instance.failed") == 9
    assert aside() == [f"dag_run {runs[1].id}"]
    assert caplog.text.count("Set aside: row dag_run") == 1


def test_a_try_that_cannot_be_read_is_set_aside_and_the_others_are_told_of(session: Session, runs: list[Any]) -> None:
    bad = task_instance(session, runs[1], "load")
    spoil(session, "task_instance", "end_date", "run_id = 'run-1' AND task_id = 'load'")
    for _ in range(3):
        later().reconcile_runs()
    assert recorded_types().count("airflow.task_instance.failed") == 8
    assert recorded_types().count("airflow.dag_run.failed") == 3
    assert aside() == [f"task try {bad.id}"]


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), ValueError("NUL"), RecursionError(), KeyError("x")])
def test_a_row_that_makes_anything_raise_is_set_aside(
    session: Session, runs: list[Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = module.source.task_instance_event

    def fragile(row: Any, **options: Any) -> Any:
        if (row.run_id, row.task_id) == ("run-1", "load"):
            raise error
        return whole(row, **options)

    monkeypatch.setattr(module.source, "task_instance_event", fragile)
    later().reconcile_runs()
    assert recorded_types().count("airflow.task_instance.failed") == 8
    assert [one.split()[:2] for one in aside()] == [["task", "try"]]
    # Tried again whenever it is looked at.
    monkeypatch.setattr(module.source, "task_instance_event", whole)
    later().reconcile_runs()
    assert recorded_types().count("airflow.task_instance.failed") == 9


def test_assets_updates_and_import_errors_that_cannot_be_read_are_set_aside(session: Session) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.models.errors import ParseImportError

    for number in range(3):
        asset = AssetModel(name=f"model-{number}", uri=f"s3://models/{number}", group="model", extra={})
        asset.created_at = asset.updated_at = NOW
        session.add(asset)
        session.flush()
        session.add(AssetEvent(asset_id=asset.id, extra={}, source_dag_id="train", timestamp=NOW))
        session.add(ParseImportError(filename=f"{number}.py", bundle_name="tests", stacktrace="boom", timestamp=NOW))
    session.commit()
    ids = [
        session.execute(text(f"SELECT id FROM {table} ORDER BY id")).scalars().all()[1]
        for table in ("asset", "asset_event", "import_error")
    ]
    spoil(session, "asset", "created_at", f"id = {ids[0]}")
    spoil(session, "asset_event", "timestamp", f"id = {ids[1]}")
    spoil(session, "import_error", "timestamp", f"id = {ids[2]}")
    for _ in range(3):
        later().read_tables()
    assert sorted(recorded_types()) == [
        *["airflow.asset.created"] * 2,
        *["airflow.asset.updated"] * 2,
        *["airflow.dag.import_error"] * 2,
    ]
    assert aside() == sorted(
        f"{table} {number}" for table, number in zip(("asset", "asset_event", "import_error"), ids, strict=True)
    )
