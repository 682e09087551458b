"""Leasing: fair between targets, in order within a stream, by the database's clock, and never by a long look."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, text, update

from ml_event_provider.store import deliveries, events, leases, notifications, schema, settlements
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.notifications import NewDelivery, NewNotification
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.store.settlements import Settlement
from tests.integration.airflow_rows import NOW
from tests.integration.leasing import MINUTE, lease_any
from tests.integration.recorded import EVENT

pytestmark = pytest.mark.usefixtures("airflow_db")

SECOND = timedelta(seconds=1)


def told(
    name: str,
    *,
    alert: str = "",
    kind: str = "fired",
    ordinal: int = 0,
    stream: str | None = None,
    to: str = "inbox",
    many: int = 1,
    **more: Any,
) -> None:
    """A notification with deliveries to one target."""
    with transaction() as connection:
        events.record_one(connection, EVENT, now=NOW)
        one = NewNotification(
            id=f"n-{name}",
            workspace="fraud",
            rule="r",
            rule_version=1,
            severity="error",
            event_seq=events.place_of(connection, EVENT),
            kind=kind,
            alert_id=alert,
            stream=stream,
            ordinal=ordinal,
            deliveries=tuple(
                NewDelivery(id=name if many == 1 else f"{name}-{number}", conn_id=to, **more) for number in range(many)
            ),
        )
        notifications.create(connection, [one], now=NOW + ordinal * SECOND)


def lease(owner: str = "a", *, after: timedelta = MINUTE / 2) -> list[str]:
    with transaction() as connection:
        return [one.id for one in lease_any(connection, owner=owner, now=NOW + after)]


def settle(name: str, state: DeliveryState, *, owner: str = "a", after: timedelta = MINUTE / 2, **more: Any) -> None:
    one = Settlement(
        delivery_id=name,
        number=1,
        started_at=NOW,
        milliseconds=1,
        outcome="x",
        code="HTTP 503",
        reason="busy",
        state=state,
        **more,
    )
    with transaction() as connection:
        settlements.settle(connection, [one], owner=owner, now=NOW + after)


def stands() -> dict[str, str]:
    with transaction() as connection:
        return {one.id: one.state for one in deliveries.latest(connection)}


def reason(name: str) -> str:
    with transaction() as connection:
        return deliveries.get(connection, name).reason


def test_each_lane_gives_its_share_however_many_wait_in_another() -> None:
    told("flood", to="flood", many=300)
    told("quiet", to="quiet", ordinal=5)
    with transaction() as connection:
        moment = NOW + MINUTE
        due = leases.due_lanes(connection, now=moment, furthest=moment + MINUTE)
        assert [one.conn_id for one in due] == ["flood", "quiet"]
        shares = {one.id: 3 for one in due}
        leased = leases.lease(connection, shares, owner="a", now=moment, until=moment + MINUTE)
    assert sorted(one.conn_id for one in leased) == ["flood"] * 3 + ["quiet"]


def test_one_that_tells_of_the_same_alert_later_overtakes_what_did_not_go_out() -> None:
    told("fired", alert="al", stream="s", ordinal=1)
    assert lease() == ["fired"]
    told("resolved", alert="al", kind="resolved", stream="s", ordinal=2)
    # While the first is under way nothing else of its stream goes.
    assert lease() == []
    settle("fired", DeliveryState.FAILED, next_attempt_at=NOW + 60 * MINUTE)
    # Its second try would be an hour later; the news do not wait for it.
    assert lease() == ["resolved"]
    assert stands() == {"fired": "overtaken", "resolved": "leased"}
    assert reason("fired") == "overtaken by resolved at 2026-11-22 12:00:02 UTC"
    settle("resolved", DeliveryState.DELIVERED)
    assert lease(after=99 * MINUTE) == []


def test_both_due_at_once_only_the_newest_goes() -> None:
    told("fired", alert="al", stream="s", ordinal=1)
    told("repeated", alert="al", kind="repeated", stream="s", ordinal=2)
    told("resolved", alert="al", kind="resolved", stream="s", ordinal=3)
    assert lease() == ["resolved"]
    assert stands() == {"fired": "overtaken", "repeated": "overtaken", "resolved": "leased"}


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD])
def test_another_alert_of_the_stream_waits_its_turn(state: DeliveryState) -> None:
    told("first", alert="al-1", stream="s", ordinal=1)
    told("second", alert="al-2", stream="s", ordinal=2)
    told("third", alert="", stream="s", ordinal=3)
    told("elsewhere", alert="al-1", stream="t", ordinal=4)
    assert sorted(lease()) == ["elsewhere", "first"]
    settle("first", DeliveryState.FAILED, next_attempt_at=NOW + MINUTE)
    assert lease() == []
    assert lease(after=MINUTE) == ["first"]
    settle("first", state, after=MINUTE)
    assert lease(after=MINUTE) == ["second"]
    settle("second", DeliveryState.DELIVERED, after=MINUTE)
    assert lease(after=MINUTE) == ["third"]


def test_what_is_held_holds_what_comes_after_it() -> None:
    told("held", alert="al-1", stream="s", ordinal=1, not_before=NOW + 9 * MINUTE)
    told("later", alert="al-2", stream="s", ordinal=2)
    assert lease() == []
    assert lease(after=9 * MINUTE) == ["held"]


def test_what_came_after_a_held_one_of_its_alert_goes_instead() -> None:
    told("held", alert="al", stream="s", ordinal=1, not_before=NOW + 9 * MINUTE)
    told("resolved", alert="al", kind="resolved", stream="s", ordinal=2)
    assert lease() == ["resolved"]
    assert stands()["held"] == "overtaken"


def test_what_is_not_sent_overtakes_nothing() -> None:
    told("fired", alert="al", stream="s", ordinal=1)
    told("resolved", alert="al", kind="resolved", stream="s", ordinal=2, muted="silence")
    assert lease() == ["fired"]


def test_dispatchers_at_the_same_time_keep_the_order() -> None:
    """Whoever looks while others lease and settle: no later one goes before an earlier of its stream, nor beside it."""
    for number in range(40):
        told(f"{number:02}", alert=f"al-{number // 2}", stream=f"s-{number % 4 // 2}", ordinal=number)
    under_way: set[str] = set()
    ended: dict[str, list[str]] = {"s-0": [], "s-1": []}
    problems: list[str] = []
    lock = threading.Lock()

    def dispatcher(owner: str) -> None:
        idle = 0
        while idle < 20 and not problems:
            batch = lease(owner, after=MINUTE)
            idle = 0 if batch else idle + 1
            for name in batch:
                stream = f"s-{int(name) % 4 // 2}"
                with lock:
                    if stream in under_way:
                        problems.append(f"{name} goes beside another of {stream}")
                    under_way.add(stream)
                    ended[stream].append(name)
                with lock:
                    under_way.discard(stream)
                settle(name, DeliveryState.DELIVERED, owner=owner)

    threads = [threading.Thread(target=dispatcher, args=(f"o-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert problems == []
    assert {stream: names == sorted(names) for stream, names in ended.items()} == {"s-0": True, "s-1": True}
    states = stands()
    # Of each alert the newest arrived; what did not arrive was overtaken.
    assert {name for name, state in states.items() if state == "delivered"} >= {f"{n:02}" for n in range(1, 40, 2)}
    assert set(states.values()) <= {"delivered", "overtaken"}


def test_leases_are_renewed_as_long_as_they_are_ours() -> None:
    told("d", many=3)
    held = lease("a")
    with transaction() as connection:
        connection.execute(update(schema.delivery).where(schema.delivery.c.id == "d-1").values(lease_owner="b"))
        kept = leases.renew(connection, held, owner="a", until=NOW + 9 * MINUTE)
    assert kept == {"d-0", "d-2"}
    assert lease("c", after=2 * MINUTE) == ["d-1"]
    assert sorted(lease("c", after=9 * MINUTE)) == ["d-0", "d-1", "d-2"]


def test_what_is_given_back_is_due_as_before() -> None:
    told("d", many=2)
    lease("a")
    with transaction() as connection:
        leases.give_back(connection, owner="a", now=NOW + MINUTE, ids=["d-0"])
        leases.give_back(connection, owner="b", now=NOW + MINUTE)
        given = deliveries.get(connection, "d-0")
    assert (given.state, given.next_attempt_at) == ("pending", NOW)
    assert lease("b") == ["d-0"]
    settle("d-0", DeliveryState.FAILED, owner="b", next_attempt_at=NOW + MINUTE)
    lease("b", after=MINUTE)
    with transaction() as connection:
        leases.give_back(connection, owner="b", now=NOW + 2 * MINUTE)
        given = deliveries.get(connection, "d-0")
    # It was tried: that it waits for its next try is still to be seen.
    assert (given.state, given.attempts, given.next_attempt_at) == ("failed", 1, NOW + 2 * MINUTE)


def test_moments_that_a_clock_a_day_ahead_left_behind_count_as_due() -> None:
    told("d", many=4)
    lease("a")
    settle("d-1", DeliveryState.FAILED, next_attempt_at=NOW + timedelta(days=3))
    settle("d-2", DeliveryState.FAILED, next_attempt_at=NOW + timedelta(hours=20))
    ahead = schema.delivery.c.id == "d-0"
    with transaction() as connection:
        day = NOW + timedelta(days=1)
        connection.execute(update(schema.delivery).where(ahead).values(next_attempt_at=day, lease_until=day))
        mended = leases.mend_far_ahead(
            connection, now=NOW + MINUTE, lease_end=NOW + 5 * MINUTE, retry_end=NOW + timedelta(days=1, hours=2)
        )
    assert mended == 2
    # The lease that lasts, and the wait that a remote may ask for, stay.
    assert sorted(lease("b", after=MINUTE)) == ["d-0", "d-1"]


def test_a_held_delivery_may_wait_for_days() -> None:
    told("held", not_before=NOW + timedelta(days=3))
    with transaction() as connection:
        end = NOW + MINUTE
        assert leases.mend_far_ahead(connection, now=NOW, lease_end=end, retry_end=end) == 0


@pytest.mark.postgres
def test_leasing_never_looks_at_all_that_waits(airflow_db: Any) -> None:
    """With many lanes and much that waits, each statement is served by an index, row by row."""
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("reads PostgreSQL's plans")
    told("d", many=1)
    with transaction() as connection:
        lane = connection.execute(select(schema.lane.c.id)).scalar_one()
        connection.execute(
            text(
                "INSERT INTO ml_event_lane (workspace, conn_id, updated_at)"
                " SELECT 'w', 'c' || n, now() FROM generate_series(1, 300) n"
            )
        )
        connection.execute(
            text(
                "INSERT INTO ml_event_delivery (id, notification_id, workspace, conn_id, lane_id, options, state,"
                " attempts, next_attempt_at, created_at)"
                " SELECT 'x' || n, 'n-d', 'w', 'c', :lane + n % 300, '{}', 'pending', 0, :now, :now"
                " FROM generate_series(1, 30000) n"
            ),
            {"lane": lane, "now": NOW},
        )
    with airflow_db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE ml_event_delivery")
        connection.exec_driver_sql("ANALYZE ml_event_lane")
    plans: list[str] = []

    def explained(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "ml_event_delivery" in statement and statement.lstrip().upper().startswith("SELECT"):
            with connection.connection.driver_connection.cursor() as other:
                other.execute(f"EXPLAIN {statement}", parameters)
                plans.append("\n".join(row[0] for row in other.fetchall()))

    sqlalchemy_event.listen(airflow_db, "before_cursor_execute", explained)
    try:
        with transaction() as connection:
            due = leases.due_lanes(connection, now=NOW + MINUTE, furthest=NOW + 9 * MINUTE)
            shares = {one.id: 1 for one in due}
            leased = leases.lease(connection, shares, owner="a", now=NOW + MINUTE, until=NOW + 2 * MINUTE)
    finally:
        sqlalchemy_event.remove(airflow_db, "before_cursor_execute", explained)
    assert len(leased) == 300
    assert len(plans) >= 2
    assert [plan for plan in plans if "Seq Scan on ml_event_delivery" in plan] == []


@pytest.mark.parametrize("by_name", [True, False])
def test_a_dead_letter_whose_news_are_old_goes_again_only_if_it_is_meant(by_name: bool) -> None:
    told("fired", alert="al", stream="s", ordinal=1)
    lease()
    settle("fired", DeliveryState.DEAD)
    told("resolved", alert="al", kind="resolved", stream="s", ordinal=2)
    lease()
    settle("resolved", DeliveryState.DELIVERED)
    with transaction() as connection:
        if by_name:
            assert deliveries.send_again(connection, delivery_id="fired") == 1
        else:
            assert deliveries.send_again(connection, all_dead=True) == 0
    assert stands()["fired"] == ("pending" if by_name else "overtaken")
