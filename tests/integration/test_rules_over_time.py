"""Rules that remember, on real databases: timers, several dispatchers, crashes, and what is told of them."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, select, update

from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.events.model import Event
from ml_event_provider.store import (
    definitions,
    deliveries,
    events,
    retention,
    schema,
    settlements,
    states,
    unmatched,
)
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import transaction, worth_retrying
from ml_event_provider.store.settlements import Settlement
from tests.integration.leasing import lease_any

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("airflow_db")

START = datetime(2026, 11, 1, tzinfo=UTC)
FAILED, SUCCEEDED = "airflow.dag_run.failed", "airflow.dag_run.success"


def put(name: str, **fields: Any) -> None:
    definition = {"name": name, "workspace": "default", "on": [FAILED], "targets": ["inbox"], **fields}
    with transaction() as connection:
        definitions.put(connection, definition, managed_by="file")


def dag_run(number: int, kind: str, after: timedelta, dag: str = "train", late: timedelta = timedelta(0)) -> None:
    """Record an event so long after the start."""
    one = Event(
        id=f"e-{number}",
        source="/tests",
        type=kind,
        time=START + after - late,
        data={"dag_id": dag, "run_id": f"r-{number}", "state": kind.rpartition(".")[2]},
    )
    with transaction() as connection:
        events.record(connection, [one], now=START + after)


def match(after: timedelta, rules: Rules | None = None, limit: int = 500) -> None:
    """Match all that waits, at a moment."""
    rules = rules or Rules()
    while sum(match_batch(rules, limit=limit, now=lambda _: START + after)):
        pass


def notifications() -> list[tuple[str, str, str, int]]:
    """Rule, kind, the event's id or what is absent, and how many firings; in the order of time."""
    table = schema.notification
    with transaction() as connection:
        rows = connection.execute(select(table).order_by(table.c.created_at, table.c.id)).all()
        found = events.by_seq(connection, [row.event_seq for row in rows])
    return [
        (
            row.rule,
            row.kind,
            found[row.event_seq].event.id if found[row.event_seq].event.source == "/tests" else "absent",
            row.members,
        )
        for row in rows
    ]


MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_a_row_of_failures_fires_once_and_its_end_is_told() -> None:
    put("row", condition={"consecutive": {"count": 2}}, resolve=True)
    for number, kind in enumerate([FAILED, FAILED, FAILED, SUCCEEDED]):
        dag_run(number, kind, number * MINUTE)
        match(number * MINUTE)
    assert notifications() == [("row", "fired", "e-1", 1), ("row", "resolved", "e-3", 1)]


def test_what_is_absent_is_an_event_that_is_recorded_and_delivered() -> None:
    put("silence", on=[SUCCEEDED], condition={"absence": {"within": "1h", "expect": ["train"]}}, resolve=True)
    match(timedelta(0))
    match(HOUR)
    assert notifications() == []
    match(HOUR + 2 * MINUTE)
    assert notifications() == [("silence", "fired", "absent", 1)]
    with transaction() as connection:
        (delivery,) = deliveries.latest(connection)
        (alert,) = states.open_alerts(connection)
    assert delivery.recorded is not None
    event = delivery.recorded.event
    assert (event.type, event.subject, event.data["key"]) == ("ml.event.absent", "train", ["train"])
    assert (alert.rule, alert.key, alert.id) == ("silence", '["train"]', delivery.alert_id)
    dag_run(1, SUCCEEDED, 2 * HOUR)
    match(2 * HOUR)
    assert notifications()[1:] == [("silence", "resolved", "e-1", 1)]
    with transaction() as connection:
        assert states.open_alerts(connection) == []


def test_what_was_due_while_no_dispatcher_ran_is_done_before_the_events_that_came_after_it() -> None:
    put("silence", on=[SUCCEEDED], condition={"absence": {"within": "1h"}}, resolve=True)
    dag_run(0, SUCCEEDED, timedelta(0))
    match(timedelta(0))
    # Recorded in time, matched much later: nothing was absent. Then a real gap, and its end.
    dag_run(1, SUCCEEDED, timedelta(minutes=50))
    dag_run(2, SUCCEEDED, timedelta(minutes=200))
    match(timedelta(minutes=210))
    assert sorted(notifications()) == [("silence", "fired", "absent", 1), ("silence", "resolved", "e-2", 1)]


def test_one_message_for_a_hundred_failing_mapped_tasks() -> None:
    put(
        "tasks",
        on=["task failed"],
        group={"by": ["data.dag_id", "data.run_id"], "wait": "30s", "max": 1000},
    )
    for number in range(100):
        one = Event(
            id=f"e-{number}",
            source="/tests",
            type="airflow.task_instance.failed",
            time=START,
            data={"dag_id": "train", "run_id": "r", "task_id": "fit", "map_index": number},
        )
        with transaction() as connection:
            events.record(connection, [one], now=START + timedelta(milliseconds=number))
    match(timedelta(seconds=1), limit=7)
    assert notifications() == []
    match(MINUTE)
    assert notifications() == [("tasks", "fired", "e-99", 100)]
    with transaction() as connection:
        (delivery,) = deliveries.latest(connection)
    assert [one.event.id for one in delivery.others] == [f"e-{number}" for number in range(98, 78, -1)]


def test_a_silence_mutes_and_says_why() -> None:
    put("failures")
    with transaction() as connection:
        definitions.put(
            connection,
            {
                "name": "upgrade",
                "workspace": "default",
                "dags": ["train"],
                "reason": "database upgrade",
                "author": "ana",
                "ends_at": (START + HOUR).isoformat(),
            },
            managed_by="user",
            kind=Kind.SILENCE,
        )
    dag_run(1, FAILED, MINUTE)
    match(MINUTE)
    dag_run(2, FAILED, 2 * HOUR)
    match(2 * HOUR)
    with transaction() as connection:
        found = {
            one.recorded.event.id: (one.state, one.reason) for one in deliveries.latest(connection) if one.recorded
        }
    assert found == {"e-1": ("muted", "silence 'upgrade' of ana: database upgrade"), "e-2": ("pending", "")}


def test_a_dead_delivery_goes_to_its_fall_back_once() -> None:
    put("failures", targets=[{"conn_id": "inbox", "fallback": {"conn_id": "mail", "options": {"to": "ana"}}}])
    dag_run(1, FAILED, MINUTE)
    match(MINUTE)
    now = START + HOUR
    for _ in range(2):
        with transaction() as connection:
            leased = lease_any(connection, owner="me", now=now)
            dead = [
                Settlement(
                    delivery_id=one.id,
                    number=1,
                    started_at=now,
                    milliseconds=1,
                    outcome="refused",
                    code="410",
                    reason="gone",
                    state=schema.DeliveryState.DEAD,
                )
                for one in leased
                if one.conn_id == "inbox"
            ]
            settlements.settle(connection, dead, owner="me", now=now)
            deliveries.send_again(connection, all_dead=True)
    with transaction() as connection:
        found = sorted((one.conn_id, one.options) for one in deliveries.latest(connection))
    assert found == [("inbox", {}), ("mail", {"to": "ana"})]


def test_a_rule_whose_condition_changed_begins_anew_and_a_deleted_one_is_forgotten() -> None:
    put("row", condition={"consecutive": {"count": 3}})
    rules = Rules()
    for number in range(2):
        dag_run(number, FAILED, number * MINUTE)
    match(2 * MINUTE, rules)
    put("row", condition={"consecutive": {"count": 2}})
    dag_run(2, FAILED, 3 * MINUTE)
    match(3 * MINUTE, rules)
    assert notifications() == []
    dag_run(3, FAILED, 4 * MINUTE)
    match(4 * MINUTE, rules)
    assert notifications() == [("row", "fired", "e-3", 1)]
    with transaction() as connection:
        definitions.remove(connection, "row", workspace="default")
    dag_run(4, FAILED, 5 * MINUTE)
    match(5 * MINUTE, rules)
    assert len(notifications()) == 1


def test_what_nobody_needs_any_more_is_pruned() -> None:
    put("row", condition={"consecutive": {"count": 3}})
    put("silence", on=[SUCCEEDED], condition={"absence": {"within": "300d"}})
    dag_run(1, FAILED, MINUTE)
    dag_run(2, SUCCEEDED, MINUTE)
    match(2 * MINUTE)
    retention.prune(START + HOUR)
    with transaction() as connection:
        assert states.of_rule(connection, "default", "row") == []
        assert len(states.of_rule(connection, "default", "silence")) == 1
        assert connection.execute(select(schema.decision.c.id)).all() == []


RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "threshold": {"condition": {"threshold": {"count": 3, "within": "10m"}}, "resolve": True},
    "row": {"condition": {"consecutive": {"count": 3}}, "resolve": True, "repeat": "20m"},
    "silence": {"on": [SUCCEEDED], "condition": {"absence": {"within": "30m"}}, "resolve": True},
    "after": {"condition": {"sequence": {"then": {"on": SUCCEEDED}, "within": "5m"}}},
    "no success after": {"condition": {"sequence": {"then": {"on": SUCCEEDED}, "within": "5m", "missing": True}}},
    "cool": {"cooldown": "15m"},
    "grouped": {"group": {"by": "data.dag_id", "wait": "2m", "interval": "10m", "max": 5}},
    "summed up": {"suppress": "10m"},
    "open": {
        "resolve": True,
        "escalate": [{"after": "5m", "targets": "boss"}],
        "flapping": {"changes": 4, "within": "20m"},
    },
    "inhibited": {"inhibit": [{"on": SUCCEEDED, "equal": "data.dag_id", "within": "2m", "wait": "1m"}]},
}


def snapshot() -> tuple[list[Any], ...]:
    """All that rules said, decided and remember."""
    names = ("id", "rule", "kind", "alert_id", "members", "context")
    with transaction() as connection:
        told = connection.execute(
            select(*(schema.notification.c[name] for name in names), schema.event.c.id)
            .join(schema.event, schema.event.c.seq == schema.notification.c.event_seq)
            .order_by(schema.notification.c.id)
        ).all()
        sent = connection.execute(
            select(schema.delivery.c.id, schema.delivery.c.conn_id, schema.delivery.c.next_attempt_at).order_by("id")
        ).all()
        table = schema.decision
        columns = (table.c.event_seq, table.c.rule, table.c.outcome, table.c.facts)
        decided = connection.execute(select(*columns).where(table.c.event_seq.is_not(None))).all()
        state = schema.state.c
        columns = (state.rule, state.role, state.key, state.body, state.due_at)
        kept = connection.execute(select(*columns).order_by(state.id)).all()
    return [tuple(row) for row in told], [row[:2] for row in sent], sorted(map(tuple, decided)), [*map(tuple, kept)]


def forget_all() -> None:
    with transaction() as connection:
        for table in (schema.notification, schema.delivery, schema.decision, schema.state):
            connection.execute(delete(table))
        connection.execute(delete(schema.event).where(schema.event.c.source != "/tests"))
        connection.execute(update(schema.event).values(matched_at=None))


@pytest.fixture
def stream() -> Iterator[timedelta]:
    """A history of 400 events of four DAGs, some late; until when it goes."""
    for name, fields in RULES.items():
        put(name, **fields)
    chance = random.Random(7)
    after = timedelta(0)
    for number in range(400):
        after += timedelta(seconds=chance.expovariate(1 / 40))
        late = timedelta(seconds=chance.choice([0, 0, 0, 30, 400]))
        dag_run(number, chance.choice([FAILED, FAILED, SUCCEEDED]), after, chance.choice("abcd"), late)
    return after + HOUR


def test_several_dispatchers_that_crash_tell_what_one_would_have_told(
    stream: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    match(stream)
    alone = snapshot()
    assert {row[1] for row in alone[0]} == set(RULES)
    assert {row[2] for row in alone[0]} == {"fired", "resolved", "repeated", "escalated", "flapping"}

    forget_all()
    match(stream, limit=13)
    assert snapshot() == alone

    forget_all()
    chance = random.Random(11)
    write, crashes = Batch.write, []

    def crashing(batch: Batch) -> int:
        made = write(batch)
        if chance.random() < 0.3:
            crashes.append(1)
            raise KeyboardInterrupt("killed before the commit")
        return made

    monkeypatch.setattr(Batch, "write", crashing)
    done = threading.Event()
    failures: list[BaseException] = []

    def dispatcher() -> None:
        rules = Rules()
        while not done.is_set():
            try:
                match_batch(rules, limit=chance.choice([3, 17, 40]), now=lambda _: START + stream)
            except KeyboardInterrupt:
                # A new process knows nothing of what the old one knew.
                rules = Rules()
            except Exception as error:  # noqa: BLE001 - told by the test
                if not worth_retrying(error):
                    failures.append(error)
                    return

    threads = [threading.Thread(target=dispatcher) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not failures:
            with transaction() as connection:
                waiting = unmatched.workspaces(connection) or states.workspaces(
                    connection, due_by=(START + stream).timestamp()
                )
            if not waiting:
                break
            done.wait(0.05)
    finally:
        done.set()
        for thread in threads:
            thread.join(30)
    assert failures == []
    assert crashes
    assert snapshot() == alone
