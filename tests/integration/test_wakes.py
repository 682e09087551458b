"""Whoever waits for work hears of it when it commits, and not of what is rolled back."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from ml_event_provider.dispatch import listening
from ml_event_provider.dispatch.loop import Signals
from ml_event_provider.store import events, wakes
from ml_event_provider.store.engine import savepoint, transaction
from ml_event_provider.store.wakes import Listener
from tests.integration.recorded import EVENT, event
from tests.integration.test_leases import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture
def listener(airflow_db: Engine) -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def test_what_is_recorded_is_heard(listener: Listener) -> None:
    assert not listener.wait(0.2)
    events.record_now([EVENT])
    assert wakes.EVENTS in listener.wait(30)
    assert not listener.wait(0.2)


def test_deliveries_are_heard_of(listener: Listener) -> None:
    told("d")
    assert wakes.DELIVERIES in listener.wait(30)


def test_what_is_rolled_back_is_not_heard(listener: Listener) -> None:
    with suppress(RuntimeError), transaction() as connection:
        events.record_one(connection, EVENT)
        raise RuntimeError
    assert not listener.wait(0.2)


def test_what_a_savepoint_took_back_does_not_keep_the_rest_from_being_heard(listener: Listener) -> None:
    with transaction() as connection:
        with suppress(RuntimeError), savepoint(connection):
            events.record_one(connection, EVENT)
            raise RuntimeError
        events.record_one(connection, event("e-2"))
    assert wakes.EVENTS in listener.wait(30)


@pytest.mark.postgres
def test_one_transaction_tells_once(airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("PostgreSQL's NOTIFY")
    statements: list[object] = []
    monkeypatch.setattr(wakes, "_NOTIFY", text("SELECT :what AS told"))
    with transaction() as connection:
        execute = connection.execute
        monkeypatch.setattr(
            connection, "execute", lambda *given, **more: (statements.append(str(given[0])), execute(*given, **more))[1]
        )
        for number in range(3):
            events.record_one(connection, event(f"e-{number}"))
    assert len([one for one in statements if "AS told" in str(one)]) == 1


def test_the_dispatcher_is_woken_and_ends(airflow_db: Engine) -> None:
    signals = Signals()
    thread = threading.Thread(target=listening.run, args=(signals,), daemon=True)
    thread.start()
    try:
        before = signals.events.told
        for number in range(100):
            events.record_now([event(f"e-{number}")])
            signals.events.wait(0.3, since=before)
            if signals.events.told != before:
                break
        assert signals.events.told != before
    finally:
        signals.stop()
        thread.join(30)
    assert not thread.is_alive()
