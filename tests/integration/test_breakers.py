"""Breakers: a target that fails again and again is left alone, tried now and then, and told of once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ml_event_provider.dispatch.matching import Rules, match_batch
from ml_event_provider.store import breakers, definitions, deliveries, events, lanes, leases, notifications, settlements
from ml_event_provider.store.breakers import FAILURES, Heard, State
from ml_event_provider.store.engine import transaction
from ml_event_provider.store.health import sending
from ml_event_provider.store.notifications import NewDelivery, NewNotification
from ml_event_provider.store.schema import Breaker
from tests.integration.airflow_rows import NOW
from tests.integration.leasing import MINUTE
from tests.integration.recorded import EVENT

pytestmark = pytest.mark.usefixtures("airflow_db")

SECOND = timedelta(seconds=1)


def waiting(*names: str, to: str = "inbox", **more: Any) -> int:
    """Deliveries to a target; the id of its lane."""
    with transaction() as connection:
        events.record_one(connection, EVENT, now=NOW)
        one = NewNotification(
            id=f"n-{names[0]}",
            workspace="fraud",
            rule="r",
            rule_version=1,
            severity="error",
            event_seq=events.place_of(connection, EVENT),
            deliveries=tuple(NewDelivery(id=name, conn_id=to, **more) for name in names),
        )
        notifications.create(connection, [one], now=NOW)
        return lanes.ids(connection, [("fraud", to)], now=NOW)["fraud", to]


def heard(lane: int, *reached: bool | None, after: timedelta = timedelta()) -> None:
    told = [Heard(lane, one, bool(one), False, "connection refused", "nothing listens there") for one in reached]
    with transaction() as connection:
        breakers.note(connection, told, now=NOW + after)


def standing() -> lanes.Standing:
    with transaction() as connection:
        (one,) = lanes.standings(connection, now=NOW + MINUTE)
    return one


def due(after: timedelta) -> list[str]:
    moment = NOW + after
    with transaction() as connection:
        found = leases.due_lanes(connection, now=moment, furthest=moment + timedelta(seconds=600))
    return [one.breaker for one in found]


def recorded() -> list[tuple[str, dict[str, Any]]]:
    with transaction() as connection:
        found = events.latest(connection, type_prefix="ml.target.")
    return [(one.event.type, dict(one.event.data)) for one in reversed(found)]


def test_it_opens_after_so_many_failures_in_a_row_and_is_told_of_once() -> None:
    lane = waiting("d-1", "d-2")
    heard(lane, *[False] * (FAILURES - 1))
    assert due(SECOND) == ["closed"]
    heard(lane, False, False, False)
    assert due(SECOND) == []
    heard(lane, False, after=SECOND)
    assert recorded() == [
        (
            "ml.target.unreachable",
            {
                "conn_id": "inbox",
                "since": NOW.isoformat(),
                "failures": FAILURES,
                "code": "connection refused",
                "reason": "nothing listens there",
                "waiting": 2,
            },
        )
    ]


def test_a_success_in_between_begins_the_count_anew() -> None:
    lane = waiting("d-1")
    heard(lane, *[False] * (FAILURES - 1), True, *[False] * (FAILURES - 1), None)
    assert due(SECOND) == ["closed"]
    assert standing().failures == FAILURES - 1
    assert recorded() == []


def test_one_dispatcher_tries_it_with_one_delivery_and_a_success_closes_it() -> None:
    lane = waiting("d-1", "d-2")
    heard(lane, *[False] * FAILURES)
    assert due(4.9 * SECOND) == []
    assert due(5 * SECOND) == ["open"]
    moment = NOW + 5 * SECOND
    for mine in (True, False):
        with transaction() as connection:
            far = moment + timedelta(seconds=600)
            assert leases.claim_probe(connection, lane, now=moment, until=moment + MINUTE, furthest=far) is mine
    # Whoever tries it may be gone: after the lease others may.
    assert due(64 * SECOND) == []
    assert due(65 * SECOND) == ["half_open"]
    heard(lane, True, after=6 * SECOND)
    assert due(7 * SECOND) == ["closed"]
    assert [kind for kind, _ in recorded()] == ["ml.target.unreachable", "ml.target.recovered"]
    assert recorded()[1][1]["since"] == NOW.isoformat()
    # The next time is an event of its own.
    heard(lane, *[False] * FAILURES, after=MINUTE)
    assert len(recorded()) == 3


def test_a_failed_probe_waits_longer_up_to_the_longest() -> None:
    state = State(Breaker.CLOSED, 0, None, None)
    for _ in range(FAILURES):
        state = breakers.after(state, False, NOW)
    waits = []
    for _ in range(9):
        assert state.probe_at is not None
        waits.append((state.probe_at - NOW).total_seconds())
        state = breakers.after(state._replace(breaker=Breaker.HALF_OPEN), False, NOW)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert state.opened_at == NOW


def test_a_probe_that_tells_nothing_is_followed_by_another() -> None:
    state = State(Breaker.HALF_OPEN, 7, NOW, NOW + MINUTE)
    assert breakers.after(state, None, NOW) == State(Breaker.OPEN, 7, NOW, NOW + 5 * SECOND)


def test_a_probe_that_a_clock_a_day_ahead_put_off_is_due() -> None:
    lane = waiting("d-1")
    heard(lane, *[False] * FAILURES, after=timedelta(days=1))
    assert due(MINUTE) == ["open"]


def test_what_waits_for_a_dead_target_too_long_dies_with_its_words_and_goes_to_its_fallback() -> None:
    lane = waiting("d-1", fallback={"conn_id": "other"})
    waiting("d-2", to="fine")
    heard(lane, *[False] * FAILURES)
    with transaction() as connection:
        assert settlements.give_up(connection, due_before=NOW, now=NOW + MINUTE) == 0
        assert settlements.give_up(connection, due_before=NOW + SECOND, now=NOW + MINUTE) == 1
        found = {one.conn_id: one for one in deliveries.latest(connection)}
    assert {name: one.state for name, one in found.items()} == {"inbox": "dead", "fine": "pending", "other": "pending"}
    assert found["inbox"].attempts == 0
    assert found["inbox"].reason == "inbox has not answered since 2026-11-22 12:00:00 UTC: nothing listens there"


def test_a_target_is_not_told_that_it_does_not_answer() -> None:
    lane = waiting("d-1")
    with transaction() as connection:
        document = {"name": "targets", "workspace": "fraud", "on": ["ml.target.*"], "targets": ["inbox", "mail"]}
        definitions.put(connection, document, managed_by="file")
    heard(lane, *[False] * FAILURES)
    heard(lane, True, after=MINUTE)
    while match_batch(Rules(), limit=100).events:
        pass
    with transaction() as connection:
        told = deliveries.latest(connection, rule="targets")
    stands = sorted((one.recorded.event.type, one.conn_id, one.state) for one in told if one.recorded)
    assert stands == [
        ("ml.target.recovered", "inbox", "pending"),
        ("ml.target.recovered", "mail", "pending"),
        ("ml.target.unreachable", "inbox", "muted"),
        ("ml.target.unreachable", "mail", "pending"),
    ]


def test_health_names_the_target_the_cause_and_what_to_do() -> None:
    lane = waiting("d-1", "d-2")
    with transaction() as connection:
        problems = sending.check(connection, NOW + 2 * MINUTE).problems
    assert problems == [
        "messages to 1 target(s) are late, the oldest, to inbox (workspace fraud), by 120 s. Start more dispatchers, or"
        " raise [ml_events] send_workers; is one running?"
    ]
    heard(lane, *[False] * FAILURES)
    with transaction() as connection:
        found = sending.check(connection, NOW + 2 * MINUTE)
    assert found.problems == [
        "target inbox (workspace fraud) has not answered since 2026-11-22 12:00 UTC: nothing listens there; 2"
        " message(s) wait: check that it is up and that its connection is right. It is tried again by itself"
    ]
    assert found.numbers["unreachable_targets"] == 1


def test_the_command_line_tells_how_things_stand(ml_events: Any) -> None:
    assert ml_events("targets", "list").out == "nothing was sent to any target yet\n"
    lane = waiting("d-1", "d-2")
    heard(lane, *[False] * FAILURES)
    (one,) = ml_events("targets", "list", "-o", "json").json
    assert (one["target"], one["state"], one["waiting"], one["reason"]) == (
        *("inbox", "unreachable", 2, "nothing listens there"),
    )
    assert "unreachable" in ml_events("targets", "list", "--workspace", "fraud").out
    assert ml_events("targets", "list", "--workspace", "other").out == "nothing was sent to any target yet\n"
