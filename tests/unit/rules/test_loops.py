"""Rules that act on what they cause: seen where it is certain enough, and not where it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ml_event_provider.events.hops import run_id_of
from ml_event_provider.rules.linting.causes import RUN_ID, RUN_PREFIX
from ml_event_provider.rules.loops import MAX_LOOPS, Loop, find_loops
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.scope import ResourceGroup

FAILED = "pipeline job failed"
DONE = "pipeline job completed"
UPDATED = "airflow.asset.updated"


def rule(name: str = "a", /, *, starts: str = "", updates: str = "", **fields: Any) -> Rule:
    actions: list[dict[str, Any]] = [{"trigger_dag": {"dag_id": starts}}] if starts else []
    actions += [{"asset_event": {"uri": updates}}] if updates else []
    return Rule.model_validate({"name": name, "on": FAILED, "targets": "slack_ml", "actions": actions, **fields})


def of(*dags: str) -> dict[str, Any]:
    return {"scope": {"dags": dags}}


def data(**fields: Any) -> dict[str, Any]:
    return {"event_pattern": {"data": fields}}


def names(loops: list[Loop]) -> list[str]:
    return [" ".join(name for _, name in loop.rules) for loop in loops]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"on": "pipeline job started"},
        {"on": "task failed"},
        {"on": "airflow.task_instance.*"},
        {"on": "deadline missed"},
        {"on": "*"},
        of("x"),
        of("x", "y"),
        of("*"),
        {"scope": {"pipelines": "x"}},
        data(dag_id=[{"anything-but": ["y"]}]),
        # Who narrows the rule to the DAG and more, still means the DAG's runs.
        {**of("x"), "scope": {"dags": "x", "created_by": "ada"}},
        data(dag_id=["x"], run_type=["manual"]),
        data(run_type=["manual"]),
        data(state=["failed"]),
        data(run_id=[{"prefix": "ml_events__"}]),
        {"condition": {"threshold": {"count": 3, "within": "1h"}}},
        {"condition": {"consecutive": {"count": 3}}},
        {"resolve": True, "cooldown": "1h"},
        {"on": ["task failed", "drift detected"], "event_pattern": {"data": {"dag_id": ["x"]}}},
    ],
)
def test_a_rule_that_starts_what_it_fires_on_is_a_loop(fields: dict[str, Any]) -> None:
    assert names(find_loops([rule(starts="x", **fields)])) == ["a"]


@pytest.mark.parametrize(
    "fields",
    [
        {"on": "drift detected"},
        {"on": UPDATED},
        {"on": "com.example.x"},
        {"on": "airflow.*", "event_pattern": {"type": ["airflow.asset.created"]}},
        of("y"),
        of("y*"),
        {"scope": {"pipelines": "y"}},
        data(dag_id=[{"anything-but": ["x"]}]),
        data(run_id=[{"anything-but": {"prefix": "ml_events__"}}]),
        data(dag_id=["x"], run_id=[{"prefix": "scheduled__"}]),
        data(run_type=["scheduled"]),
        data(dag_id=["x"], run_type=["scheduled"]),
        data(dag_id=["x"], state=["success"]),
        # It may be so, but nobody knows.
        data(duration=[{"numeric": [">", 60]}]),
        data(tags=["churn"]),
        {"scope": {"created_by": "ada"}},
        data(dag_id=[{"exists": True}], tags=["churn"]),
        {"enabled": False},
        # Its events keep it from firing.
        {"on": DONE, "scope": {"dags": "x"}, "condition": {"absence": {"within": "24h"}}},
    ],
)
def test_a_rule_that_other_events_fire_is_none(fields: dict[str, Any]) -> None:
    assert find_loops([rule(starts="x", **fields)]) == []


def test_pausing_a_dag_causes_no_event() -> None:
    assert find_loops([rule(actions=[{"pause_dag": "x"}, {"unpause_dag": "x"}], **of("x"))]) == []


def test_each_loop_is_told_once_with_its_steps_and_what_to_do() -> None:
    rules = [
        rule("retry", starts="x"),
        rule("start", starts="y", **of("z")),
        rule("next", starts="z", on=DONE, **of("y")),
    ]

    assert find_loops(rules) == [
        Loop(
            (("default", "retry"),),
            "rule 'retry' starts DAG 'x', whose airflow.dag_run.failed fits rule 'retry' again, and so for ever; leave"
            " that out of rule 'retry' by event_pattern:"
            ' {"data": {"dag_id": [{"anything-but": ["x"]}]}}',
        ),
        Loop(
            (("default", "start"), ("default", "next")),
            "rule 'start' starts DAG 'y', whose airflow.dag_run.success fits rule 'next'; rule 'next' starts DAG 'z',"
            " whose airflow.dag_run.failed fits rule 'start' again, and so for ever; leave that out of rule 'start' by"
            ' event_pattern: {"data": {"run_id": [{"anything-but": {"prefix": "ml_events__"}}]}}',
        ),
    ]


@pytest.mark.parametrize(
    "rules",
    [
        [rule(starts="x")],
        [rule(starts="x", **of("x", "y"))],
        [rule(starts="x", on=["task failed", DONE])],
        [rule(updates="s3://x", on=UPDATED)],
        [rule(updates="s3://x", on=UPDATED, event_pattern={"data": {"uri": ["s3://x"]}})],
        [rule("a", starts="x", **of("y")), rule("b", starts="y", **of("x"))],
    ],
)
def test_the_advice_ends_the_loop(rules: list[Rule]) -> None:
    (loop,) = find_loops(rules)
    advice = json.loads(loop.text.partition("by event_pattern: ")[2])
    first = rules[0]
    both = advice if first.event_pattern is None else {"$and": [first.event_pattern, advice]}
    narrowed = Rule.model_validate({**first.model_dump(by_alias=True), "event_pattern": both})

    assert find_loops([narrowed, *rules[1:]]) == []


def test_three_rules_make_a_loop_and_disjoint_ones_none() -> None:
    ring = [rule("a", starts="y", **of("x")), rule("b", starts="z", **of("y")), rule("c", starts="x", **of("z"))]

    assert names(find_loops(ring)) == ["a b c"]
    assert find_loops(ring[:2]) == []
    assert find_loops([*ring[:2], rule("c", starts="w", **of("z"))]) == []
    assert find_loops([*ring[:2], rule("c", starts="x", workspace="other", **of("z"))]) == []


def test_each_elementary_loop_is_found_once() -> None:
    # Two ways from a to d, one back; and a way from d to b.
    rules = [
        rule("a", starts="1", **of("0")),
        rule("b", starts="2", **of("1", "4")),
        rule("c", starts="2", **of("1")),
        rule("d", actions=[{"trigger_dag": {"dag_id": one}} for one in "04"], **of("2")),
    ]

    assert names(find_loops(rules)) == ["b d", "a b d", "a c d"]


def test_no_more_loops_are_told_than_can_be_read() -> None:
    rules = [rule(f"r{number}", starts=f"d{number}", **of("d*")) for number in range(30)]

    assert len(find_loops(rules)) == MAX_LOOPS


def test_a_long_loop_is_told_in_short() -> None:
    rules = [rule(f"r{number}", starts=f"d{(number + 1) % 1200}", **of(f"d{number}")) for number in range(1200)]

    (loop,) = find_loops(rules)

    assert len(loop.rules) == 1200
    assert "and so on over 1200 rules, until the last fits rule 'r0' again" in loop.text
    assert len(loop.text) < 2000


@pytest.mark.parametrize(
    ("fields", "looped"),
    [
        ({}, True),
        ({"event_pattern": {"data": {"uri": ["s3://x"]}}}, True),
        ({"event_pattern": {"data": {"uri": [{"prefix": "s3://"}]}}}, True),
        ({"event_pattern": {"data": {"uri": ["s3://y"]}}}, False),
        # Whether that is the same asset, nobody knows.
        ({"event_pattern": {"data": {"name": ["x"]}}}, False),
        # No task makes the update.
        ({"event_pattern": {"data": {"source_dag_id": ["x"]}}}, False),
        ({"event_pattern": {"data": {"uri": ["s3://x"], "source_dag_id": ["x"]}}}, False),
        ({"event_pattern": {"data": {"source_dag_id": [{"exists": False}]}}}, True),
        ({"on": "airflow.asset.created"}, False),
    ],
)
def test_updates_of_assets_make_loops(fields: dict[str, Any], looped: bool) -> None:
    assert bool(find_loops([rule(updates="s3://x", **{"on": UPDATED, **fields})])) is looped


def test_an_asset_may_be_named() -> None:
    action = {"asset_event": {"name": "x"}}

    assert find_loops([rule(actions=[action], on=UPDATED, **data(name=["x"]))])
    assert not find_loops([rule(actions=[action], on=UPDATED, **data(name=["y"]))])


@pytest.mark.parametrize(
    ("consumers", "fields", "looped"),
    [
        (None, of("x"), False),
        ({}, of("x"), False),
        ({"s3://y": ["x"]}, of("x"), False),
        ({"s3://x": ["y"]}, of("x"), False),
        ({"s3://x": ["y", "x"]}, of("x"), True),
        ({"s3://x": {"x"}}, {}, True),
        ({"s3://x": {"x"}}, data(run_type=["asset_triggered"]), True),
        ({"s3://x": {"x"}}, data(dag_id=["x"], run_type=["manual"]), False),
        # Such runs have ids of Airflow's own.
        ({"s3://x": {"x"}}, data(dag_id=["x"], run_id=[{"prefix": "asset_triggered__"}]), True),
    ],
)
def test_updates_of_assets_start_their_consumers(
    consumers: dict[str, list[str]] | None, fields: dict[str, Any], looped: bool
) -> None:
    assert bool(find_loops([rule(updates="s3://x", **fields)], asset_consumers=consumers)) is looped


def test_groups_narrow_rules_and_a_rule_without_its_group_is_left_out() -> None:
    groups = [
        ResourceGroup.model_validate({"name": "g", "workspace": one, "members": [{"dags": dag}]})
        for one, dag in (("default", "x"), ("other", "y"))
    ]
    scoped = [rule(workspace=one, starts="x", scope={"groups": "g"}) for one in ("default", "other")]

    assert [loop.rules for loop in find_loops(scoped, groups=groups)] == [(("default", "a"),)]
    assert find_loops(scoped) == []


def test_runs_that_actions_start_have_such_ids() -> None:
    assert run_id_of(1, RUN_ID.rpartition("__")[2]) == RUN_ID
    assert RUN_ID.startswith(RUN_PREFIX)
