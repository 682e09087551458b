"""What becomes of alerts that last when rules are changed, renamed or deleted, or silences are lifted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, update

from ml_event_provider.dispatch.matching import Rotation
from ml_event_provider.store import definitions, events, schema, states
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import transaction
from tests.integration.recorded import EVENT

pytestmark = pytest.mark.usefixtures("airflow_db")

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAILED, SUCCESS = "airflow.dag_run.failed", "airflow.dag_run.success"
RULE: dict[str, Any] = {
    "name": "runs",
    "workspace": "default",
    "on": [FAILED],
    "by": ["data.dag_id"],
    "targets": ["inbox"],
    "resolve": True,
}


class Told:
    """A dispatcher's matching, minute by minute, and what it tells."""

    def __init__(self) -> None:
        self.rotation = Rotation()
        self.seen: set[str] = set()

    def match(self, minutes: float) -> None:
        # One that waits for the fingerprint of the rules to be looked at again.
        for _ in range(2):
            self.rotation.turn(seconds=60, now=lambda _: at(minutes))

    def news(self) -> list[tuple[str, str, str]]:
        """Rule, kind and why of each notification that somebody hears of, since this was asked last."""
        table, delivery = schema.notification, schema.delivery
        with transaction() as connection:
            heard = select(delivery.c.notification_id).where(delivery.c.state.not_in(("muted", "cancelled")))
            rows = connection.execute(
                select(table).where(table.c.id.in_(heard)).order_by(table.c.created_at, table.c.id)
            ).all()
        new = [row for row in rows if row.id not in self.seen]
        self.seen.update(row.id for row in new)
        return [(row.rule, row.kind, _why(row.context)) for row in new]


def _why(context: str | None) -> str:
    return str(json.loads(context or "{}").get("facts", {}).get("why", ""))


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def put(definition: dict[str, Any], kind: Kind = Kind.RULE) -> None:
    with transaction() as connection:
        definitions.put(connection, definition, managed_by="file", kind=kind)


def delete(name: str, kind: Kind = Kind.RULE) -> None:
    with transaction() as connection:
        definitions.remove(connection, name, workspace="default", kind=kind)


def record(event_id: str, minutes: float, type: str = FAILED, **data: Any) -> None:
    event = replace(EVENT, id=event_id, type=type, time=at(minutes), data={"dag_id": "train", **data})
    with transaction() as connection:
        events.record(connection, [event])
        connection.execute(update(schema.event).where(schema.event.c.id == event_id).values(recorded_at=at(minutes)))


def lasting() -> list[tuple[str, str]]:
    with transaction() as connection:
        return [(one.rule, one.id) for one in states.open_alerts(connection)]


def deliver_all() -> None:
    with transaction() as connection:
        waiting = schema.delivery.c.state == "pending"
        connection.execute(update(schema.delivery).where(waiting).values(state="delivered", next_attempt_at=None))


@pytest.fixture
def told() -> Told:
    """An alert began and was told."""
    put(RULE)
    record("e-1", 0)
    found = Told()
    found.match(0)
    assert found.news() == [("runs", "fired", "")]
    return found


def test_a_rule_that_only_says_more_of_itself_goes_on(told: Told) -> None:
    before = lasting()
    put(RULE | {"description": "Spelt rightly.", "severity": "error", "targets": ["inbox", "other"]})
    told.match(1)
    assert (told.news(), lasting()) == ([], before)
    record("e-2", 2, SUCCESS)
    told.match(2)
    assert told.news() == [("runs", "resolved", "")]


def test_a_rule_that_is_called_otherwise_goes_on(told: Told) -> None:
    deliver_all()
    ((_, alert),) = lasting()
    delete("runs")
    put(RULE | {"name": "training runs"})
    told.match(1)
    assert (told.news(), lasting()) == ([], [("training runs", alert)])
    record("e-2", 2, SUCCESS)
    told.match(2)
    assert told.news() == [("training runs", "resolved", "")]


def test_what_a_renamed_rule_had_still_to_send_is_told_by_its_new_name(told: Told) -> None:
    """The target was down: the message is called off with the name, and must not count as heard."""
    ((_, alert),) = lasting()
    delete("runs")
    put(RULE | {"name": "training runs"})
    told.match(1)
    assert told.news() == [("training runs", "fired", "")]
    assert lasting() == [("training runs", alert)]
    record("e-2", 2, SUCCESS)
    told.match(2)
    assert told.news() == [("training runs", "resolved", "")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"by": ["data.dag_id", "data.run_id"]}, "the rule's condition or key was changed"),
        ({"condition": {"consecutive": {"count": 2}}}, "the rule's condition or key was changed"),
        ({"scope": {"dags": ["other"]}}, "the rule does not look at it any more"),
        ({"on": ["airflow.task_instance.failed"]}, "the rule does not look at it any more"),
        ({"enabled": False}, "the rule was switched off"),
    ],
)
def test_what_a_changed_rule_does_not_mean_any_more_ends_with_a_word(
    change: dict[str, Any], why: str, told: Told
) -> None:
    put(RULE | change)
    told.match(1)
    assert told.news() == [("runs", "resolved", why)]
    assert lasting() == []
    told.match(2)
    assert told.news() == []


def test_a_scope_that_still_holds_it_changes_nothing(told: Told) -> None:
    put(RULE | {"scope": {"dags": ["train"]}})
    told.match(1)
    assert told.news() == []
    assert len(lasting()) == 1


def test_a_deleted_rule_says_so_to_those_who_heard(told: Told) -> None:
    delete("runs")
    told.match(1)
    assert told.news() == [("runs", "resolved", "the rule was deleted")]
    assert lasting() == []


def test_one_that_waits_in_a_group_is_not_told_after_its_end() -> None:
    told = Told()
    put(RULE | {"group": {"wait": "10m"}})
    record("e-1", 0)
    told.match(0)
    put(RULE | {"group": {"wait": "10m"}, "by": []})
    told.match(1)
    told.match(30)
    assert told.news() == []


def test_what_a_silence_muted_is_told_when_somebody_lifts_it() -> None:
    told = Told()
    put(RULE)
    silence = {
        "name": "work",
        "workspace": "default",
        "reason": "work",
        "author": "ann",
        "everything": True,
        "ends_at": at(600).isoformat(),
    }
    put(silence, Kind.SILENCE)
    record("e-1", 0)
    told.match(0)
    assert told.news() == []
    delete("work", Kind.SILENCE)
    told.match(5)
    assert told.news() == [("runs", "fired", "")]


def test_a_changed_rule_costs_no_more_reading_for_more_alerts(airflow_db: Any) -> None:
    put(RULE)
    for number in range(100):
        record(f"e-{number}", 0, dag_id=f"train-{number}")
    told = Told()
    told.match(0)
    assert len(lasting()) == 100
    put(RULE | {"scope": {"dags": ["train-*"]}})
    read: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            read.append(statement)

    sqlalchemy_event.listen(airflow_db, "before_cursor_execute", note)
    try:
        told.match(1)
    finally:
        sqlalchemy_event.remove(airflow_db, "before_cursor_execute", note)
    assert len(lasting()) == 100
    assert 0 < len(read) < 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("seq", value) for value in ("x", True, [], {"a": 1}, 2**70, 1.5)),
        *(("open", value) for value in ("x", True, [], {"a": 1})),
        ("id", 7),
        ("told", ["x"]),
        ("again_at", "soon"),
        ("steps", 7),
    ],
)
def test_a_state_that_can_be_none_holds_up_no_other(field: str, value: Any) -> None:
    told = Told()
    put(RULE)
    for dag in "abc":
        record(f"e-{dag}", 0, dag_id=dag)
    told.match(0)
    assert len(told.news()) == 3
    table = schema.state
    with transaction() as connection:
        row = connection.execute(select(table).where(table.c.role == "alert", table.c.key == '["b"]')).one()
        spoilt = json.dumps(json.loads(row.body) | {field: value})
        connection.execute(update(table).where(table.c.id == row.id).values(body=spoilt))
    put(RULE | {"scope": {"dags": ["a", "b", "c"]}})
    told.match(1)
    for dag in "abc":
        record(f"s-{dag}", 2, SUCCESS, dag_id=dag)
    told.match(2)
    assert [kind for _, kind, _ in told.news()].count("resolved") >= 2
    assert not {key for key in open_keys() if key != '["b"]'}


def open_keys() -> set[str]:
    with transaction() as connection:
        return {place.key for place in states.open_places(connection, "default")}
