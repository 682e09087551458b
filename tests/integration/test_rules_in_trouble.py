"""What could stop rules that remember, or make them forget, does not: each with an innocent rule beside it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select, update

from ml_event_provider.dispatch import alerts
from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.events.model import Event
from ml_event_provider.rules.engine import Engine as RuleEngine
from ml_event_provider.store import cursors, definitions, deliveries, events, retention, schema, states
from ml_event_provider.store.engine import transaction
from tests.integration.test_rules_over_time import (
    FAILED,
    HOUR,
    MINUTE,
    START,
    SUCCEEDED,
    dag_run,
    match,
    notifications,
    put,
)

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.usefixtures("airflow_db")

THRESHOLD = {"condition": {"threshold": {"count": 1, "within": "5m"}}, "resolve": True}
AWAITED = {"on": [SUCCEEDED], "condition": {"absence": {"within": "1h", "expect": ["train"]}}}
LOGGED = "ml.run.metric_logged"


def record(event_id: str, kind: str, data: dict[str, Any], at: datetime = START) -> None:
    with transaction() as connection:
        events.record(connection, [Event(id=event_id, source="/tests", type=kind, time=at, data=data)], now=at)


def told(rule: str) -> int:
    """How many notifications a rule has made."""
    return sum(1 for name, *_ in notifications() if name == rule)


def outcomes() -> list[str]:
    with transaction() as connection:
        return list(connection.execute(select(schema.decision.c.outcome).order_by(schema.decision.c.id)).scalars())


def test_a_condition_that_becomes_another_while_its_state_is_due() -> None:
    rules = Rules()
    put("other")
    put("rule", **THRESHOLD)
    dag_run(1, FAILED, MINUTE)
    match(MINUTE, rules)
    put("rule", condition={"absence": {"within": "1h"}})
    dag_run(2, FAILED, HOUR)
    match(HOUR, rules)
    assert told("other") == 2


def test_a_key_of_many_quotes_that_waits_for_an_inhibitor() -> None:
    put("other")
    put("rule", by=["data.dag_id"], inhibit=[{"on": SUCCEEDED, "wait": "1m"}], resolve=True)
    record("e-1", FAILED, {"dag_id": '"' * 180, "run_id": "r"})
    match(MINUTE)
    match(3 * MINUTE)
    assert (told("other"), told("rule")) == (1, 1)


def test_a_null_character_in_an_event_that_leads_to_an_action() -> None:
    put("other")
    put("rule", actions=[{"pause_dag": "x"}])
    record("e-1", FAILED, {"dag_id": "d", "run_id": "asset_triggered__\0x"})
    match(MINUTE)
    assert (told("other"), told("rule")) == (1, 1)


@pytest.mark.parametrize("broken", ["{", "[]", "{}", "no flapping"])
def test_a_state_that_cannot_be_used_is_forgotten(broken: str) -> None:
    put("other")
    put("rule", **THRESHOLD)
    dag_run(1, FAILED, MINUTE)
    match(MINUTE)
    with transaction() as connection:
        body = json.loads(connection.execute(select(schema.state.c.body)).scalar_one())
        del body["flapping"]
        text = json.dumps(body) if broken == "no flapping" else broken
        connection.execute(update(schema.state).values(body=text))
    for number in range(2, 4):
        dag_run(number, FAILED, number * HOUR)
        match(number * HOUR)
    assert told("other") == 3
    assert told("rule") >= 2


def test_an_event_that_one_rule_cannot_digest_is_told_by_the_others_and_noted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put("a rule", **THRESHOLD)
    put("other")
    monkeypatch.setattr(RuleEngine, "_observed", lambda *_: 1 / 0)
    dag_run(1, FAILED, MINUTE)
    match(MINUTE)
    assert notifications() == [("other", "fired", "e-1", 1)]
    assert outcomes() == ["failed"]
    assert "Rule a rule of workspace default could not digest event" in caplog.text


def test_what_is_awaited_from_the_beginning_is_noted_when_the_backlog_is_done() -> None:
    put("silence", **AWAITED)
    rules = Rules()
    for number in range(2):
        dag_run(number, FAILED, timedelta(0))
    match(timedelta(0), rules, limit=1)
    match(MINUTE, rules)
    match(5 * HOUR, rules)
    assert notifications() == [("silence", "fired", "absent", 1)]


def test_what_is_awaited_from_the_beginning_is_noted_when_the_lock_is_free(airflow_db: Engine) -> None:
    if airflow_db.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    rules = Rules()
    # So that the workspace has its lock: who makes it is waited for.
    put("other")
    match(timedelta(0), rules)
    put("silence", **AWAITED)
    with transaction() as connection:
        cursors.lock(connection, states.lock_of("default"), now=START, wait=True)
        assert match_batch(rules, limit=500, now=lambda _: START)[:2] == (0, 0)
    match(MINUTE, rules)
    match(5 * HOUR, rules)
    assert notifications() == [("silence", "fired", "absent", 1)]


def test_what_is_awaited_from_the_beginning_is_noted_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Rules()
    put("silence", **AWAITED)
    write = Batch.write

    def boom(*_: Any) -> int:
        raise RuntimeError("deadlock")

    monkeypatch.setattr(Batch, "write", boom)
    with pytest.raises(RuntimeError, match="deadlock"):
        match_batch(rules, limit=5, now=lambda _: START)
    monkeypatch.setattr(Batch, "write", write)
    match(MINUTE, rules)
    match(5 * HOUR, rules)
    assert notifications() == [("silence", "fired", "absent", 1)]


def test_a_dispatcher_that_read_older_rules_forgets_nothing_of_newer_ones() -> None:
    old, new = Rules(), Rules()
    put("first")
    with transaction() as connection:
        old.of(connection, "default")
    put("rule", group={"by": "data.dag_id", "wait": "2m"})
    dag_run(1, FAILED, MINUTE)
    match(MINUTE, new)
    match(MINUTE, old)
    match(HOUR, new)
    assert told("rule") == 1


def test_what_waits_for_a_rule_that_cannot_be_used_for_a_while_is_told_when_it_can() -> None:
    group = {"group": {"by": "data.dag_id", "wait": "2m"}}
    put("rule", **group)
    rules = Rules()
    dag_run(1, FAILED, MINUTE)
    match(MINUTE, rules)
    put("rule", **group, active={"calendar": "gone"})
    match(4 * MINUTE, rules)
    assert notifications() == []
    put("rule", **group)
    match(HOUR, rules)
    assert notifications() == [("rule", "fired", "e-1", 1)]


@pytest.mark.parametrize("away", ["disabled", "deleted"])
def test_what_waited_for_a_rule_that_is_gone_is_noted_as_forgotten(away: str) -> None:
    put("rule", group={"by": "data.dag_id", "wait": "2m"})
    rules = Rules()
    dag_run(1, FAILED, MINUTE)
    match(MINUTE, rules)
    with transaction() as connection:
        if away == "disabled":
            definitions.set_enabled(connection, "rule", workspace="default", enabled=False)
        else:
            definitions.remove(connection, "rule", workspace="default")
    match(HOUR, rules)
    assert notifications() == []
    assert outcomes() == ["grouped", "forgotten"]


def test_after_a_standstill_of_what_recurs_only_the_last_is_told() -> None:
    put("repeated", resolve=True, repeat="1m")
    put("awaited", on=[SUCCEEDED], by=[], condition={"absence": {"within": "10s", "wait": 0, "schedule": "* * * * *"}})
    match(timedelta(0))
    dag_run(1, FAILED, timedelta(seconds=1))
    match(timedelta(seconds=2))
    match(10 * HOUR)
    assert (told("repeated"), told("awaited")) == (2, 1)
    with transaction() as connection:
        overtaken = connection.execute(select(schema.decision.c.rule, schema.decision.c.facts)).all()
    facts = {rule: json.loads(text) for rule, text in overtaken if "overtaken" in text}
    # 600 repetitions and as many missed moments, but for the last of each.
    assert len(facts) == outcomes().count("overtaken") == 2
    assert facts["repeated"]["overtaken"] == 598
    assert facts["awaited"]["overtaken_until"] == "2026-11-01T09:58:00+00:00"


def test_many_alerts_after_days_away_are_done_in_few_turns_and_new_events_are_not_held_up() -> None:
    put("repeated", resolve=True, repeat="1m")
    rules = Rules()
    for number in range(40):
        dag_run(number, FAILED, timedelta(0), f"dag_{number}")
    match(timedelta(seconds=1), rules)
    with transaction() as connection:
        before = len(connection.execute(select(schema.decision.c.id)).all())
    dag_run(1000, FAILED, timedelta(days=3), "dag_new")
    turns = 0
    while match_batch(rules, limit=500, now=lambda _: START + timedelta(days=3)).more:
        turns += 1
    assert turns < 3
    assert told("repeated") == 40 + 40 + 1
    with transaction() as connection:
        after = len(connection.execute(select(schema.decision.c.id)).all())
    # Of each alert: those that were overtaken, and the one that was told; and the new event.
    assert after - before <= 40 * 3 + 1


def test_much_that_is_due_is_done_in_turns_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    put("silence", on=[SUCCEEDED], condition={"absence": {"within": "1h", "wait": 0}}, resolve=True)
    rules = Rules()
    for number in range(20):
        dag_run(number, SUCCEEDED, number * MINUTE, f"dag_{number}")
    match(20 * MINUTE, rules)
    # The first five are late, the last comes in time.
    for number in range(5):
        dag_run(100 + number, SUCCEEDED, HOUR + (number + 1) * MINUTE, f"dag_{number}")
    dag_run(119, SUCCEEDED, HOUR + 19 * MINUTE - timedelta(seconds=1), "dag_19")
    init = states.StoredStates.__init__
    monkeypatch.setattr(
        states.StoredStates, "__init__", lambda self, *some, until: init(self, *some, until=until, limit=3)
    )
    match(3 * HOUR, rules)
    kinds = [kind for _, kind, *_ in notifications()]
    # Each is late once, the five that came and the one in time are late again later.
    assert (kinds.count("fired"), kinds.count("resolved")) == (20 + 5, 5)


def test_an_alert_that_is_resolved_by_hand_begins_anew_with_the_next_bad_value() -> None:
    put("rule", on=[LOGGED], condition={"metric_threshold": {"comparison": ">", "threshold": 1}}, resolve=True)
    value = {"run_id": "x", "metric": "m", "value": 5}
    record("e-1", LOGGED, value)
    match(timedelta(0))
    with transaction() as connection:
        (alert,) = states.open_alerts(connection)
    alerts.resolve(alert.id, who="ana", now=lambda _: START + MINUTE)
    record("e-2", LOGGED, value, START + 2 * MINUTE)
    match(2 * MINUTE)
    with transaction() as connection:
        assert len(states.open_alerts(connection)) == 1


def test_the_event_of_an_alert_that_lasts_is_not_pruned() -> None:
    put("rule", resolve=True, repeat="1d")
    dag_run(1, FAILED, timedelta(0))
    dag_run(2, SUCCEEDED, timedelta(0), "other")
    dag_run(3, SUCCEEDED, timedelta(0), "newest")
    match(MINUTE)
    with transaction() as connection:
        connection.execute(update(schema.delivery).values(state="delivered"))
    assert retention.prune(START + timedelta(days=30)) == 1
    match(timedelta(days=1, hours=1))
    with transaction() as connection:
        assert all(one.recorded for one in deliveries.latest(connection))
