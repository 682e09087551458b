"""Cooldown, suppression, groups and inhibition: what is told later, in one, or not at all. Moments are ticks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.rules.engine.driving import FAILED, SUCCESS, Driver, arrival, rule_set, run, tick_of

TASK_FAILED = "airflow.task_instance.failed"
RULE = {"name": "rule", "on": TASK_FAILED, "by": "data.task_id", "targets": "target"}
INHIBIT = {"on": "pipeline job failed", "within": 50, "wait": 20}
GROUP = {"by": "data.run_id", "wait": 20, "interval": 100}


def task(seq: int, tick: float, task_id: str = "t", run_id: str = "r", *, late: int = 0) -> Any:
    return arrival(seq, tick, TASK_FAILED, late=late, dag_id="d", task_id=task_id, run_id=run_id)


def dag_run(seq: int, tick: float, run_id: str = "r", *, late: int = 0) -> Any:
    return arrival(seq, tick, FAILED, late=late, dag_id="d", run_id=run_id)


class TestCooldown:
    def test_holds_back_what_fires_too_soon_and_says_how_many_with_the_next(self) -> None:
        said = run(RULE | {"cooldown": 50}, [task(1, 0), task(2, 1), task(3, 4), task(4, 5), task(5, 9), task(6, 30)])
        assert said.kinds() == [("fired", 0, (1,)), ("fired", 5, (4,)), ("fired", 30, (6,))]
        assert [one.facts.get("held_back") for one in said.planned] == [None, 2, 1]
        assert [seq for seq, outcome in said.outcomes() if outcome == "cooldown"] == [2, 3, 5]

    def test_counts_each_key_of_the_rule_by_itself(self) -> None:
        said = run(RULE | {"cooldown": 50}, [task(1, 0, "t"), task(2, 1, "u"), task(3, 2, "t")])
        assert said.kinds() == [("fired", 0, (1,)), ("fired", 1, (2,))]

    def test_may_count_by_other_fields_than_the_rule(self) -> None:
        rule = RULE | {"cooldown": {"for": 50, "by": "data.run_id"}}
        said = run(rule, [task(1, 0, "t", "r"), task(2, 1, "u", "r"), task(3, 2, "t", "s")])
        assert said.kinds() == [("fired", 0, (1,)), ("fired", 2, (3,))]

    def test_holds_for_a_condition_too(self) -> None:
        rule = RULE | {"condition": {"threshold": {"count": 2, "within": 20}}, "cooldown": 100}
        said = run(rule, [task(1, 0), task(2, 1), task(3, 5), task(4, 6), task(5, 20), task(6, 21)])
        assert said.kinds() == [("fired", 1, (2,)), ("fired", 21, (6,))]


class TestSuppression:
    def test_the_first_goes_at_once_and_the_others_in_one(self) -> None:
        said = run(RULE | {"suppress": 50}, [task(seq, seq) for seq in range(4)], until=90)
        assert said.kinds() == [("fired", 0, (0,)), ("fired", 5, (1, 2, 3))]
        assert [one.members for one in said.planned] == [1, 3]

    def test_after_the_summary_the_time_runs_again(self) -> None:
        said = run(RULE | {"suppress": 50}, [task(1, 0), task(2, 1), task(3, 6), task(4, 20)], until=90)
        assert said.kinds() == [("fired", 0, (1,)), ("fired", 5, (2,)), ("fired", 10, (3,)), ("fired", 20, (4,))]

    def test_each_key_is_suppressed_by_itself(self) -> None:
        said = run(RULE | {"suppress": 50}, [task(1, 0, "t"), task(2, 1, "u"), task(3, 2, "t")], until=90)
        assert said.kinds() == [("fired", 0, (1,)), ("fired", 1, (2,)), ("fired", 5, (3,))]

    def test_so_are_keys_that_were_never_seen(self) -> None:
        condition = {"absence": {"within": 20, "wait": 0, "expect": ["t", "u"]}}
        said = run(RULE | {"condition": condition, "suppress": 50}, until=90)
        assert [(tick_of(one.at), one.key) for one in said.planned] == [(2, '["t"]'), (2, '["u"]')]


class TestGroups:
    def test_many_failed_tasks_are_one_message_that_names_the_newest(self) -> None:
        arrivals = [task(seq, 0.01 * seq, f"t{seq}") for seq in range(150)]
        said = run(RULE | {"group": GROUP | {"max": 1000}}, arrivals, until=50)
        assert said.kinds() == [("fired", 2, tuple(range(50, 150)))]
        assert said.planned[0].members == 150
        assert {seq for seq, outcome in said.outcomes() if outcome == "notified"} == set(range(150))

    def test_a_message_goes_at_once_when_so_many_have_gathered(self) -> None:
        arrivals = [task(seq, 0, f"t{seq}") for seq in range(5)]
        said = run(RULE | {"group": GROUP | {"max": 2}}, arrivals, until=50)
        assert said.kinds() == [("fired", 0, (0, 1)), ("fired", 0, (2, 3)), ("fired", 10, (4,))]

    def test_the_first_waits_and_the_next_keep_the_interval(self) -> None:
        said = run(RULE | {"group": GROUP}, [task(1, 0), task(2, 1), task(3, 3), task(4, 40)], until=90)
        assert said.kinds() == [("fired", 2, (1, 2)), ("fired", 12, (3,)), ("fired", 42, (4,))]

    def test_other_values_are_another_group(self) -> None:
        said = run(RULE | {"group": GROUP}, [task(1, 0, run_id="r"), task(2, 1, run_id="s")], until=90)
        assert said.kinds() == [("fired", 2, (1,)), ("fired", 3, (2,))]

    def test_each_member_is_told_what_became_of_it(self) -> None:
        said = run(RULE | {"group": GROUP}, [task(1, 0), task(2, 1)], until=90)
        assert said.outcomes() == [(1, "grouped"), (2, "grouped"), (1, "notified"), (2, "notified")]
        assert {one.notification for one in said.decisions if one.outcome == "notified"} == {said.planned[0].id}

    def test_what_fires_not_again_is_no_firing_and_is_not_acted_upon(self) -> None:
        rule = RULE | {"group": GROUP, "resolve": True, "repeat": 80, "actions": {"pause_dag": "d"}}
        over = arrival(2, 11, "airflow.task_instance.success", dag_id="d", task_id="t", run_id="r")
        said = run(rule, [task(1, 0), over], until=20)
        assert said.kinds() == [("fired", 2, (1,)), ("repeated", 12, (1,)), ("resolved", 12, (2,))]
        assert [len(one.deliveries) for one in said.planned] == [2, 1, 1]

    def test_what_waits_is_told_when_the_rule_groups_no_more(self) -> None:
        driver = Driver(RULE | {"group": GROUP}).begin().take(task(1, 0))
        driver.crash(rule_set(RULE))
        assert driver.until(5).said.kinds() == [("fired", 2, (1,))]

    def test_an_expected_key_is_in_the_group_of_its_own_value(self) -> None:
        condition = {"absence": {"within": 20, "wait": 0, "expect": ["t", "u"]}}
        rule = RULE | {"condition": condition, "group": {"by": "data.task_id", "wait": 10}}
        said = run(rule, until=9)
        assert [(one.key, one.members) for one in said.planned] == [('["t"]', 1), ('["u"]', 1)]


class TestInhibition:
    @pytest.mark.parametrize(
        ("inhibit", "arrivals", "expected"),
        [
            pytest.param({}, [task(1, 0), dag_run(2, 1)], [], id="the other comes while it waits"),
            pytest.param({}, [task(1, 0), dag_run(2, 3)], [("fired", 2, (1,))], id="the other comes too late"),
            pytest.param({}, [dag_run(1, 0), task(2, 5)], [], id="the other came before"),
            pytest.param({}, [dag_run(1, 0), task(2, 6)], [("fired", 8, (2,))], id="the other came too long before"),
            pytest.param({}, [dag_run(1, 0, "s"), task(2, 1)], [("fired", 3, (2,))], id="the other is of another run"),
            pytest.param(
                {"equal": "data.dag_id"}, [dag_run(1, 0, "s"), task(2, 1)], [], id="only the fields named are compared"
            ),
            pytest.param({"wait": 0}, [task(1, 0), dag_run(2, 0)], [("fired", 0, (1,))], id="it need not wait"),
            pytest.param({"wait": 0}, [dag_run(1, 0), task(2, 0)], [], id="at one moment the first to arrive counts"),
            pytest.param({}, [dag_run(1, 30, late=29), task(2, 31, late=29)], [], id="both are late"),
            pytest.param({}, [task(1, 60, late=55), dag_run(2, 61, late=60)], [], id="both are late, the other way"),
            pytest.param({}, [dag_run(1, 30, late=29), task(2, 31)], [("fired", 33, (2,))], id="only one is late"),
            pytest.param({"on": "task *"}, [task(1, 0)], [("fired", 2, (1,))], id="it does not mute itself"),
        ],
    )
    def test_mutes_where_another_event_tells_the_same(
        self, inhibit: dict[str, Any], arrivals: list[Any], expected: list[Any]
    ) -> None:
        inhibit = {**INHIBIT, **inhibit}
        if inhibit["on"] == "task *":
            inhibit["on"] = TASK_FAILED
        said = run(RULE | {"inhibit": inhibit}, arrivals, until=100)
        assert said.kinds() == expected
        assert [outcome for _, outcome in said.outcomes() if outcome == "inhibited"] == ["inhibited"] * (not expected)

    @pytest.mark.parametrize("absent", [None, "", []])
    def test_not_where_both_lack_what_must_be_equal(self, absent: Any) -> None:
        rule = RULE | {"inhibit": INHIBIT | {"equal": ["data.dag_id", "data.run_id"]}}
        arrivals = [dag_run(1, 0, absent), task(2, 1, run_id=absent)]
        assert run(rule, arrivals, until=100).kinds() == [("fired", 3, (2,))]

    def test_a_group_leaves_out_its_inhibited_members(self) -> None:
        rule = RULE | {"inhibit": INHIBIT | {"wait": 0}, "group": {"wait": 30}}
        arrivals = [task(1, 0, run_id="r"), task(2, 0, run_id="s"), dag_run(3, 1, "s"), task(4, 2, run_id="s")]
        said = run(rule, arrivals, until=100)
        assert said.kinds() == [("fired", 3, (1,))]
        assert [seq for seq, outcome in said.outcomes() if outcome == "inhibited"] == [2, 4]

    def test_an_event_inhibits_however_long_the_group_waits(self) -> None:
        rule = RULE | {"inhibit": INHIBIT | {"wait": 0}, "group": {"wait": 3000}}
        assert run(rule, [task(1, 0), dag_run(2, 1)], until=1000).kinds() == []

    def test_the_other_event_may_be_one_of_many(self) -> None:
        rule = RULE | {"inhibit": INHIBIT | {"equal": []}}
        arrivals = [task(1, 0), *(dag_run(seq, 1, f"r{seq}") for seq in range(2, 30)), task(40, 20)]
        assert run(rule, arrivals, until=100).kinds() == [("fired", 22, (40,))]

    def test_one_of_many_is_enough_although_others_came_since(self) -> None:
        rule = RULE | {"inhibit": INHIBIT | {"within": 10, "wait": 60, "equal": []}}
        arrivals = [task(1, 0), *(dag_run(seq, seq / 5, f"r{seq}") for seq in range(2, 28))]
        assert run(rule, arrivals, until=100).kinds() == []

    def test_one_of_several_is_enough(self) -> None:
        others = [{"on": SUCCESS, "equal": []}, INHIBIT]
        assert run(RULE | {"inhibit": others}, [task(1, 0), dag_run(2, 1)], until=100).kinds() == []
