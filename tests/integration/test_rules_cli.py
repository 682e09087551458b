"""``airflow ml-events rules …``: plan, prune, history, rollback, explain, backtest and lint, on a real database."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider import config
from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.events.model import Event
from ml_event_provider.store import definitions, events, unmatched
from ml_event_provider.store.engine import transaction, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Command, File

pytestmark = pytest.mark.usefixtures("airflow_db")

FAILED, SUCCEEDED = "airflow.dag_run.failed", "airflow.dag_run.success"
RULE = """\
name: three in a row
on: pipeline job failed
severity: error
condition: {consecutive: {count: 3}}
resolve: true
targets: [inbox, mail]
"""


def dag_run(number: int, kind: str = FAILED, dag: str = "train", ago: timedelta = timedelta(0), **more: Any) -> None:
    moment = utc_now() - ago
    one = Event(
        id=f"e-{number}",
        source="/tests",
        type=kind,
        time=moment,
        data={"dag_id": dag, "run_id": f"r-{number}"},
        **more,
    )
    with transaction() as connection:
        events.record(connection, [one], now=moment)


def match() -> None:
    rules = Rules()
    while sum(match_batch(rules, limit=100)):
        pass


def stored() -> set[str]:
    with transaction() as connection:
        return {one.name for one in definitions.find(connection)}


# Apply


def test_a_plan_names_each_field_that_would_change(ml_events: Command, file: File) -> None:
    ml_events("rules", "apply", "-f", file("one.yaml", RULE))
    changed = RULE.replace("count: 3", "count: 5").replace("severity: error\n", "cooldown: 1h\n")
    said = ml_events("rules", "apply", "--plan", "-f", file("one.yaml", changed))
    assert said.out.splitlines() == [
        "~ changed   default/three in a row",
        "      condition.consecutive.count: 3 → 5",
        '      severity: "error" → (absent)',
        '      cooldown: (absent) → {"for": "1h"}',
        "1 changed (nothing was changed)",
    ]
    with transaction() as connection:
        assert definitions.get(connection, "three in a row", workspace="default").version == 1


def test_prune_deletes_what_came_from_files_and_is_in_them_no_more(ml_events: Command, file: File) -> None:
    ml_events("rules", "apply", "-f", file("one.yaml", RULE))
    with transaction() as connection:
        for name, workspace, by in (
            ("gone", "default", "file"),
            ("by hand", "default", "user"),
            ("far", "other", "file"),
        ):
            definitions.put(
                connection, {"name": name, "workspace": workspace, "on": ["x.y"], "targets": ["a"]}, managed_by=by
            )
    plan = ml_events("rules", "apply", "--prune", "--plan", "-f", file("one.yaml", RULE)).out
    assert "- deleted   default/gone" in plan
    assert "by hand" not in plan
    assert stored() == {"three in a row", "gone", "by hand", "far"}
    ml_events("rules", "apply", "--prune", "-f", file("one.yaml", RULE))
    assert stored() == {"three in a row", "by hand", "far"}


def test_groups_calendars_and_silences_are_applied_with_the_rules_that_need_them(
    ml_events: Command, file: File
) -> None:
    text = """\
resource_groups:
  - {name: money, members: [{dags: [billing_*]}, {models: [fraud]}]}
calendars:
  - {name: office, timezone: Europe/Berlin, days: mon-fri, closed: [12-25]}
silences:
  - {name: move, everything: true, reason: data centre moves, author: ana, ends_at: "2099-12-01T06:00:00Z"}
rules:
  - name: money
    on: pipeline job failed
    scope: {groups: money}
    active: {calendar: office, hours: "08:00-18:00"}
    targets: inbox
"""
    said = ml_events("rules", "apply", "-f", file("all.yaml", text))
    assert said.out.splitlines()[-1] == "4 created"
    for kind, name in (("resource_group", "money"), ("calendar", "office"), ("silence", "move")):
        assert name in ml_events("rules", "list", "--kind", kind).out
        assert f"name: {name}" in ml_events("rules", "show", name, "--kind", kind).out
    said = ml_events("rules", "delete", "money", "--kind", "resource_group")
    assert said.code == 1
    assert "there is no resource group 'money'" in said.err
    assert "money" in ml_events("rules", "list", "--kind", "resource_group").out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RULE + "scope: {groups: monye}\n", "there is no resource group 'monye'"),
        (RULE + "active: {calendar: office}\n", "calendar 'office', which does not exist"),
        (
            RULE.replace("[inbox, mail]", "[a, b, c, d, e, f]"),
            "has 6 targets, those of its escalations included; 5 are allowed",
        ),
        (RULE + "actions: {trigger_dag: {dag_id: train}}\n", "train"),
    ],
)
def test_what_could_not_work_is_refused_and_nothing_is_changed(
    ml_events: Command, file: File, text: str, words: str
) -> None:
    said = ml_events("rules", "apply", "-f", file("one.yaml", text))
    assert said.code == 1
    assert words in said.err
    assert stored() == set()


def test_quotas_of_a_workspace_can_be_raised_and_people_count_once_a_channel(
    ml_events: Command, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(
        f"---\nname: r{n}\nworkspace: fraud\non: task failed\n"
        f"targets: [{{conn_id: mail, options: {{to: ['Ana@x.org', b{n % 3}@x.org]}}}}, a, b, c, d, e]\n"
        for n in range(6)
    )
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE_QUOTAS", '{"fraud": {"max_targets": 6, "max_contacts": 3}}')
    config.forget()
    said = ml_events("rules", "apply", "-f", file("many.yaml", text))
    assert "name 4 people" in said.err
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE_QUOTAS", '{"fraud": {"max_targets": 6, "max_contacts": 4}}')
    config.forget()
    assert ml_events("rules", "apply", "-f", file("many.yaml", text)).code == 0


@pytest.fixture(autouse=True)
def _fresh_options() -> Iterator[None]:
    yield
    config.forget()


def test_the_schema_takes_every_way_to_write_a_file_and_refuses_mistakes(ml_events: Command) -> None:
    import jsonschema
    import yaml

    validator = jsonschema.Draft202012Validator(ml_events("rules", "schema").json)
    rule = {
        "name": "a",
        "on": "task failed",
        "targets": "inbox",
        "cooldown": "1h",
        "resolve": True,
        "by": "data.dag_id",
    }
    group = {"name": "g", "members": [{"dags": "a*"}]}
    for value in (rule, [rule], {"rules": [rule], "resource_groups": [group]}, {"calendars": [{"name": "c"}]}):
        assert list(validator.iter_errors(value)) == [], value
    for path in sorted((Path(__file__).parents[2] / "examples" / "rules").glob("*.yaml")):
        for document in yaml.load_all(path.read_text("utf-8"), yaml.BaseLoader):
            assert list(validator.iter_errors(document)) == [], path
    for value in ({**rule, "colour": "red"}, {"rules": [rule], "other": []}, {"name": "a", "on": "x.y"}, {}, []):
        assert list(validator.iter_errors(value)), value


# Versions


def test_versions_are_kept_and_can_be_gone_back_to(ml_events: Command, file: File) -> None:
    ml_events("rules", "apply", "-f", file("one.yaml", RULE))
    ml_events("rules", "apply", "-f", file("one.yaml", RULE.replace("count: 3", "count: 4")))
    ml_events("rules", "disable", "three in a row")
    table = ml_events("rules", "history", "three in a row", "-o", "json").json
    assert [(one["version"], one["change"], one["fields"]) for one in table] == [
        (1, "created", ""),
        (2, "changed", "condition.consecutive.count"),
        (3, "disabled", "enabled"),
    ]
    assert all(one["author"] for one in table)
    assert "count: 4" in ml_events("rules", "history", "three in a row", "--version", "2").out
    said = ml_events("rules", "rollback", "three in a row", "--version", "1")
    assert said.out == "default/three in a row is now as in version 1 (version 4)\n"
    with transaction() as connection:
        now = definitions.get(connection, "three in a row", workspace="default")
    assert (now.version, now.enabled, now.definition["condition"]) == (4, True, {"consecutive": {"count": 3}})
    said = ml_events("rules", "rollback", "three in a row", "--version", "9")
    assert (said.code, "has no version 9 to go back to; it has 1, 2, 3, 4" in said.err) == (1, True)


def test_a_name_that_is_used_again_goes_on_counting(ml_events: Command, file: File) -> None:
    ml_events("rules", "apply", "-f", file("one.yaml", RULE))
    ml_events("rules", "delete", "three in a row")
    ml_events("rules", "apply", "-f", file("one.yaml", RULE))
    found = ml_events("rules", "history", "three in a row", "-o", "json").json
    assert [(one["version"], one["change"]) for one in found] == [(1, "created"), (2, "deleted"), (3, "created")]


# Explain


def explained(ml_events: Command, event: str, rule: str) -> str:
    return ml_events("rules", "explain", "--event", event, "--rule", rule).out


def test_each_rule_says_why_it_fired_or_not_also_after_it_was_changed(ml_events: Command, file: File) -> None:
    text = (
        RULE
        + """\
---
{name: other DAG, on: pipeline job failed, scope: {dags: deploy_*}, targets: inbox}
---
{name: success, on: pipeline job completed, targets: inbox}
---
{name: cool, on: pipeline job failed, cooldown: 1h, targets: inbox}
---
{name: grouped, on: pipeline job failed, group: {wait: 1h}, targets: inbox}
---
{name: off, on: pipeline job failed, enabled: false, targets: inbox}
---
{name: quiet, on: pipeline job failed, targets: [{conn_id: inbox, active: {hours: "00:00-00:01", outside: mute}}]}
"""
    )
    text += """---
silences:
  - {name: upgrade, dags: train, rules: silent*, reason: upgrade, author: ana, ends_at: "2099-01-01T00:00:00Z"}
rules:
  - {name: silent one, on: pipeline job failed, targets: inbox}
"""
    ml_events("rules", "apply", "-f", file("rules.yaml", text))
    for number in range(3):
        dag_run(number)
    match()
    ml_events("rules", "apply", "-f", file("rules.yaml", RULE.replace("count: 3", "count: 30")))

    assert explained(ml_events, "e-1", "three in a row").splitlines()[:3] == [
        "three in a row (version 1): no notification",
        "    ✓ pattern: fits",
        "    ✗ condition: " + explained(ml_events, "e-1", "three in a row").splitlines()[2].partition("condition: ")[2],
    ]
    assert 'waiting for ["train"]: count 2, wanted 3' in explained(ml_events, "e-1", "three in a row")
    fired = explained(ml_events, "e-2", "three in a row")
    assert fired.startswith("three in a row (version 1): notified\n")
    assert "count 3, wanted 3" in fired
    assert "inbox: pending" in fired
    assert "mail: pending" in fired
    other = explained(ml_events, "e-1", "other DAG")
    assert "✓ pattern: fits" in other
    assert """✗ scope: data.dag_id: wants {"wildcard": "deploy_*"}, found 'train'""" in other
    assert "✗ pattern: type: wants" in explained(ml_events, "e-1", "success")
    assert "✗ decision: " in explained(ml_events, "e-1", "cool")
    assert "cooldown" in explained(ml_events, "e-1", "cool")
    assert "notified" in explained(ml_events, "e-0", "cool")
    assert "grouped" in explained(ml_events, "e-1", "grouped")
    assert "✗ enabled: the rule was switched off" in explained(ml_events, "e-1", "off")
    assert "inbox: muted (silence 'upgrade' of ana: upgrade)" in explained(ml_events, "e-1", "silent one")
    assert "outside of the active hours" in explained(ml_events, "e-1", "quiet") or utc_now().hour == 0
    found = ml_events("rules", "explain", "--event", "e-2", "-o", "json").json
    assert {one["rule"]: one["fired"] for one in found} == {
        "cool": False,
        "grouped": False,
        "off": False,
        "other DAG": False,
        "quiet": True,
        "silent one": True,
        "success": False,
        "three in a row": True,
    }


def test_a_rule_with_several_presets_is_explained_by_what_decided_and_tells_its_roles(
    ml_events: Command, file: File
) -> None:
    text = """\
resource_groups:
  - {name: core, members: [{dags: score}, {dags: train}]}
rules:
  - {name: either, on: [pipeline job failed, task failed], targets: inbox}
  - {name: ours, on: [pipeline job failed, task failed], scope: {groups: core}, targets: inbox}
  - {name: elsewhere, on: [pipeline job failed, task failed], scope: {dags: deploy_*}, targets: inbox}
  - {name: ends, on: [task failed, ml.data.odd], resolve: {on: [pipeline job failed, ml.data.even]}, targets: inbox}
"""
    rules = file("rules.yaml", text)
    ml_events("rules", "apply", "-f", rules)
    dag_run(1)
    match()
    for name in ("either", "ours"):
        found = explained(ml_events, "e-1", name)
        assert found.startswith(f"{name} (version 1): notified\n")
        assert "✗" not in found
    elsewhere = explained(ml_events, "e-1", "elsewhere")
    assert [line for line in elsewhere.splitlines() if "✗" in line] == [
        """    ✗ scope: data.dag_id: wants {"wildcard": "deploy_*"}, found 'train'"""
    ]
    assert "· role: the event ends the rule's alerts" in explained(ml_events, "e-1", "ends")

    said = ml_events("rules", "test", "-f", rules, "--event", "e-1").out
    assert "either: matches\nours: matches\nelsewhere: does not match\n    data.dag_id: wants" in said
    assert said.count("wants") == 1 + said.partition("ends: does not match")[2].count("wants")
    assert "\n    the event ends the rule's alerts\n" in said


def test_the_head_line_says_where_all_deliveries_are_muted(ml_events: Command, file: File) -> None:
    text = """\
silences:
  - {name: upgrade, dags: train, rules: silent*, reason: upgrade, author: ana, ends_at: "2099-01-01T00:00:00Z"}
rules:
  - {name: silent one, on: pipeline job failed, targets: [inbox, mail]}
  - {name: loud one, on: pipeline job failed, targets: [inbox, mail]}
"""
    ml_events("rules", "apply", "-f", file("rules.yaml", text))
    dag_run(1)
    match()
    assert explained(ml_events, "e-1", "silent one").startswith("silent one (version 1): muted for all targets\n")
    assert explained(ml_events, "e-1", "loud one").startswith("loud one (version 1): notified\n")
    found = ml_events("rules", "explain", "--event", "e-1", "-o", "json").json
    assert {one["rule"]: (one["fired"], one["muted"]) for one in found} == {
        "silent one": (True, True),
        "loud one": (True, False),
    }


def test_what_was_one_too_many_in_an_hour_is_explained(
    ml_events: Command, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__WORKSPACE_QUOTAS", '{"default": {"notifications_per_hour": 1}}')
    config.forget()
    ml_events("rules", "apply", "-f", file("busy.yaml", "{name: busy, on: pipeline job failed, targets: inbox}"))
    for number in range(2):
        dag_run(number)
    match()
    assert "inbox: pending" in explained(ml_events, "e-0", "busy")
    assert "quota: more than 1 notifications of this rule in one hour" in explained(ml_events, "e-1", "busy")


def test_an_event_that_is_not_recorded_or_waits_says_so(ml_events: Command, file: File) -> None:
    said = ml_events("rules", "explain", "--event", "nothing")
    assert (said.code, "no event 'nothing' is recorded" in said.err) == (1, True)
    ml_events("rules", "apply", "-f", file("one.yaml", RULE))
    dag_run(1)
    assert "the event waits to be matched" in explained(ml_events, "e-1", "three in a row")


# Backtest


def test_a_backtest_compares_the_file_with_the_stored_rule(ml_events: Command, file: File) -> None:
    ml_events("rules", "apply", "-f", file("one.yaml", RULE))
    hour = timedelta(hours=1)
    for number in range(10):
        dag_run(number, SUCCEEDED if number == 9 else FAILED, ago=(20 - number) * hour)
    dag_run(100, ago=timedelta(days=3))
    changed = RULE.replace("count: 3", "count: 5").replace("[inbox, mail]", "[inbox]") + "repeat: 90m\n"
    found = ml_events("rules", "backtest", "--since", "1d", "-f", file("one.yaml", changed), "-o", "json").json
    assert {name: report["events"] for name, report in found.items()} == {"file": 10, "stored": 10}
    assert found["stored"]["by_kind"] == {"fired": 1, "resolved": 1}
    assert found["stored"]["sent"] == {"inbox": 2, "mail": 2}
    assert found["file"]["by_kind"] == {"fired": 1, "repeated": 3, "resolved": 1}
    assert found["file"]["sent"] == {"inbox": 5}
    assert [one["kind"] for one in found["file"]["told"]] == ["fired", "repeated", "repeated", "repeated", "resolved"]
    text = ml_events("rules", "backtest", "--since", "1d", "-f", file("one.yaml", changed), "-n", "1").out
    assert "as in the file: 5 notification(s) (3 repeated, 1 fired, 1 resolved)" in text
    assert "as stored: 2 notification(s)" in text
    assert "… and 4 more" in text
    with transaction() as connection:
        assert unmatched.workspaces(connection)


def test_a_backtest_of_the_stored_rules_is_what_the_dispatcher_told(ml_events: Command, file: File) -> None:
    ml_events("rules", "apply", "-f", file("one.yaml", RULE))
    for number in range(4):
        dag_run(number, SUCCEEDED if number == 3 else FAILED)
    match()
    found = ml_events("rules", "backtest", "--since", "1h", "-o", "json").json["stored"]
    assert found["by_kind"] == {"fired": 1, "resolved": 1}
    listed = ml_events("deliveries", "list", "-o", "json").json
    assert len(listed) == sum(found["sent"].values()) == 4


@pytest.mark.parametrize(
    ("condition", "kinds", "looked_at"),
    [
        ("last: {count: 2, of: 3}", {"fired": 1, "resolved": 1}, "is another of the events of which the rule counts"),
        ("threshold: {count: 2, within: 1h, renew: true}", {"fired": 2}, "✗ pattern: type: wants"),
    ],
)
def test_a_condition_is_backtested_and_explained_as_the_dispatcher_judged_it(
    ml_events: Command, file: File, condition: str, kinds: dict[str, int], looked_at: str
) -> None:
    rule = RULE.replace("consecutive: {count: 3}", condition)
    ml_events("rules", "apply", "-f", file("one.yaml", rule))
    for number in range(6):
        dag_run(number, SUCCEEDED if number > 3 else FAILED)
    match()
    found = ml_events("rules", "backtest", "--since", "1h", "-o", "json").json["stored"]
    assert found["by_kind"] == kinds
    assert len(ml_events("deliveries", "list", "-o", "json").json) == sum(found["sent"].values())
    assert "notified" in explained(ml_events, "e-1", "three in a row")
    assert looked_at in explained(ml_events, "e-4", "three in a row")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "soon"], "--since 'soon'"),
        (["--rule", "nothing"], "there is no rule to be tested"),
    ],
)
def test_a_backtest_that_cannot_be_made_says_why(ml_events: Command, arguments: list[str], words: str) -> None:
    said = ml_events("rules", "backtest", *arguments)
    assert (said.code, words in said.err) == (1, True)


# Lint


def test_lint_says_what_is_wrong_and_exits_1(ml_events: Command, file: File) -> None:
    text = (
        RULE
        + """\
---
{name: never, on: task failed, event_pattern: {data: {state: [failed]}, type: [x.y]}, targets: nowhere}
"""
    )
    said = ml_events("rules", "lint", "-f", file("rules.yaml", text))
    assert said.code == 1
    assert "default/never" in said.out
    assert "[never-matches]" in said.out
    assert json.dumps("nowhere").strip('"') in said.out


def test_a_calendar_goes_back_to_a_former_version(ml_events: Command, file: File) -> None:
    for opens in ("weekdays", "mon-thu"):
        path = file("calendar.yaml", f"calendars:\n- {{name: work, days: {opens}}}\n")
        assert ml_events("rules", "apply", "-f", path).code == 0
    said = ml_events("rules", "rollback", "work", "--version", "1", "--kind", "calendar")
    assert said.code == 0, said.err
    assert said.out.strip() == "default/work is now as in version 1 (version 3)"
    assert "rule 'work'" in ml_events("rules", "rollback", "work", "--version", "1").err
