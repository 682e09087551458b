"""Packs from the command line: their rules come, change and go together, and parameters are remembered."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ml_event_provider.dispatch import packs as switching
from ml_event_provider.dispatch.matching import match_batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.rules.documents import read_yaml
from ml_event_provider.rules.packs import load_pack, packs
from ml_event_provider.store import definitions, deliveries, events
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import transaction
from tests.integration.recorded import event

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Command

pytestmark = pytest.mark.usefixtures("airflow_db")

ME = getpass.getuser()

OWN = """\
name: own
title: Jobs of our own
description: For tests.
parameters:
  job: {type: text, description: The job., default: train}
  late: {type: duration, description: How late., default: null}
rules:
  - name: failed
    on: task failed
    event_pattern: {data: {dag_id: ["${job}"]}}
  - name: late
    when: late
    on: task completed
    event_pattern: {data: {dag_id: ["${job}"]}}
    condition: {absence: {within: "${late}"}}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(OWN, "utf-8")
    return str(path)


def stored(kind: Kind = Kind.RULE) -> dict[str, definitions.Stored]:
    with transaction() as connection:
        return {f"{one.workspace}/{one.name}": one for one in definitions.find(connection, kind)}


def put(name: str, managed_by: str = "file", **more: Any) -> None:
    definition = {"name": name, "workspace": "default", "on": ["task failed"], "targets": ["inbox"], **more}
    with transaction() as connection:
        definitions.put(connection, definition, managed_by=managed_by)


@pytest.mark.parametrize("name", sorted(packs()))
def test_each_built_in_pack_is_switched_on_shown_and_off(ml_events: Command, name: str) -> None:
    said = ml_events("packs", "enable", name, "--set", "targets=inbox", "--plan")
    assert said.code == 0, said.err
    assert said.out.endswith("(nothing was changed)\n")
    assert stored() == stored(Kind.PACK) == {}
    assert ml_events("packs", "enable", name, "--set", "targets=inbox").code == 0
    rules = stored()
    assert rules
    assert all(f"pack:{name}" in one.definition["tags"] and one.managed_by == "pack" for one in rules.values())
    compiled = Rules()
    with transaction() as connection:
        found = compiled.of(connection, "default").rules
    assert (len(found), found.broken) == (len(rules), {})
    said = ml_events("packs", "enable", name)
    assert said.out.splitlines() == [
        *(line for line in said.out.splitlines() if line.startswith("unchanged  default/")),
        f"pack {name}, {len(rules)} rule(s)",
    ]
    assert "&id" not in ml_events("packs", "show", name).out
    said = ml_events("packs", "disable", name)
    assert said.out.splitlines() == [*(f"deleted    {one}" for one in rules), f"pack {name}, {len(rules)} rule(s)"]
    assert stored() == stored(Kind.PACK) == {}


def test_the_rules_of_a_pack_notify(ml_events: Command, own: str) -> None:
    ml_events("packs", "enable", "-f", own, "--set", "targets=inbox,mail", "--set", "job=churn")
    failed = event("e-1", type="airflow.task_instance.failed", data={"dag_id": "churn"})
    events.record_now([failed, event("e-2", type="airflow.task_instance.failed", data={"dag_id": "train"})])
    match_batch(Rules(), limit=10)
    with transaction() as connection:
        made = {(one.rule, one.conn_id) for one in deliveries.latest(connection)}
    assert made == {("own: failed", "inbox"), ("own: failed", "mail")}


def test_parameters_are_remembered_and_what_they_leave_out_goes(ml_events: Command, own: str) -> None:
    said = ml_events("packs", "enable", "-f", own, "--set", "targets=inbox", "--set", "late=2h")
    assert said.out.splitlines() == [
        "created    default/own: failed",
        "created    default/own: late",
        "pack own, 2 rule(s)",
    ]
    # The file is not needed any more.
    said = ml_events("packs", "enable", "own", "--set", "job=churn", "--by", "ben")
    assert said.code == 0, said.err
    assert "changed    default/own: failed" in said.out
    assert "event_pattern.data.dag_id: train → churn" in said.out
    assert stored(Kind.PACK)["default/own"].definition["parameters"] == {
        "targets": ["inbox"],
        "late": "2h",
        "job": "churn",
    }
    assert stored()["default/own: late"].definition["event_pattern"] == {"data": {"dag_id": ["churn"]}}
    said = ml_events("packs", "enable", "own", "--set", "late=")
    assert said.out.splitlines() == [
        "unchanged  default/own: failed",
        "deleted    default/own: late",
        "pack own, 2 rule(s)",
    ]
    assert set(stored()) == {"default/own: failed"}
    with transaction() as connection:
        rule = definitions.history(connection, "own: failed", workspace="default")
        gone = definitions.history(connection, "own: late", workspace="default")
        pack = definitions.history(connection, "own", workspace="default", kind=Kind.PACK)
    assert [(one.change, one.author) for one in rule] == [("created", ME), ("changed", "ben")]
    assert [one.change for one in gone] == ["created", "changed", "deleted"]
    assert [one.author for one in pack] == [ME, "ben", ME]


def test_a_parameter_that_a_later_version_of_the_pack_lost_is_forgotten(
    ml_events: Command, own: str, tmp_path: Path
) -> None:
    ml_events("packs", "enable", "-f", own, "--set", "targets=inbox", "--set", "late=2h")
    (later,) = read_yaml(OWN)
    del later.value["parameters"]["late"], later.value["rules"][1]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(later.value))
    said = ml_events("packs", "enable", "-f", own)
    assert said.code == 0, said.err
    assert stored(Kind.PACK)["default/own"].definition["parameters"] == {"targets": ["inbox"]}
    assert set(stored()) == {"default/own: failed"}


def test_a_rule_that_was_switched_off_stays_off(ml_events: Command, own: str) -> None:
    ml_events("packs", "enable", "-f", own, "--set", "targets=inbox")
    ml_events("rules", "disable", "own: failed")
    ml_events("packs", "enable", "own", "--set", "job=churn")
    rule = stored()["default/own: failed"]
    assert (rule.enabled, rule.definition["event_pattern"]) == (False, {"data": {"dag_id": ["churn"]}})


def test_packs_and_workspaces_and_other_rules_are_left_alone(ml_events: Command, own: str) -> None:
    put("mine", tags=["pack:own"])
    for workspace in ("default", "fraud"):
        ml_events("packs", "enable", "-f", own, "-w", workspace, "--set", "targets=inbox")
    ml_events("packs", "enable", "endpoints", "--set", "targets=inbox")
    before = stored()
    assert ml_events("packs", "disable", "own").code == 0
    assert set(before) - set(stored()) == {"default/own: failed"}
    assert set(stored(Kind.PACK)) == {"default/endpoints", "fraud/own"}


def test_a_rule_of_another_hand_is_not_overwritten(ml_events: Command, own: str) -> None:
    put("own: failed", managed_by="api")
    before = stored()
    said = ml_events("packs", "enable", "-f", own, "--set", "targets=inbox")
    assert said.code == 1
    assert "has a rule 'own: failed' that is managed by 'api'" in said.err
    assert (stored(), stored(Kind.PACK)) == (before, {})


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["enable"], "name one pack, or a file"),
        (["enable", "pipeline"], "did you mean 'pipelines'?"),
        (["enable", "pipelines"], "parameter 'targets': is missing"),
        (["enable", "pipelines", "--set", "targets"], "'targets' is no parameter; write name=value"),
        (["enable", "pipelines", "--set", "targets=a", "--set", "targets=b"], "stands twice"),
        (["enable", "pipelines", "--set", "targets=inbox", "--set", "severity=eror"], "did you mean 'error'?"),
        (["enable", "-f", "/nowhere/pack.yaml"], "/nowhere/pack.yaml:1: cannot be read"),
        (["disable", "pipelines"], "no pack 'pipelines' is switched on in workspace 'default'; switched on: none"),
        (["show"], "name one pack, or a file"),
        (["show", "nothing"], "no pack is named 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(
    ml_events: Command, arguments: list[str], problem: str
) -> None:
    said = ml_events("packs", *arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")
    assert problem in said.err
    assert stored() == stored(Kind.PACK) == {}


def test_a_pack_of_ones_own_cannot_take_a_built_in_packs_name(ml_events: Command, tmp_path: Path) -> None:
    path = tmp_path / "pack.yaml"
    path.write_text(OWN.replace("name: own", "name: drift"), "utf-8")
    said = ml_events("packs", "enable", "-f", str(path), "--set", "targets=inbox")
    assert said.code == 1
    assert "a built-in pack is named 'drift'" in said.err


def test_the_list_says_which_are_switched_on_and_with_what(ml_events: Command, own: str) -> None:
    lines = ml_events("packs", "list").out.splitlines()
    assert lines[0].split() == ["NAME", "ENABLED", "WORKSPACE", "PARAMETERS", "TITLE"]
    assert [line.split()[:2] for line in lines[1:]] == [[name, "False"] for name in sorted(packs())]
    ml_events("packs", "enable", "-f", own, "-w", "fraud", "--set", "targets=inbox,mail", "--set", "late=1d")
    ml_events("packs", "enable", "drift", "--set", 'targets=["a", {"conn_id": "b", "min_severity": "critical"}]')
    found = {one["name"]: one for one in ml_events("packs", "list", "-o", "json").json}
    assert found["own"] == {
        "name": "own",
        "enabled": True,
        "workspace": "fraud",
        "parameters": {"targets": ["inbox", "mail"], "late": "1d"},
        "title": "Jobs of our own",
    }
    assert found["pipelines"]["enabled"] is False
    table = ml_events("packs", "list").out
    assert "late=1d targets=inbox,mail" in table
    assert 'targets=["a", {"conn_id": "b", "min_severity": "critical"}]' in table
    assert "own" not in {one["name"] for one in ml_events("packs", "list", "-w", "default", "-o", "json").json}


def test_show_has_the_parameters_and_rules_that_make_the_same_pack_again(
    ml_events: Command, own: str, tmp_path: Path
) -> None:
    said = ml_events("packs", "show", "-f", own)
    assert said.out.partition("\n\nrules:")[0].splitlines() == [
        *("own: Jobs of our own", "", "For tests.", ""),
        *("targets (targets, must be given)", "    Where the notifications go: connection ids."),
        *("job (text, default train)", "    The job."),
        *("late (duration, default none)", "    How late."),
    ]
    (shown,) = read_yaml("rules:" + said.out.partition("\nrules:")[2])
    (written,) = read_yaml(OWN)
    assert shown.value["rules"] == [{**rule, "targets": "${targets}"} for rule in written.value["rules"]]
    ml_events("packs", "enable", "-f", own, "--set", "targets=inbox")
    assert "Switched on in workspace 'default': targets=inbox" in ml_events("packs", "show", "own").out


def test_a_pack_as_it_is_kept_is_the_same_pack(own: str, tmp_path: Path) -> None:
    for number, pack in enumerate([load_pack(tmp_path / "own.yaml"), *packs().values()]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(switching.written(pack), allow_unicode=True), "utf-8")
        assert load_pack(path) == pack


def test_connections_that_are_not_there_are_said_when_a_pack_or_rules_name_them(
    ml_events: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_THERE", "http://127.0.0.1")
    said = ml_events("packs", "enable", "pipelines", "--set", "targets=gone")
    assert said.code == 0
    assert said.err.startswith(
        "warning: connection 'gone' is neither in Airflow's table nor in this environment (rules: "
    )
    assert said.err.endswith(" more): create it, unless a secrets backend has it\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n"
        "  - {name: a, workspace: w, on: x.y, targets: [there, {conn_id: there, fallback: {conn_id: away}}]}\n"
        "  - {name: b, workspace: w, on: x.y, targets: off, enabled: false}\n"
        "  - {name: c, workspace: w, on: x.y, targets: there}\n",
        "utf-8",
    )
    for more in (["--plan"], []):
        said = ml_events("rules", "apply", "-f", str(rules), *more)
        assert said.code == 0
        assert said.err == (
            "warning: connection 'away' is neither in Airflow's table nor in this environment (rules: a): create it,"
            " unless a secrets backend has it\n"
        )
