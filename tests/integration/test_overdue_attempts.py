"""A target whose code ignores its time limit is named by health, with the dispatcher that waits for it."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from ml_event_provider.dispatch.sending import Sending
from ml_event_provider.dispatch.settings import Settings
from ml_event_provider.store import dispatchers, schema
from ml_event_provider.store.dispatchers import Dispatcher
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.store.health import health
from tests.integration.test_breakers import waiting

if TYPE_CHECKING:
    from ml_event_provider.store.deliveries import Delivery

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.mark.parametrize(("send_timeout", "overdue"), [(0.0, True), (30.0, False)])
def test_it_is_named_while_it_lasts(monkeypatch: pytest.MonkeyPatch, send_timeout: float, *, overdue: bool) -> None:
    waiting("d-1")
    with transaction() as connection:
        connection.execute(update(schema.delivery).values(next_attempt_at=database_now(connection)))
    sending = Sending(replace(Settings.from_config(), send_timeout=send_timeout), dispatcher_id="me")
    attempt = sending._sender.attempt
    during: list[dict[str, Any]] = []

    def watched(delivery: Delivery, *more: Any) -> Any:
        during.append(sending.report())
        return attempt(delivery, *more)

    monkeypatch.setattr(sending._sender, "attempt", watched)
    assert sending.drain_once() == 1
    assert during == [{"overdue": [{"target": "inbox", "workspace": "fraud", "seconds": 0}] if overdue else []}]
    assert sending.report() == {"overdue": []}
    with transaction() as connection:
        now = database_now(connection)
        one = Dispatcher("me", socket.gethostname(), 1, False, now, now, during[0])
        dispatchers.beat(connection, one)
    named = [problem for problem in health()["problems"] if "dispatcher me has been sending" in problem]
    assert len(named) == int(overdue)
