"""A database whose role has a time zone of its own: the reconciler tells the same, at the same moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow import settings
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import text

from ml_event_provider.dispatch.reconciler import Reconciler
from tests.integration.airflow_rows import NOW, ago, end_run, end_try, orm_session, start_run, task_instance, write_dag
from tests.integration.recorded import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture(params=["Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati"])
def zone(request: pytest.FixtureRequest, airflow_db: Engine) -> Iterator[str]:
    if airflow_db.dialect.name == "sqlite":
        pytest.skip("only a server has a zone")

    def be(setting: str) -> None:
        with airflow_db.begin() as connection:
            connection.execute(text("SET lock_timeout = '5s'"))
            connection.execute(text(f"ALTER ROLE CURRENT_USER {setting}"))
        # Sessions that are open keep the zone that they began with.
        airflow_db.dispose()

    be(f"SET timezone = '{request.param}'")
    yield request.param
    settings.Session.remove()
    be("RESET timezone")


def test_what_nobody_reported_is_told_once_after_the_grace_at_its_own_moment(zone: str) -> None:
    now = [ago(7200)]
    one = Reconciler(grace=15.0, retention=90.0, now=lambda _: now[0])
    assert one.reconcile_runs() == []
    with orm_session() as session:
        assert session.execute(text("SHOW timezone")).scalar() == zone
        write_dag(session, tasks=("fit",), retries=0)
        run = start_run(session)
        end_try(task_instance(session, run, "fit"), TaskInstanceState.FAILED, at=NOW, try_number=1)
        end_run(run, DagRunState.FAILED, at=NOW)
        session.commit()
    told = []
    for seconds in (0.0, 14.0, 16.0, 60.0, 86_400.0):
        now[0] = ago(-seconds)
        told.append(sorted(event.type for event in one.reconcile_runs()))
    both = ["airflow.dag_run.failed", "airflow.task_instance.failed"]
    assert told == [[], [], both, [], []]
    assert [event.time for event in recorded()] == [NOW, NOW]
