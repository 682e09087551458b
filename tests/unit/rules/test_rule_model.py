"""The rule, the pattern it stands for, and many rules together."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from ml_event_provider.events import Event
from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.rules import PRESETS, PatternIndex, Rule, RuleSet, RuleTarget, rule_json_schema
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.rules.silences import Silence

#: A pattern of 900 alternatives, and types that double them.
MUCH = {"$and": [{"$or": [{"data": {name: [number]}} for number in range(30)]} for name in ("x", "y")]}
TWO_WAYS = ["x.y", "model version approved"]
QUIET = {"reason": "r", "author": "a", "ends_at": "2030-01-01T00:00:00Z"}


def rule(**fields: Any) -> Rule:
    return Rule.model_validate({"name": "a", "targets": ["slack"], **fields})


def event(kind: str = "airflow.task_instance.failed", workspace: str = "default", **data: Any) -> Event:
    return Event(
        id="1",
        source="/airflow",
        type=kind,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        data=data,
        workspace=workspace,
    )


def test_defaults() -> None:
    found = rule(on=["task failed"])
    assert found.workspace == "default"
    assert found.severity == "info"
    assert found.enabled is True
    assert found.targets == (RuleTarget(conn_id="slack"),)


def test_a_target_is_a_connection_or_one_with_options() -> None:
    found = rule(on="x.y", targets=["a", {"conn_id": "b", "template": "t", "options": {"to": ["x@example.org"]}}])
    assert [target.conn_id for target in found.targets] == ["a", "b"]
    assert found.targets[1].options == {"to": ["x@example.org"]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "needs 'on' or 'event_pattern'"),
        ({"on": []}, "needs 'on' or 'event_pattern'"),
        ({"on": ["x.y"], "name": ""}, "at least 1 character"),
        ({"on": ["x.y"], "name": "a" * 201}, "at most 200"),
        ({"on": ["x.y"], "name": "a\nb"}, "control character"),
        ({"on": ["x.y"], "name": "a\x7f"}, "control character"),
        ({"on": ["x.y"], "name": " a"}, "space"),
        ({"on": ["x.y"], "owner": "a\ufffe"}, "no character"),
        ({"on": ["x.y"], "workspace": "\ufdd0"}, "no character"),
        ({"on": ["x.y"], "tags": ["\U0010ffff"]}, "no character"),
        ({"on": ["x.y"], "severity": "high"}, "'critical'"),
        ({"on": ["x.y"], "enabled": "yes"}, "boolean"),
        ({"on": ["x.y"], "targets": []}, "at least 1 "),
        ({"on": ["x.y"], "colour": "red"}, "Extra inputs"),
        ({"on": ["x.y"], "targets": [{"conn_id": "a", "url": "b"}]}, "Extra inputs"),
        ({"on": ["task fialed"]}, "did you mean 'task failed'"),
        ({"on": ["airflow.task_instance.faild"]}, "did you mean 'airflow.task_instance.failed'"),
        ({"on": ["airflow.tasks.*"]}, "no event type of Airflow"),
        ({"on": ["x.**"]}, "single *"),
        ({"event_pattern": {"a": "x"}}, r'write \["x"\]'),
        ({"event_pattern": MUCH, "scope": {"pipelines": "p"}}, "together: .* over 1000 alternatives"),
        ({"on": "x.y", "resolve": {"event_pattern": MUCH}, "scope": {"pipelines": "p"}}, "together: .* over 1000"),
        ({"on": "x.y", "inhibit": {"event_pattern": MUCH, "on": TWO_WAYS}}, "together: .* over 1000"),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rule(**fields)


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        (Silence, {**QUIET, "event_pattern": MUCH, "pipelines": "p"}, "together: .* over 1000 alternatives"),
        (Silence, {**QUIET, "event_pattern": MUCH, "on": TWO_WAYS}, "together: .* over 1000 alternatives"),
        (ResourceGroup, {"members": [{"event_pattern": MUCH, "pipelines": "p"}]}, "together: .* over 1000"),
        (ResourceGroup, {"members": [{"dags": f"d{n}"} for n in range(257)]}, "at most 256 items"),
    ],
)
def test_parts_that_are_too_much_together_are_refused(
    model: type[Silence | ResourceGroup], fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        model.model_validate({"name": "a", **fields})


def test_parts_that_are_just_not_too_much_are_taken() -> None:
    assert rule(event_pattern=MUCH, resolve={"event_pattern": MUCH}, scope={"dags": "d"})
    assert Silence.model_validate({"name": "a", **QUIET, "event_pattern": MUCH, "dags": ["d", "e"]})
    assert ResourceGroup.model_validate({"name": "a", "members": [{"dags": f"d{n}"} for n in range(256)]})


def test_a_rule_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        rule(on="x.y").name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "matching", "others"),
    [
        ({"on": ["task failed"]}, [event()], [event("airflow.dag_run.failed"), event(workspace="other")]),
        ({"on": "task failed", "workspace": "other"}, [event(workspace="other")], [event()]),
        (
            {"on": ["airflow.task_instance.*"]},
            [event(), event("airflow.task_instance.success")],
            [event("airflow.dag_run.failed")],
        ),
        (
            {"on": ["pipeline job failed", "x.y"], "event_pattern": {"data": {"dag_id": ["train"]}}},
            [event("airflow.dag_run.failed", dag_id="train"), event("x.y", dag_id="train")],
            [event("x.y", dag_id="other"), event(dag_id="train")],
        ),
        (
            {"on": ["Model version  approved"]},
            [event("ml.model_version.approval_changed", status="approved")],
            [event("ml.model_version.approval_changed", status="rejected")],
        ),
        (
            {
                "on": ["model version approved", "drift detected"],
                "event_pattern": {"data": {"model": ["churn"]}},
            },
            [
                event("ml.model_version.approval_changed", status="approved", model="churn"),
                event("ml.dataset.drift_detected", model="churn"),
            ],
            [event("ml.model_version.approval_changed", status="approved", model="ltv")],
        ),
        (
            {"on": ["x.*"], "event_pattern": {"type": [{"suffix": ".y"}], "workspace": [{"prefix": "def"}]}},
            [event("x.y")],
            [event("x.z"), event("a.y")],
        ),
        (
            {"event_pattern": {"$and": [{"data": {"a": [1]}}, {"data": {"b": [2]}}]}},
            [event(a=1, b=2)],
            [event(a=1)],
        ),
        ({"event_pattern": {"prefix": ["p"], "type": ["x.y"]}}, [], [event("x.y")]),
    ],
)
def test_a_rules_pattern_is_its_workspace_types_and_pattern(
    fields: dict[str, Any], matching: list[Event], others: list[Event]
) -> None:
    index = PatternIndex({"rule": rule(**fields).pattern()})
    assert all(index.match(each.to_dict()) for each in matching)
    assert not any(index.match(each.to_dict()) for each in others)


def test_presets_stand_for_known_types() -> None:
    for name, pattern in PRESETS.items():
        PatternIndex.check(rule(on=[name]).pattern())
        assert set(pattern["type"]) <= set(EVENT_TYPES), name


def test_a_set_matches_enabled_rules_of_all_workspaces_sorted_by_name() -> None:
    rules = RuleSet(
        [
            rule(name="z", on="task failed"),
            rule(name="a", on="airflow.*"),
            rule(name="off", on="task failed", enabled=False),
            rule(name="z", on="task failed", workspace="other"),
        ]
    )
    assert [found.name for found in rules.match(event())] == ["a", "z"]
    assert [found.workspace for found in rules.match(event(workspace="other"))] == ["other"]
    assert rules.broken == {}
    assert len(rules) == 3


def test_a_broken_rule_does_not_stop_the_others() -> None:
    good = rule(name="good", on="task failed")
    broken = good.model_copy(update={"name": "broken", "event_pattern": {"data": {"a": [{"prefx": "x"}]}}})
    twice = rule(name="good", on="x.y")
    rules = RuleSet([broken, good, twice])
    assert [found.name for found in rules.match(event())] == ["good"]
    assert "data.a: 'prefx' is no operator" in rules.broken["broken"]
    assert "two rules named 'good'" in rules.broken["good"]


def test_a_broken_silence_does_not_stop_the_others() -> None:
    good = Silence.model_validate({"name": "good", **QUIET, "on": "x.y"})
    broken = good.model_copy(update={"name": "broken", "event_pattern": MUCH, "pipelines": ("p",)})
    elsewhere = broken.model_copy(update={"workspace": "other"})
    rules = RuleSet([rule(on="x.y")], silences=[broken, good, elsewhere])
    assert "over 1000 alternatives" in rules.broken["silence broken"]
    found = rules.find(event("x.y", pipeline="p", x=1, y=1).to_dict())
    assert (found.silences, list(found.roles)) == ([good], [("default", "a")])
    assert (rules.silence("default", "good"), rules.silence("default", "broken")) == (good, None)
    assert [rules.has_silences(workspace) for workspace in ("default", "other")] == [True, False]


def test_the_schema_describes_what_files_may_hold() -> None:
    schema = rule_json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert set(schema["properties"]) == set(Rule.model_fields)
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["severity"]["enum"] == ["info", "warning", "error", "critical"]
    forms = schema["$defs"]["RuleTarget"]["anyOf"]
    assert [form["type"] for form in forms] == ["string", "object"]
    assert {"type": "string"} in schema["properties"]["on"]["anyOf"]
    for field in schema["properties"].values():
        assert field.get("description") or "anyOf" in field
