"""Which delivery goes next: whatever becomes of some targets, the others are served."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ml_event_provider.dispatch.lanes import AHEAD, MADE_AT_ONCE, MOST, MOST_HELD, YOUNG_SECONDS, Lanes
from ml_event_provider.store.breakers import FAILURES, Heard
from ml_event_provider.store.deliveries import Delivery
from ml_event_provider.store.leases import DueLane
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.store.settlements import Settlement

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WORKERS = 4


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lanes(clock: Clock) -> Lanes:
    return Lanes(WORKERS, clock)


def due(lane: int, *, known: bool = True, **more: Any) -> DueLane:
    return DueLane(
        **{
            "id": lane,
            "workspace": "default",
            "conn_id": f"to_{lane}",
            "breaker": "closed",
            "failures": 0,
            "slow": False,
            "delivered_at": NOW if known else None,
            "due_at": NOW - timedelta(seconds=1000 - lane),
            **more,
        }
    )


def delivery(lane: int, number: int) -> Delivery:
    return Delivery(
        id=f"{lane}-{number}",
        notification_id="n",
        workspace="default",
        rule="r",
        rule_version=1,
        severity="info",
        conn_id=f"to_{lane}",
        template=None,
        options={},
        state="leased",
        attempts=0,
        next_attempt_at=NOW,
        created_at=NOW,
        finished_at=None,
        code="",
        reason="",
        recorded=None,
        lane_id=lane,
    )


def settlement(one: Delivery, *, reached: bool | None = True, slow: bool = False) -> Settlement:
    heard = Heard(lane_id=one.lane_id, reached=reached, delivered=bool(reached), slow=slow)
    return Settlement(
        delivery_id=one.id,
        number=1,
        started_at=NOW,
        milliseconds=1,
        outcome="delivered" if reached else "retry",
        code="",
        reason="",
        state=DeliveryState.DELIVERED if reached else DeliveryState.FAILED,
        heard=heard,
    )


def fill(lanes: Lanes, *which: DueLane) -> dict[int, int]:
    """Lease as many as are asked for; say how many that were."""
    shares, probes = lanes.shares(which)
    shares |= dict.fromkeys(probes, 1)
    lanes.put([delivery(lane, number) for lane, share in shares.items() for number in range(share)], shares)
    return shares


def started(lanes: Lanes) -> list[Delivery]:
    """All that may begin now, each with its message made at once."""
    found = []
    while (one := lanes.next()) is not None:
        lanes.made(one)
        found.append(one)
    return found


def test_messages_for_targets_that_are_not_known_to_be_quick_are_made_one_after_the_other(
    lanes: Lanes, clock: Clock
) -> None:
    fill(lanes, due(1, known=False), due(2, known=False), due(3, slow=True), due(4))
    quick = WORKERS * 3 // 4
    begun = [lanes.next() for _ in range(quick + MADE_AT_ONCE)]
    assert {one.lane_id for one in begun if one is not None} == {1, 4}
    assert lanes.next() is None
    first, *others = [one for one in begun if one is not None and one.lane_id == 1]
    assert others == []
    assert lanes.made(first), "another's may be made now"
    assert not lanes.made(first), "and no further one"
    second = lanes.next()
    assert second is not None
    assert second.lane_id == 2
    # It failed before it was sent: that makes room, too.
    lanes.ended(second, None)
    third = lanes.next()
    assert third is not None
    assert third.lane_id == 3
    # What takes that long is not at work, but waits: for a connection to be looked up, say.
    clock.seconds += YOUNG_SECONDS + 0.01
    assert lanes.next() is not None


def test_a_quick_target_alone_gets_most_of_the_quick_budget_and_is_leased_ahead(lanes: Lanes) -> None:
    assert fill(lanes, due(1)) == {1: AHEAD * WORKERS}
    assert len(started(lanes)) == WORKERS * 3 // 4


def test_quick_targets_share_alike(lanes: Lanes) -> None:
    fill(lanes, *(due(lane) for lane in range(1, 5)))
    assert sorted(one.lane_id for one in started(lanes)) == [1, 2, 3, 4]


def test_a_target_nobody_knows_is_tried_with_one(lanes: Lanes) -> None:
    assert fill(lanes, due(1, known=False)) == {1: 1}
    (one,) = started(lanes)
    assert lanes.shares([due(1, known=False)]) == ({}, [])
    lanes.ended(one, settlement(one))
    assert lanes.shares([due(1, known=False)])[0] == {1: AHEAD * WORKERS}


def test_hundred_that_hang_leave_the_quick_ones_their_budget(lanes: Lanes, clock: Clock) -> None:
    fill(lanes, *(due(lane, known=False) for lane in range(100, 200)))
    hanging = started(lanes)
    assert len(hanging) == (MOST - 1) * WORKERS
    clock.seconds += 5
    fill(lanes, due(1))
    assert [one.lane_id for one in started(lanes)] == [1] * (WORKERS * 3 // 4)


def test_what_begins_to_hang_holds_up_the_others_for_a_moment_only(lanes: Lanes, clock: Clock) -> None:
    fill(lanes, due(1), due(2))
    first = started(lanes)
    assert len(first) == WORKERS
    for one in first:
        if one.lane_id == 2:
            lanes.ended(one, settlement(one))
    # The first hangs with the rest of the budget; what is under way for long does not count against it.
    clock.seconds += 1.5
    assert {one.lane_id for one in started(lanes)} == {2}
    # And nothing more is begun there.
    assert lanes.shares([due(1)])[0] == {}


def test_a_target_that_does_not_answer_gets_one_attempt_at_a_time(lanes: Lanes, clock: Clock) -> None:
    fill(lanes, due(1, known=False))
    (one,) = started(lanes)
    clock.seconds += 15
    lanes.ended(one, settlement(one, reached=False, slow=True))
    lanes.settled([1])
    assert fill(lanes, due(1, failures=1, slow=True)) == {1: 1}
    assert len(started(lanes)) == 1


def test_a_target_that_is_slow_but_answers_gets_what_the_other_slow_ones_leave(lanes: Lanes, clock: Clock) -> None:
    slow = [due(lane, slow=True) for lane in (1, 2)]
    fill(lanes, slow[0])
    assert len(started(lanes)) == 4 * WORKERS
    assert fill(lanes, *slow) == {}
    clock.seconds += 1.2
    for one in [delivery(1, number) for number in range(4 * WORKERS)]:
        lanes.ended(one, settlement(one, slow=True))
    assert fill(lanes, *slow) == {1: 2 * WORKERS, 2: 2 * WORKERS}


def test_many_failures_in_a_row_halt_a_target_until_the_store_has_said_what_now(lanes: Lanes) -> None:
    fill(lanes, due(1))
    for _ in range(FAILURES):
        one = lanes.next()
        assert one is not None
        lanes.ended(one, settlement(one, reached=False))
    assert lanes.next() is None
    back = lanes.settled([1] * FAILURES)
    assert len(back) == AHEAD * WORKERS - FAILURES
    assert lanes.queued == 0
    # It opened: one of us tries it with one delivery.
    assert lanes.shares([due(1, breaker="open", failures=FAILURES)]) == ({}, [1])
    # It did not, since others had delivered meanwhile: all goes on.
    assert lanes.shares([due(1)])[0] == {1: AHEAD * WORKERS}


def test_no_more_is_leased_than_can_be_held(lanes: Lanes) -> None:
    shares = fill(lanes, *(due(lane) for lane in range(1, 1001)))
    assert sum(shares.values()) == MOST_HELD * WORKERS
    # Those that have waited longest come first.
    assert list(shares) == list(range(1, len(shares) + 1))


def test_a_queue_that_runs_short_asks_for_more_only_where_more_is_due(lanes: Lanes) -> None:
    fill(lanes, due(1))
    while not lanes.hungry:
        one = lanes.next()
        assert one is not None
        lanes.ended(one, settlement(one))
        lanes.settled([1])
    assert lanes.queued == AHEAD * WORKERS // 2
    shares, _ = lanes.shares([due(1)])
    lanes.put([delivery(1, 9_000)], shares)
    while (one := lanes.next()) is not None:
        lanes.ended(one, settlement(one))
        lanes.settled([1])
    assert not lanes.hungry


def test_what_was_not_sent_after_all_says_nothing_of_its_target(lanes: Lanes) -> None:
    fill(lanes, due(1, known=False))
    one = lanes.next()
    assert one is not None
    lanes.ended(one, None)
    assert lanes.running == 0
    assert fill(lanes, due(1, known=False)) == {1: 1}


def test_the_store_hears_of_successes_now_and_then_and_of_every_change(lanes: Lanes, clock: Clock) -> None:
    fill(lanes, due(1))
    one = delivery(1, 0)
    assert lanes.worth_noting(settlement(one), 1)
    assert not lanes.worth_noting(settlement(one), 1)
    assert lanes.worth_noting(settlement(one, reached=False), 1)
    assert lanes.worth_noting(settlement(one), 1)
    assert not lanes.worth_noting(settlement(one), 1)
    clock.seconds += 11
    assert lanes.worth_noting(settlement(one), 1)
