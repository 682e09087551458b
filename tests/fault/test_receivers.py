"""Receivers that fail in every way: the delivery arrives in the end, or ends in the dead letters with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from ml_event_provider.dispatch.process import DispatcherProcess, Settings
from ml_event_provider.dispatch.retry import RetryPolicy
from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import definitions, deliveries, events
from ml_event_provider.store.engine import transaction
from tests.peers.receiver import WEBHOOK_SECRET, Behaviour, Receiver

pytestmark = pytest.mark.fault


@pytest.fixture
def inbox(monkeypatch):
    with Receiver() as receiver:
        connection = {
            "conn_type": "mleventswebhook",
            "host": receiver.url("/webhook"),
            "password": WEBHOOK_SECRET,
        }
        monkeypatch.setenv("AIRFLOW_CONN_INBOX", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__ML_EVENTS__ALLOWED_HOSTS", "127.0.0.1")
        yield receiver


def dispatcher(**policy) -> DispatcherProcess:
    """A dispatcher whose retries are due at once."""
    return DispatcherProcess(
        Settings(
            poll=0.01,
            workers=2,
            lease=30,
            send_timeout=0.7,
            reconcile_every=0,
            grace=0,
            retention_days=0,
            policy=RetryPolicy(**{"max_attempts": 4, "base": 0.0, **policy}),
        )
    )


def publish(*targets: str, number: int = 0) -> Event:
    event = Event(
        id=f"event-{number}",
        source="/fault",
        type="fault.happened",
        time=datetime.now(UTC),
        data={"n": number},
    )
    with transaction() as connection:
        definitions.put(
            connection,
            {"name": "all", "workspace": "default", "on": ["fault.happened"], "targets": list(targets)},
            managed_by="file",
        )
    events.record_now([event])
    return event


def only_delivery() -> deliveries.Delivery:
    with transaction() as connection:
        (delivery,) = deliveries.latest(connection)
    return delivery


def attempts(delivery_id: str) -> list[tuple[str, str]]:
    with transaction() as connection:
        return [(one.outcome, one.code) for one in deliveries.attempts_of(connection, delivery_id)]


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (Behaviour(status=500, body="oops"), "HTTP 500"),
        (Behaviour(status=503), "HTTP 503"),
        (Behaviour(status=429), "HTTP 429"),
        (Behaviour(delay=1.5), "timeout"),
        (Behaviour(head_drip=0.2), "timeout"),
        (Behaviour(reset=True), "reset"),
    ],
    ids=["500", "503", "429", "slow", "dripping", "reset"],
)
def test_a_failing_receiver_is_tried_again_under_the_same_id(airflow_db, inbox, behaviour, code):
    publish("inbox")
    inbox.next(behaviour)
    dispatcher().drain_once()

    delivery = only_delivery()
    assert delivery.state == "delivered"
    assert attempts(delivery.id) == [("retry", code), ("delivered", "HTTP 200")]
    assert {request.headers["webhook-id"] for request in inbox.requests} == {delivery.id}
    assert len({request.headers["webhook-timestamp"] for request in inbox.requests}) in {1, 2}


def test_retry_after_is_obeyed(airflow_db, inbox):
    publish("inbox")
    inbox.next(Behaviour(status=429, headers={"Retry-After": "120"}))
    before = datetime.now(UTC)
    dispatcher().drain_once()

    delivery = only_delivery()
    assert delivery.state == "failed"
    assert delivery.next_attempt_at >= before + timedelta(seconds=120)
    assert len(inbox.requests) == 1


def test_a_refused_delivery_is_a_dead_letter_and_can_be_sent_again(airflow_db, inbox):
    publish("inbox")
    inbox.next(Behaviour(status=410, body="this hook is gone"))
    dispatcher().drain_once()

    dead = only_delivery()
    assert (dead.state, dead.code) == ("dead", "HTTP 410")
    assert "this hook is gone" in dead.reason
    with transaction() as connection:
        assert deliveries.send_again(connection, delivery_id=dead.id) == 1
        with pytest.raises(NotFound, match="on its way already"):
            deliveries.send_again(connection, delivery_id=dead.id)
    dispatcher().drain_once()
    assert only_delivery().state == "delivered"
    assert {request.headers["webhook-id"] for request in inbox.requests} == {dead.id}


def test_a_receiver_that_never_answers_ends_in_the_dead_letters(airflow_db, inbox):
    publish("inbox")
    inbox.stop()
    dispatcher(max_attempts=3).drain_once()

    delivery = only_delivery()
    assert delivery.state == "dead"
    assert attempts(delivery.id) == [("retry", "connection refused")] * 3


def test_a_broken_target_does_not_stop_the_others(airflow_db, inbox):
    publish("no_such_connection", "inbox")
    dispatcher(max_attempts=2).drain_once()

    with transaction() as connection:
        stands = {one.conn_id: (one.state, one.code) for one in deliveries.latest(connection)}
    assert stands == {"no_such_connection": ("dead", "no target"), "inbox": ("delivered", "HTTP 200")}


def test_matching_again_creates_nothing_new(airflow_db, inbox):
    from sqlalchemy import update

    from ml_event_provider.store import schema

    publish("inbox")
    dispatcher().drain_once()
    with transaction() as connection:
        connection.execute(update(schema.event).values(matched_at=None))
    dispatcher().drain_once()
    assert len(inbox.requests) == 1
