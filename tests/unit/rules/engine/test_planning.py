"""What a notification consists of, and when and where it may go. Tick 0 is midnight, and a minute is six ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.events.identity import change_id
from ml_event_provider.rules.calendars import Calendar
from ml_event_provider.rules.engine import MemoryStates
from ml_event_provider.rules.silences import Silence
from tests.unit.rules.engine.driving import FAILED, SUCCESS, Driver, JsonStates, Said, arrival, rule_set, run, tick_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.rules.engine import States

RULE = {"name": "rule", "on": FAILED, "by": "data.dag_id", "targets": "target"}
HOURS = {"hours": "00:02-00:04"}


def failed(seq: int, tick: int, dag: str = "a") -> Any:
    return arrival(seq, tick, FAILED, dag_id=dag)


def silence(**parts: Any) -> Silence:
    return Silence.model_validate({"name": "quiet", "author": "ann", "reason": "move", **parts})


def silenced(rule: dict[str, Any], arrivals: list[Any], until: int, **parts: Any) -> Said:
    found = rule_set(RULE | rule, silences=[silence(**parts)])
    return Driver(found).begin().take(*arrivals).until(until).said


def muted(said: Said) -> list[tuple[str, float, bool]]:
    return [(one.kind.value, tick_of(one.at), bool(one.deliveries[0].muted)) for one in said.planned]


class TestSilences:
    @pytest.mark.parametrize(
        ("parts", "expected"),
        [
            ({"everything": True}, True),
            ({"dags": ["a"]}, True),
            ({"dags": ["b"]}, False),
            ({"rules": ["ru*"]}, True),
            ({"rules": ["other"]}, False),
            ({"rules": ["rule"], "dags": ["b"]}, False),
            ({"everything": True, "workspace": "elsewhere"}, False),
        ],
    )
    def test_mute_what_they_name(self, parts: dict[str, Any], expected: bool) -> None:
        said = silenced({}, [failed(1, 0)], 1, ends_at="2026-01-02T00:00:00Z", **parts)
        assert muted(said) == [("fired", 0, expected)]
        assert said.outcomes() == ([(1, "silenced")] if expected else [])
        if expected:
            assert "quiet" in said.planned[0].deliveries[0].muted
            assert "move" in said.planned[0].deliveries[0].muted

    def test_mute_from_their_beginning_until_their_end(self) -> None:
        arrivals = [failed(1, 5), failed(2, 6), failed(3, 11), failed(4, 12)]
        said = silenced({}, arrivals, 20, dags=["a"], starts_at="2026-01-01T00:01:00Z", ends_at="2026-01-01T00:02:00Z")
        assert [one for _, _, one in muted(said)] == [False, True, True, False]

    def test_mute_what_is_said_while_they_last_of_an_event_from_before(self) -> None:
        said = silenced(
            {"repeat": 40},
            [failed(1, 0)],
            17,
            dags=["a"],
            starts_at="2026-01-01T00:01:00Z",
            ends_at="2026-01-01T00:02:00Z",
        )
        assert muted(said) == [
            ("fired", 0, False),
            ("repeated", 4, False),
            ("repeated", 8, True),
            ("repeated", 12, False),
            ("repeated", 16, False),
        ]

    def test_mute_actions_too(self) -> None:
        said = silenced({"actions": {"pause_dag": "d"}}, [failed(1, 0)], 1, dags=["a"], ends_at="2026-01-02T00:00:00Z")
        assert all(one.muted for one in said.planned[0].deliveries)

    def test_leave_their_events_out_of_a_group(self) -> None:
        said = silenced(
            {"group": {"wait": 20}},
            [failed(1, 0, "a"), failed(2, 1, "b")],
            9,
            dags=["a"],
            ends_at="2026-01-02T00:00:00Z",
        )
        assert said.kinds() == [("fired", 2, (2,))]
        assert not said.planned[0].deliveries[0].muted
        assert said.outcomes()[2:] == [(1, "silenced"), (2, "notified")]

    @pytest.mark.parametrize("parts", [{"everything": True}, {"rules": ["rule"]}, {"dags": ["a"]}])
    def test_mute_the_absence_of_what_was_never_seen(self, parts: dict[str, Any]) -> None:
        condition = {"absence": {"within": 20, "wait": 0, "expect": ["a"]}}
        said = silenced({"condition": condition}, [], 9, ends_at="2026-01-02T00:00:00Z", **parts)
        assert muted(said) == [("fired", 2, True)]

    @pytest.mark.parametrize("parts", [{"everything": True}, {"rules": ["rule"]}, {"dags": ["a"]}, {"on": [FAILED]}])
    def test_mute_an_alert_that_began_before_they_were_made(self, parts: dict[str, Any]) -> None:
        driver = Driver(RULE | {"repeat": 40, "resolve": True}).begin().take(failed(1, 0)).until(5)
        driver.crash(rule_set(driver_rule(driver), silences=[silence(ends_at="2026-01-02T00:00:00Z", **parts)]))
        assert muted(driver.until(9).said) == [("fired", 0, False), ("repeated", 4, False), ("repeated", 8, True)]

    @pytest.mark.parametrize("states", [MemoryStates, JsonStates])
    def test_do_not_mute_an_alert_by_an_event_that_was_too_late_for_it(self, states: Callable[[], States]) -> None:
        condition = {"consecutive": {"count": 1, "lateness": 10}}
        found = rule_set(
            RULE | {"condition": condition, "repeat": 40},
            silences=[silence(event_pattern={"data": {"run": ["1"]}}, ends_at="2026-01-02T00:00:00Z")],
        )
        late = arrival(2, 3, FAILED, late=2, dag_id="a", run="1")
        assert muted(Driver(found, states()).begin().take(failed(1, 0), late).until(5).said) == [
            ("fired", 0, False),
            ("repeated", 4, False),
        ]


def driver_rule(driver: Driver) -> dict[str, Any]:
    found: dict[str, Any] = driver.rules.rules()[0].model_dump(mode="json", by_alias=True, exclude_unset=True)
    return found


class TestQuota:
    def test_more_in_an_hour_are_muted(self) -> None:
        driver = Driver(RULE, hourly_limit=2).begin().take(*(failed(seq, seq) for seq in range(4)), failed(9, 360))
        assert [one for _, _, one in muted(driver.said)] == [False, False, True, True, False]
        assert driver.said.outcomes() == [(2, "quota"), (3, "quota")]

    def test_each_rule_has_its_own(self) -> None:
        driver = Driver([RULE, RULE | {"name": "other"}], hourly_limit=1).begin().take(failed(1, 0))
        assert [one for _, _, one in muted(driver.said)] == [False, False]


class TestActiveHours:
    @pytest.mark.parametrize(
        ("hours", "tick", "expected"),
        [
            ({}, 13, (False, None)),
            ({}, 6, (False, 12)),
            ({}, 30, (False, 12 + 24 * 360)),
            ({"outside": "mute"}, 13, (False, None)),
            ({"outside": "mute"}, 6, (True, None)),
            ({"days": ["sat"]}, 13, (False, 12 + 2 * 24 * 360)),
            ({"calendar": "never"}, 13, (True, None)),
        ],
    )
    def test_hold_or_mute(self, hours: dict[str, Any], tick: int, expected: tuple[bool, int | None]) -> None:
        calendar = Calendar.model_validate({"name": "never", "closed": "2026-01-01..2027-12-31"})
        rule = RULE | {"active": HOURS | hours}
        driver = Driver(rule_set(rule, calendars=[calendar])).begin().take(failed(1, tick))
        (delivery,) = driver.said.planned[0].deliveries
        not_before = None if delivery.not_before is None else tick_of(delivery.not_before)
        assert (bool(delivery.muted), not_before) == expected

    def test_a_target_may_have_its_own(self) -> None:
        targets = ["one", {"conn_id": "two", "active": {"hours": "00:00-24:00"}}]
        said = run(RULE | {"active": HOURS | {"outside": "mute"}, "targets": targets}, [failed(1, 0)])
        assert [bool(one.muted) for one in said.planned[0].deliveries] == [True, False]


class TestTargets:
    def test_only_what_is_grave_enough_goes_there(self) -> None:
        targets = [
            "all",
            {"conn_id": "grave", "min_severity": "error"},
            {"conn_id": "worst", "min_severity": "critical"},
        ]
        said = run(RULE | {"severity": "error", "targets": targets}, [failed(1, 0)])
        assert [one.conn_id for one in said.planned[0].deliveries] == ["all", "grave"]

    def test_the_end_goes_where_it_is_wanted_and_as_a_mere_information(self) -> None:
        targets = ["all", {"conn_id": "begun", "resolved": False}, {"conn_id": "grave", "min_severity": "error"}]
        rule = RULE | {"severity": "error", "targets": targets, "resolve": True, "actions": {"pause_dag": "d"}}
        said = run(rule, [failed(1, 0), arrival(2, 1, SUCCESS, dag_id="a")])
        assert [[one.conn_id for one in planned.deliveries] for planned in said.planned] == [
            ["all", "begun", "grave", ""],
            ["all", "grave"],
        ]
        assert [one.severity for one in said.planned] == ["error", "info"]

    def test_its_template_comes_before_the_rules_own(self) -> None:
        fallback = {"conn_id": "other", "template": "plain"}
        targets = ["one", {"conn_id": "two", "template": "t.j2", "options": {"to": "x"}, "fallback": fallback}]
        said = run(RULE | {"template": "r.j2", "targets": targets}, [failed(1, 0)])
        one, two = said.planned[0].deliveries
        assert (one.template, two.template) == ("r.j2", "t.j2")
        assert (one.fallback, two.fallback) == (None, fallback)
        assert two.options == {"to": "x"}


def test_a_plain_rule_says_one_thing_of_each_event_with_a_stable_id() -> None:
    rule = {"name": "rule", "on": FAILED, "targets": "target"}
    early = run(rule, [failed(1, 0), failed(2, 9)])
    late = run(rule, [failed(1, 0)._replace(at=early.planned[0].at + 70), failed(2, 9)])
    assert [one.id for one in early.planned] == [one.id for one in late.planned]
    assert early.planned[0].id == change_id("notification", "default", "rule", 1, early.planned[0].at)
    assert early.kinds() == [("fired", 0, (1,)), ("fired", 9, (2,))]
    assert early.decisions == []


def test_it_has_the_same_id_where_the_events_clock_is_ahead() -> None:
    rule = {"name": "rule", "on": FAILED, "targets": "target"}
    ahead = failed(1, 9)
    early, late = (run(rule, [ahead._replace(at=ahead.at - seconds)]) for seconds in (50, 20))
    assert early.planned[0].at < late.planned[0].at < ahead.at
    assert early.planned[0].id == late.planned[0].id == run(rule, [ahead]).planned[0].id


def test_another_event_in_the_same_place_of_another_database_has_another_id() -> None:
    """Else receivers would drop it as told before: after a restored backup, or from a second Airflow."""
    for rule in (RULE, {"name": "rule", "on": FAILED, "targets": "target"}):
        one, other = (run(rule, [failed(1, tick)]).planned[0].id for tick in (3, 4))
        assert one != other


def test_rules_see_only_events_of_their_workspace() -> None:
    assert run(RULE | {"workspace": "elsewhere"}, [failed(1, 0)]).kinds() == []
