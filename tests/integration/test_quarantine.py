"""One bad row between two good ones, in each batch: the good go on, the bad is set aside, told of, and tried again."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select, text, update

from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.rules.engine import Engine as RuleEngine
from ml_event_provider.rules.engine.outlet import Outlet
from ml_event_provider.rules.ruleset import RuleSet
from ml_event_provider.store import definitions, dispatchers, events, quarantine, retention, schema
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.health import health
from ml_event_provider.store.quarantine import Kind
from tests.integration.recorded import event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.integration.conftest import Command

pytestmark = pytest.mark.usefixtures("airflow_db")

ALERTS = {
    "by": ["id"],
    "condition": {"threshold": {"count": 1, "within": "1h"}},
}


def put(name: str = "one", **more: Any) -> None:
    one = {"name": name, "workspace": "default", "on": ["tests.*"], "targets": ["inbox"], **more}
    with transaction() as connection:
        definitions.put(connection, one, managed_by="file")


def record(*ids: str) -> None:
    for one in ids or ("e-1", "e-2", "e-3"):
        events.record_now([event(one, time=utc_now())])


def spoil(column: str, value: Any, event_id: str = "e-2") -> None:
    with transaction() as connection:
        connection.execute(
            text(f"UPDATE ml_event_event SET {column} = :value WHERE id = :id"), {"value": value, "id": event_id}
        )


def told(rule: str = "one") -> list[str]:
    query = (
        select(schema.event.c.id)
        .join(schema.notification, schema.event.c.seq == schema.notification.c.event_seq)
        .where(schema.notification.c.rule == rule)
        .order_by(schema.event.c.seq)
    )
    with transaction() as connection:
        return list(connection.execute(query).scalars())


def aside() -> list[quarantine.Quarantined]:
    with transaction() as connection:
        return quarantine.find(connection)


def seq_of(event_id: str) -> int:
    with transaction() as connection:
        return int(connection.execute(select(schema.event.c.seq).where(schema.event.c.id == event_id)).scalar_one())


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"id": 7}', "[" * 5000])
def test_an_event_that_cannot_be_read_is_set_aside_and_matched_when_it_can(body: str, ml_events: Command) -> None:
    put()
    record()
    with transaction() as connection:
        good = connection.execute(select(schema.event.c.body).where(schema.event.c.id == "e-2")).scalar_one()
    spoil("body", body)
    assert match_batch(Rules(), limit=10)[:2] == (3, 2)
    assert told() == ["e-1", "e-3"]
    (one,) = aside()
    assert (one.kind, one.seq, one.workspace) == (Kind.EVENT, seq_of("e-2"), "default")
    assert one.reason.startswith("cannot be read: ")

    assert "was" not in ml_events("quarantine", "retry", "--all").err
    match_batch(Rules(), limit=10)
    assert [again.seq for again in aside()] == [one.seq]
    spoil("body", good)
    (one,) = aside()
    assert ml_events("quarantine", "retry", str(one.id)).out == f"{one.id}: its event waits to be matched again\n"
    match_batch(Rules(), limit=10)
    assert (told(), aside()) == (["e-1", "e-2", "e-3"], [])


def test_a_moment_that_the_driver_cannot_convert(airflow_db: Engine) -> None:
    put()
    record()
    far = "20000-01-01 00:00:00+00" if airflow_db.dialect.name == "postgresql" else "20000-01-01 00:00:00"
    spoil("recorded_at", far)
    assert match_batch(Rules(), limit=10)[:2] == (3, 2)
    assert told() == ["e-1", "e-3"]
    assert [one.kind for one in aside()] == [Kind.EVENT]


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles", "Pacific/Kiritimati"])
def test_events_at_the_ends_of_time_in_a_database_of_any_zone(airflow_db: Engine, zone: str) -> None:
    if airflow_db.dialect.name != "postgresql":
        pytest.skip("only a server has a zone")
    put()
    with airflow_db.begin() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE {name} SET timezone TO '{zone}'"))
    airflow_db.dispose()
    try:
        record()
        spoil("time", "9999-12-31 23:59:59.999999+00", "e-1")
        spoil("time", "0001-01-01 00:00:00+00", "e-3")
        assert match_batch(Rules(), limit=10)[:2] == (3, 3)
        with transaction() as connection:
            assert len(events.latest(connection)) == 3
    finally:
        with airflow_db.begin() as connection:
            connection.execute(text(f"ALTER DATABASE {name} RESET timezone"))
        airflow_db.dispose()


def test_an_event_that_one_rule_cannot_digest_is_shown_to_it_again(
    monkeypatch: pytest.MonkeyPatch, ml_events: Command
) -> None:
    put()
    put("fragile", **ALERTS)
    record()
    observed = RuleEngine._observed

    def fragile(self: RuleEngine, rule: Any, roles: Any, firing: Any, *more: Any) -> bool:
        if firing.key == '["e-2"]':
            raise ZeroDivisionError("no metric yet")
        return observed(self, rule, roles, firing, *more)

    with monkeypatch.context() as patch:
        patch.setattr(RuleEngine, "_observed", fragile)
        match_batch(Rules(), limit=10)
        assert told() == ["e-1", "e-2", "e-3"]
        assert told("fragile") == ["e-1", "e-3"]
        (one,) = aside()
        assert (one.kind, one.seq, one.rule) == (Kind.MATCH, seq_of("e-2"), "fragile")
        assert one.reason == "ZeroDivisionError: no metric yet"
        said = ml_events("quarantine", "retry", str(one.id))
        assert "it failed again: ZeroDivisionError" in said.out
        (one,) = aside()
    assert ml_events("quarantine", "retry", "--all").out == f"{one.id}: its rule took it: 1 deliveries\n"
    # The other rule, which took it at first, says nothing twice.
    assert (told(), told("fragile"), aside()) == (["e-1", "e-2", "e-3"], ["e-1", "e-2", "e-3"], [])


def test_an_event_that_no_rule_can_be_asked_about_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    record()
    find = RuleSet.find

    def fragile(self: RuleSet, document: Mapping[str, Any]) -> Any:
        if document["id"] == "e-2":
            raise RecursionError("too deep")
        return find(self, document)

    monkeypatch.setattr(RuleSet, "find", fragile)
    match_batch(Rules(), limit=10)
    assert told() == ["e-1", "e-3"]
    assert [(one.kind, one.reason) for one in aside()] == [(Kind.EVENT, "RecursionError: too deep")]


@pytest.mark.parametrize("value", ["\ud800", {1, 2}], ids=["half a surrogate pair", "a set"])
def test_what_a_rule_says_and_the_database_does_not_take(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    record()
    tell = Outlet.tell

    def odd(self: Outlet, rule: Any, firings: list[Any], *more: Any) -> bool:
        heard = tell(self, rule, firings, *more)
        if firings[0].seq == seq_of_bad:
            self.planned[-1] = dataclasses.replace(self.planned[-1], facts={"odd": value})
            self.decide(rule, firings[0].seq, "", "notified", {"odd": value}, 0.0)  # type: ignore[arg-type]
        return heard

    seq_of_bad = seq_of("e-2")
    monkeypatch.setattr(Outlet, "tell", odd)
    assert match_batch(Rules(), limit=10)[:2] == (3, 2)
    assert told() == ["e-1", "e-3"]
    (one,) = aside()
    assert (one.kind, one.seq, one.rule) == (Kind.MATCH, seq_of_bad, "one")
    assert "cannot be written" in one.reason


def test_what_a_rule_remembers_and_the_database_does_not_take_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    put(**ALERTS)
    record()
    take = RuleEngine.take

    def odd(self: RuleEngine, prepared: Any) -> None:
        take(self, prepared)
        for _, _, key, _ in prepared.steps:
            if key == '["e-2"]':
                place = next(one for one in prepared.places if one.role == "alert")
                body = self._states.get(place)
                self._states.put(place, {**(body or {}), "odd": "\ud800"})

    monkeypatch.setattr(RuleEngine, "take", odd)
    match_batch(Rules(), limit=10)
    assert told() == ["e-1", "e-2", "e-3"]
    with transaction() as connection:
        assert len(connection.execute(select(schema.state.c.id)).all()) == 2
    (one,) = aside()
    assert (one.kind, one.seq) == (Kind.STATE, None)
    assert "began anew" in one.reason


def test_a_state_that_cannot_be_read_is_told_of(ml_events: Command) -> None:
    put(**ALERTS)
    record("e-1")
    match_batch(Rules(), limit=10)
    with transaction() as connection:
        connection.execute(update(schema.state).values(body="{"))
    events.record_now([event("e-1", source="/elsewhere", time=utc_now())])
    match_batch(Rules(), limit=10)
    (one,) = aside()
    assert one.kind == Kind.STATE
    assert "nothing to try again" in ml_events("quarantine", "retry", str(one.id)).out
    assert ml_events("quarantine", "discard", str(one.id)).code == 0
    assert aside() == []


def test_an_event_that_cannot_be_deleted_does_not_stop_the_pruning(airflow_db: Engine) -> None:
    record("e-1", "e-2", "e-3", "newest")
    match_batch(Rules(), limit=10)
    postgresql = airflow_db.dialect.name == "postgresql"
    with transaction() as connection:
        if postgresql:
            connection.execute(
                text(
                    "CREATE FUNCTION damaged() RETURNS trigger LANGUAGE plpgsql AS"
                    " $$ BEGIN RAISE EXCEPTION 'missing chunk number 0 for toast value'; END $$"
                )
            )
            connection.execute(
                text(
                    "CREATE TRIGGER damaged BEFORE DELETE ON ml_event_event FOR EACH ROW WHEN (OLD.id = 'e-2')"
                    " EXECUTE FUNCTION damaged()"
                )
            )
        else:
            connection.execute(
                text(
                    "CREATE TRIGGER damaged BEFORE DELETE ON ml_event_event WHEN OLD.id = 'e-2'"
                    " BEGIN SELECT RAISE(ABORT, 'missing chunk'); END"
                )
            )
    try:
        assert retention.prune(utc_now() + timedelta(hours=1)) == 2
    finally:
        with transaction() as connection:
            connection.execute(text("DROP TRIGGER damaged" + (" ON ml_event_event" if postgresql else "")))
            if postgresql:
                connection.execute(text("DROP FUNCTION damaged"))
    (one,) = aside()
    assert (one.kind, one.seq) == (Kind.PRUNE, seq_of("e-2"))
    assert "missing chunk" in one.reason
    assert retention.prune(utc_now() + timedelta(hours=1)) == 1


def test_health_tells_what_is_set_aside_waits_or_cannot_be_used(ml_events: Command) -> None:
    put()
    record()
    spoil("body", "{")
    match_batch(Rules(), limit=10)
    now = utc_now()
    with transaction() as connection:
        report = {"unusable": {"fraud": {"rule night": "scope: no resource group 'x'\nmore"}}}
        dispatchers.beat(connection, dispatchers.Dispatcher("d", "host", 1, False, now, now, report))
        events.record(connection, [event("late", workspace="fraud")], now=now - timedelta(seconds=90))
    found = health(lambda _: now)
    assert found["status"] == "unhealthy"
    problems = "\n".join(found["problems"])
    assert "1 thing(s) could not be read, matched or written and were set aside (1 of kind event)" in problems
    assert "rule night of workspace fraud cannot be used: scope: no resource group 'x': mend it" in problems
    assert "1 event(s) of workspace fraud wait to be matched, the oldest for 90 s: no dispatcher" in problems
    assert found["quarantined"] == {"event": 1}
    said = ml_events("quarantine", "list", "--output", "json").json
    assert [(one["kind"], one["workspace"]) for one in said] == [("event", "default")]
    assert ml_events("quarantine", "retry").code == 1


def test_nothing_is_set_aside_where_the_database_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    record()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ml_event_provider.store.notifications.create", full)
        with pytest.raises(OSError, match="no space"):
            match_batch(Rules(), limit=10)
    assert (aside(), told()) == ([], [])
    assert match_batch(Rules(), limit=10)[:2] == (3, 3)
