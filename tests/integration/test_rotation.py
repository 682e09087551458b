"""Workspaces share the matching: none waits for another's events, rules or locks longer than a round."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select, update

from ml_event_provider.dispatch.matching import Matched, Rotation
from ml_event_provider.rules.engine import Engine as RuleEngine
from ml_event_provider.store import cursors, definitions, events, schema, states, unmatched
from ml_event_provider.store.engine import transaction, utc_now
from tests.integration.recorded import EVENT

if TYPE_CHECKING:
    from ml_event_provider.rules.engine import Prepared

pytestmark = pytest.mark.usefixtures("airflow_db")


class Clock:
    """A clock that goes on only when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Each event of workspace ``flood`` takes a tenth of a second by this clock, those of others a thousandth."""
    clock = Clock()
    take = RuleEngine.take

    def slow(self: RuleEngine, prepared: Prepared) -> None:
        clock.now += 0.1 if prepared.arrival.event.workspace == "flood" else 0.001  # type: ignore[union-attr]
        take(self, prepared)

    monkeypatch.setattr(RuleEngine, "take", slow)
    return clock


def put(workspace: str, **more: Any) -> None:
    one = {"name": "all", "workspace": workspace, "on": ["tests.*"], "targets": ["inbox"], **more}
    with transaction() as connection:
        definitions.put(connection, one, managed_by="file")


def record(workspace: str, count: int = 1, first: int = 0) -> None:
    numbers = range(first, first + count)
    events.record_now([replace(EVENT, id=f"{workspace}-{n}", workspace=workspace, time=utc_now()) for n in numbers])


def left() -> dict[str, int]:
    with transaction() as connection:
        return {workspace: number for workspace, number, _ in unmatched.by_workspace(connection)}


def told() -> list[tuple[str, str]]:
    """Workspace and event of each notification, in the order in which they were made."""
    table, event = schema.notification, schema.event
    query = select(table.c.workspace, event.c.id).join(event, event.c.seq == table.c.event_seq)
    with transaction() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(table.c.created_at, event.c.seq))]


def test_a_flood_in_one_workspace_is_matched_in_rounds_between_which_all_others_have_their_turn(
    costly: Clock,
) -> None:
    names = ["flood", *(f"ws-{n:02}" for n in range(20))]
    for name in names:
        put(name)
    rotation = Rotation(clock=costly)
    record("flood", 100)
    while costly.now < 2:
        rotation.turn()
    for number in range(5):
        for name in names[1:]:
            record(name, first=number)
        before = left()["flood"]
        assert rotation.turn(seconds=0.25).more
        # Whoever took the least time comes first; the flood had at most one round since, of three events.
        assert set(left()) == {"flood"}
        assert before - left()["flood"] <= 3


def test_a_round_ends_when_its_time_is_over_and_commits_what_it_did(costly: Clock) -> None:
    put("flood")
    record("flood", 10)
    rotation = Rotation(clock=costly)
    assert rotation.turn(seconds=0.25) == Matched(3, 3, more=True)
    assert left() == {"flood": 7}
    assert [event_id for _, event_id in told()] == ["flood-0", "flood-1", "flood-2"]
    # One event that takes longer than a round is matched all the same.
    assert rotation.turn(seconds=0.01) == Matched(1, 1, more=True)
    while rotation.turn(seconds=0.25).more:
        pass
    assert [event_id for _, event_id in told()] == [f"flood-{n}" for n in range(10)]


def test_a_slow_database_makes_no_rounds_of_a_single_event(costly: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a round reads, at whatever cost, it matches: else each event of a flood is read a hundred times."""
    read = unmatched.read

    def slowly(*arguments: Any, **more: Any) -> unmatched.Waiting:
        costly.now += 0.4
        return read(*arguments, **more)

    monkeypatch.setattr(unmatched, "read", slowly)
    put("calm")
    record("calm", 50)
    assert Rotation(clock=costly).turn(seconds=0.25).events == 50


def test_what_is_due_is_done_in_rounds_too(costly: Clock) -> None:
    put("flood", by=["data.key"], condition={"absence": {"within": "1h", "wait": 0}})
    moment = utc_now()
    with transaction() as connection:
        events.record(
            connection,
            [replace(EVENT, id=f"e-{n}", workspace="flood", time=moment, data={"key": n}) for n in range(30)],
            now=moment,
        )
    rotation = Rotation(clock=costly)
    while rotation.turn(now=lambda _: moment).more:
        pass
    later = moment + timedelta(hours=2)
    costly.now = 0.0

    def ticking() -> float:
        costly.now += 0.01
        return costly.now

    rotation = Rotation(clock=ticking)
    turns = 1
    while rotation.turn(seconds=0.1, now=lambda _: later).more:
        turns += 1
    assert turns > 3
    assert len(told()) == 30


def test_a_workspace_whose_lock_is_held_costs_the_others_nothing(airflow_db: Engine) -> None:
    if airflow_db.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    rotation = Rotation(clock=Clock())
    for number in (0, 2):
        for name in ("a", "b", "c"):
            put(name)
            record(name, 2, number)
        if not number:
            assert rotation.turn()[:2] == (6, 6)
    with transaction() as other:
        cursors.lock(other, states.lock_of("b"), now=utc_now(), wait=True)
        assert rotation.turn()[:2] == (4, 4)
        assert left() == {"b": 2}
        assert rotation.turn() == (0, 0, False)
    assert rotation.turn()[:2] == (2, 2)
    assert left() == {}


def test_two_dispatchers_match_two_workspaces_at_the_same_time(
    airflow_db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if airflow_db.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    for name in ("a", "b"):
        put(name)
        record(name)
    # Each waits, in the middle of its transaction, for the other to be in the middle of one, too.
    both = threading.Barrier(2, timeout=30)
    take = RuleEngine.take

    def meet(self: RuleEngine, prepared: Prepared) -> None:
        both.wait()
        take(self, prepared)

    monkeypatch.setattr(RuleEngine, "take", meet)
    failures: list[BaseException] = []

    def dispatcher() -> None:
        try:
            Rotation(clock=Clock()).turn()
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=dispatcher) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(told()) == [("a", "a-0"), ("b", "b-0")]


def test_a_workspace_in_which_all_fails_is_no_reason_to_leave_out_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        put(name)
        record(name)
    take = RuleEngine.take

    def fail(self: RuleEngine, prepared: Prepared) -> None:
        if prepared.arrival.event.workspace == "a":  # type: ignore[union-attr]
            raise OSError("disk full")
        take(self, prepared)

    monkeypatch.setattr(RuleEngine, "take", fail)
    with pytest.raises(OSError, match="disk full"):
        Rotation(clock=Clock()).turn()
    assert left() == {"a": 1}


def test_order_within_a_workspace_is_that_of_its_own_notifications_only() -> None:
    for name in ("a", "b"):
        put(name)
        record(name, 3)
    Rotation(clock=Clock()).turn()
    with transaction() as connection:
        ordinals: dict[str, list[int]] = {}
        for workspace, ordinal in connection.execute(
            select(schema.delivery.c.workspace, schema.delivery.c.ordinal).order_by(schema.delivery.c.ordinal)
        ):
            ordinals.setdefault(workspace, []).append(ordinal)
    assert ordinals == {"a": [1, 2, 3], "b": [1, 2, 3]}


def test_events_of_workspaces_without_rules_are_marked_and_workspaces_are_found_in_few_steps(
    airflow_db: Engine,
) -> None:
    for name in ("a", "b", "c"):
        record(name, 5)
    with transaction() as connection:
        assert unmatched.workspaces(connection) == {"a", "b", "c"}
        connection.execute(update(schema.event).where(schema.event.c.workspace == "b").values(matched_at=utc_now()))
        assert unmatched.workspaces(connection) == {"a", "c"}
        assert states.workspaces(connection) == set()
    assert Rotation(clock=Clock()).turn()[:2] == (10, 0)
    assert left() == {}
