"""Each remark of the linter on a rule that deserves it, and none on one that is nearly the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ml_event_provider.rules.calendars import Calendar
from ml_event_provider.rules.linting import Remark, Surroundings, likeness, lint
from ml_event_provider.rules.linting.quotas import people
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.rules.silences import Silence

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAILED = "pipeline job failed"
DONE = "pipeline job completed"
LOGGED = "run metric logged"


def rule(name: str = "r", /, **fields: Any) -> Rule:
    return Rule.model_validate({"name": name, "on": FAILED, "targets": "slack_ml", **fields})


def pattern(**fields: Any) -> dict[str, Any]:
    """A rule's fields with nothing but a pattern."""
    return {"on": [], "event_pattern": fields}


def quota(name: str, workspace: str) -> int:
    return {"max_targets": 2, "max_contacts": 3, "max_rules": 4}[name] + (workspace == "large") * 100


GROUPS = [ResourceGroup.model_validate({"name": "churn", "members": [{"dags": "churn_*"}, {"models": "churn"}]})]
CALENDARS = [
    Calendar.model_validate({"name": "work", "days": "weekdays"}),
    Calendar.model_validate({"name": "never", "closed": "01-01..12-31"}),
]
AROUND = Surroundings(
    connections={"slack_ml", "mail", "ding"},
    connection_types={"mail": "smtp", "mail2": "smtp"},
    templates={"short", "long"}.__contains__,
    groups=GROUPS,
    calendars=CALENDARS,
    known_dags={"train", "churn_daily", "churn_weekly"},
    now=NOW,
)
#: What is said of groups and calendars in ``AROUND``, whatever the rules are.
OF_OTHERS = {"unused-group", "unused-calendar"}


def remarks(*rules: Rule, around: Surroundings = AROUND) -> list[Remark]:
    return [remark for remark in lint(rules, around) if remark.code not in OF_OTHERS]


def consecutive(**fields: Any) -> dict[str, Any]:
    return {"condition": {"consecutive": {"count": 3, **fields}}}


def sequence(*on: str) -> dict[str, Any]:
    return {"condition": {"sequence": {"then": {"on": on}, "within": "1h"}}}


def absence(*expect: Any, **fields: Any) -> dict[str, Any]:
    return {"condition": {"absence": {"within": "24h", "expect": list(expect), **fields}}}


def metric(**fields: Any) -> dict[str, Any]:
    return {"condition": {"metric_threshold": {"comparison": ">", "threshold": 0.2, **fields}}}


APPROVAL = "ml.model_version.approval_changed"

#: code, level, field, words of the text; a rule that has the remark, and a near one without any.
CASES: list[tuple[str, str, str, str, dict[str, Any], dict[str, Any]]] = [
    (
        *("distinct-is-key", "error", "condition.threshold.distinct", "never two values"),
        {"by": "data.dag_id", "condition": {"threshold": {"count": 2, "within": "1h", "distinct": "data.dag_id"}}},
        {"by": [], "condition": {"threshold": {"count": 2, "within": "1h", "distinct": "data.dag_id"}}},
    ),
    (
        *("distinct-is-key", "error", "condition.threshold.distinct", "leave it out of 'by'"),
        {"condition": {"threshold": {"count": 2, "within": "1h", "distinct": "data.dag_id"}}},
        {"condition": {"threshold": {"count": 2, "within": "1h", "distinct": "data.run_id"}}},
    ),
    (
        *("absurd-quantity", "warning", "condition.metric_change.threshold", "write 0.05 for 5 %"),
        {"on": LOGGED, "condition": {"metric_change": {"threshold": 5}}},
        {"on": LOGGED, "condition": {"metric_change": {"threshold": 5, "compare": "absolute"}}},
    ),
    (
        *("absurd-quantity", "warning", "condition.metric_change.threshold", "below nothing"),
        {"on": LOGGED, "condition": {"metric_change": {"threshold": 2, "direction": "decrease"}}},
        {"on": LOGGED, "condition": {"metric_change": {"threshold": 2, "direction": "increase"}}},
    ),
    (
        *("cooldown-over-resolve", "warning", "cooldown", "ends 1h after"),
        {"cooldown": "2h", "resolve": {"after": "1h"}},
        {"cooldown": "1h", "resolve": {"after": "1h"}},
    ),
    (
        *("resolve-before-condition", "warning", "resolve.after", "count for 1h"),
        {"condition": {"threshold": {"count": 2, "within": "1h"}}, "resolve": {"after": "10m"}},
        {"condition": {"threshold": {"count": 2, "within": "1h"}}, "resolve": {"after": "1h"}},
    ),
    (
        *("wait-over-within", "warning", "inhibit[0].wait", "only within 5m"),
        {"inhibit": {"on": DONE, "within": "5m", "wait": "10m"}},
        {"inhibit": {"on": DONE, "within": "5m", "wait": "5m"}},
    ),
    (
        *("target-twice", "warning", "targets[1]", "told twice"),
        {"targets": ["slack_ml", "slack_ml"]},
        {"targets": ["slack_ml", {"conn_id": "slack_ml", "options": {"channel": "#other"}}]},
    ),
    (
        *("no-dag", "warning", "condition.absence.expect", "did you mean 'train'"),
        absence("trian"),
        absence("train"),
    ),
    (
        *("break-is-own", "warning", "condition.consecutive.broken_by", "never break the row"),
        consecutive(broken_by={"on": "airflow.dag_run.*"}),
        consecutive(broken_by={"on": DONE}),
    ),
    (
        *("never-matches", "error", "event_pattern", "the rule never fires"),
        {"event_pattern": {"type": ["airflow.dag_run.success"]}},
        {"event_pattern": {"type": ["airflow.dag_run.failed"]}},
    ),
    (
        *("never-matches", "warning", "event_pattern", "did you mean 'approved'"),
        pattern(type=[APPROVAL], data={"status": ["aproved"]}),
        pattern(type=[APPROVAL], data={"status": ["approved"]}),
    ),
    (
        *("never-matches", "error", "event_pattern", "data.dag_id: no value is of"),
        {"scope": {"dags": "train"}, "event_pattern": {"data": {"dag_id": ["churn_daily"]}}},
        {"scope": {"dags": "train"}, "event_pattern": {"data": {"dag_id": [{"prefix": "t"}]}}},
    ),
    (
        *("never-matches", "error", "event_pattern", "data.map_index"),
        {"on": "task failed", "event_pattern": {"data": {"map_index": ["0"]}}},
        {"on": "task failed", "event_pattern": {"data": {"map_index": [0]}}},
    ),
    (
        *("never-matches", "warning", "on", "no event type"),
        {"on": "ml.model_version.aproval_changed"},
        {"on": "com.example.aproval_changed"},
    ),
    (
        *("never-matches", "error", "resolve", "no alert ends by it"),
        {"resolve": {"on": DONE, "event_pattern": {"data": {"state": ["a"]}, "type": ["airflow.dag_run.failed"]}}},
        {"resolve": {"on": DONE, "event_pattern": {"type": ["airflow.dag_run.success"]}}},
    ),
    (
        *("never-matches", "error", "condition.consecutive.broken_by", "no row is ever broken"),
        consecutive(broken_by={"on": DONE, "event_pattern": {"type": ["airflow.dag_run.running"]}}),
        consecutive(broken_by={"on": DONE}),
    ),
    (
        *("never-matches", "error", "condition.sequence.then", "nothing ever follows"),
        {"condition": {"sequence": {"then": {"on": DONE, "event_pattern": {"type": ["x"]}}, "within": "1h"}}},
        sequence(DONE),
    ),
    (
        *("never-matches", "error", "inhibit[0]", "it never mutes anything"),
        {"inhibit": {"on": DONE, "event_pattern": {"type": ["x"]}}},
        {"inhibit": {"on": DONE}},
    ),
    (
        *("unknown-name", "warning", "event_pattern", "did you mean 'dag_id'"),
        {"event_pattern": {"data": {"dag_idd": ["train"]}}},
        {"event_pattern": {"data": {"dag_id": ["train"]}}},
    ),
    (
        *("unknown-name", "error", "event_pattern", "`detail` is `data` here"),
        {"event_pattern": {"$or": [{"detail.dag_id": ["train"]}, {"data.dag_id": ["train"]}]}},
        {"event_pattern": {"$or": [{"data.run_id": ["train"]}, {"data.dag_id": ["train"]}]}},
    ),
    (
        *("unknown-name", "error", "event_pattern", '"0" never matches'),
        {"on": "task failed", "event_pattern": {"data": {"map_index": ["0", 1]}}},
        {"on": "task failed", "event_pattern": {"data": {"map_index": [0, 1]}}},
    ),
    (
        *("unknown-name", "warning", "event_pattern", "did you mean 'rejected'"),
        pattern(type=[APPROVAL], data={"status": ["approved", "rejectd"]}),
        pattern(type=[APPROVAL], data={"status": ["approved", "rejected"]}),
    ),
    (
        *("unknown-name", "warning", "event_pattern", "no event type 'ml.run.metrics'"),
        pattern(type=["ml.run.metrics", "airflow.dag_run.failed"]),
        pattern(type=["ml.run.metric_logged", "airflow.dag_run.failed"]),
    ),
    (
        *("unknown-name", "warning", "scope.models", "has no field data.model"),
        {"scope": {"models": "churn"}},
        {"scope": {"pipelines": "train"}},
    ),
    (
        *("unknown-name", "warning", "scope.pipelines", "has no field data.dag_id"),
        {"on": "airflow.asset.updated", "scope": {"pipelines": "train"}},
        {"on": "airflow.asset.updated", "scope": {"groups": "churn"}},
    ),
    (
        *("unknown-name", "warning", "resolve", "scope.models asks for it here as well"),
        {"on": LOGGED, "by": [], "scope": {"models": "m"}, "resolve": {"on": DONE}},
        {"on": LOGGED, "by": [], "scope": {"models": "m"}, "resolve": {"on": APPROVAL}},
    ),
    (
        *("always-matches", "warning", "event_pattern", "every event of the workspace"),
        pattern(id=[{"exists": True}]),
        pattern(subject=[{"exists": True}]),
    ),
    (
        *("always-matches", "warning", "on", "every event of the workspace"),
        {"on": "*"},
        {"on": "airflow.*"},
    ),
    (
        *("no-group", "error", "scope.groups", "did you mean 'churn'"),
        {"scope": {"groups": "churm"}},
        {"scope": {"groups": "churn"}},
    ),
    (
        *("no-dag", "warning", "scope.dags", "did you mean 'train'"),
        {"scope": {"dags": "trian"}},
        {"scope": {"dags": ["train", "churn_*"]}},
    ),
    (
        *("no-dag", "error", "actions[0].trigger_dag.dag_id", "did you mean 'train'"),
        {"scope": {"dags": "churn_*"}, "actions": {"trigger_dag": {"dag_id": "trian"}}},
        {"scope": {"dags": "churn_*"}, "actions": {"trigger_dag": {"dag_id": "train"}}},
    ),
    (
        *("no-dag", "error", "actions[0].pause_dag.dag_id", "no DAG 'other'"),
        {"actions": {"pause_dag": "other"}},
        {"actions": {"asset_event": {"uri": "other"}}},
    ),
    (
        *("no-connection", "error", "targets[0]", "did you mean 'slack_ml'"),
        {"targets": "slack_mll"},
        {"targets": "slack_ml"},
    ),
    (
        *("no-connection", "error", "targets[0].fallback", "no connection 'post'"),
        {"targets": {"conn_id": "mail", "fallback": "post"}},
        {"targets": {"conn_id": "mail", "fallback": "ding"}},
    ),
    (
        *("no-connection", "error", "escalate[0].targets[0]", "no connection 'pager'"),
        {"escalate": {"after": "1h", "targets": "pager"}},
        {"escalate": {"after": "1h", "targets": "ding"}},
    ),
    ("no-template", "error", "template", "no template 'brief'", {"template": "brief"}, {"template": "short"}),
    (
        *("no-template", "error", "targets[0].template", "no template 'brief'"),
        {"targets": {"conn_id": "mail", "template": "brief"}},
        {"targets": {"conn_id": "mail", "template": "long"}},
    ),
    (
        *("no-calendar", "error", "active.calendar", "did you mean 'work'"),
        {"active": {"calendar": "werk"}},
        {"active": {"calendar": "work"}},
    ),
    (
        *("no-calendar", "error", "targets[0].active.calendar", "no calendar 'x'"),
        {"targets": {"conn_id": "mail", "active": {"calendar": "x"}}},
        {"targets": {"conn_id": "mail", "active": {"hours": "08:00-18:00"}}},
    ),
    (
        *("never-open", "error", "active", "the calendar 'never'"),
        {"active": {"calendar": "never"}},
        {"active": {"calendar": "work"}},
    ),
    (
        *("never-open", "error", "targets[0].active", "do not open within a year"),
        {"targets": {"conn_id": "mail", "active": {"days": "sun", "hours": "03:00-04:00", "calendar": "work"}}},
        {"targets": {"conn_id": "mail", "active": {"days": "mon", "hours": "03:00-04:00", "calendar": "work"}}},
    ),
    ("unknown-field", "warning", "by", "did you mean 'dag_id'", {"by": "data.dag_idd"}, {"by": "data.dag_id"}),
    ("unknown-field", "warning", "by", "write data.dag_id", {"by": "dag_id"}, {"by": "owner"}),
    (
        *("unknown-field", "warning", "by", "leads through a list"),
        {"on": "drift detected", "by": "data.columns.column"},
        {"on": "drift detected", "by": "data.columns"},
    ),
    (
        *("unknown-field", "warning", "by", "no field data.model"),
        {"by": "data.model"},
        {"on": [FAILED, APPROVAL], "by": "data.model"},
    ),
    (
        *("unknown-field", "warning", "cooldown.by", "no field data.task_id"),
        {"cooldown": {"for": "1h", "by": "data.task_id"}},
        {"cooldown": {"for": "1h", "by": "data.run_id"}},
    ),
    (
        *("unknown-field", "warning", "group.by", "no field data.task_id"),
        {"group": {"by": "data.task_id"}},
        {"on": "task failed", "group": {"by": "data.task_id"}},
    ),
    (
        *("unknown-field", "warning", "condition.threshold.distinct", "no field data.task"),
        {"condition": {"threshold": {"count": 3, "within": "1h", "distinct": "data.task"}}},
        {"on": "com.example.x", "condition": {"threshold": {"count": 3, "within": "1h", "distinct": "data.task"}}},
    ),
    (
        *("unknown-field", "warning", "condition.metric_threshold.value", "no field data.value"),
        metric(),
        {"on": LOGGED, **metric()},
    ),
    (
        *("value-is-no-number", "error", "condition.metric_threshold.value", "data.dag_id is a text"),
        metric(value="data.dag_id"),
        metric(value="data.duration"),
    ),
    (
        *("value-is-no-number", "warning", "condition.metric_threshold.value", "data.metric is a text"),
        {"on": LOGGED, **metric(value="data.metric")},
        {"on": LOGGED, **metric(value="data.step")},
    ),
    (
        *("threshold-of-one", "warning", "condition.threshold.count", "cooldown: 1h"),
        {"condition": {"threshold": {"count": 1, "within": "1h"}}},
        {"condition": {"threshold": {"count": 2, "within": "1h"}}},
    ),
    (
        *("expect-length", "error", "condition.absence.expect", "data.dag_id"),
        absence(["train", "x"]),
        absence("train"),
    ),
    (
        *("expect-length", "error", "condition.absence.expect", "'by' names data.dag_id, data.run_type"),
        {"by": ["data.dag_id", "data.run_type"], **absence("train")},
        {"by": ["data.dag_id", "data.run_type"], **absence(["train", "scheduled"])},
    ),
    (
        *("expect-length", "error", "condition.absence.expect", "'by' names nothing"),
        {"by": [], **absence("train")},
        {"by": [], **absence()},
    ),
    (
        *("expect-never-comes", "error", "condition.absence.expect", '["predict"]'),
        {"scope": {"dags": "train"}, **absence("train", "predict")},
        {"scope": {"dags": ["train", "churn_*"]}, **absence("train", "churn_daily")},
    ),
    (
        *("expect-never-comes", "error", "condition.absence.expect", "whole number"),
        {"on": "task failed", "by": "data.map_index", **absence("0")},
        {"on": "task failed", "by": "data.map_index", **absence(0)},
    ),
    (
        *("then-is-own", "warning", "condition.sequence.then", "follows itself"),
        sequence("airflow.dag_run.*"),
        sequence("airflow.dag_run.s*"),
    ),
    (
        *("resolve-is-own", "error", "resolve", "ends no alert"),
        {"on": "airflow.dag_run.*", "resolve": {"on": DONE}},
        {"on": [FAILED, "airflow.dag_run.running"], "resolve": {"on": DONE}},
    ),
    (
        *("resolve-is-own", "warning", "resolve", "may end the alert that it begins"),
        {**consecutive(), "resolve": {"on": "airflow.dag_run.*"}},
        {**consecutive(), "resolve": {"on": DONE}},
    ),
    (
        *("other-is-own", "error", "condition.last.others", "is no other"),
        {"on": "airflow.dag_run.*", "condition": {"last": {"count": 3, "of": 5, "others": {"on": DONE}}}},
        {"on": FAILED, "condition": {"last": {"count": 3, "of": 5, "others": {"on": "airflow.dag_run.*"}}}},
    ),
    (
        *("break-is-own", "error", "condition.consecutive.broken_by", "breaks no row"),
        {"on": "airflow.dag_run.*", **consecutive(broken_by={"on": DONE})},
        {"on": FAILED, **consecutive(broken_by={"on": ["airflow.dag_run.success", "airflow.dag_run.running"]})},
    ),
    (
        *("never-the-same", "error", "resolve", "about data.dag_id, the rule's own about data.dag_id/data.task_id"),
        {"on": "task failed", "resolve": {"on": DONE}},
        {"on": "deadline missed", "resolve": {"on": DONE}},
    ),
    (
        *("never-the-same", "error", "condition.sequence.then", "never follow"),
        {"on": APPROVAL, **sequence(DONE)},
        {"on": APPROVAL, "by": "data.dag_id", **sequence(DONE)},
    ),
    (
        *("never-the-same", "warning", "resolve", "the rule's own about data.uri"),
        {"on": "airflow.asset.updated", "resolve": {"on": DONE}},
        {"on": "airflow.asset.updated", "resolve": {"on": "airflow.asset.created"}},
    ),
    (
        *("never-the-same", "warning", "condition.consecutive.broken_by", "leave it out of 'by'"),
        {"on": "task failed", "by": ["data.dag_id", "data.task_id"], **consecutive(broken_by={"on": DONE})},
        {"on": "task failed", "by": ["data.dag_id"], **consecutive(broken_by={"on": DONE})},
    ),
    (
        *("inhibit-lacks-field", "warning", "inhibit[0].equal", "no field data.task_id"),
        {"on": "task failed", "inhibit": {"on": FAILED, "equal": ["data.dag_id", "data.task_id"]}},
        {"on": "task failed", "inhibit": {"on": FAILED}},
    ),
    (
        *("cooldown-over-repeat", "warning", "cooldown", "repeated every 1h"),
        {"resolve": True, "repeat": "1h", "cooldown": "2h"},
        {"resolve": True, "repeat": "1h", "cooldown": "1h"},
    ),
    ("never-ends", "warning", "repeat", "acknowledges", {"repeat": "1h"}, {"repeat": "1h", "resolve": {"after": "1d"}}),
    ("never-ends", "warning", "flapping", "hardly", {"flapping": {}}, {"flapping": {}, "resolve": True}),
    (
        *("target-never-told", "error", "targets[0].min_severity", "'info'"),
        {"targets": {"conn_id": "mail", "min_severity": "error"}},
        {"targets": {"conn_id": "mail", "min_severity": "error"}, "severity": "critical"},
    ),
    (
        *("target-never-told", "warning", "escalate[0].targets[0].min_severity", "it never gets anything"),
        {"escalate": {"after": "1h", "targets": {"conn_id": "mail", "min_severity": "error"}}},
        {"escalate": {"after": "1h", "targets": {"conn_id": "mail", "min_severity": "info"}}},
    ),
]


@pytest.mark.parametrize(("code", "level", "field", "words", "wrong", "near"), CASES)
def test_each_mistake_is_told_and_a_near_rule_is_left_alone(
    code: str, level: str, field: str, words: str, wrong: dict[str, Any], near: dict[str, Any]
) -> None:
    found = [remark for remark in remarks(rule(**wrong)) if remark.code == code]

    assert [(one.level, one.workspace, one.rule, one.field) for one in found] == [(level, "default", "r", field)]
    assert words in found[0].text
    assert remarks(rule(**near)) == []


def test_what_cannot_be_known_is_not_told() -> None:
    wrong = rule(
        targets={"conn_id": "nowhere", "template": "none"},
        scope={"dags": "unheard_of"},
        actions={"trigger_dag": {"dag_id": "unheard_of_too"}},
    )

    assert lint([wrong]) == []


def test_all_other_targets_of_a_rule_may_be_graver_than_it_is() -> None:
    graver = [{"conn_id": "mail", "min_severity": "error"}, {"conn_id": "ding", "min_severity": "critical"}]

    assert [remark.level for remark in remarks(rule(targets=graver))] == ["error", "error"]
    assert [remark.level for remark in remarks(rule(targets=["slack_ml", *graver]))] == ["warning", "warning"]
    actions = {"pause_dag": "train"}
    assert [remark.level for remark in remarks(rule(targets=graver, actions=actions))] == ["warning", "warning"]


MAIL = {"conn_id": "mail", "options": {"to": "a@example.com"}}
TRAIN = {"dags": "train"}
GRAVE = {"targets": {"conn_id": "slack_ml", "min_severity": "error"}, "severity": "error"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({}, {}, [("duplicate", "warning", "b")]),
        ({}, {"enabled": False}, []),
        ({}, {"workspace": "other"}, []),
        ({}, {"targets": "mail"}, []),
        ({}, {"targets": ["slack_ml", "mail"]}, [("overlap", "warning", "b")]),
        ({}, {"by": "data.dag_id"}, [("overlap", "info", "b")]),
        ({"resolve": True}, {"resolve": True, "repeat": "1h"}, [("overlap", "info", "b")]),
        ({}, {"escalate": [{"after": "1h", "targets": "mail"}], "resolve": True}, [("overlap", "info", "b")]),
        ({}, {"group": {"wait": "1m"}}, [("overlap", "info", "b")]),
        ({}, {"inhibit": {"on": DONE}}, [("overlap", "info", "b")]),
        ({"cooldown": "1h"}, {"cooldown": "1d"}, [("overlap", "info", "b")]),
        ({}, consecutive(), [("overlap", "info", "b")]),
        ({"on": [FAILED, DONE]}, {"on": [DONE, FAILED]}, [("duplicate", "warning", "b")]),
        ({}, {"scope": TRAIN}, [("overlap", "warning", "b")]),
        ({"scope": TRAIN}, {}, [("overlap", "warning", "a")]),
        ({"scope": TRAIN}, {"scope": {"dags": "t*"}}, [("overlap", "warning", "a")]),
        ({"scope": TRAIN}, {"scope": {"dags": "churn_*"}}, []),
        ({"scope": TRAIN}, {"event_pattern": {"data": {"run_type": ["manual"]}}}, []),
        ({"scope": TRAIN}, GRAVE, [("overlap", "info", "a")]),
        ({"targets": MAIL}, {"targets": {**MAIL, "options": {"to": "b@example.com"}}}, []),
        ({"targets": MAIL}, {"targets": MAIL}, [("duplicate", "warning", "b")]),
    ],
)  # fmt: skip
def test_rules_that_say_the_same_to_the_same_are_told(
    first: dict[str, Any], second: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    found = remarks(rule("a", **first), rule("b", **second))

    assert [(one.code, one.level, one.rule) for one in found] == expected


def test_an_overlap_names_the_wider_rules_and_the_targets() -> None:
    wider = [rule(f"wide {number}", on=[FAILED, DONE], by=f"x{number}") for number in range(5)]
    found = [one for one in remarks(rule("narrow"), *wider) if one.rule == "narrow"]

    assert [one.text for one in found] == [
        "every event of this rule is also one of 'wide 0', 'wide 1', 'wide 2' and 2 others, and both go to slack_ml;"
        " narrow the other, or leave the target out of one"
    ]


def test_too_many_pairs_are_left_out_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "MAX_COMPARED", 2)
    rules = [rule(f"r{number}", scope={"dags": "churn_*"[:number] + "*"}) for number in range(3, 7)]

    assert [one for one in remarks(*rules) if one.code == "not-all-compared"] == [
        Remark(
            "info",
            "default",
            "",
            "rules",
            "the workspace has too many rules that are much alike to compare all of them: 2 pairs were compared, the"
            " rest was left out",
            "not-all-compared",
        )
    ]


def of_quota(*rules: Rule) -> list[tuple[str, str]]:
    around = Surroundings(quota=quota, connection_types=AROUND.connection_types)
    return [(one.code, one.rule) for one in lint(rules, around) if one.code.startswith("too-many")]


def test_a_rule_has_so_many_different_targets_those_of_its_escalations_included() -> None:
    more = {"after": "1h", "targets": ["b", "c"]}

    assert of_quota(rule(targets=["a", "a", "b"])) == []
    assert of_quota(rule(targets=["a", "b"], actions={"pause_dag": "train"})) == []
    assert of_quota(rule(targets=["a"], escalate=more)) == [("too-many-targets", "r")]
    assert of_quota(rule(targets=["a"], escalate=more, workspace="large")) == []


def test_a_workspace_has_so_many_rules_disabled_ones_included() -> None:
    rules = [rule(f"r{number}", scope={"dags": f"d{number}"}, enabled=number > 0) for number in range(5)]

    assert of_quota(*rules[:4]) == []
    assert of_quota(*rules) == [("too-many-rules", "")]
    assert of_quota(*rules[:4], rule("other", workspace="other")) == []


@pytest.mark.parametrize(
    ("targets", "many"),
    [
        ([{"conn_id": "mail", "options": {"to": "A <a@x.org>, b@x.org; c@x.org"}}], False),
        ([{"conn_id": "mail", "options": {"to": ["a@x.org", "b@x.org"], "cc": "c@x.org", "bcc": "d@x.org"}}], True),
        ([{"conn_id": "mail", "options": {"to": "a@x.org, b@x.org, c@x.org, A@X.org"}}], False),
        # One channel, whichever connection.
        ([{"conn_id": one, "options": {"to": "a@x.org, b@x.org"}} for one in ("mail", "mail2")], False),
        ([{"conn_id": one, "options": {"to": "a@x.org, b@x.org"}} for one in ("mail", "other")], True),
        ([{"conn_id": "ding", "options": {"at_mobiles": ["1", "2"], "at_user_ids": "u\uff0cv"}}], True),
        ([{"conn_id": "ding", "options": {"at_mobiles": [1, "1"], "at_user_ids": "u,v"}}], False),
        ([{"conn_id": "mail", "fallback": {"conn_id": "ding", "options": {"at_mobiles": "1,2,3,4"}}}], True),
    ],
)
def test_each_person_counts_once_a_channel(targets: list[dict[str, Any]], many: bool) -> None:
    assert of_quota(rule(targets=targets)) == ([("too-many-contacts", "")] if many else [])


def test_people_are_told_apart_by_address_alone() -> None:
    assert people({"to": '"Ada, L." <Ada@X.org>\nbob@x.org', "channel": "#ml"}) == {"ada@x.org", "bob@x.org"}


def test_groups_and_calendars_that_no_rule_names_are_told() -> None:
    using = rule(scope={"groups": "churn"}, active={"calendar": "work"})

    assert [(one.level, one.code, one.field) for one in lint([using], AROUND)] == [
        ("info", "unused-calendar", "calendars.never")
    ]
    assert {one.code for one in lint([rule(workspace="other")], AROUND)} == {"unused-group", "unused-calendar"}


@pytest.mark.parametrize(
    ("silence", "expected"),
    [
        ({"rules": "nightly*"}, []),
        ({"rules": ["nightly run", "weekly"]}, [("warning", "silence-without-rule", "silences.s.rules")]),
        ({"rules": "nightly", "workspace": "other"}, [("warning", "silence-without-rule", "silences.s.rules")]),
        ({"everything": True, "ends_at": "2026-03-01T12:00:00Z"}, [("info", "silence-ended", "silences.s")]),
        ({"everything": True}, []),
        ({"on": FAILED, "event_pattern": {"type": ["x"]}}, [("error", "never-matches", "silences.s")]),
        ({"on": FAILED, "models": "m"}, [("warning", "unknown-name", "silences.s")]),
        ({"on": FAILED, "pipelines": "m"}, []),
    ],
)
def test_silences_that_mute_nothing_are_told(silence: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    given = {"name": "s", "reason": "x", "author": "y", "ends_at": "2026-03-01T12:00:01Z", **silence}
    around = Surroundings(silences=[Silence.model_validate(given)], now=NOW)

    assert [(one.level, one.code, one.field) for one in lint([rule("nightly run")], around)] == expected


def test_remarks_about_a_rule_come_in_the_order_of_the_rules() -> None:
    rules = [rule(name, on="*", by="data.x y", targets=[f"slack_{name}"]) for name in ("b", "a", "c")]

    found = remarks(*rules, around=Surroundings(connections=[]))

    assert [(one.rule, one.code) for one in found] == [
        (name, code) for name in ("b", "a", "c") for code in ("always-matches", "no-connection")
    ]


def test_a_pattern_that_is_too_large_with_its_groups_is_told() -> None:
    ways = [{"data.a": [number], "data.b": [number]} for number in range(60)]
    wide = rule(**pattern(type=["com.example.x"], **{"$or": ways}), scope={"pipelines": "*", "groups": "many"})

    def found(members: int) -> list[tuple[str, str]]:
        group = {"name": "many", "members": [{"dags": f"d{number}", "models": "m"} for number in range(members)]}
        around = Surroundings(groups=[ResourceGroup.model_validate(group)])
        return [(one.code, one.field) for one in lint([wide], around)]

    assert found(8) == []
    assert found(9) == [("unusable-pattern", "event_pattern")]


def test_every_code_is_documented() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs" / "howto" / "rules-explained.md").read_text("utf-8")
    sources = "".join(path.read_text("utf-8") for path in (root / "ml_event_provider/rules/linting").glob("*.py"))
    codes = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', sources)) - {"anything-but"}
    assert "never-matches" in codes
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
