"""Lanes of targets that nobody uses any more go with the retention, and never under a delivery."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from ml_event_provider.store import deliveries, lanes, retention, schema
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.schema import DeliveryState
from tests.integration.airflow_rows import NOW
from tests.integration.leasing import lease_any
from tests.integration.test_breakers import heard, waiting

pytestmark = pytest.mark.usefixtures("airflow_db")

MONTH = timedelta(days=30)


def end(state: DeliveryState = DeliveryState.DEAD) -> None:
    with transaction() as connection:
        ended = {"state": state, "next_attempt_at": None, "finished_at": NOW}
        connection.execute(update(schema.delivery).values(ended))


def prune(after: timedelta) -> list[str]:
    """Prune with a retention of a month, and say whose lanes are left."""
    with transaction() as connection:
        lanes.prune(connection, before=NOW + after - MONTH, now=NOW + after, limit=10)
        return sorted(connection.execute(select(schema.lane.c.conn_id)).scalars())


def test_one_that_was_not_used_for_the_retention_goes() -> None:
    waiting("d-1")
    waiting("d-2", to="used")
    end()
    assert prune(MONTH) == ["inbox", "used"]
    with transaction() as connection:
        lanes.ids(connection, [("fraud", "used")], now=NOW + MONTH)
    assert prune(MONTH + timedelta(seconds=1)) == ["used"]


def test_what_waits_keeps_its_lane_and_so_does_an_open_breaker() -> None:
    waiting("d-1")
    assert prune(12 * MONTH) == ["inbox"]
    end()
    lane = waiting("d-2", to="sick")
    heard(lane, *[False] * 9)
    end()
    assert prune(12 * MONTH) == ["sick"]


@pytest.mark.parametrize(("hours", "left"), [(23, 1), (25, 0)])
def test_pruning_prunes_them_after_a_day_at_the_least(hours: int, left: int) -> None:
    waiting("d-1")
    end()
    with transaction() as connection:
        connection.execute(update(schema.lane).values(updated_at=utc_now() - timedelta(hours=hours)))
    retention.prune(utc_now())
    with transaction() as connection:
        assert len(lanes.standings(connection, now=NOW)) == left


@pytest.mark.parametrize("all_dead", [True, False])
def test_a_dead_letter_that_is_sent_again_has_a_lane_again(*, all_dead: bool) -> None:
    waiting("d-1")
    end()
    assert prune(2 * MONTH) == []
    with transaction() as connection:
        assert deliveries.send_again(connection, delivery_id="" if all_dead else "d-1", all_dead=all_dead) == 1
        leased = lease_any(connection, owner="me", now=utc_now() + timedelta(days=1))
    assert [one.id for one in leased] == ["d-1"]


def test_one_in_which_a_delivery_is_being_made_stays() -> None:
    lane = waiting("d-1")
    end()
    with transaction() as connection:
        if connection.dialect.name != "postgresql":
            pytest.skip("SQLite has one writer")
        assert lanes.ids(connection, [("fraud", "inbox")], now=NOW + 2 * MONTH)["fraud", "inbox"] == lane
        left: list[list[str]] = []
        pruning = threading.Thread(target=lambda: left.append(prune(2 * MONTH)))
        pruning.start()
        # It waits for our row.
        pruning.join(1)
        assert pruning.is_alive()
    pruning.join()
    assert left == [["inbox"]]


def test_one_that_is_being_pruned_is_made_anew() -> None:
    lane = waiting("d-1")
    end()
    made: list[int] = []

    def make() -> None:
        with transaction() as connection:
            made.extend(lanes.ids(connection, [("fraud", "inbox")], now=NOW + 2 * MONTH).values())

    with transaction() as connection:
        if connection.dialect.name != "postgresql":
            pytest.skip("SQLite has one writer")
        assert lanes.prune(connection, before=NOW + MONTH, now=NOW + 2 * MONTH, limit=10) == 1
        making = threading.Thread(target=make)
        making.start()
        making.join(1)
        assert making.is_alive()
    making.join()
    assert made
    assert made != [lane]
    assert prune(2 * MONTH) == ["inbox"]
