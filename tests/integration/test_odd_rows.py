"""A row that cannot be read between two good ones: whoever looks sees the good ones, and is told of the bad one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select, text

from ml_event_provider.dispatch.housekeeping import Housekeeping
from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.dispatch.settings import Settings
from ml_event_provider.store import definitions, deliveries, dispatchers, events, leases, quarantine, retention, schema
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.health import health
from ml_event_provider.store.schema import DeliveryState
from tests.integration.callers import user
from tests.integration.recorded import event

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from tests.integration.conftest import Command

pytestmark = pytest.mark.usefixtures("airflow_db")

#: A moment that a database holds and Python has not.
NO_MOMENT = {"sqlite": "0000-13-45", "postgresql": "4000-01-01 BC"}
TEXTS = ("{", "[]", "7", "[" * 5000)
MOMENTS = {
    "event": ("time", "recorded_at", "matched_at"),
    "definition": ("updated_at", "created_at"),
    "definition_version": ("changed_at",),
    "state": ("updated_at",),
    "delivery": ("created_at", "next_attempt_at", "finished_at"),
    "notification": ("created_at",),
    "decision": ("decided_at",),
    "quarantine": ("set_aside_at",),
    "dispatcher": ("heartbeat_at", "started_at"),
    "lane": ("opened_at", "updated_at", "probe_at"),
}
DOCUMENTS = {
    "event": "body",
    "definition": "definition",
    "definition_version": "definition",
    "state": "body",
    "delivery": "options",
    "notification": "context",
    "dispatcher": "report",
    "decision": "facts",
}
ODD = [(table, column, None) for table, columns in MOMENTS.items() for column in columns]
ODD += [(table, column, value) for table, column in DOCUMENTS.items() for value in TEXTS]

COMMANDS = (
    "health",
    "events list",
    "events show e-1",
    "deliveries list",
    "alerts list",
    "rules list",
    "rules history one",
    "rules explain --event e-1",
    "rules backtest --since 1d",
    "rules lint",
    "silences list",
    "targets list",
    "quarantine list",
    "quarantine retry --all",
)


def put(name: str, *, target: str = "inbox") -> None:
    one = {"name": name, "workspace": "default", "on": ["tests.*"], "by": ["id"], "targets": [target]}
    with transaction() as connection:
        definitions.put(connection, {**one, "resolve": {"on": ["other"]}}, managed_by="file")


def record(*ids: str) -> None:
    events.record_now([event(one, time=utc_now()) for one in ids])


def fill() -> None:
    """At least three rows in each table, some events matched and some not."""
    for name in ("one", "two", "three"):
        put(name, target=f"inbox-{name}")
    record("e-1", "e-2", "e-3")
    match_batch(Rules(), limit=10)
    record("f-1", "f-2", "f-3")
    now = utc_now()
    with transaction() as connection:
        some = [quarantine.SetAside(quarantine.Kind.STATE, each, "default", "odd") for each in "abc"]
        quarantine.set_aside(connection, some, now=now)
        for each in "abc":
            dispatchers.beat(connection, dispatchers.Dispatcher(each, "host", 1, False, now, now, {}))


def spoil(table: str, column: str, value: str | None) -> None:
    """Make one row odd; of the events, one that was matched and one that was not."""
    of: Any = getattr(schema, table)
    key = next(iter(of.primary_key.columns))
    with transaction() as connection:
        dialect = connection.dialect.name
        keys = list(connection.execute(select(key).order_by(key)).scalars())
        assert len(keys) > 2
        odd = "CAST(:value AS timestamptz)" if value is None and dialect != "sqlite" else ":value"
        for one in {keys[1], keys[-2]} if table == "event" else {keys[1]}:
            connection.execute(
                text(f"UPDATE {of.name} SET {column} = {odd} WHERE {key.name} = :key"),
                {"value": NO_MOMENT[dialect] if value is None else value, "key": one},
            )


@pytest.mark.parametrize(("table", "column", "value"), ODD)
def test_each_command_and_route_shows_what_can_be_read(
    table: str, column: str, value: str | None, ml_events: Command, client: TestClient
) -> None:
    fill()
    spoil(table, column, value)
    said = {command: ml_events(*command.split()) for command in COMMANDS}
    assert {command: one.err for command, one in said.items() if "error:" in one.err} == {}
    for command, good in (("events list", "e-3"), ("deliveries list", "inbox-one"), ("alerts list", "one")):
        assert good in said[command].out
    for route in ("alerts", "silences", "health"):
        assert client.get(f"/ml-events/v1/{route}", headers=user("Admin")).status_code in {200, 503}

    match_batch(Rules(), limit=10)
    retention.prune(utc_now() - timedelta(days=1))
    with transaction() as connection:
        matched = {one.event.id for one in events.latest(connection) if one.matched_at}
    assert {"f-1", "f-3"} <= matched


@pytest.mark.parametrize("column", ["options", "action"])
@pytest.mark.parametrize("value", TEXTS)
def test_a_delivery_that_cannot_be_read_is_a_dead_letter_and_the_others_go(column: str, value: str) -> None:
    put("one")
    record("e-1", "e-2", "e-3")
    match_batch(Rules(), limit=10)
    with transaction() as connection:
        ids = [one.id for one in deliveries.latest(connection)]
    with transaction() as connection:
        odd = text(f"UPDATE ml_event_delivery SET {column} = :value WHERE id = :id")
        connection.execute(odd, {"value": value, "id": ids[1]})
    now = utc_now() + timedelta(seconds=1)
    with transaction() as connection:
        (lane,) = leases.due_lanes(connection, now=now, furthest=now)
        leased = leases.lease(connection, {lane.id: 10}, owner="us", now=now, until=now + timedelta(minutes=1))
    assert {one.id for one in leased} == {ids[0], ids[2]}
    with transaction() as connection:
        row = connection.execute(select(schema.delivery).where(schema.delivery.c.id == ids[1])).one()
    assert (row.state, row.lease_owner) == (DeliveryState.DEAD, None)
    assert row.reason.startswith("cannot be read: ")
    assert any("dead letters" in problem for problem in health()["problems"])


def test_a_target_whose_standing_cannot_be_read_is_a_problem_and_the_others_are_sent_to(airflow_db: Engine) -> None:
    for name in ("one", "two", "three"):
        put(name, target=f"inbox-{name}")
    record("e-1")
    match_batch(Rules(), limit=10)
    spoil("lane", "delivered_at", None)
    now = utc_now() + timedelta(seconds=1)
    with transaction() as connection:
        assert len(leases.due_lanes(connection, now=now, furthest=now)) == 2
    assert any("how a target stands cannot be read" in problem for problem in health()["problems"])


@pytest.mark.parametrize("value", TEXTS)
def test_a_rule_that_cannot_be_read_is_told_of_and_mended_by_putting_it_anew(value: str) -> None:
    put("one")
    put("two")
    with transaction() as connection:
        odd = text("UPDATE ml_event_definition SET definition = :value WHERE name = 'two'")
        connection.execute(odd, {"value": value})
    with transaction() as connection:
        compiled = Rules().of(connection, "default")
    assert set(compiled.versions) == {"one"}
    assert "cannot be read" in compiled.unusable["rule two"]
    put("two")
    with transaction() as connection:
        assert set(Rules().of(connection, "default").versions) == {"one", "two"}


def test_a_rule_that_cannot_be_read_can_be_deleted() -> None:
    put("one")
    with transaction() as connection:
        connection.execute(text("UPDATE ml_event_definition SET definition = '{'"))
        definitions.remove(connection, "one", workspace="default")
        assert definitions.enabled_rules(connection, "default") == frozenset()


def test_a_heartbeat_comes_whatever_cannot_be_counted() -> None:
    record("f-1", "f-2", "f-3")
    spoil("event", "recorded_at", None)
    keeper = Housekeeping(Settings.from_config(), dispatcher_id="here", parent=None)
    with pytest.raises((ValueError, TypeError)):
        keeper._beat()
    with transaction() as connection:
        assert [one.id for one in dispatchers.all_dispatchers(connection)] == ["here"]
    assert any("matching cannot be told" in problem for problem in health()["problems"])


def test_an_event_that_cannot_be_read_is_not_called_missing(ml_events: Command) -> None:
    record("e-1", "e-2", "e-3")
    spoil("event", "body", "{")
    said = ml_events("events", "show", "e-2")
    assert (said.code, "is recorded, but cannot be read" in said.err) == (1, True)
