"""Targets are told what is: what holds messages back changes no alert. Moments are ticks of ten seconds."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ml_event_provider.rules.engine import MemoryStates, Place
from ml_event_provider.rules.engine.output import Kind
from ml_event_provider.rules.silences import Silence
from tests.unit.rules.engine.driving import (
    FAILED,
    SUCCESS,
    CountedStates,
    Driver,
    Said,
    arrival,
    at,
    rule_set,
    run,
    tick_of,
)
from tests.unit.rules.engine.rule_strategies import rules, silences, streams

RULE = {"name": "rule", "on": FAILED, "by": "data.dag_id", "targets": "target", "resolve": True}
THRESHOLD = {"threshold": {"count": 2, "within": "1h", "lateness": "1d"}}
#: The first five minutes of the day, and what comes after.
NIGHT, DAY = "00:00-00:05", "00:05-24:00"


def failed(seq: int, tick: float, dag: str = "a", *, late: float = 0, **data: Any) -> Any:
    return arrival(seq, tick, FAILED, late=late, dag_id=dag, **data)


def succeeded(seq: int, tick: float, dag: str = "a", *, late: float = 0, **data: Any) -> Any:
    return arrival(seq, tick, SUCCESS, late=late, dag_id=dag, **data)


def silence(until: int, **more: Any) -> Silence:
    ends_at = f"2026-01-01T00:{until // 6:02}:{until % 6 * 10:02}Z"
    wanted = {"everything": True} if "event_pattern" not in more else {}
    return Silence(name="work", author="me", reason="work", ends_at=ends_at, **wanted, **more)


def under(rule: dict[str, Any], *found: Silence, limit: int = 0) -> Driver:
    return Driver(rule_set(rule, silences=found), CountedStates(), limit).begin()


def heard(said: Said) -> list[tuple[str, float, list[str]]]:
    """Of each notification that somebody hears of its kind, its tick, and who hears of it."""
    found = [
        (one.kind.value, tick_of(one.at), sorted(each.conn_id for each in one.deliveries if not each.muted))
        for one in said.planned
    ]
    return [one for one in found if one[2]]


class TestAnEndResetsWhatItEnds:
    @pytest.mark.parametrize(
        ("resolve", "end"),
        [({"on": SUCCESS}, [succeeded(3, 2)]), ({"on": "my.fixed"}, [arrival(3, 2, "my.fixed", dag_id="a")])],
    )
    def test_what_an_event_ended_fires_anew_when_it_is_true_again(self, resolve: Any, end: list[Any]) -> None:
        rule = RULE | {"condition": THRESHOLD, "resolve": resolve}
        said = run(rule, [failed(1, 0), failed(2, 1), *end, failed(4, 3), failed(5, 4)], until=5)
        assert said.kinds() == [("fired", 1, (2,)), ("resolved", 2, (3,)), ("fired", 4, (5,))]

    def test_so_does_what_a_time_ended(self) -> None:
        rule = RULE | {"condition": {"threshold": {"count": 3, "within": "1h"}}, "resolve": {"after": 60}}
        said = run(rule, [failed(seq, seq) for seq in range(150)], until=200)
        kinds = [kind for kind, _, _ in said.kinds()]
        assert kinds == ["fired", "resolved"] * (len(kinds) // 2)
        assert len(kinds) > 30

    def test_so_does_what_somebody_ended(self) -> None:
        driver = Driver(RULE | {"condition": THRESHOLD}).begin().take(failed(1, 0), failed(2, 1))
        (place,) = [place for place in driver.states.texts if place.role == "alert"]  # type: ignore[attr-defined]
        assert driver.engine.resolve(place, "ann", at(2))
        driver.take(failed(3, 3), failed(4, 4))
        assert driver.said.kinds() == [("fired", 1, (2,)), ("resolved", 2, (2,)), ("fired", 4, (4,))]

    @pytest.mark.parametrize(
        "condition",
        [
            {"consecutive": {"count": 2, "broken_by": {"on": "my.break"}}},
            {"metric_threshold": {"value": "data.value", "comparison": ">", "threshold": 0}},
        ],
    )
    def test_whatever_its_condition(self, condition: dict[str, Any]) -> None:
        rule = RULE | {"condition": condition, "resolve": {"on": SUCCESS}}
        fails = [failed(seq, seq, value=1.0) for seq in range(2)]
        again = [failed(seq, seq, value=1.0) for seq in range(3, 5)]
        said = run(rule, [*fails, succeeded(2, 2), *again], until=5)
        assert [kind for kind, _, _ in said.kinds()] == ["fired", "resolved", "fired"]

    def test_an_absence_that_was_ended_must_end_before_it_is_told_again(self) -> None:
        absence = {"absence": {"within": 20, "wait": 0}}
        rule = RULE | {"condition": absence, "resolve": {"after": 30}}
        said = run(rule, [failed(1, 0), failed(2, 20)], until=40)
        assert said.kinds() == [("fired", 2, ()), ("resolved", 5, ()), ("fired", 22, ()), ("resolved", 25, ())]


class TestWhatIsOlder:
    def test_does_not_end_what_is_newer(self) -> None:
        said = run(RULE, [failed(1, 100), succeeded(2, 110, late=50), succeeded(3, 120)], until=130)
        assert said.kinds() == [("fired", 100, (1,)), ("resolved", 120, (3,))]

    def test_does_not_begin_what_is_over(self) -> None:
        rule = RULE | {"repeat": 60}
        said = run(rule, [succeeded(1, 100), failed(2, 110, late=20), failed(3, 120)], until=121)
        assert said.kinds() == [("fired", 120, (3,))]
        assert said.outcomes()[0] == (2, "over")

    def test_does_not_complete_what_is_over(self) -> None:
        rule = RULE | {"condition": THRESHOLD, "resolve": {"on": SUCCESS}}
        said = run(rule, [failed(1, 100), succeeded(2, 110), failed(3, 111, late=5), failed(4, 112)], until=130)
        assert said.kinds() == []
        assert (3, "over") in said.outcomes()

    def test_does_not_join_what_an_end_reset(self) -> None:
        rule = RULE | {"condition": THRESHOLD, "resolve": {"on": SUCCESS}}
        before = [failed(1, 100), failed(2, 101), succeeded(3, 110)]
        said = run(rule, [*before, failed(4, 112, late=5), failed(5, 113)], until=130)
        assert said.kinds() == [("fired", 101, (2,)), ("resolved", 110, (3,))]

    def test_of_one_moment_what_comes_later_counts(self) -> None:
        assert run(RULE, [succeeded(1, 5), failed(2, 5)], until=6).kinds() == [("fired", 5, (2,))]
        assert run(RULE, [failed(1, 5), succeeded(2, 5)], until=6).kinds() == [
            ("fired", 5, (1,)),
            ("resolved", 5, (2,)),
        ]

    def test_is_known_for_a_day(self) -> None:
        driver = Driver(RULE).begin().take(succeeded(1, 0))
        driver.take(failed(2, 8639, late=8639.5)).until(8641)
        assert driver.said.kinds() == []
        assert driver.states.texts == {}  # type: ignore[attr-defined]

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 12), st.sampled_from([FAILED, SUCCESS]), st.sampled_from("ab")),
            max_size=14,
        )
    )
    def test_in_whatever_order_events_come_the_newest_says_how_it_stands(self, raw: list[Any]) -> None:
        now, arrivals = 20, []
        for seq, (gap, late, type, dag) in enumerate(raw):
            now += gap
            arrivals.append(arrival(seq, now, type, late=late, dag_id=dag))
        driver = Driver(RULE, CountedStates()).begin().take(*arrivals)
        for dag in "ab":
            mine = [one for one in arrivals if one.event.data["dag_id"] == dag]
            newest = max(mine, key=lambda one: (one.event.time, one.seq), default=None)
            lasts = newest is not None and newest.event.type == FAILED
            bodies = {place.key: body for place, body in driver.states.bodies.items() if place.role == "alert"}  # type: ignore[attr-defined]
            body = bodies.get(f'["{dag}"]')
            assert (body is not None and body["open"] is not None) is lasts
            told = [one for one in driver.said.planned if one.key == f'["{dag}"]']
            assert (bool(told) and told[-1].kind is Kind.FIRED) is lasts


class TestWhatNobodyHeard:
    def test_uses_up_no_cooldown(self) -> None:
        driver = under(RULE | {"cooldown": 600}, silence(until=5))
        driver.take(failed(1, 0), succeeded(2, 1), failed(3, 6))
        assert heard(driver.said) == [("fired", 6, ["target"])]

    def test_uses_up_no_cooldown_of_a_plain_rule_that_waits(self) -> None:
        rule = {name: value for name, value in RULE.items() if name != "resolve"}
        driver = under(rule | {"cooldown": 600, "group": {"wait": 20}}, silence(until=5))
        driver.take(failed(1, 0), failed(2, 6)).until(20)
        assert heard(driver.said) == [("fired", 8, ["target"])]

    def test_uses_up_no_interval_of_a_group(self) -> None:
        driver = under(RULE | {"group": {"wait": 0, "interval": 600}}, silence(until=5))
        driver.take(failed(1, 0), succeeded(2, 1), failed(3, 6)).until(7)
        assert heard(driver.said) == [("fired", 6, ["target"])]

    def test_suppresses_nothing(self) -> None:
        driver = under(RULE | {"suppress": 600}, silence(until=5))
        driver.take(failed(1, 0), succeeded(2, 1), failed(3, 6)).until(7)
        assert heard(driver.said) == [("fired", 6, ["target"])]

    def test_is_not_told_when_it_is_over(self) -> None:
        driver = under(RULE, silence(until=5)).take(failed(1, 0), succeeded(2, 8)).until(20)
        assert heard(driver.said)[0][0] == "fired"
        driver = under(RULE, silence(until=5)).take(failed(1, 0), succeeded(2, 4)).until(20)
        assert heard(driver.said) == []


class TestWhatLastsIsToldWhenItMayBe:
    def test_when_a_silence_ends(self) -> None:
        driver = under(RULE, silence(until=5)).take(failed(1, 0)).until(20)
        assert heard(driver.said) == [("fired", 5, ["target"])]
        assert driver.said.planned[-1].facts["since"] == "2026-01-01T00:00:00+00:00"

    def test_when_a_window_of_a_recurring_silence_ends(self) -> None:
        window = Silence(
            name="nightly",
            author="me",
            reason="work",
            everything=True,
            recurring={"schedule": "0 0 * * *", "duration": "2m"},
        )
        assert heard(under(RULE, window).take(failed(1, 0)).until(20).said) == [("fired", 12, ["target"])]

    def test_when_the_hours_open(self) -> None:
        driver = Driver(RULE | {"active": {"hours": DAY, "outside": "mute"}}).begin().take(failed(1, 0)).until(60)
        assert heard(driver.said) == [("fired", 30, ["target"])]

    def test_each_target_by_its_own_hours(self) -> None:
        targets = ["always", {"conn_id": "by_day", "active": {"hours": DAY, "outside": "mute"}}]
        driver = Driver(RULE | {"targets": targets}).begin().take(failed(1, 0), succeeded(2, 40)).until(60)
        assert heard(driver.said) == [
            ("fired", 0, ["always"]),
            ("fired", 30, ["by_day"]),
            ("resolved", 40, ["always", "by_day"]),
        ]

    def test_when_the_cooldown_ends(self) -> None:
        said = run(RULE | {"cooldown": 50}, [failed(1, 0), succeeded(2, 1), failed(3, 2)], until=20)
        assert said.kinds() == [("fired", 0, (1,)), ("resolved", 1, (2,)), ("fired", 5, (3,))]

    def test_when_the_next_hour_has_its_own_quota(self) -> None:
        driver = under(RULE, limit=1).take(failed(1, 0), failed(2, 1, "b")).until(400)
        assert heard(driver.said) == [("fired", 0, ["target"]), ("fired", 360, ["target"])]

    def test_each_in_its_hour_and_nothing_is_noted_meanwhile(self) -> None:
        driver = under(RULE, limit=1).take(failed(1, 0), failed(2, 1, "b"), failed(3, 2, "c")).until(1000)
        assert heard(driver.said) == [("fired", tick, ["target"]) for tick in (0, 360, 720)]
        assert len(driver.said.planned) == 5

    def test_all_of_a_group_in_one(self) -> None:
        driver = under(RULE | {"group": {"wait": 10}}, silence(until=5))
        driver.take(failed(1, 0), failed(2, 0, "b"), failed(3, 1, "c"), succeeded(4, 3, "c")).until(20)
        (told,) = [one for one in driver.said.planned if not any(each.muted for each in one.deliveries)]
        assert (told.kind, told.members, tick_of(told.at)) == (Kind.FIRED, 2, 6)

    def test_what_was_held_back_acts_then(self) -> None:
        driver = under(RULE | {"actions": {"pause_dag": "d"}}, silence(until=5)).take(failed(1, 0)).until(20)
        acted = [one.at for one in driver.said.planned for each in one.deliveries if each.action and not each.muted]
        assert [tick_of(moment) for moment in acted] == [5]


class TestRemindersPassTheSameGate:
    RULE = RULE | {"repeat": 20, "escalate": {"after": 20, "targets": "pager"}}

    def test_nobody_is_called_to_a_muted_alert(self) -> None:
        driver = under(self.RULE, silence(until=10)).take(failed(1, 0), succeeded(2, 9)).until(30)
        assert heard(driver.said) == []
        assert [one.kind for one in driver.said.planned] == [Kind.FIRED]

    def test_their_time_runs_from_the_moment_at_which_somebody_hears_of_it(self) -> None:
        driver = under(self.RULE, silence(until=10)).take(failed(1, 0)).until(13)
        assert heard(driver.said) == [
            ("fired", 10, ["target"]),
            ("repeated", 12, ["target"]),
            ("escalated", 12, ["pager"]),
        ]

    def test_a_step_that_was_muted_is_taken_when_it_may_be(self) -> None:
        rule = RULE | {"escalate": {"after": 20, "targets": "pager"}}
        later = silence(until=9, starts_at="2026-01-01T00:00:10Z")
        driver = under(rule, later).take(failed(1, 0), succeeded(2, 12)).until(20)
        assert heard(driver.said) == [
            ("fired", 0, ["target"]),
            ("escalated", 9, ["pager"]),
            ("resolved", 12, ["target"]),
            ("resolved", 12, ["pager"]),
        ]

    def test_a_repetition_goes_to_those_who_heard(self) -> None:
        targets = ["always", {"conn_id": "by_day", "active": {"hours": DAY, "outside": "mute"}}]
        said = run(RULE | {"targets": targets, "repeat": 200}, [failed(1, 0)], until=41)
        assert heard(said) == [
            ("fired", 0, ["always"]),
            ("repeated", 20, ["always"]),
            ("fired", 30, ["by_day"]),
            ("repeated", 40, ["always", "by_day"]),
        ]


class TestWhoHeardOfABeginning:
    def test_hears_of_the_end_under_a_silence(self) -> None:
        later = silence(until=50, starts_at="2026-01-01T00:00:10Z")
        driver = under(RULE, later).take(failed(1, 0), succeeded(2, 3))
        assert heard(driver.said) == [("fired", 0, ["target"]), ("resolved", 3, ["target"])]

    def test_does_not_where_the_silence_mutes_ends(self) -> None:
        later = silence(until=50, starts_at="2026-01-01T00:00:10Z", mutes_ends=True)
        driver = under(RULE, later).take(failed(1, 0), succeeded(2, 3))
        assert heard(driver.said) == [("fired", 0, ["target"])]

    def test_hears_of_the_end_beyond_the_quota_which_that_does_not_use_up(self) -> None:
        driver = under(RULE, limit=2).take(failed(1, 0), succeeded(2, 1), failed(3, 2), succeeded(4, 3))
        assert [kind for kind, _, _ in heard(driver.said)] == ["fired", "resolved"] * 2

    def test_hears_of_the_end_when_the_hours_open(self) -> None:
        rule = RULE | {"active": {"hours": NIGHT, "outside": "mute"}}
        said = Driver(rule).begin().take(failed(1, 0), succeeded(2, 40)).said
        (_, end) = said.planned
        assert [(one.muted, tick_of(one.not_before or 0)) for one in end.deliveries] == [("", 8640)]

    def test_and_no_other_does(self) -> None:
        targets = ["always", {"conn_id": "by_day", "active": {"hours": DAY, "outside": "mute"}}]
        said = run(RULE | {"targets": targets}, [failed(1, 0), succeeded(2, 3)], until=60)
        assert heard(said) == [("fired", 0, ["always"]), ("resolved", 3, ["always"])]

    def test_hears_of_the_end_where_the_beginning_waited_for_what_may_inhibit_it(self) -> None:
        rule = RULE | {"inhibit": {"on": "my.other", "equal": "data.dag_id", "wait": 50}}
        assert run(rule, [failed(1, 0), succeeded(2, 3)], until=20).kinds() == [
            ("fired", 5, (1,)),
            ("resolved", 5, (2,)),
        ]


class TestAGroupsMessage:
    GROUPED = RULE | {"group": {"wait": 100}}

    def test_tells_apart_what_began_and_what_ended(self) -> None:
        arrivals = [failed(1, 0), failed(2, 20, "b"), succeeded(3, 25)]
        said = run(self.GROUPED | {"actions": {"pause_dag": "d"}}, arrivals, until=60)
        assert said.kinds() == [("fired", 10, (1,)), ("fired", 40, (2,)), ("resolved", 40, (3,))]
        _, began, ended = said.planned
        assert (began.key, ended.key) == ('["b"]', '["a"]')
        assert [len(one.deliveries) for one in (began, ended)] == [2, 1]

    def test_names_the_alert_of_each_member(self) -> None:
        said = run(self.GROUPED, [failed(1, 0), failed(2, 1, "b")], until=20)
        (told,) = said.planned
        assert [one[:3] for one in told.facts["members"]] == [["fired", 1, '["a"]'], ["fired", 2, '["b"]']]
        assert len({one[3] for one in told.facts["members"]}) == 2

    def test_leaves_what_is_said_of_one_key_in_order(self) -> None:
        arrivals = [failed(1, 0), succeeded(2, 1), failed(3, 2), failed(4, 3, "b")]
        said = run(self.GROUPED, arrivals, until=20)
        assert said.kinds() == [("fired", 10, (1,)), ("resolved", 10, (2,)), ("fired", 10, (3, 4))]

    def test_ends_are_told_with_the_beginnings_whatever_group_their_own_events_name(self) -> None:
        rule = RULE | {"group": {"by": "data.run_id", "wait": 100}}
        said = run(rule, [failed(1, 0, run_id="1"), succeeded(2, 1, run_id="2")], until=60)
        assert said.kinds() == [("fired", 10, (1,)), ("resolved", 10, (2,))]
        assert len({one.stream for one in said.planned}) == 1


class TestWhatIsHeldBackTwice:
    """What holds messages back in two ways at once loses none."""

    BY_DAY: ClassVar[dict[str, Any]] = {"conn_id": "by_day", "active": {"hours": DAY, "outside": "mute"}}
    INHIBIT: ClassVar[dict[str, Any]] = {"on": "my.other", "equal": "data.dag_id", "within": 60}

    def test_those_who_wait_hear_of_it_though_a_later_firing_is_inhibited(self) -> None:
        rule = RULE | {"targets": ["always", self.BY_DAY], "inhibit": self.INHIBIT}
        said = run(rule, [failed(1, 0), arrival(2, 10, "my.other", dag_id="a"), failed(3, 11)], until=60)
        assert heard(said) == [("fired", 0, ["always"]), ("fired", 30, ["by_day"])]

    def test_what_inhibits_a_silenced_one_still_does_when_the_silence_ends(self) -> None:
        driver = under(RULE | {"inhibit": self.INHIBIT}, silence(until=50))
        driver.take(failed(1, 0), arrival(2, 1, "my.other", dag_id="a")).until(100)
        assert heard(driver.said) == []

    def test_two_targets_of_one_connection_are_two(self) -> None:
        ann, ben = ({"conn_id": "mail", "options": {"to": [name]}} for name in ("ann@x.org", "ben@x.org"))
        rule = RULE | {"targets": [ann, ben | {"active": {"hours": DAY, "outside": "mute"}}]}
        said = run(rule, [failed(1, 0)], until=60)
        assert [list(one.options["to"]) for told in said.planned for one in told.deliveries if not one.muted] == [
            ["ann@x.org"],
            ["ben@x.org"],
        ]
        said = run(rule, [failed(1, 0), succeeded(2, 3)], until=60)
        assert [list(one.options["to"]) for one in said.planned[-1].deliveries] == [["ann@x.org"]]

    def test_what_flapped_and_calmed_down_under_a_silence_is_told_as_over(self) -> None:
        later = silence(until=59, starts_at="2026-01-01T00:01:00Z")
        driver = under(RULE | {"flapping": {"changes": 3, "within": 100}}, later)
        driver.take(failed(1, 0), succeeded(2, 1), failed(3, 2)).until(20).take(succeeded(4, 40))
        assert heard(driver.said)[2:] == [("flapping", 2, ["target"]), ("resolved", 40, ["target"])]
        flapping, _, ended = driver.said.planned[2:]
        assert flapping.alert == ended.alert

    def test_an_end_has_the_id_under_which_the_alert_was_told_before_it_flapped(self) -> None:
        rule = RULE | {"flapping": {"changes": 4, "within": 100}}
        arrivals = [failed(1, 0), succeeded(2, 1), failed(3, 2), succeeded(4, 3), failed(5, 4), succeeded(6, 5)]
        *_, began, flapping, ended = run(rule, arrivals, until=60).planned
        assert [one.kind.value for one in (began, flapping, ended)] == ["fired", "flapping", "resolved"]
        assert began.alert == flapping.alert == ended.alert

    def test_whom_an_alert_was_escalated_to_before_it_flapped_hears_that_it_is_over(self) -> None:
        rule = RULE | {"flapping": {"changes": 4, "within": 300}, "escalate": {"after": 20, "targets": "pager"}}
        arrivals = [failed(1, 0), succeeded(2, 1), failed(3, 2), succeeded(4, 6)]
        assert heard(run(rule, arrivals, until=60))[3:] == [
            ("escalated", 4, ["pager"]),
            ("flapping", 6, ["target"]),
            ("resolved", 30, ["target"]),
            ("resolved", 30, ["pager"]),
        ]

    def test_an_inhibited_escalation_is_taken_when_what_inhibits_it_is_past(self) -> None:
        rule = RULE | {"escalate": {"after": 200, "targets": "pager"}, "inhibit": self.INHIBIT}
        said = run(rule, [failed(1, 0), arrival(2, 19, "my.other", dag_id="a")], until=60)
        assert [(kind, int(tick)) for kind, tick, _ in heard(said)] == [("fired", 0), ("escalated", 25)]

    def test_what_an_action_did_nobody_is_reminded_of(self) -> None:
        rule = RULE | {"targets": [self.BY_DAY], "actions": {"pause_dag": "d"}, "repeat": 50}
        said = run(rule | {"escalate": {"after": 100, "targets": "pager"}}, [failed(1, 0)], until=40)
        assert heard(said) == [
            ("fired", 0, [""]),
            ("fired", 30, ["by_day"]),
            ("repeated", 35, ["by_day"]),
            ("repeated", 40, ["by_day"]),
            ("escalated", 40, ["pager"]),
        ]
        assert all(one.deliveries for one in said.planned)

    def test_no_member_of_a_group_is_told_after_its_end(self) -> None:
        rule = RULE | {"group": {"by": "data.run_id", "wait": 50, "interval": 3000}}
        before = [failed(1, 0, "other", run_id="1"), failed(2, 11, run_id="1")]
        said = run(rule, [*before, failed(3, 12, run_id="2"), succeeded(4, 13, run_id="2")], until=700)
        assert said.kinds() == [("fired", 5, (1,)), ("fired", 305, (2, 3)), ("resolved", 305, (4,))]


class TestAStateOfAFormerVersion:
    """One that knew of each alert only whether anybody had heard of it."""

    RULE = RULE | {"repeat": 200, "escalate": {"after": 20, "targets": "pager"}}

    def former(self, told: Any, rule: dict[str, Any] = RULE, **more: Any) -> Driver:
        driver = Driver(rule).begin()
        (only,) = driver.rules.rules()
        body = {
            "form": only.form,
            "memory": None,
            "changes": [],
            "flapping": False,
            "told": told,
            "open": at(0),
            "id": "an-id",
            "repeats": 0,
            "repeat_at": at(20),
            "escalated": 0,
            "ack": None,
            "seq": 1,
            "facts": {},
            "context": {},
        }
        driver.states.put(Place("default", "rule", "alert", '["a"]'), body | more, at(20))
        return driver

    def test_is_told_once_and_its_end_to_all(self) -> None:
        driver = self.former(True, escalated=1).take(failed(2, 5, "b")).until(6)
        driver.take(succeeded(3, 22)).until(30)
        assert [one for one in heard(driver.said) if one[1] in (20, 22)] == [
            ("repeated", 20, ["target"]),
            ("resolved", 22, ["target"]),
            ("resolved", 22, ["pager"]),
        ]

    def test_is_told_when_it_was_muted_and_the_rules_are_looked_at(self) -> None:
        driver = self.former(False)
        driver.engine.note_rule(Place("default", "rule", "alert", '["a"]'), at(3))
        assert heard(driver.said) == [("fired", 3, ["target"])]

    def test_is_told_with_its_group(self) -> None:
        rule = RULE | {"group": {"wait": 100}}
        driver = self.former("waiting", rule, repeat_at=None)
        waiting = [["fired", 1, '["a"]', "an-id", at(0), {}, {"group": "[]"}]]
        group = {"waiting": waiting, "told_at": None, "flush_at": at(10)}
        driver.states.put(Place("default", "rule", "group", "[]"), group, at(10))
        driver.until(11).take(succeeded(3, 22)).until(100)
        assert [kind for kind, _, _ in heard(driver.said)] == ["fired", "resolved"]

    def test_that_flapped_is_told_as_over(self) -> None:
        rule = RULE | {"flapping": {"changes": 2, "within": 100}}
        driver = self.former(True, rule, open=None, flapping=True, changes=[at(0), at(1)], repeat_at=None)
        driver.until(30)
        assert heard(driver.said) == [("resolved", 20, ["target"])]

    def test_has_a_cooldown_that_still_holds(self) -> None:
        driver = Driver(RULE | {"cooldown": 100}).begin()
        driver.states.put(Place("default", "rule", "cooldown", '["a"]'), {"until": at(10), "held": 0}, at(10))
        driver.take(failed(1, 2)).until(20)
        assert heard(driver.said) == [("fired", 10, ["target"])]


PROFILE = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
#: Two days, after all that holds back.
DAYS = 2 * 8640
#: What holds messages back.
HOLDING = ("inhibit", "active", "cooldown", "group", "suppress", "repeat", "escalate")
#: What is, of an alert. What its condition forgets depends on when it is looked at; what it says does not.
IS = ("open", "id", "since", "newest", "seq", "over", "changes")


def lives(driver: Driver) -> dict[str, Any]:
    bodies = driver.states.bodies.items()  # type: ignore[attr-defined]
    return {place.key: {name: body.get(name) for name in IS} for place, body in bodies if place.role == "alert"}


@PROFILE
@given(rules(), streams, silences, st.sampled_from([0, 3]))
def test_what_holds_messages_back_changes_no_alert(
    rule: dict[str, Any], arrivals: list[Any], silenced: list[Silence], limit: int
) -> None:
    rule.setdefault("resolve", {"on": "my.end"})
    free = {name: value for name, value in rule.items() if name not in HOLDING}
    free["targets"] = ["one"]
    held, bare = under(rule, *silenced, limit=limit), Driver(free, CountedStates()).begin()
    for one in arrivals:
        assert lives(held.take(one)) == lives(bare.take(one))
    end = tick_of(arrivals[-1].at) + 60 if arrivals else 60
    assert lives(held.until(end)) == lives(bare.until(end))


@PROFILE
@given(rules(), streams, silences, st.sampled_from([0, 3]))
def test_whoever_hears_of_a_beginning_and_no_other_hears_of_the_end(
    rule: dict[str, Any], arrivals: list[Any], silenced: list[Silence], limit: int
) -> None:
    assume("schedule" not in str(rule.get("condition")))
    rule.pop("flapping", None)
    rule = rule | {"by": "data.key", "resolve": rule.get("resolve", True)}
    if "repeat" in rule:
        rule["repeat"] = "2h"
    deaf = {one["conn_id"] for one in rule["targets"] if not one.get("resolved", True)}
    driver = under(rule, *silenced, limit=limit).take(*arrivals)
    # Long after all that holds back: what is still to be told is told.
    driver.until(DAYS)
    began: dict[str, set[str]] = {}
    ended: dict[str, set[str]] = {}
    for one in driver.said.planned:
        members = one.facts.get("members", [[str(one.kind), None, one.key, one.alert]])
        who = {each.conn_id for each in one.deliveries if each.action is None and not each.muted}
        for kind, _, _, alert in members:
            told = ended if kind == "resolved" else began
            told.setdefault(alert, set()).update(who)
            if kind in ("repeated", "escalated"):
                assert began[alert], "nobody is reminded of what nobody heard of"
    lasting = {body["id"]: body for body in lives(driver).values() if body["open"] is not None}
    grouped = "group" in rule or "suppress" in rule
    for alert, who in began.items():
        if alert in lasting:
            assert alert not in ended
        elif not grouped:
            # A message about several goes to all who heard of any of them.
            assert ended.get(alert, set()) - deaf == who - deaf
        else:
            assert ended.get(alert, set()) >= who - deaf


@PROFILE
@given(rules(), streams, silences, st.sampled_from([0, 3]))
def test_what_lasts_is_told_to_everybody_in_the_end(
    rule: dict[str, Any], arrivals: list[Any], silenced: list[Silence], limit: int
) -> None:
    rule = {name: value for name, value in rule.items() if name not in ("flapping", "inhibit", "repeat")}
    rule = rule | {"by": "data.key", "resolve": True, "severity": "error"}
    assume("schedule" not in str(rule.get("condition")))
    driver = under(rule, *silenced, limit=limit).take(*arrivals).until(DAYS)
    told: dict[str, set[str]] = {}
    for one in driver.said.planned:
        for _, _, _, alert in one.facts.get("members", [["", None, "", one.alert]]):
            told.setdefault(alert, set()).update(each.conn_id for each in one.deliveries if not each.muted)
    for body in lives(driver).values():
        if body["open"] is not None:
            assert told.get(body["id"], set()) >= {one["conn_id"] for one in rule["targets"]}


class TestStatesOfTheVersionBefore:
    """Which knew of an alert only whether anybody had heard of it."""

    def stored(self, told: Any, **more: Any) -> Driver:
        driver = Driver(RULE | {"escalate": {"after": 20, "targets": "pager"}}, MemoryStates()).begin()
        driver.take(failed(1, 0)).until(1)
        ((place, body),) = driver.states.bodies.items()  # type: ignore[attr-defined]
        for name in ("since", "newest", "steps", "told_at", "group", "look"):
            body.pop(name)
        driver.states.put(place, body | {"told": told, **more})
        return driver

    def test_an_alert_that_was_told_goes_on(self) -> None:
        driver = self.stored(told=True)
        driver.take(succeeded(2, 3))
        assert heard(driver.said) == [("fired", 0, ["target"]), ("resolved", 3, ["target"])]

    def test_so_does_one_that_was_escalated(self) -> None:
        driver = self.stored(told=True, escalated=1)
        driver.take(succeeded(2, 3))
        assert heard(driver.said)[1:] == [("resolved", 3, ["target"]), ("resolved", 3, ["pager"])]

    def test_one_of_which_nobody_heard_ends_in_silence(self) -> None:
        driver = self.stored(told=False)
        driver.take(succeeded(2, 3))
        assert heard(driver.said) == [("fired", 0, ["target"])]

    def test_what_waits_in_a_group_is_told(self) -> None:
        driver = Driver(RULE | {"group": {"wait": 100}}, MemoryStates()).begin()
        driver.take(failed(1, 0), succeeded(2, 1)).until(2)
        (body,) = [body for place, body in driver.states.bodies.items() if place.role == "group"]  # type: ignore[attr-defined]
        body["waiting"] = [one[:7] for one in body["waiting"]]
        driver.crash()
        assert [kind for kind, _, _ in heard(driver.until(20).said)] == ["fired", "resolved"]
