"""Dispatchers whose clocks are wrong, dead or alive, hold up nobody, send nothing twice, and are told of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from ml_event_provider.dispatch import silences
from ml_event_provider.events.model import Event
from ml_event_provider.store import definitions, events
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.store.health import health
from tests.fault.dispatchers import fork, unfinished
from tests.peers.receiver import WEBHOOK_SECRET, Receiver
from tests.peers.wrong_clocks import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

pytestmark = [pytest.mark.fault, pytest.mark.usefixtures("server")]

MESSAGES = 200
#: Without pruning, whose turn comes once a minute.
OFTEN = {"AIRFLOW__ML_EVENTS__RECONCILE_SECONDS": "1", "AIRFLOW__ML_EVENTS__RETENTION_DAYS": "0"}


@pytest.fixture
def server(airflow_db: Engine) -> None:
    if airflow_db.dialect.name == "sqlite":
        pytest.skip("SQLite has no clock of its own: all who use it are on one machine")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


def wait_for(done: Callable[[], Any], what: str, *, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := done()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)
    return found


def holders() -> dict[str, tuple[str, datetime]]:
    with transaction() as connection:
        rows = connection.execute(text("SELECT name, holder, held_until FROM ml_event_cursor WHERE holder IS NOT NULL"))
        return {row.name: (row.holder.split(":")[-2], row.held_until) for row in rows}


def moment() -> datetime:
    with transaction() as connection:
        return database_now(connection)


def put_rule() -> None:
    with transaction() as connection:
        rule = {"name": "all", "workspace": "default", "on": ["fault.happened"], "targets": ["inbox"]}
        definitions.put(connection, rule, managed_by="file")


def connection_to(inbox: Receiver) -> str:
    return json.dumps({"conn_type": "ml_events_webhook", "host": inbox.url("/webhook"), "password": WEBHOOK_SECRET})


@pytest.mark.parametrize("offset", ["+1d", "-1d"])
def test_a_dispatcher_a_day_off_that_dies_blocks_no_job_and_is_told_of(forker: Any, clock: Clock, offset: str) -> None:
    clock.set(offset)
    wrong = fork(forker(**clock.environment, **OFTEN))
    wait_for(lambda: {"job:tables", "job:reconcile"} <= set(holders()), "the wrong one to hold the jobs")
    assert {holder for holder, _ in holders().values()} == {str(wrong)}
    for _, until in holders().values():
        assert abs(until - moment()) < timedelta(minutes=1)
    told = wait_for(lambda: [one for one in health()["problems"] if "the clock of" in one], "health to tell of it")
    assert ("ahead of" if offset == "+1d" else "behind") in told[0]
    assert [one["skew_seconds"] for one in health()["dispatchers"]] == pytest.approx(
        [86_400 if offset == "+1d" else -86_400], abs=30
    )
    os.kill(wrong, signal.SIGKILL)
    right = fork(forker(**OFTEN))
    try:
        wait_for(
            lambda: {holder for holder, _ in holders().values()} == {str(right)},
            "the right one to take the jobs over",
        )
        wait_for(lambda: len(health()["dispatchers"]) == 1, "the dead one to count as dead", seconds=60)
        assert not [one for one in health()["problems"] if "the clock of" in one]
    finally:
        os.kill(right, signal.SIGKILL)


@pytest.mark.parametrize("offset", ["-120s", "+120s", "jumps"])
def test_a_wrong_clock_beside_a_right_one_sends_nothing_twice(forker: Any, clock: Clock, offset: str) -> None:
    with Receiver() as inbox:
        target = {
            "AIRFLOW_CONN_INBOX": connection_to(inbox),
            "AIRFLOW__ML_EVENTS__LEASE_SECONDS": "60",
            "AIRFLOW__ML_EVENTS__SEND_TIMEOUT_SECONDS": "15",
        }
        clock.set("+0s" if offset == "jumps" else offset)
        put_rule()
        children = [fork(forker(**target)), fork(forker(**target, **clock.environment))]
        try:
            for number in range(MESSAGES // 10):
                events.record_now(
                    [
                        Event(
                            id=f"event-{number}-{n}",
                            source="/fault",
                            type="fault.happened",
                            time=datetime.now(UTC),
                            data={"n": n},
                        )
                        for n in range(10)
                    ]
                )
                if offset == "jumps":
                    clock.set(["+200s", "-200s", "+120s", "+0s"][number % 4])
                time.sleep(0.1)
            wait_for(lambda: len(inbox.requests) >= MESSAGES and not unfinished(), "all to arrive")
        finally:
            for child in children:
                os.kill(child, signal.SIGTERM)
        assert len({request.json()["data"]["event"]["id"] for request in inbox.requests}) == MESSAGES
        assert inbox.duplicates == {}


def test_events_recorded_by_a_wrong_clock_have_the_databases_moment(forker: Any, clock: Clock) -> None:
    """``recorded_at`` decides what is late, overdue and pruned: an event from a day ahead would wait for a day."""
    with Receiver() as inbox:
        # More, and the receiver would refuse the signature's time.
        clock.set("+200s")
        put_rule()
        child = fork(forker(AIRFLOW_CONN_INBOX=connection_to(inbox), **clock.environment))
        try:
            events.record_now(
                [Event(id="one", source="/fault", type="fault.happened", time=datetime.now(UTC), data={})]
            )
            wait_for(lambda: inbox.requests and not unfinished(), "the message")
        finally:
            os.kill(child, signal.SIGTERM)
        with transaction() as connection:
            rows = connection.execute(text("SELECT recorded_at, matched_at FROM ml_event_event")).all()
        for row in rows:
            assert abs(row.recorded_at - moment()) < timedelta(seconds=100)
            assert abs(row.matched_at - moment()) < timedelta(seconds=100)


@pytest.mark.parametrize("offset", ["+1d", "-1d"])
def test_a_silence_that_a_machine_with_a_wrong_clock_adds_begins_now_for_all(clock: Clock, offset: str) -> None:
    clock.set(offset)
    before = moment()
    add = ("ml-events", "silences", "add", "--name", "quiet", "--for", "1h", "--everything", "--reason", "deployment")
    said = subprocess.run(
        [sys.executable, "-m", "airflow", *add],
        env={**os.environ, **clock.environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert said.returncode == 0, said.stderr
    with transaction() as connection:
        ((silence, standing),) = silences.listed(connection, "", database_now(connection))
        (version,) = definitions.history(connection, "quiet", workspace="default", kind=Kind.SILENCE)
    assert standing.state == "active"
    assert silence.ends_at is not None
    assert timedelta() < silence.ends_at - before - timedelta(hours=1) < timedelta(minutes=5)
    assert before < version.changed_at < before + timedelta(minutes=5)
