"""A dispatcher that freezes while it matches holds up nobody for longer than the database allows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from ml_event_provider.dispatch.housekeeping import Housekeeping
from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.dispatch.settings import Settings
from ml_event_provider.store import definitions, events, schema, unmatched
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.health import health, sessions
from ml_event_provider.store.unread import Unread
from tests.integration.recorded import EVENT

if TYPE_CHECKING:
    from sqlalchemy import Engine

pytestmark = pytest.mark.fault

ROOT = Path(__file__).parents[2]

#: Matches until nothing is left, whatever is lost on the way; ``frozen`` says whether it was.
TURNS = """
rotation = Rotation()
for _ in range(100):
    try:
        if not any(rotation.turn()) and frozen:
            break
    except Exception as error:
        print("lost", engine.worth_retrying(error), flush=True)
print("done", flush=True)
"""

#: Stops itself in the middle of its first transaction; when it is woken, it goes on as a dispatcher does.
FROZEN = """
import os, signal, sys
from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.store import engine

engine._BEGIN_POSTGRESQL = engine._BEGIN_POSTGRESQL.replace(f"'{engine.IDLE_SECONDS}s'", "'1s'")
write = Batch.write
frozen = []

def freeze(batch):
    if not frozen:
        frozen.append(1)
        print("frozen", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    return write(batch)

Batch.write = freeze
"""


def put_rule(workspace: str) -> None:
    with transaction() as connection:
        rule = {"name": "all", "workspace": workspace, "on": ["tests.*"], "targets": ["inbox"]}
        definitions.put(connection, rule, managed_by="file")


def record(workspace: str) -> None:
    """Five events, ``f-0`` to ``f-4`` of the workspace *frozen*."""
    made = [replace(EVENT, id=f"{workspace[0]}-{n}", workspace=workspace, time=utc_now()) for n in range(5)]
    events.record_now(made)


def test_another_goes_on_and_the_frozen_one_comes_back_without_loss_or_double(airflow_db: Engine) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("SQLite knows no sessions: whoever is frozen in a transaction is ended by hand")
    put_rule("frozen")
    put_rule("other")
    record("frozen")
    process = started(FROZEN + TURNS)
    try:
        _until_frozen(process)
        # It holds its workspace only.
        record("other")
        Rotation().turn(seconds=60)
        with transaction() as connection:
            assert unmatched.workspaces(connection) <= {"frozen"}
        rotation = Rotation()
        for _ in range(200):
            rotation.turn(seconds=60)
            with transaction() as connection:
                if not unmatched.workspaces(connection):
                    break
            time.sleep(0.1)
        with transaction() as connection:
            assert not unmatched.workspaces(connection)
        os.kill(process.pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    # Its connection was lost, which is worth another try; then there was nothing left to do.
    assert said.split("\n")[-2] == "done"
    assert "lost True" in said
    with transaction() as connection:
        told = connection.execute(
            select(schema.event.c.id).join(schema.notification, schema.notification.c.event_seq == schema.event.c.seq)
        ).scalars()
        assert sorted(told) == sorted([f"f-{n}" for n in range(5)] + [f"o-{n}" for n in range(5)])


#: Is in the middle of an answer that has no end, as far as a test goes; the server writes a row each millisecond.
READING = """
import sys
from sqlalchemy import text
from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.store import engine

write = Batch.write
frozen = []

def read_much(batch):
    if not frozen:
        frozen.append(1)
        print("frozen", flush=True)
        batch._connection.execute(text("SELECT repeat('x', 10000), pg_sleep(0.001) FROM generate_series(1, 1000000)"))
    return write(batch)

Batch.write = read_much
engine.call_ourselves("frozen-one")
"""
_WAITS_FOR_ITS_CLIENT = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%frozen-one'"
    " AND state = 'active' AND wait_event = 'ClientWrite'"
)


def test_one_that_froze_while_it_read_an_answer_holds_its_workspace_for_a_bounded_time(
    airflow_db: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("SQLite knows no sessions")
    put_rule("frozen")
    record("frozen")
    process = started(READING + TURNS)
    try:
        _until_frozen(process)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGSTOP)
        while not _waits():
            assert process.poll() is None
            time.sleep(0.1)
        monkeypatch.setattr(sessions, "BLOCKING_SECONDS", 0)
        (problem,) = [one for one in health()["problems"] if "frozen-one" in one]
        assert "in one statement for" in problem
        Rotation().turn(seconds=60)
        with transaction() as connection:
            assert unmatched.workspaces(connection) == {"frozen"}
        housekeeping = Housekeeping(Settings.from_config(), dispatcher_id="other", parent=None)
        monkeypatch.setattr(housekeeping, "_unread", Unread(seconds=1))
        jobs = {name: job for name, _, job in housekeeping._jobs()}
        jobs["unread"]()
        assert _waits(), "it was ended at the first look"
        while _waits():
            time.sleep(0.2)
            jobs["unread"]()
        Rotation().turn(seconds=60)
        with transaction() as connection:
            assert not unmatched.workspaces(connection)
        os.kill(process.pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert said.split("\n")[-2] == "done"
    assert "lost True" in said
    assert "(ml-events frozen-one, from this host) was ended" in caplog.text
    jobs["heartbeat"]()
    (notice,) = [one for one in health()["notices"] if "frozen-one" in one]
    assert "its process did not read the answer to a statement" in notice


def test_one_that_reads_slowly_is_left_alone(airflow_db: Engine) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("SQLite knows no sessions")
    call = "SELECT pg_sleep(0.05), repeat('x', 10) FROM generate_series(1, 40)"
    with transaction() as connection, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(connection.execute, text(call))
        unread = Unread(seconds=0)
        while not reading.done():
            assert unread.end() == []
        assert len(reading.result().all()) == 40


def _waits() -> bool:
    with transaction() as connection:
        return bool(connection.execute(_WAITS_FOR_ITS_CLIENT).scalar_one())


def started(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _until_frozen(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    while "frozen" not in (line := process.stdout.readline()):
        assert line, "it ended before it froze"
