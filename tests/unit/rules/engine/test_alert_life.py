"""An alert begins, is said again, goes up, is acknowledged and ends. All moments are ticks of ten seconds."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.rules.engine import Place
from tests.unit.rules.engine.driving import FAILED, SUCCESS, CountedStates, Driver, arrival, at, rule_set, run

RULE = {"name": "rule", "on": FAILED, "by": "data.dag_id", "targets": "target"}
PLACE = Place("default", "rule", "alert", '["a"]')


def failed(seq: int, tick: int, dag: str = "a") -> Any:
    return arrival(seq, tick, FAILED, dag_id=dag)


def succeeded(seq: int, tick: int, dag: str = "a") -> Any:
    return arrival(seq, tick, SUCCESS, dag_id=dag)


@pytest.mark.parametrize(
    ("parts", "arrivals", "expected"),
    [
        pytest.param(
            {"resolve": True},
            [failed(1, 0), succeeded(2, 3), succeeded(3, 4), failed(4, 5)],
            [("fired", 0, (1,)), ("resolved", 3, (2,)), ("fired", 5, (4,))],
            id="the opposite event ends it, once",
        ),
        pytest.param(
            {"resolve": True},
            [failed(1, 0), succeeded(2, 3, "b")],
            [("fired", 0, (1,))],
            id="another thing's event does not end it",
        ),
        pytest.param(
            {"resolve": {"on": "my.fixed"}},
            [failed(1, 0), succeeded(2, 3), arrival(3, 4, "my.fixed", dag_id="a")],
            [("fired", 0, (1,)), ("resolved", 4, (3,))],
            id="only the event that the rule names ends it",
        ),
        pytest.param(
            {"resolve": {"after": 50}},
            [failed(1, 0), failed(2, 4)],
            [("fired", 0, (1,)), ("fired", 4, (2,)), ("resolved", 9, (2,))],
            id="it ends when nothing has fired for so long",
        ),
        pytest.param(
            {"resolve": True, "repeat": 30},
            [failed(1, 0), failed(2, 4), succeeded(3, 7)],
            [
                ("fired", 0, (1,)),
                ("repeated", 3, (1,)),
                ("fired", 4, (2,)),
                ("repeated", 6, (2,)),
                ("resolved", 7, (3,)),
            ],
            id="it is said again with its newest event until it ends",
        ),
        pytest.param(
            {"resolve": True, "escalate": [{"after": 40, "targets": "boss"}, {"after": 20, "targets": "lead"}]},
            [failed(1, 0), succeeded(2, 9), failed(3, 10), succeeded(4, 13)],
            [
                ("fired", 0, (1,)),
                ("escalated", 2, (1,)),
                ("escalated", 4, (1,)),
                ("resolved", 9, (2,)),
                ("resolved", 9, (2,)),
                ("resolved", 9, (2,)),
                ("fired", 10, (3,)),
                ("escalated", 12, (3,)),
                ("resolved", 13, (4,)),
                ("resolved", 13, (4,)),
            ],
            id="it goes up step by step, and from the first again with the next alert",
        ),
        pytest.param(
            {"cooldown": 50, "resolve": True},
            [failed(1, 0), succeeded(2, 1), failed(3, 2), succeeded(4, 3), failed(5, 6), succeeded(6, 7)],
            [("fired", 0, (1,)), ("resolved", 1, (2,)), ("fired", 6, (5,)), ("resolved", 7, (6,))],
            id="the end is not told where the beginning was held back",
        ),
        pytest.param(
            {"cooldown": 50, "resolve": True, "repeat": 20},
            [failed(1, 0), succeeded(2, 1), failed(3, 2), succeeded(4, 5)],
            [("fired", 0, (1,)), ("resolved", 1, (2,)), ("fired", 5, (3,)), ("resolved", 5, (4,))],
            id="what lasts when the cooldown ends is told then, and not repeated before",
        ),
        pytest.param(
            {"cooldown": 50, "resolve": True, "escalate": {"after": 20, "targets": "boss"}},
            [failed(1, 0), succeeded(2, 1), failed(3, 2), succeeded(4, 5)],
            [("fired", 0, (1,)), ("resolved", 1, (2,)), ("fired", 5, (3,)), ("resolved", 5, (4,))],
            id="nobody is called to what was held back",
        ),
    ],
)
def test_an_alert_is_told_as_it_goes(parts: dict[str, Any], arrivals: list[Any], expected: list[Any]) -> None:
    assert run(RULE | parts, arrivals, until=20).kinds() == expected


def test_what_is_told_of_one_alert_carries_one_id() -> None:
    said = run(RULE | {"resolve": True, "repeat": 30}, [failed(1, 0), succeeded(2, 4), failed(3, 5)], until=6)
    first, again, end, second = said.planned
    assert first.alert == again.alert == end.alert != second.alert
    assert first.alert


def test_each_step_of_escalation_goes_to_its_own_targets() -> None:
    steps = [{"after": 20, "targets": "lead"}, {"after": 20, "targets": ["boss", "pager"]}]
    said = run(RULE | {"resolve": True, "escalate": steps, "actions": {"pause_dag": "d"}}, [failed(1, 0)], until=9)
    assert [[one.conn_id for one in planned.deliveries] for planned in said.planned] == [
        ["target", ""],
        ["lead"],
        ["boss", "pager"],
    ]
    assert len({one.id for one in said.planned}) == 3


def test_nobody_is_reminded_of_an_acknowledged_alert() -> None:
    driver = Driver(RULE | {"resolve": True, "repeat": 30, "escalate": {"after": 50, "targets": "boss"}}).begin()
    driver.take(failed(1, 0)).until(3)
    assert driver.engine.acknowledge(PLACE, "ann", at(4))
    driver.take(failed(2, 8), succeeded(3, 9), failed(4, 10)).until(13)
    assert driver.said.kinds() == [
        ("fired", 0, (1,)),
        ("repeated", 3, (1,)),
        ("fired", 8, (2,)),
        ("resolved", 9, (3,)),
        ("fired", 10, (4,)),
        ("repeated", 13, (4,)),
    ]


def test_only_an_open_alert_can_be_acknowledged_or_ended() -> None:
    driver = Driver(RULE | {"resolve": True}).begin()
    assert not driver.engine.acknowledge(PLACE, "ann", at(1))
    driver.take(failed(1, 2))
    assert driver.engine.resolve(PLACE, "ann", at(3))
    assert not driver.engine.resolve(PLACE, "ann", at(4))
    driver.take(succeeded(2, 5))
    assert driver.said.kinds() == [("fired", 2, (1,)), ("resolved", 3, (1,))]


def test_why_somebody_ended_an_alert_is_not_said_of_the_next() -> None:
    driver = Driver(RULE | {"resolve": True, "repeat": 30}).begin()
    # An end that came before is remembered, and the state with it.
    driver.take(succeeded(1, 0), failed(2, 1))
    assert driver.engine.resolve(PLACE, "ann", at(2), "known")
    driver.take(failed(3, 3)).until(6).take(succeeded(4, 7))
    why = [(one.kind.value, one.facts.get("why")) for one in driver.said.planned]
    assert why == [
        ("fired", None),
        ("resolved", "resolved by ann: known"),
        ("fired", None),
        ("repeated", None),
        ("resolved", None),
    ]


def test_acknowledging_ends_an_alert_that_nothing_else_ends() -> None:
    driver = Driver(RULE | {"repeat": 30}).begin().take(failed(1, 0))
    assert driver.engine.acknowledge(PLACE, "ann", at(4))
    driver.take(failed(2, 5)).until(8)
    first, second = [one.alert for one in driver.said.planned if one.kind == "fired"]
    assert first != second
    assert driver.said.kinds()[-1] == ("repeated", 8, (2,))


def test_an_absence_is_said_again_as_an_absence_after_an_event_ended_another() -> None:
    rule = RULE | {"condition": {"absence": {"within": 20, "wait": 0}}, "resolve": True, "repeat": 10}
    said = run(rule, [failed(1, 0), failed(2, 3)], until=6)
    assert said.kinds() == [
        ("fired", 2, ()),
        ("repeated", 3, ()),
        ("resolved", 3, (2,)),
        ("fired", 5, ()),
        ("repeated", 6, ()),
    ]
    absent = [event for one in said.planned if (event := one.absent_event()) is not None]
    assert [event.type for event in absent] == ["ml.event.absent"] * 4
    assert len({event.id for event in absent}) == 4


class TestFlapping:
    RULE = RULE | {"resolve": True, "flapping": {"changes": 3, "within": 100}}

    def test_it_is_told_once_that_an_alert_flaps_and_then_how_it_stands(self) -> None:
        arrivals = [failed(1, 0), succeeded(2, 1), failed(3, 2), succeeded(4, 3), failed(5, 4), succeeded(6, 5)]
        said = run(self.RULE, arrivals, until=40)
        # The third change but last, at tick 3, is out of the window at tick 13.
        assert said.kinds() == [
            ("fired", 0, (1,)),
            ("resolved", 1, (2,)),
            ("flapping", 2, (3,)),
            ("resolved", 13, (6,)),
        ]
        assert (5, "flapping") in said.outcomes()

    def test_the_end_of_an_alert_that_calmed_down_open_is_told(self) -> None:
        arrivals = [failed(1, 0), succeeded(2, 1), failed(3, 2), succeeded(4, 3), failed(5, 4), succeeded(6, 20)]
        assert run(self.RULE, arrivals, until=40).kinds()[2:] == [
            ("flapping", 2, (3,)),
            ("fired", 12, (5,)),
            ("resolved", 20, (6,)),
        ]

    def test_nobody_is_reminded_while_it_flaps_but_when_it_is_calm(self) -> None:
        rule = self.RULE | {"repeat": 50, "escalate": {"after": 60, "targets": "boss"}}
        arrivals = [failed(1, 0), succeeded(2, 1), failed(3, 2)]
        assert run(rule, arrivals, until=18).kinds() == [
            ("fired", 0, (1,)),
            ("resolved", 1, (2,)),
            ("flapping", 2, (3,)),
            ("fired", 10, (3,)),
            ("escalated", 10, (3,)),
            ("repeated", 15, (3,)),
        ]

    def test_that_it_flapped_does_not_make_the_end_of_the_next_alert_told(self) -> None:
        rule = RULE | {"resolve": True, "flapping": {"changes": 2, "within": 50}, "cooldown": 1000}
        arrivals = [failed(1, 0), succeeded(2, 1), failed(3, 10), succeeded(4, 20)]
        assert run(rule, arrivals, until=60).kinds() == [
            ("fired", 0, (1,)),
            ("flapping", 1, (2,)),
            ("resolved", 5, (2,)),
        ]

    def test_changes_that_are_far_apart_do_not_count(self) -> None:
        arrivals = [failed(1, 0), succeeded(2, 10), failed(3, 20), succeeded(4, 30)]
        assert [kind for kind, _, _ in run(self.RULE, arrivals, until=60).kinds()] == ["fired", "resolved"] * 2


class TestARuleThatIsChangedWhileItsAlertIsOpen:
    def changed(self, before: dict[str, Any], after: dict[str, Any], *then: Any) -> list[Any]:
        driver = Driver(RULE | before, CountedStates()).begin().take(failed(1, 0))
        driver.crash(rule_set(RULE | after))
        return driver.take(*then).until(20).said.kinds()

    def test_may_repeat_from_then_on(self) -> None:
        before, after = {"resolve": True}, {"resolve": True, "repeat": 30}
        assert self.changed(before, after, failed(2, 2), succeeded(3, 6)) == [
            ("fired", 0, (1,)),
            ("fired", 2, (2,)),
            ("repeated", 5, (2,)),
            ("resolved", 6, (3,)),
        ]

    def test_may_stop_repeating(self) -> None:
        assert self.changed({"resolve": True, "repeat": 30}, {"resolve": True}, succeeded(2, 9)) == [
            ("fired", 0, (1,)),
            ("resolved", 9, (2,)),
        ]

    def test_may_have_fewer_steps_of_escalation(self) -> None:
        steps = [{"after": 20, "targets": "lead"}, {"after": 40, "targets": "boss"}]
        assert self.changed({"escalate": steps}, {"escalate": steps[:1]}) == [
            ("fired", 0, (1,)),
            ("escalated", 2, (1,)),
        ]

    def test_may_flap_no_more(self) -> None:
        before = {"resolve": True, "flapping": {"changes": 2, "within": 1000}}
        driver = Driver(RULE | before).begin().take(failed(1, 0), succeeded(2, 1))
        driver.crash(rule_set(RULE | {"resolve": True}))
        driver.take(failed(3, 2), failed(4, 3))
        assert driver.said.kinds() == [
            ("fired", 0, (1,)),
            ("flapping", 1, (2,)),
            ("fired", 2, (3,)),
            ("fired", 3, (4,)),
        ]

    @pytest.mark.parametrize(
        "condition",
        [
            {"absence": {"within": 20}},
            {"threshold": {"count": 1, "within": 20}},
            {"statistic": {"filter": "max", "period": 60, "comparison": ">", "threshold": 1}},
        ],
    )
    def test_begins_anew_with_another_condition(self, condition: dict[str, Any]) -> None:
        driver = Driver(RULE | {"condition": {"consecutive": {"count": 1}}}).begin().take(failed(1, 0))
        driver.crash(rule_set(RULE | {"condition": condition}))
        assert not driver.engine.acknowledge(PLACE, "ann", at(1))
        driver.take(failed(2, 2)).until(9)

    def test_waits_no_more_for_what_is_not_expected_any_more(self) -> None:
        def expecting(*dags: str) -> dict[str, Any]:
            return RULE | {"condition": {"absence": {"within": 50, "wait": 0, "expect": dags}}}

        driver = Driver(expecting("a", "b")).begin().until(2)
        driver.crash(rule_set(expecting("a")))
        driver.engine.expect(at(2))
        assert [one.key for one in driver.until(30).said.planned] == ['["a"]']

    def test_is_forgotten_when_it_is_gone(self) -> None:
        driver = Driver(RULE | {"repeat": 30}).begin().take(failed(1, 0))
        driver.crash(rule_set(RULE | {"name": "other"}))
        assert driver.until(9).said.kinds() == [("fired", 0, (1,))]
