"""Dispatchers that are healthy, stopped or told to end, beside targets that hang: nothing is sent twice."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ml_event_provider.events.model import Event
from ml_event_provider.store import definitions, deliveries, events
from ml_event_provider.store.engine import transaction
from tests.fault.dispatchers import fork, is_alive, wait_until
from tests.peers.receiver import WEBHOOK_SECRET, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.fault

#: Tries do not come again within a test: whatever arrives twice was sent by two, or after its lease.
ONCE = {"AIRFLOW__ML_EVENTS__RETRY_BASE_SECONDS": "300"}


class Gate:
    """Holds each request up until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.reached = threading.Event()

    def __call__(self, _: object) -> None:
        self.reached.set()
        self.opened.wait(60)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def inbox(gate: Gate) -> Iterator[Receiver]:
    with Receiver(on_request=gate) as receiver:
        yield receiver
        gate.opened.set()


def connections(inbox: Receiver, *names: str) -> dict[str, str]:
    document = {"conn_type": "mleventswebhook", "host": inbox.url("/webhook"), "password": WEBHOOK_SECRET}
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(document) for name in names}


def publish(*targets: str, count: int) -> None:
    with transaction() as connection:
        rule = {"name": "all", "workspace": "default", "on": ["fault.happened"], "targets": list(targets)}
        definitions.put(connection, rule, managed_by="file")
    events.record_now(
        [
            Event(id=f"e-{number}", source="/fault", type="fault.happened", time=datetime.now(UTC))
            for number in range(count)
        ]
    )


def states() -> Counter[str]:
    with transaction() as connection:
        return Counter(one.state for one in deliveries.latest(connection, limit=1000))


def ids(inbox: Receiver) -> list[str]:
    return [one.headers["webhook-id"] for one in list(inbox.requests)]


def test_two_healthy_dispatchers_send_nothing_twice_to_targets_that_hang(airflow_db, forker, inbox, gate):
    names = [f"hanging_{number}" for number in range(20)]
    lease = {"AIRFLOW__ML_EVENTS__LEASE_SECONDS": "4", "AIRFLOW__ML_EVENTS__SEND_TIMEOUT_SECONDS": "2"}
    process = forker(**connections(inbox, *names), **ONCE, **lease)
    publish(*names, count=4)
    children = [fork(process), fork(process)]
    try:
        assert wait_until(lambda: states()["failed"] == 80, 120)
    finally:
        for child in children:
            os.kill(child, signal.SIGTERM)
        gate.opened.set()
    with transaction() as connection:
        tried = {one.id: one.attempts for one in deliveries.latest(connection, limit=1000)}
    assert set(tried.values()) == {1}
    assert wait_until(lambda: len(inbox.requests) == 80)
    assert Counter(ids(inbox)) == Counter(list(tried))


def test_a_dispatcher_that_was_stopped_sends_nothing_stale_when_it_goes_on(airflow_db, forker, inbox, gate):
    lease = {"AIRFLOW__ML_EVENTS__LEASE_SECONDS": "10", "AIRFLOW__ML_EVENTS__SEND_TIMEOUT_SECONDS": "5"}
    process = forker(**connections(inbox, "inbox"), **ONCE, **lease)
    publish("inbox", count=60)
    # It learns that the target is quick; then there are many at once, and a queue behind them.
    gate.opened.set()
    stopped = fork(process)
    assert wait_until(lambda: states()["delivered"] == 60)
    gate.opened.clear()
    events.record_now(
        [
            Event(id=f"f-{number}", source="/fault", type="fault.happened", time=datetime.now(UTC))
            for number in range(60)
        ]
    )
    before = len(inbox.requests)
    assert wait_until(lambda: states()["leased"] >= 20)
    os.kill(stopped, signal.SIGSTOP)
    try:
        gate.opened.set()
        assert wait_until(lambda: len(inbox.requests) > before)
        under_way = set(ids(inbox)[before:])
        other = fork(process)
        # The other takes over when the leases have run out.
        assert wait_until(lambda: states()["delivered"] == 120)
    finally:
        os.kill(stopped, signal.SIGCONT)
    # What it had queued is not its own any more: it looks around, and ends in order.
    os.kill(stopped, signal.SIGTERM)
    assert wait_until(lambda: not is_alive(stopped))
    os.kill(other, signal.SIGTERM)
    assert states() == {"delivered": 120}
    twice = {one for one, count in Counter(ids(inbox)).items() if count > 1}
    # Only what was under way when it was stopped may come a second time.
    assert twice <= under_way


def test_a_dispatcher_that_is_told_to_end_gives_back_what_is_queued(airflow_db, forker, inbox, gate):
    long = {"AIRFLOW__ML_EVENTS__LEASE_SECONDS": "120", "AIRFLOW__ML_EVENTS__SEND_TIMEOUT_SECONDS": "3"}
    process = forker(**connections(inbox, "inbox"), **ONCE, **long)
    publish("inbox", count=100)
    gate.opened.set()
    child = fork(process)
    assert wait_until(lambda: states()["delivered"] == 100)
    gate.opened.clear()
    before = len(inbox.requests)
    events.record_now(
        [
            Event(id=f"f-{number}", source="/fault", type="fault.happened", time=datetime.now(UTC))
            for number in range(100)
        ]
    )
    assert wait_until(lambda: states()["leased"] > 20)
    os.kill(child, signal.SIGTERM)
    assert wait_until(lambda: not is_alive(child), 30)
    gate.opened.set()
    stands = states()
    # It may have ended before it had matched all.
    assert set(stands) == {"delivered", "failed", "pending"}
    assert stands["delivered"] == 100
    assert wait_until(lambda: len(inbox.requests) == before + stands["failed"])
    assert 0 < stands["failed"] < 20


def test_the_second_sigterm_ends_it_at_once(airflow_db, forker, inbox, gate):
    long = {"AIRFLOW__ML_EVENTS__LEASE_SECONDS": "600", "AIRFLOW__ML_EVENTS__SEND_TIMEOUT_SECONDS": "300"}
    process = forker(**connections(inbox, "inbox"), **ONCE, **long)
    publish("inbox", count=1)
    child = fork(process)
    assert wait_until(gate.reached.is_set)
    os.kill(child, signal.SIGTERM)
    assert not wait_until(lambda: not is_alive(child), 1)
    os.kill(child, signal.SIGTERM)
    assert wait_until(lambda: not is_alive(child), 30)
