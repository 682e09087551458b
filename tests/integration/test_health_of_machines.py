"""Health names skewed clocks, frozen dispatchers, jobs that never end, spools and sessions that hold up others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from ml_event_provider.store import cursors, dispatchers
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.health import health, sessions
from tests.integration.airflow_rows import NOW, ago

if TYPE_CHECKING:
    from sqlalchemy import Engine

pytestmark = pytest.mark.usefixtures("airflow_db")


def beat(name: str, *, host: str = "one", silent: float = 0.0, started: float = 600.0, **report: Any) -> None:
    with transaction() as connection:
        dispatchers.beat(connection, dispatchers.Dispatcher(name, host, 7, True, ago(started), ago(silent), report))


def told() -> tuple[list[str], list[str]]:
    found = health(lambda _: NOW)
    # That there is no base_url is no matter of machines.
    return found["problems"], [one for one in found["notices"] if "base_url" not in one]


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (120.0, "the clock of one is 120.0 s ahead of the database's"),
        (-2.5, "the clock of one is 2.5 s behind the database's"),
        (1.9, None),
        (-1.9, None),
    ],
)
def test_a_clock_that_differs_is_told_with_its_host(skew: float, words: str | None) -> None:
    beat("a", skew_seconds=skew)
    beat("b", host="two", skew_seconds=0.0)
    problems, _ = told()
    assert [problem.split(":")[0] for problem in problems] == ([words] if words else [])
    assert all("NTP" in problem for problem in problems)


def test_a_dispatcher_that_fell_silent_is_told_unless_another_succeeded_it() -> None:
    beat("frozen", host="two", silent=45)
    beat("killed", silent=45, started=600)
    beat("its successor", started=40)
    beat("long gone", host="three", silent=7_200)
    problems, (notice,) = told()
    assert problems == []
    assert notice.startswith("dispatcher frozen on two (process 7) has been silent for 45 s")


@pytest.mark.parametrize("ever", [False, True])
def test_a_job_that_never_comes_to_its_end_is_told(ever: bool) -> None:
    beat("a")
    with transaction() as connection:
        cursors.hold(connection, "job:reconcile", holder="a", now=ago(1_200), seconds=30)
        if ever:
            cursors.done(connection, "job:reconcile", now=ago(1_200))
        cursors.hold(connection, "job:tables", holder="a", now=ago(1_200), seconds=30)
        cursors.done(connection, "job:tables", now=ago(5))
    (problem,), _ = told()
    assert problem.startswith("the job 'reconcile' has not come to its end for 20 min")
    assert "dispatcher a" in problem
    with transaction() as connection:
        cursors.let_go(connection, holder="a")
    assert told()[0] == []


def test_a_spool_that_is_not_drained_is_told_with_age_and_size() -> None:
    held = {"files": 3, "bytes": 900, "oldest_seconds": 121.0, "rejected": 2, "directory": "/srv/spool"}
    beat("a", spool=held)
    beat("b", spool=held)
    beat("silent", host="two", silent=31, spool=held)
    found = health(lambda _: NOW)
    (problem,) = found["problems"]
    assert problem.startswith("3 file(s) with events (900 bytes) wait in /srv/spool on one, the oldest for 121 s")
    assert [one.split(":")[0] for one in found["notices"] if "silent" not in one and "base_url" not in one] == [
        "2 file(s) with events that were refused lie in /srv/spool/rejected on one"
    ]
    assert found["spools"] == [{"hostname": "one", **held}]


def test_a_session_that_holds_locks_and_does_nothing_is_told(
    airflow_db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL tells of its sessions")
    monkeypatch.setattr(sessions, "BLOCKING_SECONDS", -1)
    with transaction() as connection:
        cursors.start(connection, "dag_run", 0, now=NOW)
    with airflow_db.connect() as frozen:
        frozen.execute(text("UPDATE ml_event_cursor SET position = 1"))
        pid = frozen.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        with transaction() as connection:
            found = sessions.check(connection, NOW)
        (problem,) = [one for one in found.problems if f"session {pid} " in one]
        assert f"pg_terminate_backend({pid})" in problem
        frozen.rollback()
    with transaction() as connection:
        assert pid not in sessions.check(connection, NOW + timedelta(seconds=1)).numbers["blocking_sessions"]
