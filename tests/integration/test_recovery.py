"""When a target answers again, what failed meanwhile is due soon, and not only at its own next try."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from ml_event_provider.dispatch.loop import Signals
from ml_event_provider.dispatch.sending import Sending
from ml_event_provider.dispatch.settings import Settings
from ml_event_provider.store import leases, recovery, schema, settlements
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.schema import Breaker, DeliveryState
from ml_event_provider.store.settlements import Settlement
from tests.integration.airflow_rows import NOW
from tests.integration.leasing import MINUTE, lease_any
from tests.integration.test_breakers import heard, waiting

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.usefixtures("airflow_db")

HOUR = timedelta(hours=1)


def fail(*names: str, wished: bool = False, at: datetime = NOW) -> None:
    """Each is tried, fails, and is to be tried again in an hour."""
    failed = [
        Settlement(
            delivery_id=name,
            number=9,
            started_at=at,
            milliseconds=3,
            outcome="retry",
            code="503",
            reason="",
            state=DeliveryState.FAILED,
            next_attempt_at=at + HOUR,
            wished=wished,
        )
        for name in names
    ]
    with transaction() as connection:
        leased = lease_any(connection, owner="me", now=at)
        assert {one.id for one in leased} >= set(names)
        settlements.settle(connection, failed, owner="me", now=at)
        leases.give_back(connection, owner="me", now=at)


def recover(after: timedelta = 2 * MINUTE) -> list[int]:
    made: list[int] = []
    while True:
        with transaction() as connection:
            one = recovery.make_due(connection, now=NOW + after)
        if one is None:
            return made
        made.append(one)


def due_at() -> dict[str, timedelta]:
    with transaction() as connection:
        rows = connection.execute(select(schema.delivery.c.id, schema.delivery.c.next_attempt_at))
        return {row.id: row.next_attempt_at - NOW for row in rows}


def test_what_failed_while_it_did_not_answer_is_due_when_it_does() -> None:
    lane = waiting("d-1", "d-2")
    waiting("other", to="elsewhere")
    fail("d-1", "d-2", "other")
    heard(lane, *[False] * 9)
    assert recover() == []
    heard(lane, True, after=MINUTE)
    assert recover() == [2]
    assert due_at() == {"d-1": 2 * MINUTE, "d-2": 2 * MINUTE, "other": HOUR}
    assert recover() == []


def test_what_the_remote_or_the_rule_put_off_keeps_its_time() -> None:
    lane = waiting("d-1")
    fail("d-1", wished=True)
    waiting("d-2", not_before=NOW + 2 * HOUR)
    heard(lane, *[False] * 9)
    heard(lane, True, after=MINUTE)
    recover()
    assert due_at() == {"d-1": HOUR, "d-2": 2 * HOUR}


def test_what_fails_after_the_recovery_waits_for_its_own_next_try() -> None:
    lane = waiting("d-1")
    heard(lane, *[False] * 9)
    heard(lane, True, after=MINUTE)
    fail("d-1", at=NOW + 2 * MINUTE)
    recover(after=3 * MINUTE)
    assert due_at() == {"d-1": HOUR + 2 * MINUTE}


def test_it_goes_in_bounded_statements_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "BATCH", 2)
    names = [f"d-{n}" for n in range(5)]
    lane = waiting(*names)
    fail(*names)
    heard(lane, *[False] * 9)
    heard(lane, True, after=MINUTE)
    assert recover() == [2, 2, 1]


def test_a_target_that_fails_again_at_once_is_left_alone() -> None:
    lane = waiting("d-1")
    fail("d-1")
    heard(lane, *[False] * 9)
    heard(lane, True, after=MINUTE)
    heard(lane, *[False] * 9, after=MINUTE)
    assert recover() == []
    assert due_at() == {"d-1": HOUR}


def test_messages_of_one_stream_still_go_one_after_the_other() -> None:
    lane = waiting("d-1")
    waiting("d-2")
    with transaction() as connection:
        for ordinal, name in ((1, "d-1"), (2, "d-2")):
            stands = {"stream": "s", "ordinal": ordinal, "state": DeliveryState.FAILED, "failed_at": NOW}
            table = schema.delivery
            named = update(table).where(table.c.id == name)
            connection.execute(named.values(**stands, next_attempt_at=NOW + HOUR / ordinal))
    heard(lane, *[False] * 9)
    heard(lane, True, after=MINUTE)
    assert recover() == [2]
    with transaction() as connection:
        leased = lease_any(connection, owner="me", now=NOW + 3 * MINUTE)
    assert [one.id for one in leased] == ["d-1"]


def test_a_dispatcher_does_so_by_itself() -> None:
    now = utc_now()
    lane = waiting("d-1")
    fail("d-1")
    with transaction() as connection:
        connection.execute(update(schema.delivery).values(next_attempt_at=now + HOUR))
    heard(lane, *[False] * 9)
    heard(lane, True, after=MINUTE)
    signals = Signals()
    thread = threading.Thread(target=Sending(Settings.from_config(), dispatcher_id="me").run, args=(signals,))
    thread.start()
    try:
        while tried() == 9:
            assert thread.is_alive()
            time.sleep(0.05)
    finally:
        signals.stop()
        thread.join()
    assert tried() == 10


def tried() -> int:
    with transaction() as connection:
        return int(connection.execute(select(schema.delivery.c.attempts)).scalar_one())


def test_two_dispatchers_do_not_wait_for_each_other() -> None:
    lane = waiting("d-1")
    fail("d-1")
    heard(lane, *[False] * 9)
    heard(lane, True, after=MINUTE)
    with transaction() as connection:
        if connection.dialect.name != "postgresql":
            pytest.skip("SQLite has one writer")
        assert recovery.make_due(connection, now=NOW + MINUTE) == 1
        with transaction() as other:
            assert recovery.make_due(other, now=NOW + MINUTE) is None
    with transaction() as connection:
        assert connection.execute(select(schema.lane.c.breaker, schema.lane.c.recovered_at)).one() == (
            Breaker.CLOSED,
            None,
        )
