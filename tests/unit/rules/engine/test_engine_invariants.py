"""What holds of all rules and all streams of events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ml_event_provider.rules.engine.output import Kind
from tests.unit.rules.engine.driving import TICK, CountedStates, Driver, JsonStates, Said, at, rule_set, tick_of
from tests.unit.rules.engine.rule_strategies import rules, silences, streams

if TYPE_CHECKING:
    from ml_event_provider.rules.engine import Arrival
    from ml_event_provider.rules.ruleset import RuleSet

PROFILE = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)

REST = 40


def end_of(arrivals: list[Arrival]) -> int:
    return int(tick_of(arrivals[-1].at) if arrivals else 0) + REST


def straight(found: RuleSet, arrivals: list[Arrival], limit: int = 0) -> Said:
    return Driver(found, CountedStates(), limit).begin().take(*arrivals).until(end_of(arrivals)).said


@PROFILE
@given(st.data())
def test_neither_crashes_nor_idle_looks_change_what_is_said(data: st.DataObject) -> None:
    rule = data.draw(rules())
    arrivals = data.draw(streams)
    found = rule_set(rule, silences=data.draw(silences))
    limit = data.draw(st.sampled_from([0, 0, 3]))
    expected = straight(found, arrivals, limit)
    for one in expected.planned:
        event(one.kind)
    for decision in expected.decisions:
        event(decision.outcome)

    driver = Driver(found, JsonStates(), limit).begin()
    now = 0
    for one in arrivals:
        moment = int(tick_of(one.at))
        driver.until(data.draw(st.integers(now, moment)))
        if data.draw(st.booleans()):
            driver.crash()
        driver.take(one)
        now = moment
    driver.until(data.draw(st.integers(now, end_of(arrivals)))).crash()
    said = driver.until(end_of(arrivals)).said

    assert said.planned == expected.planned
    assert said.decisions == expected.decisions


@PROFILE
@given(rules(), streams, silences, st.sampled_from([0, 3]))
def test_what_is_said_is_whole(rule: dict[str, Any], arrivals: list[Arrival], silenced: list[Any], limit: int) -> None:
    found = rule_set(rule, silences=silenced)
    said = straight(found, arrivals, limit)

    ids = [one.id for one in said.planned]
    assert len(ids) == len(set(ids))

    own = {one.seq for one in arrivals if "hit" in _roles(found, one)}
    explained = {one.seq for one in said.decisions} | {seq for one in said.planned for seq in one.seqs}
    assert own <= explained

    for planned in said.planned:
        json.dumps([planned.facts, [one.options for one in planned.deliveries]], allow_nan=False)
        absent = planned.absent_event()
        assert (absent is None) == bool(planned.seqs)
        if absent is not None:
            absent.to_json()
        if planned.kind is not Kind.FIRED:
            assert all(one.action is None for one in planned.deliveries)
    for decision in said.decisions:
        json.dumps(decision.facts, allow_nan=False)
        assert not decision.notification or decision.notification in ids
    assert all(tick_of(one.at) <= end_of(arrivals) for one in [*said.planned, *said.decisions])
    moments = [one.at for one in said.planned]
    assert moments == sorted(moments)


def _roles(found: RuleSet, one: Arrival) -> set[str]:
    return next(iter(found.find(one.event.to_dict()).roles.values()), set())


@PROFILE
@given(rules("one"), rules("two"), streams)
def test_rules_do_not_influence_each_other(one: dict[str, Any], two: dict[str, Any], arrivals: list[Arrival]) -> None:
    together = straight(rule_set([one, two]), arrivals)
    for rule in (one, two):
        alone = straight(rule_set(rule), arrivals)
        assert [planned for planned in together.planned if planned.rule.name == rule["name"]] == alone.planned
        assert [made for made in together.decisions if made.rule.name == rule["name"]] == alone.decisions


#: What lets keys meet, on purpose.
SHARED = ("group", "inhibit", "cooldown")


@PROFILE
@given(rules(), streams)
def test_keys_do_not_influence_each_other(rule: dict[str, Any], arrivals: list[Arrival]) -> None:
    rule = {name: value for name, value in rule.items() if name not in SHARED} | {"by": "data.key"}
    until = at(end_of(arrivals))
    together = straight(rule_set(rule), arrivals)
    for key in "ab":
        mine = [one for one in arrivals if one.event.data["key"] == key]
        driver = Driver(rule_set(rule), CountedStates()).begin().take(*mine)
        driver.engine.advance(until)
        seqs = {one.seq for one in mine}
        name = json.dumps([key])
        assert [one for one in together.planned if one.key == name or set(one.seqs) & seqs] == [
            one for one in driver.said.planned if one.key == name or set(one.seqs) & seqs
        ]


@PROFILE
@given(rules(), streams)
def test_an_end_is_told_to_whom_something_was_told(rule: dict[str, Any], arrivals: list[Arrival]) -> None:
    gathers = ("group", "suppress", "inhibit")
    rule = {name: value for name, value in rule.items() if name not in gathers} | {"by": "data.key"}
    told: set[tuple[str, str]] = set()
    for one in straight(rule_set(rule), arrivals).planned:
        event(one.kind)
        heard = {(one.key, each.conn_id) for each in one.deliveries if not each.muted}
        if one.kind is Kind.RESOLVED:
            assert heard <= told
            told -= heard
        else:
            told |= heard


@PROFILE
@given(rules(), streams, st.integers(1, 12))
def test_firings_keep_the_time_of_their_cooldown(rule: dict[str, Any], arrivals: list[Arrival], ticks: int) -> None:
    gathers = ("group", "suppress", "inhibit", "flapping")
    rule = {name: value for name, value in rule.items() if name not in gathers}
    # A rule without alerts has no keys.
    rule |= {"by": "data.key", "cooldown": ticks * TICK, "repeat": rule.get("repeat", "1d")}
    told: dict[str, tuple[float, str]] = {}
    for one in straight(rule_set(rule), arrivals).planned:
        heard = {each.conn_id for each in one.deliveries if not each.muted}
        if one.kind is not Kind.FIRED or not heard:
            continue
        at_, alert = told.get(one.key, (0.0, ""))
        if one.alert == alert and "since" in one.facts:
            # For those who could not hear of it with the others.
            continue
        assert one.at - at_ >= ticks * TICK
        told[one.key] = one.at, one.alert
