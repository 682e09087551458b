"""Cursors and jobs, dispatchers, retention and health."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain, repeat

import pytest
from sqlalchemy import func, select

from ml_event_provider.store import (
    cursors,
    dispatchers,
    events,
    notifications,
    retention,
    schema,
    settlements,
    unmatched,
)
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.health import health
from ml_event_provider.store.notifications import NewDelivery, NewNotification
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.store.settlements import Settlement
from tests.integration.airflow_rows import NOW, ago
from tests.integration.leasing import lease_any
from tests.integration.recorded import event, recorded

pytestmark = pytest.mark.usefixtures("airflow_db")

MINUTE = timedelta(minutes=1)


def hold(holder: str, *, at: float = 0.0, job: str = "reconcile") -> bool:
    now = NOW + timedelta(seconds=at)
    with transaction() as connection:
        return cursors.hold(connection, job, holder=holder, now=now, seconds=60)


def test_one_dispatcher_at_a_time_holds_a_job() -> None:
    assert hold("a")
    assert hold("a", at=30)
    assert not hold("b", at=60)
    assert hold("b", job="prune")
    assert not hold("b", at=90)
    assert hold("b", at=90.001)
    assert not hold("a", at=91)


def test_what_a_clock_ahead_took_and_left_behind_holds_up_nobody() -> None:
    assert hold("a day ahead", at=86_400)
    assert hold("right", at=1)
    assert not hold("another", at=2)


def test_a_hold_of_a_clock_slightly_ahead_runs_out_by_itself() -> None:
    assert hold("ahead", at=30)
    assert not hold("right", at=0)
    assert not hold("right", at=90)
    assert hold("right", at=90.001)


def test_ending_dispatcher_lets_its_jobs_go() -> None:
    hold("a")
    hold("b", job="prune")
    with transaction() as connection:
        cursors.let_go(connection, holder="a")
    assert hold("c")
    assert not hold("c", job="prune")


def test_cursor_starts_once_and_moves() -> None:
    with transaction() as connection:
        assert cursors.read(connection, "dag_run") is None
        assert cursors.start(connection, "dag_run", 7, now=NOW) == (7, NOW)
        cursors.start(connection, "asset", 1, now=NOW)
    with transaction() as connection:
        cursors.move(connection, "dag_run", 2**40)
    with transaction() as connection:
        assert cursors.read(connection, "dag_run") == (2**40, NOW)
        assert cursors.read(connection, "asset") == (1, NOW)


def test_runs_are_watched_once_and_unwatched() -> None:
    with transaction() as connection:
        cursors.watch(connection, [1, 2, 2, 2**40], now=NOW)
        cursors.watch(connection, [2, 3], now=NOW + MINUTE)
        cursors.watch(connection, [], now=NOW)
        assert sorted(cursors.watched(connection)) == [1, 2, 3, 2**40]
        cursors.unwatch(connection, [1, 9, *range(10, 1_500)])
        assert sorted(cursors.watched(connection)) == [2, 3, 2**40]


def dispatcher(name: str, seconds_ago: float = 0.0) -> dispatchers.Dispatcher:
    return dispatchers.Dispatcher(name, "host-训", 7, True, ago(600), ago(seconds_ago))


def test_dispatchers_announce_themselves_beat_and_are_forgotten() -> None:
    with transaction() as connection:
        dispatchers.beat(connection, dispatcher("a", 100))
        dispatchers.beat(connection, dispatcher("b", 90))
        dispatchers.beat(connection, dispatcher("a", 10))
        assert dispatchers.all_dispatchers(connection) == [dispatcher("a", 10), dispatcher("b", 90)]
        dispatchers.beat(connection, dispatcher("from the future", -86_400))
        dispatchers.forget_silent(connection, before=ago(50), after=ago(-60))
        assert [one.id for one in dispatchers.all_dispatchers(connection)] == ["a"]
        dispatchers.forget(connection, "a")
        assert dispatchers.all_dispatchers(connection) == []


def record(name: str, *, days: float, state: DeliveryState | None = None, matched: bool = True) -> None:
    """An event recorded ``days`` ago, with a delivery in ``state``."""
    moment = NOW - timedelta(days=days)
    with transaction() as connection:
        events.record_one(connection, event(name), now=moment)
        if matched:
            seqs = [one.seq for one in unmatched.read(connection, "default", limit=10).events]
            unmatched.mark(connection, seqs, now=moment)
        if state is None:
            return
        seq = events.find(connection, name)[0].seq
        one = NewNotification(
            id=f"n-{name}",
            workspace="default",
            rule="r",
            rule_version=1,
            severity="info",
            event_seq=seq,
            deliveries=(NewDelivery(id=f"d-{name}", conn_id="c"),),
        )
        notifications.create(connection, [one], now=moment)
        lease_any(connection, owner="a", now=moment)
        if state != DeliveryState.LEASED:
            settled = Settlement(
                delivery_id=f"d-{name}",
                number=1,
                started_at=moment,
                milliseconds=1,
                outcome=state.value,
                code="",
                reason="",
                state=state,
                next_attempt_at=moment,
            )
            settlements.settle(connection, [settled], owner="a", now=moment)


def rows_left() -> dict[str, int]:
    with transaction() as connection:
        return {
            table.name.removeprefix("ml_event_"): connection.execute(
                select(func.count()).select_from(table)
            ).scalar_one()
            for table in (schema.event, schema.notification, schema.delivery, schema.attempt)
        }


def test_pruning_takes_what_is_old_and_finished_with_all_that_belongs_to_it() -> None:
    record("delivered", days=91, state=DeliveryState.DELIVERED)
    record("dead", days=91, state=DeliveryState.DEAD)
    record("muted", days=91, state=DeliveryState.MUTED)
    record("no rule matched", days=91)
    record("young", days=89, state=DeliveryState.DELIVERED)
    assert retention.prune(NOW - timedelta(days=90)) == 4
    assert [one.id for one in recorded()] == ["young"]
    assert rows_left() == {"event": 1, "notification": 1, "delivery": 1, "attempt": 1}


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.LEASED])
def test_event_on_its_way_is_not_pruned(state: DeliveryState) -> None:
    record("old", days=400, state=state)
    assert retention.prune(NOW) == 0
    assert [one.id for one in recorded()] == ["old"]


def test_unmatched_event_is_not_pruned() -> None:
    record("old", days=400, matched=False)
    assert retention.prune(NOW) == 0
    assert [one.id for one in recorded()] == ["old"]


def test_pruning_goes_on_batch_by_batch_past_what_must_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    record("kept", days=400, state=DeliveryState.FAILED)
    for number in range(5):
        record(f"old-{number}", days=300)
    record("newest", days=0)
    batches = chain([True, True], repeat(False))
    assert retention.prune(NOW, go_on=lambda: next(batches)) == 4
    assert retention.prune(NOW) == 1
    assert [one.id for one in recorded()] == ["kept", "newest"]


def test_a_place_is_never_given_twice_however_much_is_pruned() -> None:
    record("old-1", days=400)
    record("old-2", days=400)
    with transaction() as connection:
        given = [events.place_of(connection, event(name)) for name in ("old-1", "old-2")]
    retention.prune(NOW)
    record("new", days=300)
    with transaction() as connection:
        assert events.place_of(connection, event("new")) > max(given)
    assert retention.prune(NOW) == 1
    assert [one.id for one in recorded()] == ["new"]


def test_health_names_each_problem() -> None:
    record("waiting", days=0, matched=False)
    record("dead", days=0, state=DeliveryState.DEAD, matched=False)
    with transaction() as connection:
        dispatchers.beat(connection, dispatcher("silent", 31))
    found = health(lambda _: NOW + timedelta(seconds=61))
    assert found["status"] == "unhealthy"
    assert [problem.split(":")[0] for problem in found["problems"]] == [
        "no dispatcher is alive",
        "2 event(s) of workspace default wait to be matched, the oldest for 61 s",
        "1 deliveries became dead letters in the last day",
    ]
    assert found["deliveries"] == {"dead": 1}
    assert (found["unmatched_events"], found["oldest_unmatched_seconds"]) == (2, 61.0)
    assert found["dispatchers"] == []


def test_a_heartbeat_from_the_future_is_not_alive() -> None:
    with transaction() as connection:
        dispatchers.beat(connection, dispatcher("a day ahead", -86_400))
    assert health(lambda _: NOW)["dispatchers"] == []


def test_health_without_problem() -> None:
    record("waiting", days=0, matched=False)
    record("done", days=0, state=DeliveryState.DELIVERED, matched=False)
    with transaction() as connection:
        dispatchers.beat(connection, dispatcher("a"))
    found = health(lambda _: NOW + timedelta(seconds=29))
    assert (found["status"], found["problems"]) == ("healthy", [])
    assert found["dispatchers"] == [
        {"id": "a", "hostname": "host-训", "embedded": True, "heartbeat_at": NOW, "skew_seconds": 0.0}
    ]
    assert (found["deliveries"], found["unmatched_events"]) == ({}, 2)
