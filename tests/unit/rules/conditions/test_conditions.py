"""Conditions over time, case by case. All moments are ticks of ten seconds."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.rules.conditions import Condition, Memory, Observation, Verdict, anew, sequence, threshold
from ml_event_provider.rules.engine import MemoryStates, Place
from ml_event_provider.rules.model import Rule
from tests.unit.rules.engine.driving import FAILED, START, SUCCESS, Driver, arrival, at, run, tick_of

RULE = {"name": "rule", "on": FAILED, "by": "data.key", "resolve": True, "targets": "target"}


def hit(seq: int, tick: float, value: Any = None, *, late: float = 0, **data: Any) -> Any:
    return arrival(seq, tick, FAILED, late=late, **({"key": "a"} | data | ({} if value is None else {"value": value})))


def undo(seq: int, tick: float, *, late: float = 0) -> Any:
    return arrival(seq, tick, SUCCESS, late=late, key="a")


def told(condition: dict[str, Any], arrivals: list[Any], until: float = 40) -> list[Any]:
    resolve = "sequence" not in condition
    return run(RULE | {"condition": condition, "resolve": resolve}, arrivals, until).kinds()


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        pytest.param([hit(1, 0), hit(2, 3)], [], id="too few"),
        pytest.param([hit(1, 0), hit(2, 1), hit(3, 6)], [], id="not within the time"),
        pytest.param([hit(1, 0), hit(2, 1), hit(3, 5)], [("fired", 5, (3,)), ("resolved", 6, (3,))], id="just within"),
        pytest.param(
            [hit(seq, seq) for seq in range(1, 9)], [("fired", 3, (3,)), ("resolved", 12, (3,))], id="once a stretch"
        ),
        pytest.param(
            [hit(1, 0), hit(2, 0), hit(3, 0), hit(4, 6), hit(5, 6), hit(6, 6)],
            [("fired", 0, (3,)), ("resolved", 6, (3,)), ("fired", 6, (6,)), ("resolved", 12, (6,))],
            id="stretches that only meet are two",
        ),
        pytest.param(
            [hit(1, 0), hit(2, 1), hit(3, 20, late=18)],
            [("fired", 20, (3,)), ("resolved", 20, (3,))],
            id="a late event completes a stretch that is past",
        ),
        pytest.param(
            [hit(1, 0), hit(2, 4), hit(3, 10, late=8), hit(4, 11, late=11), hit(5, 12, late=7)],
            [("fired", 10, (2,)), ("resolved", 10, (3,))],
            id="what lengthens a stretch that was told is not told",
        ),
        pytest.param([hit(1, 0), hit(2, 1), hit(3, 23, late=21)], [], id="too late"),
    ],
)
def test_so_many_events_within_a_time(arrivals: list[Any], expected: list[Any]) -> None:
    condition = {"threshold": {"count": 3, "within": 60, "lateness": 200}}
    assert told(condition, arrivals) == expected


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        pytest.param([hit(1, 0)], [], id="too few"),
        pytest.param(
            [hit(seq, seq) for seq in range(1, 6)],
            [("fired", 2, (2,)), ("fired", 4, (4,)), ("resolved", 9, (4,))],
            id="each second fires",
        ),
        pytest.param(
            [hit(1, 0), hit(2, 1), hit(3, 8), hit(4, 9)],
            [("fired", 1, (2,)), ("resolved", 6, (2,)), ("fired", 9, (4,)), ("resolved", 14, (4,))],
            id="again after it is over",
        ),
        pytest.param(
            [hit(1, 0), hit(2, 1), hit(3, 2), hit(4, 8)], [("fired", 1, (2,)), ("resolved", 6, (2,))], id="far"
        ),
        pytest.param(
            [hit(1, 5), hit(2, 6), hit(3, 7, late=3), hit(4, 8)],
            [("fired", 6, (2,)), ("resolved", 11, (2,))],
            id="a late event from before a firing counts not with one after it",
        ),
        pytest.param(
            [hit(1, 5), hit(2, 6), hit(3, 7, late=3), hit(4, 8, late=5)],
            [("fired", 6, (2,)), ("fired", 8, (3,)), ("resolved", 11, (3,))],
            id="two late ones from before a firing are another",
        ),
    ],
)
def test_so_many_events_within_a_time_again_and_again(arrivals: list[Any], expected: list[Any]) -> None:
    condition = {"threshold": {"count": 2, "within": 60, "lateness": 200, "renew": True}}
    assert told(condition, arrivals) == expected


def test_counted_anew_a_flood_of_one_value_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anew, "MOST", 300)
    condition = {"threshold": {"count": 3, "within": "1d", "distinct": "data.value", "renew": True}}
    flood = [hit(seq, seq / 10, "many") for seq in range(2, 2000)]
    assert told(condition, [hit(1, 0, "first"), *flood, hit(2000, 201, "last")], 202) == [("fired", 201, (2000,))]


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        pytest.param([hit(1, 1), undo(2, 2), hit(3, 3)], [], id="too few"),
        pytest.param(
            [hit(1, 1), undo(2, 2), hit(3, 3), undo(4, 4), hit(5, 5), hit(6, 6), undo(7, 7), undo(8, 8)],
            [("fired", 5, (5,)), ("resolved", 8, (8,))],
            id="three of the last five, until they are not",
        ),
        pytest.param([hit(1, 1), hit(2, 2), hit(3, 3)], [("fired", 3, (3,))], id="three are enough before five came"),
        pytest.param(
            [hit(1, 1), hit(2, 2), undo(3, 3), undo(4, 4), undo(5, 5), hit(6, 6)], [], id="what is older counts no more"
        ),
        pytest.param(
            [hit(1, 1), hit(2, 2), undo(3, 4), hit(4, 5, late=2)], [("fired", 5, (4,))], id="a late event counts"
        ),
        pytest.param(
            [hit(1, 5), hit(2, 6), undo(3, 7), undo(4, 8), undo(5, 9), hit(6, 10, late=8)],
            [],
            id="a late event that is not among the last says nothing",
        ),
    ],
)
def test_so_many_of_the_last(arrivals: list[Any], expected: list[Any]) -> None:
    assert told({"last": {"count": 3, "of": 5}}, arrivals) == expected


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"count": 6, "of": 5}, "6 of the last 5 can never be"),
        ({"count": 1, "of": 5, "others": {}}, "others needs 'on' or 'event_pattern'"),
    ],
)
def test_what_can_never_be_of_the_last_is_refused(part: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Rule.model_validate(RULE | {"condition": {"last": part}})


def test_the_others_of_the_last_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"condition.last.others: nothing is known to undo com.example.called"):
        Rule.model_validate(RULE | {"on": "com.example.called", "condition": {"last": {"count": 1, "of": 2}}})


def test_an_event_without_the_field_has_no_value_to_count() -> None:
    condition = {"threshold": {"count": 2, "within": 60, "distinct": "data.value"}}
    assert told(condition, [hit(1, 0, "x"), hit(2, 0), hit(3, 0, "x")]) == []
    assert told(condition, [hit(1, 0, "x"), hit(2, 0), hit(3, 0, "y")])[0] == ("fired", 0, (3,))


def test_what_is_too_late_says_how_late() -> None:
    condition = {"threshold": {"count": 1, "within": 60, "lateness": 20}}
    said = run(RULE | {"condition": condition}, [hit(1, 9, late=3)])
    (decision,) = said.decisions
    assert (decision.outcome, decision.facts) == ("too late", {"seconds_late": 30.0, "allowed": 20.0})


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        pytest.param([hit(1, 0), undo(2, 1), hit(3, 2)], [], id="broken"),
        pytest.param([hit(1, 0), hit(2, 1), hit(3, 2)], [("fired", 1, (2,))], id="once a row"),
        pytest.param([hit(1, 0), hit(2, 1), undo(3, 2)], [("fired", 1, (2,)), ("resolved", 2, (3,))], id="over"),
        pytest.param(
            [hit(1, 0), undo(2, 3), hit(3, 4, late=2)],
            [("fired", 4, (3,)), ("resolved", 4, (3,))],
            id="a late event completes a row that is broken since",
        ),
        pytest.param(
            [hit(1, 0), hit(2, 1), hit(3, 2), hit(4, 3), undo(5, 4, late=2.5)],
            [("fired", 1, (2,))],
            id="a late break parts a row that was told",
        ),
        pytest.param([undo(1, 5), hit(2, 6, late=2), hit(3, 7)], [], id="an early break parts a late event"),
        pytest.param(
            [undo(1, 5), hit(2, 6), hit(3, 7)], [("fired", 7, (3,))], id="an early break breaks nothing after it"
        ),
        pytest.param(
            [hit(1, 5), hit(2, 6), undo(3, 7, late=4)], [("fired", 6, (2,))], id="an older break does not end a row"
        ),
        pytest.param(
            [hit(1, 0), hit(2, 0), undo(3, 0), hit(4, 0)],
            [("fired", 0, (2,)), ("resolved", 0, (3,))],
            id="at one moment the order of arrival counts",
        ),
    ],
)
def test_so_many_events_in_a_row(arrivals: list[Any], expected: list[Any]) -> None:
    assert told({"consecutive": {"count": 2, "lateness": 100}}, arrivals) == expected


def test_a_row_of_one_is_told_once_although_nothing_may_come_late() -> None:
    assert told({"consecutive": {"count": 1, "lateness": 0}}, [hit(1, 0), hit(2, 1), hit(3, 2)]) == [("fired", 0, (1,))]


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        pytest.param([hit(1, 0)], [("fired", 4, ())], id="once a silence"),
        pytest.param(
            [hit(1, 0), hit(2, 6)],
            [("fired", 4, ()), ("resolved", 6, (2,)), ("fired", 10, ())],
            id="again after an event",
        ),
        pytest.param(
            [hit(1, 0), hit(2, 4)], [("fired", 4, ()), ("resolved", 4, (2,)), ("fired", 8, ())], id="too late"
        ),
        pytest.param(
            [hit(1, 0), hit(2, 9, late=8), hit(3, 10)],
            [("fired", 4, ()), ("resolved", 10, (3,)), ("fired", 14, ())],
            id="a late event does not begin another silence while one lasts",
        ),
        pytest.param(
            [hit(1, 0), hit(2, 5, late=3)],
            [("fired", 4, ()), ("resolved", 5, (2,)), ("fired", 6, ())],
            id="a late event may end it for a while",
        ),
        pytest.param([hit(1, 5), hit(2, 6, late=6)], [("fired", 9, ())], id="an older event says nothing"),
    ],
)
def test_no_event_for_too_long(arrivals: list[Any], expected: list[Any]) -> None:
    assert told({"absence": {"within": 30, "wait": 10}}, arrivals, until=20) == expected


def test_expected_keys_are_awaited_from_the_beginning() -> None:
    condition = {"absence": {"within": 30, "wait": 10, "expect": ["a", "z"]}}
    said = run(RULE | {"condition": condition}, [hit(1, 3)], until=6)
    assert [(tick_of(one.at), one.key) for one in said.planned] == [(4, '["z"]')]
    event = said.planned[0].absent_event()
    assert event is not None
    assert (event.type, event.data["key"], event.subject) == ("ml.event.absent", ["z"], "z")


@pytest.mark.parametrize("by", [["subject", "data.key"], ["data.key", "data.key.part"], ["data", "data.key"], None])
def test_keys_of_any_fields_can_be_expected(by: list[str] | None) -> None:
    expect = [["a", "b"]] if by else ["a"]
    rule = RULE | {"by": by, "condition": {"absence": {"within": 30, "wait": 0, "expect": expect}}}
    assert run(rule, until=6).kinds() == [("fired", 3, ())]


def test_what_is_expected_already_is_not_awaited_anew() -> None:
    condition = {"absence": {"within": 30, "wait": 0, "expect": ["a"]}}
    driver = Driver(RULE | {"condition": condition}).begin().until(2)
    driver.crash()
    driver.engine.expect(at(2))
    assert driver.until(4).said.kinds() == [("fired", 3, ())]


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        # The moments are ticks 6, 12, 18; each is judged four ticks later.
        pytest.param([], [("fired", 10, ()), ("fired", 16, ()), ("fired", 22, ())], id="each moment"),
        pytest.param([hit(1, 6), hit(2, 15), hit(3, 20)], [], id="met, at the latest after that time"),
        pytest.param([hit(1, 5), hit(2, 12), hit(3, 18)], [("fired", 10, ()), ("resolved", 12, (2,))], id="too early"),
        pytest.param(
            [hit(1, 10, late=1), hit(2, 12), hit(3, 18)],
            [("fired", 10, ()), ("resolved", 10, (1,))],
            id="at the moment of judgement it is too late, but ends the alert",
        ),
        pytest.param(
            [hit(1, 9.5), hit(2, 12), hit(3, 18)],
            [("fired", 10, ()), ("resolved", 10, ())],
            id="what came too late before the judgement ends the alert with it",
        ),
        pytest.param(
            [hit(1, 11, late=6), hit(2, 12), hit(3, 18)],
            [("fired", 10, ()), ("resolved", 12, (2,))],
            id="a late event from before the moment does not end it",
        ),
        pytest.param(
            [hit(1, 11, late=5), hit(2, 12), hit(3, 18)],
            [("fired", 10, ()), ("resolved", 11, (1,))],
            id="a late event of that very moment ends it",
        ),
        pytest.param(
            [hit(1, 11, late=3), hit(2, 12), hit(3, 18)],
            [("fired", 10, ()), ("resolved", 11, (1,))],
            id="a late event that met the moment ends it",
        ),
    ],
)
def test_not_when_the_schedule_expects_it(arrivals: list[Any], expected: list[Any]) -> None:
    absence = {"within": 30, "wait": 10, "schedule": "* * * * *", "expect": ["a"]}
    assert told({"absence": absence}, arrivals, until=23) == expected


def test_of_many_events_none_is_forgotten_that_alone_met_a_moment() -> None:
    absence = {"within": 10, "wait": 80, "schedule": "* * * * *", "expect": ["a"]}
    assert told({"absence": absence}, [hit(1, 6), hit(2, 11), hit(3, 12.5), hit(4, 14)], until=25) == []


def test_a_flood_of_events_does_not_hide_that_a_moment_was_met() -> None:
    absence = {"within": 10, "wait": 30, "schedule": "* * * * *", "expect": ["a"]}
    arrivals = [hit(seq, 6 + seq / 1000) for seq in range(3000)]
    driver = Driver(RULE | {"condition": {"absence": absence}}, MemoryStates()).begin()
    driver.take(*arrivals).until(15)
    assert driver.said.kinds() == []
    assert isinstance(driver.states, MemoryStates)
    (body,) = driver.states.bodies.values()
    assert len(json.dumps(body)) < 3000


@pytest.mark.parametrize(
    ("missing", "arrivals", "expected"),
    [
        (False, [hit(1, 0), undo(2, 3)], [("fired", 3, (2,))]),
        (False, [hit(1, 0), undo(2, 4)], []),
        (False, [hit(1, 0), undo(2, 0), undo(3, 1)], [("fired", 0, (2,))]),
        (False, [undo(1, 0), hit(2, 0)], [("fired", 0, (1,))]),
        (False, [undo(1, 3), hit(2, 4, late=3)], [("fired", 4, (1,))]),
        (False, [undo(1, 3), undo(2, 4, late=2), hit(3, 5, late=4)], [("fired", 5, (2,))]),
        (False, [hit(1, 0), hit(2, 2), undo(3, 5)], [("fired", 5, (3,))]),
        (True, [hit(1, 0)], [("fired", 4, (1,))]),
        (True, [hit(1, 0), undo(2, 3)], []),
        (True, [hit(1, 0), undo(2, 4, late=1)], [("fired", 4, (1,))]),
        (True, [hit(1, 0), undo(2, 3.5, late=0.5)], []),
        (True, [hit(1, 0), hit(2, 2), undo(3, 4)], [("fired", 4, (1,))]),
        (True, [hit(1, 9, late=9)], [("fired", 9, (1,))]),
        (True, [hit(1, 5), undo(2, 4)], [("fired", 9, (1,))]),
    ],
)
def test_one_event_after_another(missing: bool, arrivals: list[Any], expected: list[Any]) -> None:
    arrivals = sorted(arrivals, key=lambda one: one.at)
    sequence = {"then": {"on": SUCCESS}, "within": 30, "wait": 10, "lateness": 100, "missing": missing}
    assert told({"sequence": sequence}, arrivals) == expected


def test_what_did_not_follow_is_told_where_durations_are_no_binary_fractions() -> None:
    # Added in another order, these sums differ in the last bit.
    sequence = {"then": {"on": SUCCESS}, "within": 0.127655, "wait": 1.209525, "lateness": 1, "missing": True}
    assert len(told({"sequence": sequence}, [hit(1, 51.4166737)], until=60)) == 1


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        (
            {"metric_threshold": {"comparison": ">", "threshold": 3}},
            [1, 4, 5, 2, 6],
            ["fired 1", "resolved 3", "fired 4"],
        ),
        ({"metric_threshold": {"comparison": "<", "threshold": 3, "window": 2}}, [1, 4, 1], ["fired 1"]),
        (
            {"metric_threshold": {"comparison": "<=", "threshold": 3, "window": 2, "aggregate": "max"}},
            [3, 3, 4],
            ["fired 1", "resolved 2"],
        ),
        ({"metric_change": {"threshold": 0.5}}, [10, 14, 21, 22, 11], ["fired 2", "resolved 3", "fired 4"]),
        ({"metric_change": {"threshold": 0.5}}, [0, 0, 1, 1], ["fired 2", "resolved 3"]),
        ({"metric_change": {"threshold": 0.5, "direction": "decrease"}}, [1, 2, 1], ["fired 2"]),
        ({"metric_change": {"threshold": 3, "compare": "absolute", "previous": 2}}, [1, 3, 5], ["fired 2"]),
        ({"metric_zscore": {"window": 4, "threshold": 2}}, [1, 3, 1, 3, 4, 5], ["fired 4"]),
        ({"metric_zscore": {"window": 2}}, [1, 1, 1, 2], ["fired 3"]),
        ({"metric_threshold": {"comparison": ">", "threshold": 3}}, ["9", True, None, 5], ["fired 3"]),
        ({"metric_threshold": {"comparison": ">", "threshold": 3}}, [5, "1", None], ["fired 0"]),
    ],
)
def test_values_of_a_metric(condition: dict[str, Any], values: list[Any], expected: list[str]) -> None:
    found = told(condition, [hit(seq, seq, value) for seq, value in enumerate(values)])
    assert [f"{kind} {seqs[0]}" for kind, _, seqs in found] == expected


def test_the_newest_value_is_the_newest_by_its_own_time() -> None:
    condition = {"metric_threshold": {"comparison": ">", "threshold": 3, "aggregate": "last"}}
    assert told(condition, [hit(1, 5, 1), hit(2, 6, 9, late=4), hit(3, 6, 9)]) == [("fired", 6, (3,))]


@pytest.mark.parametrize(
    "condition",
    [
        {"metric_threshold": {"comparison": ">", "threshold": 1, "window": 2}},
        {"metric_change": {"threshold": 0.1}},
        {"metric_zscore": {"window": 2}},
        *(
            {"statistic": {"filter": name, "period": 10, "comparison": ">", "threshold": 1}}
            for name in ("average", "sum", "variance", "max", "min")
        ),
    ],
)
@pytest.mark.parametrize("largest", [1.7e308, 1e200, 5e-324])
def test_no_number_is_too_large_to_reckon_with(condition: dict[str, Any], largest: float) -> None:
    values = [largest, -largest, largest, largest, 0, 10**400, -largest]
    said = Driver(RULE | {"condition": condition}).begin()
    said.take(*(hit(seq, seq // 3, value) for seq, value in enumerate(values))).until(20)
    for one in [*said.said.planned, *said.said.decisions]:
        json.dumps(one.facts, allow_nan=False)


@pytest.mark.parametrize(
    ("parts", "values", "expected"),
    [
        pytest.param(
            {}, {1: [5], 3: [1]}, [("fired", 4, (0,)), ("resolved", 6, (0,))], id="judged when it is complete"
        ),
        pytest.param({}, {1: [5], 9: [6]}, [("fired", 4, (0,))], id="no values, no verdict"),
        pytest.param({"wait": 30}, {1: [5]}, [("fired", 5, (0,))], id="the wait counts"),
        pytest.param({"count": 2}, {1: [5], 5: [5]}, [], id="not in a row"),
        pytest.param({"count": 2}, {1: [5], 2: [5]}, [("fired", 6, (1,))], id="in a row"),
        pytest.param(
            {"count": 2},
            {1: [5], 2: [5], 7: [5], 9: [1]},
            [("fired", 6, (1,)), ("resolved", 12, (1,))],
            id="a period without values in a row ends no alert",
        ),
        pytest.param(
            {"count": 2}, {1: [5], 5: [5], 7: [5]}, [("fired", 10, (2,))], id="a period without values is in no row"
        ),
        pytest.param(
            {"count": 2},
            {1: [5], 2: [5], 5: [1]},
            [("fired", 6, (1,)), ("resolved", 8, (1,))],
            id="a period with values ends it",
        ),
        pytest.param({"filter": "sum"}, {1: [2], 0: [2]}, [("fired", 4, (1,))], id="all values of the period"),
        pytest.param({"filter": "variance", "threshold": 1}, {0: [1, 5]}, [("fired", 4, (1,))], id="variance"),
    ],
)
def test_a_statistic_of_each_period(parts: dict[str, Any], values: dict[int, list[int]], expected: list[Any]) -> None:
    statistic = {"filter": "average", "period": 20, "comparison": ">", "threshold": 3, "wait": 20} | parts
    flat = [(tick, value) for tick in sorted(values) for value in values[tick]]
    arrivals = [hit(seq, tick, value) for seq, (tick, value) in enumerate(flat)]
    assert told({"statistic": statistic}, arrivals) == expected


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        pytest.param(hit(2, 3.9, 1, late=2), [], id="within the wait it counts"),
        pytest.param(hit(2, 4, 1, late=3), [("fired", 4, (1,))], id="when its period is judged it is too late"),
        pytest.param(hit(2, 5, 1, late=4), [("fired", 4, (1,))], id="after that, too"),
    ],
)
def test_a_period_is_judged_once(late: Any, expected: list[Any]) -> None:
    condition = {"statistic": {"filter": "min", "period": 20, "comparison": ">", "threshold": 3, "wait": 20}}
    said = run(RULE | {"condition": condition}, [hit(1, 1, 5), late], 20)
    assert said.kinds() == expected
    assert [one.seq for one in said.decisions if one.outcome == "too late"] == ([2] if expected else [])


def test_a_late_value_for_a_period_without_values_changes_nothing() -> None:
    condition = {"statistic": {"filter": "max", "period": 20, "comparison": ">", "threshold": 3, "wait": 0, "count": 2}}
    said = run(RULE | {"condition": condition}, [hit(1, 1, 5), hit(2, 4, 5), hit(3, 4.5, 5, late=2)], 20)
    assert said.kinds() == []
    (decision,) = [one for one in said.decisions if one.outcome == "too late"]
    assert (decision.seq, decision.facts) == (3, {"seconds_late": 20.0, "allowed": 15.0})


def test_a_statistic_of_days_goes_by_the_clock_of_its_zone() -> None:
    statistic = {"filter": "sum", "period": "1d", "comparison": ">=", "threshold": 3, "wait": 0}
    arrivals = [hit(1, 0, 2), hit(2, 22 * 360, 2), hit(3, 23.5 * 360, 1)]
    assert told({"statistic": statistic}, arrivals, 48 * 360) == [("fired", 24 * 360, (3,))]
    # In Berlin the first of January ends at 23 h in UTC.
    zoned = statistic | {"timezone": "Europe/Berlin", "threshold": 4}
    assert told({"statistic": zoned}, arrivals, 48 * 360) == [("fired", 23 * 360, (2,)), ("resolved", 47 * 360, (2,))]


def test_a_statistic_of_180_periods_against_those_of_a_month_before_is_kept_in_little_room() -> None:
    statistic = {
        "filter": "sum",
        "period": 10,
        "comparison": ">=",
        "threshold": 0.1,
        "wait": 0,
        "count": 180,
        "against": {"periods": 744, "direction": "increase"},
    }
    states = MemoryStates()
    driver = Driver(RULE | {"condition": {"statistic": statistic}}, states).begin()
    # 1.2 is a tenth and more above 1.09, and so from the 744th on.
    driver.take(*(hit(seq, seq, 1.09 if seq < 744 else 1.2) for seq in range(1300)))
    assert driver.said.kinds() == [("fired", 744 + 180, (744 + 179,))]
    (body,) = states.bodies.values()
    assert len(body["memory"]["periods"]) <= 744 + 180 + 1
    assert len(json.dumps(body)) < 60_000


@pytest.mark.parametrize(
    ("compare", "direction", "limit", "values", "fires"),
    [
        ("relative", "increase", 0.2, [1.0, 1.2], True),
        ("relative", "increase", 0.2, [1.2, 1.0], False),
        ("relative", "decrease", 0.1, [1.0, 0.9], True),
        ("relative", "any", 0.1, [1.1, 1.21], True),
        ("relative", "any", 1e9, [0, 1], True),
        ("relative", "any", 0, [0, 0], True),
        ("absolute", "increase", 0.1, [1.1, 1.2], True),
        ("absolute", "decrease", 0.05, [0.93, 0.88], True),
        ("absolute", "decrease", 0.06, [0.93, 0.88], False),
    ],
)
def test_a_period_against_the_one_before(
    compare: str, direction: str, limit: float, values: list[float], fires: bool
) -> None:
    against = {"compare": compare, "direction": direction}
    statistic = {"filter": "max", "period": 10, "comparison": ">=", "threshold": limit, "wait": 0, "against": against}
    said = run(
        RULE | {"condition": {"statistic": statistic}}, [hit(seq, seq, one) for seq, one in enumerate(values)], 9
    )
    assert said.kinds() == ([("fired", 2, (1,))] if fires else [])
    for one in said.planned:
        json.dumps(one.facts, allow_nan=False)
        assert (one.facts["max"], one.facts["before"]) == (values[1], values[0])


@pytest.mark.parametrize("period", ["1.1s", "1.3s", "7.7s", "13.37s", "0.9m"])
def test_a_period_that_is_no_binary_fraction_is_judged_once_and_in_time(period: str) -> None:
    statistic = {"filter": "max", "period": period, "comparison": ">", "threshold": 3, "wait": "0.1s"}
    rule = RULE | {"condition": {"statistic": statistic}}
    states = Looked()
    driver = Driver(rule, states).begin().take(*(hit(seq, seq * 7.3, 4 * (seq % 2)) for seq in range(200))).until(2000)
    assert len(driver.said.planned) == 199
    assert states.looks < 1000


class Looked(MemoryStates):
    """Counts how often it is asked what is due."""

    looks = 0

    def pop_due(self, moment: float) -> tuple[float, Place] | None:
        self.looks += 1
        return super().pop_due(moment)


class Shown:
    """Shows observations to a condition alone, and keeps what it says. Moments are seconds."""

    def __init__(self, **condition: Any) -> None:
        self.tracked = Condition.model_validate(condition).tracked
        self.memory: Memory = self.tracked.begin(0)
        self.fired: list[int | None] = []
        self.seqs = 0

    def see(self, now: float, *, late: float = 0, value: Any = None, role: Any = "hit") -> Verdict:
        self.tracked.take(self.memory, Observation(now - late, self.seqs, role, value), now)
        self.seqs += 1
        return self.judge(now)

    def judge(self, now: float) -> Verdict:
        verdict = self.tracked.judge(self.memory, now)
        self.fired += verdict.fired
        return verdict

    @property
    def size(self) -> int:
        return len(json.dumps(self.memory))


MISSING = {"then": {"on": SUCCESS}, "within": 100_000, "wait": 10, "lateness": 3600, "missing": True}


def test_of_many_starts_that_nothing_followed_each_is_told_in_its_time() -> None:
    shown = Shown(sequence=MISSING)
    for number in range(1200):
        shown.see(number)
    assert shown.fired == []
    shown.judge(100_010 + 599)
    assert shown.fired == list(range(600))
    shown.judge(100_010 + 1199)
    assert shown.fired == list(range(1200))
    assert shown.memory["starts"] == []


def test_of_too_many_open_starts_the_oldest_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "MOST", 50)
    shown = Shown(sequence=MISSING)
    facts = [shown.see(number).facts for number in range(70)]
    assert shown.fired == list(range(20))
    assert facts[49:51] == [{"waiting": True}, {"waiting": True, "told_early": 1}]
    shown.judge(200_000)
    assert shown.fired == list(range(70))


def test_starts_that_are_followed_or_told_and_events_that_follow_nothing_new_are_forgotten() -> None:
    shown = Shown(sequence=MISSING | {"within": 60})
    for number in range(3000):
        shown.see(number, role="then" if number % 3 else "hit")
    assert shown.fired == []
    assert shown.size < 2500
    shown.see(3000, late=2000)
    assert shown.fired == []
    # None of those follows this one.
    assert shown.see(3060, late=60).facts == {"waiting": True}


def test_a_start_from_before_all_that_may_come_late_is_remembered_until_another_event_follows() -> None:
    shown = Shown(sequence=MISSING | {"missing": False, "lateness": 10})
    shown.see(0)
    shown.judge(50)
    shown.see(60, role="then")
    shown.judge(80)
    shown.see(90, role="then")
    assert shown.fired == [1]


def test_an_event_between_two_others_is_remembered_if_they_do_not_follow_all_that_it_follows() -> None:
    shown = Shown(sequence=MISSING | {"within": 60})
    for now in (0, 70, 110):
        shown.see(now, role="then")
    shown.see(110, late=90)
    assert shown.fired == []


@pytest.mark.parametrize("since", [0, 2999])
def test_a_late_event_still_meets_one_of_many(since: int) -> None:
    shown = Shown(sequence=MISSING | {"missing": False, "within": 1})
    for number in range(3000):
        shown.see(number)
    shown.see(3000, role="then", late=3000 - since)
    assert shown.fired == [3000]


def test_what_a_rare_value_adds_is_not_forgotten_among_many_of_another() -> None:
    shown = Shown(threshold={"count": 3, "within": 3600, "distinct": "data.value"})
    for value in ["a", *["b"] * 2000, "c"]:
        shown.see(shown.seqs, value=value)
    assert shown.fired == [2001]
    assert shown.size < 20_000


def test_a_few_events_long_ago_are_not_forgotten_among_many() -> None:
    shown = Shown(threshold={"count": 3, "within": 10})
    for second in range(0, 3600, 6):
        shown.see(second)
    assert shown.fired == []
    shown.see(3600, late=3599)
    assert shown.fired == [1]


def test_an_event_between_two_crowds_is_remembered_if_it_may_fill_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threshold, "ROOM", 0)
    monkeypatch.setattr(threshold, "_spare", lambda count: 0)
    shown = Shown(threshold={"count": 2, "within": 10})
    for now in (0, 1, 11, 18, 19):
        shown.see(now)
    assert shown.fired == [1, 3]
    shown.see(19, late=16.5)
    assert shown.fired == [1, 3, 2]


def test_values_of_any_length_are_told_apart_in_little_room() -> None:
    shown = Shown(threshold={"count": 5, "within": 60, "distinct": "data.value"})
    for value in ["x" * 100_000 + end for end in "abcdab"] + [{"x": ["y" * 1000] * 100}]:
        shown.see(1, value=value)
    assert shown.fired == [6]
    assert shown.size < 1000


@pytest.mark.parametrize("values", [1, 99, 5000])
def test_a_late_event_costs_no_more_than_a_look_at_each(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(threshold={"count": 100, "within": 3600, "distinct": "data.value"})
    for number in range(2000):
        shown.tracked.take(shown.memory, Observation(5000 + number / 10, number, "hit", number % values), 5200)
    looks = 0
    add = threshold._Newest.add

    def counted(self: Any, time: float, value: Any) -> None:
        nonlocal looks
        looks += 1
        add(self, time, value)

    monkeypatch.setattr(threshold._Newest, "add", counted)
    shown.memory["room"] = 0
    shown.see(5200, late=1000, value="late")
    assert 0 < looks <= 3 * 2001


def statistic(name: str, values: list[float], comparison: str = ">=", limit: float = 0) -> Verdict:
    shown = Shown(statistic={"filter": name, "period": 60, "comparison": comparison, "threshold": limit, "wait": 0})
    for value in values:
        shown.see(START + 1, value=value)
    assert shown.size < 3000
    return shown.judge(START + 60)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("average", [1, 2, 3], 2),
        ("average", [0.1, 0.2, 0.3], 0.2),
        ("average", [0.1] * 3, 0.1),
        ("sum", [0.1] * 10, 1),
        ("sum", [1e16, 1, -1e16], 1),
        ("sum", [1e140, 0.1, -1e140], 0.1),
        ("sum", range(20_000), 199_990_000),
        ("variance", [0.1, 0.3], 0.01),
        ("variance", [1e9 + 1, 1e9 + 3], 1),
        ("variance", [5e-324, 1e140, 1e140, -1e140], 6.875e279),
        ("max", [0.1, 0.3, 0.2], 0.3),
        ("min", [0.2, -0.1, 0.3], -0.1),
    ],
)
def test_a_statistic_meets_its_limit_exactly(name: str, values: list[float], expected: float) -> None:
    assert statistic(name, values, ">=", expected).active
    assert statistic(name, values, "=", expected).facts[name] == expected


@given(st.lists(st.floats(-1e12, 1e12) | st.integers(-1000, 1000), min_size=1, max_size=30))
def test_a_statistic_is_that_of_all_values(values: list[float]) -> None:
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    expected = {
        "average": mean,
        "sum": sum(exact),
        "min": min(exact),
        "max": max(exact),
        "variance": sum((one - mean) ** 2 for one in exact) / len(exact),
    }
    largest = max(abs(value) for value in values)
    for name, found in expected.items():
        # A number as it is written and its nearest binary fraction differ in the last bit of the largest.
        room = largest**2 if name == "variance" else largest
        assert statistic(name, values).facts[name] == pytest.approx(float(found), rel=1e-9, abs=room * 1e-14)


FORMS = json.loads(Path(__file__).with_name("forms.json").read_text("utf-8"))


@pytest.mark.parametrize("condition", FORMS, ids=lambda one: next(iter(one["condition"])))
def test_what_is_remembered_goes_on_where_a_condition_means_what_it_meant(condition: dict[str, Any]) -> None:
    rule = {"name": "r", "on": FAILED, "by": "data.key", "targets": "t", "condition": condition["condition"]}
    assert Rule.model_validate(rule).form == condition["form"]


@pytest.mark.parametrize(
    ("condition", "part"),
    [
        ({"statistic": {"filter": "max", "period": "1d", "comparison": ">", "threshold": 3}}, {"timezone": "UTC"}),
        ({"statistic": {"filter": "max", "period": "1d", "comparison": ">", "threshold": 3}}, {"against": {}}),
        ({"metric_change": {"threshold": 0.5}}, {"aggregate": "max"}),
        ({"threshold": {"count": 2, "within": "1h"}}, {"renew": True}),
    ],
)
def test_what_is_remembered_begins_anew_where_it_means_something_else(
    condition: dict[str, Any], part: dict[str, Any]
) -> None:
    ((kind, options),) = condition.items()
    one, other = (Rule.model_validate(RULE | {"condition": {kind: form}}) for form in (options, options | part))
    assert one.form != other.form


def test_memory_stays_small() -> None:
    for condition in (
        {"threshold": {"count": 3, "within": 60}},
        {"threshold": {"count": 3, "within": 60, "distinct": "data.value"}},
        {"statistic": {"filter": "variance", "period": "1h", "comparison": ">", "threshold": 3}},
        {"sequence": {"then": {"on": SUCCESS}, "within": 60, "missing": True}},
        {"threshold": {"count": 3, "within": 60, "renew": True}},
        {"threshold": {"count": 30, "within": 60, "renew": True, "distinct": "data.value"}},
        {"last": {"count": 300, "of": 1000}},
        {"consecutive": {"count": 3}},
        {"sequence": {"then": {"on": SUCCESS}, "within": 60}},
        {"absence": {"within": 60}},
        {"metric_threshold": {"comparison": ">", "threshold": 3, "window": 5}},
    ):
        states = MemoryStates()
        rule = RULE | {"condition": condition, "resolve": "sequence" not in condition}
        driver = Driver(rule, states).begin()
        driver.take(*(hit(seq, seq / 10, seq % 7) for seq in range(3000)))
        (body,) = states.bodies.values()
        assert len(json.dumps(body)) < 60_000, condition
