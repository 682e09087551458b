"""A scheduler that is killed in the middle of a transaction on PostgreSQL, while its children keep its connection.

LocalExecutor's workers are forked from the scheduler. PostgreSQL cannot know that the one that spoke is gone as long as
any of them holds the connection open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from ml_event_provider.dispatch.reconciler import Reconciler
from ml_event_provider.listeners import dag_runs
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.health import health, sessions
from tests.integration.airflow_rows import NOW, ago, end_run, orm_session, start_run, write_dag
from tests.integration.recorded import recorded_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

pytestmark = [pytest.mark.fault, pytest.mark.postgres]

ROOT = Path(__file__).parents[2]

#: Ends the run as a scheduler does, has forked a child meanwhile, and is killed before it commits.
SCHEDULER = """
import os, signal, time
from sqlalchemy import text
from tests.fault.test_orphaned_session import end_next_run
from tests.integration.airflow_rows import orm_session

with orm_session() as session:
    if {idle!r}:
        # As the role's or the database's setting would have it.
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = {idle!r}"))
    pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    assert end_next_run(session)
    session.flush()
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def end_next_run(session: Session) -> bool:
    """As the scheduler: lock the next run that nobody else holds, end it, and tell the listeners."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    query = select(DagRun).where(DagRun.state == DagRunState.RUNNING).with_for_update(of=DagRun, skip_locked=True)
    run = session.scalars(query).first()
    if run is None:
        return False
    end_run(run, DagRunState.SUCCESS, at=NOW)
    dag_runs.on_dag_run_success(run, "")
    return True


@pytest.fixture
def session(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("SQLite's locks end with the process that took them")
    monkeypatch.delitem(sys.modules, "airflow.api_fastapi.main", raising=False)
    monkeypatch.setattr(sessions, "BLOCKING_SECONDS", 0)
    with orm_session() as session:
        Reconciler(grace=15, now=lambda _: ago(7200)).reconcile_runs()
        write_dag(session)
        start_run(session)
        yield session
        session.rollback()


class Killed:
    """A scheduler that died; ``backend`` is the process id of its database session."""

    def __init__(self, idle: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCHEDULER.format(idle=idle)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.backend = int(self._process.stdout.readline())
        assert self._process.wait() == -signal.SIGKILL

    def end_children(self) -> None:
        """As who ends the whole process group."""
        os.killpg(self._process.pid, signal.SIGKILL)


@pytest.fixture
def killed(session: Session, request: pytest.FixtureRequest) -> Iterator[Killed]:
    one = Killed(getattr(request, "param", ""))
    try:
        yield one
    finally:
        try:
            one.end_children()
        except ProcessLookupError:
            assert request.node.name.endswith("[its workers end]")


def blocking() -> list[int]:
    with transaction() as connection:
        connection.execute(text("SELECT pg_sleep(0.1)"))
    found: list[int] = health()["blocking_sessions"]
    return found


def wait_until_gone(backend: int) -> None:
    for _ in range(300):
        with transaction() as connection:
            query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            if not connection.execute(query, {"pid": backend}).scalar_one():
                return
        time.sleep(0.1)
    pytest.fail(f"session {backend} is still there")


def say_and_end_the_session(killed: Killed) -> None:
    (problem,) = [one for one in health()["problems"] if f"session {killed.backend} " in one]
    with transaction() as connection:
        connection.execute(text(problem[problem.index("SELECT pg_terminate_backend") :]))


REMEDIES: dict[str, Any] = {
    "its workers end": Killed.end_children,
    "its session is ended with the statement of health": say_and_end_the_session,
}


@pytest.mark.parametrize("remedy", REMEDIES)
def test_its_run_stands_still_and_health_names_the_session_until(session: Session, killed: Killed, remedy: str) -> None:
    # Other schedulers pass the run over; nothing that did not commit is told.
    assert not end_next_run(session)
    session.rollback()
    assert recorded_types() == []
    assert blocking() == [killed.backend]
    # Who sets its state by hand waits, too.
    session.execute(text("SET LOCAL lock_timeout = '1s'"))
    with pytest.raises(OperationalError, match="lock timeout"):
        session.execute(text("UPDATE dag_run SET state = 'failed'"))
    session.rollback()

    REMEDIES[remedy](killed)
    wait_until_gone(killed.backend)
    assert blocking() == []
    assert end_next_run(session)
    session.commit()
    assert not end_next_run(session)
    assert recorded_types() == ["airflow.dag_run.success"]


@pytest.mark.parametrize("killed", ["2s"], indirect=True)
def test_a_bound_on_idle_transactions_frees_its_run_while_its_workers_live(session: Session, killed: Killed) -> None:
    wait_until_gone(killed.backend)
    assert end_next_run(session)
    session.commit()
    assert recorded_types() == ["airflow.dag_run.success"]
