"""Leases: one owner at a time, taken over when it dies, and no late answer destroys what came after."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import deliveries, events, leases, notifications, settlements
from ml_event_provider.store.deliveries import Delivery
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.notifications import NewDelivery, NewNotification
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.store.settlements import Settlement
from tests.integration.airflow_rows import NOW
from tests.integration.leasing import lease_any
from tests.integration.recorded import EVENT, event

pytestmark = pytest.mark.usefixtures("airflow_db")

MINUTE = timedelta(minutes=1)


def create(*names: str, now: datetime = NOW) -> None:
    """An event, a notification of it, and a delivery of each name."""
    with transaction() as connection:
        events.record_one(connection, EVENT, now=NOW)
        (found,) = events.find(connection, EVENT.id)
        one = NewNotification(
            id=f"n-{names[0]}",
            workspace="fraud",
            rule="失败",
            rule_version=3,
            severity="error",
            event_seq=found.seq,
            deliveries=tuple(
                NewDelivery(id=name, conn_id=f"to_{name}", template="t.j2", options={"at": ["李雷"]}) for name in names
            ),
        )
        notifications.create(connection, [one], now=now)


def lease(owner: str = "a", *, now: datetime = NOW, limit: int = 100) -> list[str]:
    with transaction() as connection:
        return [one.id for one in lease_any(connection, owner=owner, limit=limit, now=now)]


def get(name: str = "d-1") -> Delivery:
    with transaction() as connection:
        return deliveries.get(connection, name)


def settle(
    state: DeliveryState,
    *,
    owner: str = "a",
    name: str = "d-1",
    number: int = 1,
    now: datetime = NOW,
    **more: Any,
) -> None:
    settlement = Settlement(
        delivery_id=name,
        number=number,
        started_at=now,
        milliseconds=12,
        outcome=state.value,
        code=more.pop("code", "200"),
        reason=more.pop("reason", "ok"),
        state=state,
        **more,
    )
    with transaction() as connection:
        settlements.settle(connection, [settlement], owner=owner, now=now)


def test_leased_delivery_has_all_that_an_attempt_needs() -> None:
    create("d-1")
    with transaction() as connection:
        (one,) = lease_any(connection, owner="a", limit=1, now=NOW)
    assert one.recorded is not None
    assert one.recorded.event == EVENT
    assert one._replace(recorded=None, lane_id=0) == Delivery(
        id="d-1",
        notification_id="n-d-1",
        workspace="fraud",
        rule="失败",
        rule_version=3,
        severity="error",
        conn_id="to_d-1",
        template="t.j2",
        options={"at": ["李雷"]},
        state="leased",
        attempts=0,
        next_attempt_at=NOW + MINUTE,
        created_at=NOW,
        finished_at=None,
        code="",
        reason="",
        recorded=None,
    )


def test_creating_again_changes_nothing() -> None:
    create("d-1")
    lease()
    settle(DeliveryState.DELIVERED)
    create("d-1", now=NOW + MINUTE)
    assert get().state == "delivered"
    assert get().created_at == NOW
    assert lease(now=NOW + MINUTE) == []


def test_two_owners_never_hold_the_same_delivery() -> None:
    create("d-1", "d-2", "d-3")
    assert len(lease("a", limit=2)) == 2
    # The same moment and the same owner, too: a lease is not handed out twice.
    assert len(lease("a")) == 1
    assert lease("b") == []


def test_owners_at_the_same_time_share_the_work_without_overlap() -> None:
    create(*(f"d-{n}" for n in range(120)))
    leased: list[list[str]] = [[] for _ in range(4)]
    problems: list[BaseException] = []
    start = threading.Barrier(len(leased))

    def dispatcher(owner: str, mine: list[str]) -> None:
        try:
            start.wait(10)
            while batch := lease(owner, limit=5):
                mine.extend(batch)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            problems.append(error)

    threads = [threading.Thread(target=dispatcher, args=(f"o{n}", mine)) for n, mine in enumerate(leased)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    assert sorted(one for mine in leased for one in mine) == sorted(f"d-{n}" for n in range(120))


def test_delivery_that_is_not_due_waits() -> None:
    create("d-1")
    lease()
    settle(DeliveryState.FAILED, next_attempt_at=NOW + MINUTE, code="503", reason="busy")
    assert (get().state, get().attempts, get().code, get().reason) == ("failed", 1, "503", "busy")
    assert get().finished_at is None
    assert lease(now=NOW + MINUTE - timedelta(microseconds=1)) == []
    assert lease(now=NOW + MINUTE) == ["d-1"]


def test_due_longest_goes_first() -> None:
    create("d-late", now=NOW)
    create("d-early", now=NOW - MINUTE)
    assert lease(limit=1) == ["d-early"]


def test_expired_lease_is_taken_over() -> None:
    create("d-1")
    lease("a")
    assert lease("b", now=NOW + MINUTE - timedelta(microseconds=1)) == []
    assert lease("b", now=NOW + MINUTE) == ["d-1"]


@pytest.mark.parametrize("late", [DeliveryState.FAILED, DeliveryState.DEAD, DeliveryState.MUTED])
def test_late_answer_of_a_lost_lease_leaves_the_new_owner_alone(late: DeliveryState) -> None:
    create("d-1")
    lease("a")
    later = NOW + 2 * MINUTE
    lease("b", now=later)
    settle(late, owner="a", now=later, code="500", reason="late")
    assert (get().state, get().reason) == ("leased", "")
    settle(DeliveryState.DELIVERED, owner="b", number=2, now=later)
    assert (get().state, get().attempts) == ("delivered", 2)


def test_late_answer_does_not_undo_a_delivery() -> None:
    create("d-1")
    lease("a")
    lease("b", now=NOW + 2 * MINUTE)
    settle(DeliveryState.DELIVERED, owner="b")
    settle(DeliveryState.FAILED, owner="a", next_attempt_at=NOW)
    assert get().state == "delivered"
    assert lease("c", now=NOW + 9 * MINUTE) == []


def test_late_delivered_counts_also_after_the_lease_is_lost() -> None:
    create("d-1")
    lease("a")
    lease("b", now=NOW + 2 * MINUTE)
    settle(DeliveryState.DELIVERED, owner="a")
    assert (get().state, get().finished_at) == ("delivered", NOW)
    settle(DeliveryState.FAILED, owner="b", next_attempt_at=NOW)
    assert get().state == "delivered"


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.MUTED])
def test_finished_delivery_says_when_and_is_not_leased_again(state: DeliveryState) -> None:
    create("d-1")
    lease()
    settle(state)
    assert get().finished_at == NOW
    assert lease(now=NOW + 100 * MINUTE) == []


def test_every_attempt_is_kept_with_the_remotes_words_cut_to_their_columns() -> None:
    create("d-1")
    lease()
    settle(DeliveryState.FAILED, number=1, next_attempt_at=NOW, code="c" * 300, reason="训" * 3000)
    lease()
    settle(DeliveryState.DEAD, number=2, now=NOW + MINUTE, code="410", reason="gone")
    with transaction() as connection:
        first, second = deliveries.attempts_of(connection, "d-1")
    assert (first.number, first.outcome, first.code, first.reason) == (1, "failed", "c" * 100, "训" * 1000)
    assert second == deliveries.Attempt(2, NOW + MINUTE, 12, "dead", "410", "gone")


def test_delivery_that_was_put_off_untried_has_no_attempt() -> None:
    create("d-1")
    lease()
    settle(DeliveryState.FAILED, number=0, next_attempt_at=NOW + MINUTE, attempted=False, reason="too fast")
    assert (get().state, get().attempts, get().reason) == ("failed", 0, "too fast")
    with transaction() as connection:
        assert deliveries.attempts_of(connection, "d-1") == []


def test_many_are_settled_at_once_each_in_its_own_way() -> None:
    create(*(f"d-{n}" for n in range(600)))
    lease(limit=1_000)
    ends = {0: DeliveryState.DELIVERED, 1: DeliveryState.DEAD, 2: DeliveryState.FAILED}
    ended = [
        Settlement(
            delivery_id=f"d-{n}",
            number=n % 2 + 1,
            started_at=NOW,
            milliseconds=n,
            outcome="x",
            code=str(n % 7),
            reason="",
            state=ends[n % 3],
            next_attempt_at=NOW + MINUTE if n % 3 == 2 else None,
        )
        for n in range(600)
    ]
    with transaction() as connection:
        settlements.settle(connection, ended, owner="a", now=NOW)
        assert deliveries.count_by_state(connection) == {"dead": 200, "failed": 200}
    for n in range(9):
        one = get(f"d-{n}")
        assert (one.state, one.attempts, one.code) == (ends[n % 3], n % 2 + 1, str(n % 7))


def test_settling_can_change_the_options() -> None:
    create("d-1")
    lease()
    settle(DeliveryState.FAILED, next_attempt_at=NOW, options={"thread": "1.2"})
    assert get().options == {"thread": "1.2"}
    lease()
    settle(DeliveryState.FAILED, number=2, next_attempt_at=NOW)
    assert get().options == {"thread": "1.2"}


def test_ending_dispatcher_gives_back_only_its_own_leases() -> None:
    create("d-1", "d-2")
    first = lease("a", limit=1)
    second = lease("b", limit=1)
    with transaction() as connection:
        leases.give_back(connection, owner="a", now=NOW)
    assert get(second[0]).state == "leased"
    assert lease("c") == first


@pytest.mark.parametrize("state", [DeliveryState.DEAD, DeliveryState.DELIVERED, DeliveryState.FAILED])
def test_sending_again_starts_anew_under_the_same_id(state: DeliveryState) -> None:
    create("d-1")
    lease()
    settle(state, number=4, next_attempt_at=NOW + 9 * MINUTE)
    with transaction() as connection:
        assert deliveries.send_again(connection, delivery_id="d-1") == 1
    assert (get().state, get().attempts, get().finished_at) == ("pending", 0, None)
    due = get().next_attempt_at
    assert due is not None
    assert lease(now=due) == ["d-1"]


@pytest.mark.parametrize("leased", [False, True])
def test_delivery_on_its_way_is_not_sent_again(leased: bool) -> None:
    create("d-1")
    if leased:
        lease()
    with transaction() as connection, pytest.raises(NotFound, match="on its way already"):
        deliveries.send_again(connection, delivery_id="d-1")


def test_all_dead_letters_are_sent_again_and_nothing_else() -> None:
    create("d-1", "d-2", "d-3")
    lease()
    settle(DeliveryState.DEAD, name="d-1")
    settle(DeliveryState.DEAD, name="d-2")
    settle(DeliveryState.DELIVERED, name="d-3")
    with transaction() as connection:
        assert deliveries.count_by_state(connection) == {"dead": 2}
        assert deliveries.send_again(connection, all_dead=True) == 2
        assert deliveries.count_by_state(connection) == {"pending": 2}
    assert get("d-3").state == "delivered"


def test_unknown_delivery_is_not_found() -> None:
    with transaction() as connection:
        with pytest.raises(NotFound, match="no delivery 'd-9'"):
            deliveries.get(connection, "d-9")
        with pytest.raises(NotFound, match="no delivery 'd-9'"):
            deliveries.send_again(connection, delivery_id="d-9")


def test_latest_filters_by_state_rule_and_event() -> None:
    create("d-1")
    create("d-2", now=NOW + MINUTE)
    lease(limit=1)
    with transaction() as connection:
        events.record_one(connection, event("e-2"))
        seq = events.find(connection, EVENT.id)[0].seq

        def ids(**filters: Any) -> list[str]:
            return [one.id for one in deliveries.latest(connection, **filters)]

        assert ids() == ["d-2", "d-1"]
        assert ids(limit=1) == ["d-2"]
        assert ids(state="leased") == ["d-1"]
        assert ids(rule="失败", event_seq=seq) == ["d-2", "d-1"]
        assert ids(rule="other") == ids(event_seq=seq + 1) == []


def test_nothing_to_create_or_settle_does_nothing() -> None:
    with transaction() as connection:
        notifications.create(connection, [], now=NOW)
        settlements.settle(connection, [], owner="a", now=NOW)
        assert deliveries.latest(connection) == []
