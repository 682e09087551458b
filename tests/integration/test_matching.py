"""Recorded events meet the stored rules: each change of the rules counts at once, no notification twice."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, update

from ml_event_provider.dispatch import rules as rules_module
from ml_event_provider.dispatch.matching import match_batch, notify_directly
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.rules import RuleSet
from ml_event_provider.store import definitions, deliveries, events, notifications, schema
from ml_event_provider.store.engine import database_now, transaction
from tests.integration.recorded import EVENT, event, recorded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.events.model import Event

pytestmark = pytest.mark.usefixtures("airflow_db")


def definition(name: str = "one", **more: Any) -> dict[str, Any]:
    return {"name": name, "workspace": "default", "on": ["tests.*"], "targets": ["inbox"], **more}


def put(name: str = "one", **more: Any) -> None:
    with transaction() as connection:
        definitions.put(connection, definition(name, **more), managed_by="file")


def matched(compiled: Rules, one: Event = EVENT) -> list[str]:
    """The names of the rules that match now."""
    with transaction() as connection:
        return [rule.name for rule in compiled.of(connection, one.workspace).match(one)]


def made() -> list[tuple[str, str, str]]:
    """Rule, connection and event of each delivery."""
    with transaction() as connection:
        found = deliveries.latest(connection, limit=1000)
    return sorted((one.rule, one.conn_id, one.recorded.event.id) for one in found if one.recorded)


def forget_matches() -> None:
    with transaction() as connection:
        connection.execute(update(schema.event).values(matched_at=None))


def test_each_event_meets_each_rule_once_and_each_target_gets_a_delivery() -> None:
    put("one", targets=["inbox", "mail"], severity="error", template="short")
    put("two", targets=[{"conn_id": "inbox", "template": "long", "options": {"größe": 1}}])
    put("other", on=["nothing"])
    events.record_now([event("e-1"), event("e-2"), event("e-3", type="unknown")])
    assert match_batch(Rules(), limit=10)[:2] == (3, 6)
    assert made() == sorted(
        (rule, conn_id, event_id)
        for rule, conn_id in (("one", "inbox"), ("one", "mail"), ("two", "inbox"))
        for event_id in ("e-1", "e-2")
    )
    with transaction() as connection:
        one = deliveries.latest(connection, rule="one")[0]
        two = deliveries.latest(connection, rule="two")[0]
    assert (one.severity, one.template, one.options, one.rule_version) == ("error", "short", {}, 1)
    assert (two.severity, two.template, two.options) == ("info", "long", {"größe": 1})


def test_a_batch_takes_no_more_than_its_limit_oldest_first() -> None:
    put()
    events.record_now([event(f"e-{number}") for number in range(5)])
    compiled = Rules()
    assert match_batch(compiled, limit=2)[:2] == (2, 2)
    assert [event_id for *_, event_id in made()] == ["e-0", "e-1"]
    assert match_batch(compiled, limit=10)[:2] == (3, 3)
    assert match_batch(compiled, limit=10)[:2] == (0, 0)


def test_the_same_target_twice_in_one_rule_is_two_deliveries() -> None:
    put(targets=[{"conn_id": "inbox", "template": "short"}, {"conn_id": "inbox", "template": "long"}])
    events.record_now([EVENT])
    assert match_batch(Rules(), limit=10)[:2] == (1, 2)
    with transaction() as connection:
        assert {one.template for one in deliveries.latest(connection)} == {"short", "long"}


def test_matching_an_event_again_makes_no_second_notification() -> None:
    put()
    events.record_now([EVENT])
    compiled = Rules()
    match_batch(compiled, limit=10)
    with transaction() as connection:
        (before,) = deliveries.latest(connection)
    forget_matches()
    put(severity="critical")
    assert match_batch(compiled, limit=10)[0] == 1
    with transaction() as connection:
        (after,) = deliveries.latest(connection)
    assert after._replace(recorded=None) == before._replace(recorded=None)


def test_a_rule_created_later_notifies_of_an_event_that_is_matched_again() -> None:
    put()
    events.record_now([EVENT])
    compiled = Rules()
    match_batch(compiled, limit=10)
    put("two")
    forget_matches()
    match_batch(compiled, limit=10)
    assert made() == [("one", "inbox", "e-1"), ("two", "inbox", "e-1")]


def test_workspaces_are_apart_even_with_rules_and_events_of_one_name() -> None:
    put(targets=["ours"])
    put(workspace="fraud", targets=["theirs"])
    events.record_now([EVENT, replace(EVENT, workspace="fraud", source="/fraud")])
    assert match_batch(Rules(), limit=10)[:2] == (2, 2)
    with transaction() as connection:
        found = {(one.workspace, one.conn_id) for one in deliveries.latest(connection)}
        ids = {one.notification_id for one in deliveries.latest(connection)}
    assert found == {("default", "ours"), ("fraud", "theirs")}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({"event_pattern": {"type": [{"future-operator": 1}]}}, "future-operator"),
        ({"targets": []}, "targets"),
        ({"since_version": 9}, "since_version"),
        ({"on": ["airflow.nothing"]}, "airflow.nothing"),
    ],
)
def test_a_stored_rule_that_cannot_be_used_is_logged_and_does_not_stop_the_others(
    broken: dict[str, Any], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    put("good")
    put("also good", workspace="fraud")
    put("broken", **broken)
    events.record_now([EVENT])
    with caplog.at_level(logging.ERROR, "ml_event_provider"):
        assert match_batch(Rules(), limit=10)[:2] == (1, 1)
    assert made() == [("good", "inbox", "e-1")]
    (said,) = caplog.messages
    assert said.startswith("rule broken of workspace default cannot be used: ")
    assert problem in said


def test_an_event_that_no_rule_can_digest_is_logged_and_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put()
    events.record_now([event("e-1"), event("e-2", data={"poison": True}), event("e-3")])
    find = RuleSet.find

    def fragile(self: RuleSet, document: Mapping[str, Any]) -> Any:
        if "poison" in document["data"]:
            raise RecursionError("too deep")
        return find(self, document)

    monkeypatch.setattr(RuleSet, "find", fragile)
    assert match_batch(Rules(), limit=10)[:2] == (3, 2)
    assert [event_id for *_, event_id in made()] == ["e-1", "e-3"]
    assert "Event e-2 of type tests.thing.happened could not be matched" in caplog.text
    with transaction() as connection:
        assert all(one.matched_at for one in events.latest(connection))


def test_every_change_of_the_rules_counts_at_the_next_batch() -> None:
    compiled = Rules()
    assert matched(compiled) == []
    put()
    assert matched(compiled) == ["one"]
    put(on=["nothing"])
    assert matched(compiled) == []
    put()
    for enabled, names in ((False, []), (True, ["one"])):
        with transaction() as connection:
            definitions.set_enabled(connection, "one", workspace="default", enabled=enabled)
        assert matched(compiled) == names
    with transaction() as connection:
        definitions.remove(connection, "one", workspace="default")
    assert matched(compiled) == []


def test_a_rule_replaced_by_another_of_the_same_version_at_once_is_seen() -> None:
    compiled = Rules()
    put("old")
    assert matched(compiled) == ["old"]
    for name in ("new", "newer", "newest"):
        with transaction() as connection:
            (old,) = definitions.find(connection)
            definitions.remove(connection, old.name, workspace="default")
            definitions.put(connection, definition(name), managed_by="file")
        assert matched(compiled) == [name]


def test_rules_are_compiled_only_when_they_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_sets: list[int] = []

    class Counted(RuleSet):
        def __init__(self, *some: Any, **more: Any) -> None:
            super().__init__(*some, **more)
            compiled_sets.append(len(self))

    monkeypatch.setattr(rules_module, "RuleSet", Counted)
    compiled = Rules()
    put()
    for _ in range(3):
        assert matched(compiled) == ["one"]
    put()
    assert matched(compiled) == ["one"]
    put(severity="error")
    assert matched(compiled) == ["one"]
    assert compiled_sets == [1, 1]


def test_a_notification_bears_the_version_of_the_rule_that_made_it() -> None:
    put()
    put(severity="error")
    events.record_now([EVENT])
    match_batch(Rules(), limit=10)
    with transaction() as connection:
        (delivery,) = deliveries.latest(connection)
    assert (delivery.rule_version, delivery.severity) == (2, "error")


def test_nothing_is_matched_where_the_deliveries_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    events.record_now([EVENT])

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(notifications, "create", fail)
        with pytest.raises(OSError, match="disk full"):
            match_batch(Rules(), limit=10)
    assert made() == []
    assert match_batch(Rules(), limit=10)[:2] == (1, 1)


# Notifications without a rule


def direct(one: Event = EVENT, *, name: str = "direct", targets: Any = (("inbox", {}),)) -> tuple[bool, list[str]]:
    with transaction() as connection:
        return notify_directly(connection, one, targets, template="short", severity="warning", name=name)


def test_a_message_without_a_rule_is_due_by_the_database_s_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as connection:
        before = database_now(connection)
        if connection.dialect.name != "postgresql":
            pytest.skip("SQLite has no clock of its own")
    wrong = lambda: before + timedelta(days=1)  # noqa: E731
    for module in ("dispatch.matching", "store.engine"):
        monkeypatch.setattr(f"ml_event_provider.{module}.utc_now", wrong, raising=False)
    with transaction() as connection:
        notify_directly(connection, EVENT, [("inbox", {})], template=None, severity="info", name="direct")
        (made,) = deliveries.latest(connection)
    assert made.next_attempt_at is not None
    assert made.next_attempt_at - before < timedelta(hours=1)


def test_a_direct_notification_is_recorded_and_delivered_once_however_often_it_is_asked_for() -> None:
    new, ids = direct(targets=(("inbox", {}), ("mail", {"to": ["ädä@example.com"]})))
    assert (new, len(ids)) == (True, 2)
    assert direct(targets=(("inbox", {}), ("mail", {"to": ["ädä@example.com"]}))) == (False, ids)
    assert recorded() == [EVENT]
    with transaction() as connection:
        found = {one.id: one for one in deliveries.latest(connection)}
    assert set(found) == set(ids)
    mail = found[ids[1]]
    assert (mail.rule, mail.rule_version, mail.severity, mail.template) == ("direct", 0, "warning", "short")
    assert (mail.conn_id, mail.options) == ("mail", {"to": ["ädä@example.com"]})


def test_another_name_or_event_is_another_notification() -> None:
    _, first = direct()
    assert direct(name="task fit") != (False, first)
    assert direct(event("e-2"))[1] != first
    assert len(made()) == 3


def test_events_of_one_id_from_two_sources_are_two_notifications() -> None:
    _, first = direct()
    new, second = direct(replace(EVENT, source="/elsewhere", data={"n": 2}))
    assert new
    assert second != first
    with transaction() as connection:
        found = deliveries.get(connection, second[0])
    assert found.recorded is not None
    assert found.recorded.event.data == {"n": 2}


def test_rules_notify_of_a_directly_sent_event_too() -> None:
    put()
    direct()
    assert match_batch(Rules(), limit=10)[:2] == (1, 1)
    assert made() == [("direct", "inbox", "e-1"), ("one", "inbox", "e-1")]


def test_two_changes_at_the_same_time_are_both_seen(airflow_db: Engine) -> None:
    """The second waits for the first, so that no dispatcher takes one state for the other."""
    if airflow_db.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    compiled = Rules()
    with transaction() as connection:
        compiled.of(connection, "default")
    first = airflow_db.connect()
    first.begin()
    definitions.put(first, definition("first"), managed_by="file")
    second = threading.Thread(target=put, args=("second",))
    second.start()
    second.join(0.3)
    first.commit()
    with transaction() as connection:
        compiled.of(connection, "default")
    second.join()
    first.close()
    with transaction() as connection:
        compiled.of(connection, "default")
    assert matched(compiled) == ["first", "second"]


def test_a_stored_rule_that_is_no_json_does_not_stop_the_others() -> None:
    put("good")
    put("spoilt")
    with transaction() as connection:
        connection.execute(update(schema.definition).where(schema.definition.c.name == "spoilt").values(definition="{"))
        assert [one.name for one in definitions.find(connection)] == ["good"]
