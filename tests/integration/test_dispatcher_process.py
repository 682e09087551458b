"""A whole dispatcher in this process: it starts, works, survives its own failures, and ends in order."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from ml_event_provider import config
from ml_event_provider.dispatch.matching import Matched, Rotation
from ml_event_provider.dispatch.process import DispatcherProcess, Settings
from ml_event_provider.dispatch.retry import RetryPolicy
from ml_event_provider.store import definitions, deliveries, dispatchers, events, leases, settlements
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.spool import Spool
from tests.integration.recorded import EVENT, event, recorded
from tests.peers.receiver import WEBHOOK_SECRET, Behaviour, Received, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("airflow_db")

SETTINGS = Settings(
    poll=0.01,
    workers=2,
    lease=30,
    send_timeout=5,
    reconcile_every=0,
    grace=0,
    retention_days=0,
    policy=RetryPolicy(max_attempts=3, base=0.0),
)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A spool of the test's own, and this process's signal handlers as they were."""
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SPOOL_DIRECTORY", str(tmp_path / "spool"))
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__ALLOWED_HOSTS", "127.0.0.1")
    config.forget()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class Inbox(Receiver):
    """A webhook receiver that does something with each request while its sender waits for the answer."""

    def __init__(self) -> None:
        super().__init__(on_request=self._came)
        self.then: Callable[[], object] = lambda: None

    def _came(self, _: Received) -> None:
        self.then()


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with Inbox() as inbox:
        document = {"conn_type": "mleventswebhook", "host": inbox.url("/webhook"), "password": WEBHOOK_SECRET}
        monkeypatch.setenv("AIRFLOW_CONN_INBOX", json.dumps(document))
        yield inbox


def run(process: DispatcherProcess) -> None:
    """Run until it ends; one that nothing ends is ended, so that the test fails instead of hanging."""
    rescue = threading.Timer(60, process.stop)
    rescue.daemon = True
    rescue.start()
    try:
        process.run()
    finally:
        rescue.cancel()


def put_rule() -> None:
    with transaction() as connection:
        definitions.put(
            connection,
            {"name": "all", "workspace": "default", "on": ["tests.*"], "targets": ["inbox"]},
            managed_by="file",
        )


def states() -> list[str]:
    with transaction() as connection:
        return [one.state for one in deliveries.latest(connection)]


def alive() -> list[dispatchers.Dispatcher]:
    with transaction() as connection:
        return list(dispatchers.all_dispatchers(connection))


def test_it_ends_what_is_under_way_and_signs_off(inbox: Inbox) -> None:
    put_rule()
    events.record_now([EVENT])
    process = DispatcherProcess(SETTINGS)
    inbox.then = process.stop
    run(process)
    assert states() == ["delivered"]
    assert len(inbox.requests) == 1
    assert alive() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(inbox: Inbox, number: signal.Signals) -> None:
    put_rule()
    events.record_now([EVENT])
    inbox.then = lambda: os.kill(os.getpid(), number)
    run(DispatcherProcess(SETTINGS))
    assert states() == ["delivered"]


def test_a_dispatcher_that_is_told_to_stop_leases_nothing_more(inbox: Inbox) -> None:
    put_rule()
    events.record_now([event(f"e-{number}") for number in range(30)])
    process = DispatcherProcess(replace(SETTINGS, workers=1))
    inbox.then = process.stop
    run(process)
    left = states()
    assert left.count("delivered") == len(inbox.requests) < 30
    assert set(left) == {"delivered", "pending"}
    inbox.then = lambda: None
    assert DispatcherProcess(SETTINGS).drain_once() == left.count("pending")
    assert set(states()) == {"delivered"}
    assert inbox.duplicates == {}


def test_it_ends_with_its_parent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ml_event_provider"):
        run(DispatcherProcess(SETTINGS, parent=os.getppid() + 1))
    assert f"Parent {os.getppid() + 1} ended" in caplog.text


@pytest.mark.parametrize("parent", [None, os.getppid()])
def test_it_shows_itself_while_it_works(monkeypatch: pytest.MonkeyPatch, parent: int | None) -> None:
    process = DispatcherProcess(SETTINGS, parent=parent)
    shown: list[dispatchers.Dispatcher] = []
    beat = dispatchers.beat

    def watched(connection: Any, dispatcher: dispatchers.Dispatcher) -> None:
        beat(connection, dispatcher)
        shown.extend(dispatchers.all_dispatchers(connection))
        process.stop()

    monkeypatch.setattr(dispatchers, "beat", watched)
    run(process)
    (one,) = shown
    assert (one.id, one.pid, one.embedded) == (process.id, os.getpid(), parent is not None)
    assert alive() == []


def test_events_from_the_spool_are_recorded_matched_and_delivered(inbox: Inbox) -> None:
    put_rule()
    Spool(config.spool_directory()).put([EVENT])
    process = DispatcherProcess(SETTINGS)
    inbox.then = process.stop
    run(process)
    assert recorded() == [EVENT]
    assert states() == ["delivered"]
    assert list(Spool(config.spool_directory()).waiting()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("bug"), "match failed: RuntimeError: bug"),
        (OperationalError("SELECT 1", {}, Exception("the server is away")), "the server is away"),
    ],
    ids=["bug", "database"],
)
def test_a_step_that_fails_is_logged_and_done_again(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    put_rule()
    events.record_now([EVENT])
    failures = [error, error]
    turn = Rotation.turn

    def fragile(*arguments: Any, **options: Any) -> Matched:
        if failures:
            raise failures.pop()
        return turn(*arguments, **options)

    monkeypatch.setattr(Rotation, "turn", fragile)
    process = DispatcherProcess(SETTINGS)
    inbox.then = process.stop
    run(process)
    assert states() == ["delivered"]
    # The second within the same minute is counted, not told.
    assert [said in record.getMessage() for record in caplog.records].count(True) == 1


@pytest.mark.parametrize("stopped", [False, True], ids=["working", "stopping"])
def test_an_answer_that_the_database_did_not_take_is_kept_and_nothing_is_sent_again(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    put_rule()
    events.record_now([EVENT])
    process = DispatcherProcess(SETTINGS)
    failures = [OperationalError("UPDATE", {}, Exception("the server is away"))] * 2
    settle = settlements.settle

    def fragile(*arguments: Any, **options: Any) -> None:
        if failures:
            raise failures.pop()
        settle(*arguments, **options)
        process.stop()

    monkeypatch.setattr(settlements, "settle", fragile)
    if stopped:
        inbox.then = process.stop
    run(process)
    assert states() == ["delivered"]
    assert len(inbox.requests) == 1


def test_a_failing_housekeeping_job_does_not_stop_the_others(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put_rule()
    Spool(config.spool_directory()).put([EVENT])

    def fail(*_: Any) -> None:
        raise RuntimeError("größer")

    monkeypatch.setattr(dispatchers, "beat", fail)
    process = DispatcherProcess(SETTINGS)
    inbox.then = process.stop
    run(process)
    assert states() == ["delivered"]
    assert "heartbeat failed" in caplog.text


def test_draining_says_how_many_attempts_were_made(inbox: Inbox) -> None:
    put_rule()
    assert DispatcherProcess(SETTINGS).drain_once() == 0
    events.record_now([event(f"e-{number}") for number in range(7)])
    assert DispatcherProcess(SETTINGS).drain_once() == 7
    assert states() == ["delivered"] * 7


def test_what_is_not_due_yet_is_left_alone(inbox: Inbox) -> None:
    put_rule()
    events.record_now([EVENT])
    inbox.stop()
    later = replace(SETTINGS, policy=RetryPolicy(max_attempts=3, base=3600.0))
    assert DispatcherProcess(later).drain_once() == 1
    assert DispatcherProcess(later).drain_once() == 0
    with transaction() as connection:
        (delivery,) = deliveries.latest(connection)
    assert (delivery.state, delivery.attempts) == ("failed", 1)
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at > utc_now() + timedelta(minutes=30)


def test_settings_come_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "POLL_SECONDS": "2.5",
        "SEND_WORKERS": "3",
        "LEASE_SECONDS": "90",
        "SEND_TIMEOUT_SECONDS": "7",
        "RECONCILE_SECONDS": "11",
        "RECONCILE_GRACE_SECONDS": "12",
        "RETENTION_DAYS": "13",
        "MAX_ATTEMPTS": "14",
        "RETRY_BASE_SECONDS": "0.5",
        "RETRY_MAX_SECONDS": "16",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"AIRFLOW__ML_EVENTS__{name}", value)
    config.forget()
    assert Settings.from_config() == Settings(
        poll=2.5,
        workers=3,
        lease=90.0,
        send_timeout=7.0,
        reconcile_every=11.0,
        grace=12.0,
        retention_days=13.0,
        policy=RetryPolicy(max_attempts=14, base=0.5, longest=16.0),
    )


def test_a_lease_that_ends_while_its_delivery_is_sent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__LEASE_SECONDS", "20")
    config.forget()
    with pytest.raises(ValueError, match="lease_seconds = 20 is shorter than twice send_timeout_seconds = 15"):
        Settings.from_config()


def test_it_rests_while_all_its_workers_wait_for_a_slow_remote(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """More work than it may lease is no reason to turn round and round."""
    put_rule()
    events.record_now([event(f"e-{number}") for number in range(30)])
    inbox.next(Behaviour(delay=1.0))
    process = DispatcherProcess(replace(SETTINGS, workers=1, poll=0.05))
    turns: list[int] = []
    due_lanes = leases.due_lanes

    def counted(*arguments: Any, **options: Any) -> Any:
        turns.append(len(inbox.requests))
        if len(inbox.requests) > 1:
            process.stop()
        return due_lanes(*arguments, **options)

    monkeypatch.setattr(leases, "due_lanes", counted)
    run(process)
    # A second at a look each 50 ms; turning freely gives thousands.
    assert turns.count(1) < 100


def test_a_dag_callbacks_event_from_the_spool_is_completed_from_its_run() -> None:
    """It names the run as the scheduler's listener does, so that one change is one event."""
    from types import SimpleNamespace

    from airflow.models.dagrun import DagRun
    from sqlalchemy import insert

    from ml_event_provider.dispatch.housekeeping import record_spooled
    from ml_event_provider.sources.airflow import dag_run_event

    now = EVENT.time
    with transaction() as connection:
        connection.execute(
            insert(DagRun.__table__).values(
                dag_id="train",
                run_id="manual",
                run_type="manual",
                state="failed",
                run_after=now,
                start_date=now,
                end_date=now,
                created_at=now,
                clear_number=1,
                span_status="not_started",
            )
        )
    told = dag_run_event(
        SimpleNamespace(dag_id="train", run_id="manual", start_date=None, end_date=None),
        state="failed",
        workspace="default",
        origin="callback",
    )
    record_spooled([told])
    with transaction() as connection:
        (recorded,) = events.latest(connection)
    assert recorded.event.data["clear_number"] == 1
    assert recorded.event.id != told.id
