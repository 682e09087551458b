"""``airflow ml-events …`` on a real database: what is printed, what is changed, the exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from sqlalchemy import update

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.exceptions import MlEventError
from ml_event_provider.messages.preview import sample_events
from ml_event_provider.store import definitions, deliveries, dispatchers, events, notifications, schema, settlements
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.schema import DeliveryState
from ml_event_provider.store.settlements import Settlement
from tests.integration.leasing import lease_any
from tests.integration.recorded import EVENT, event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Command

pytestmark = pytest.mark.usefixtures("airflow_db")

RULE = """\
name: 训练失败
on: task failed
event_pattern:
  data:
    dag_id: [{prefix: train_}]
severity: error
targets: [inbox, {conn_id: mail, options: {to: [ada@example.com]}}]
"""


def stored() -> dict[str, definitions.Stored]:
    with transaction() as connection:
        return {f"{one.workspace}/{one.name}": one for one in definitions.find(connection)}


def put(name: str, **more: Any) -> None:
    definition = {"name": name, "workspace": "default", "on": ["task failed"], "targets": ["inbox"], **more}
    with transaction() as connection:
        definitions.put(connection, definition, managed_by="api")


def failed_task(dag_id: str = "train_churn", **changes: Any) -> Any:
    return event("e-1", type="airflow.task_instance.failed", subject="任务", data={"dag_id": dag_id}, **changes)


def deliver(*ids: str, state: DeliveryState = DeliveryState.DEAD) -> None:
    """Record an event and one delivery of each id, ended or not."""
    now = utc_now()
    with transaction() as connection:
        events.record(connection, [EVENT])
        (recorded,) = events.find(connection, EVENT.id)
        connection.execute(update(schema.event).values(matched_at=now))
        notifications.create(
            connection,
            [
                notifications.NewNotification(
                    id=f"n-{one}",
                    workspace="default",
                    rule=f"规则 {one}",
                    rule_version=1,
                    severity="error",
                    event_seq=recorded.seq,
                    deliveries=(notifications.NewDelivery(id=one, conn_id="inbox"),),
                )
                for one in ids
            ],
            now=now,
        )
        if state is DeliveryState.PENDING:
            return
        leased = lease_any(connection, owner="test", now=now)
        settled = [
            Settlement(
                delivery_id=one.id,
                number=1,
                started_at=now,
                milliseconds=7,
                outcome="refused",
                code="HTTP 410",
                reason="dieser Haken ist weg, größer 大",
                state=state,
            )
            for one in leased
        ]
        settlements.settle(connection, settled, owner="test", now=now)


def state_of(delivery_id: str) -> str:
    with transaction() as connection:
        return deliveries.get(connection, delivery_id).state


# Rules


def test_apply_creates_changes_and_leaves_alone(ml_events: Command, file: Callable[[str, str], str]) -> None:
    path = file("rules.yaml", RULE)
    said = ml_events("rules", "apply", "-f", path)
    assert (said.code, said.out.splitlines()) == (0, ["+ created   default/训练失败", "1 created"])
    assert ml_events("rules", "apply", "--file", path).out.startswith("  unchanged default/训练失败")
    file("rules.yaml", RULE.replace("error", "critical"))
    assert ml_events("rules", "apply", "-f", path).out.startswith("~ changed   default/训练失败")
    rule = stored()["default/训练失败"]
    assert (rule.version, rule.managed_by, rule.definition["severity"]) == (2, "file", "critical")


def test_apply_takes_a_folder(ml_events: Command, file: Callable[[str, str], str], tmp_path: Path) -> None:
    file("team/a.yaml", RULE)
    file("team/deep/b.json", json.dumps({"name": "b", "workspace": "fraud", "on": "drift.*", "targets": "inbox"}))
    file("team/README.md", "not a rule")
    said = ml_events("rules", "apply", "-f", str(tmp_path / "team"))
    assert (said.code, said.out.splitlines()[-1]) == (0, "2 created")
    assert set(stored()) == {"default/训练失败", "fraud/b"}


def test_plan_says_what_would_be_done_and_changes_nothing(ml_events: Command, file: Callable[[str, str], str]) -> None:
    put("训练失败")
    before = stored()
    said = ml_events("rules", "apply", "--plan", "-f", file("rules.yaml", f"{RULE}---\n{RULE.replace('训练', 'x')}"))
    assert said.code == 0
    lines = said.out.splitlines()
    assert (lines[0], lines[-2]) == ("~ changed   default/训练失败", "+ created   default/x失败")
    assert lines[-1] == "1 created, 1 changed (nothing was changed)"
    assert stored() == before


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (RULE.replace("severity: error", "severity: eror"), ":6: severity:"),
        (RULE.replace("prefix", "praefix"), ":5: event_pattern.data.dag_id"),
        ("name: [", ":2: not valid YAML"),
        ("", ":1: the file is empty"),
        (f"{RULE}---\n{RULE}", ":9: name: workspace 'default' has a rule named '训练失败' already"),
    ],
    ids=["field", "pattern", "yaml", "empty", "twice"],
)
def test_one_bad_file_is_named_by_line_and_nothing_is_applied(
    ml_events: Command, file: Callable[[str, str], str], tmp_path: Path, text: str, problem: str
) -> None:
    file("rules/a.yaml", RULE.replace("训练", "good"))
    bad = file("rules/b.yaml", text)
    said = ml_events("rules", "apply", "-f", str(tmp_path / "rules"))
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")
    assert f"{bad}{problem}" in said.err
    assert stored() == {}


def test_a_path_that_does_not_exist_is_said(ml_events: Command, tmp_path: Path) -> None:
    said = ml_events("rules", "apply", "-f", str(tmp_path / "nowhere"))
    assert (said.code, said.err) == (1, f"error: {tmp_path}/nowhere: there is no such file or folder\n")


def test_rules_are_listed_as_a_table_and_as_json(ml_events: Command) -> None:
    assert "no rules; create them" in ml_events("rules", "list").out
    put("训练失败", targets=["inbox", {"conn_id": "mail"}])
    put("pattern", workspace="fraud", on=[], event_pattern={"type": ["x"]}, enabled=False)
    lines = ml_events("rules", "list").out.splitlines()
    assert lines[0].split() == ["WORKSPACE", "NAME", "ENABLED", "VERSION", "ON", "TARGETS", "MANAGED_BY"]
    assert lines[1].split(maxsplit=4) == ["default", "训练失败", "True", "1", "task failed  inbox, mail  api"]
    assert lines[2].split() == ["fraud", "pattern", "False", "1", "(pattern)", "inbox", "api"]
    found = ml_events("rules", "list", "--output", "json", "-w", "fraud").json
    assert [(one["workspace"], one["name"], one["enabled"]) for one in found] == [("fraud", "pattern", False)]


def test_a_stored_rule_that_cannot_be_read_does_not_hide_the_others(
    ml_events: Command, file: Callable[[str, str], str]
) -> None:
    put("good")
    with transaction() as connection:
        definitions.put(connection, {"name": "broken", "workspace": "default", "future": True}, managed_by="api")
    assert [one["name"] for one in ml_events("rules", "list", "-o", "json").json] == ["broken", "good"]
    said = ml_events("rules", "test", "--event", file("event.json", failed_task().to_json()))
    assert "good: matches" in said.out
    assert "broken: cannot be used: " in said.out
    assert said.code == 0


def test_a_rule_shown_can_be_applied_again(ml_events: Command, file: Callable[[str, str], str]) -> None:
    ml_events("rules", "apply", "-f", file("rules.yaml", RULE))
    shown = ml_events("rules", "show", "训练失败").out
    assert shown.startswith("# version 1, managed by file, changed ")
    assert yaml.safe_load(shown)["name"] == "训练失败"
    assert "训练失败" in shown
    assert ml_events("rules", "apply", "-f", file("shown.yaml", shown)).out.startswith("  unchanged")


def test_rules_are_switched_and_deleted(ml_events: Command) -> None:
    put("one")
    put("one", workspace="fraud")
    assert ml_events("rules", "disable", "one").out == "disabled default/one\n"
    assert {name: rule.enabled for name, rule in stored().items()} == {"default/one": False, "fraud/one": True}
    assert ml_events("rules", "enable", "one").out == "enabled default/one\n"
    assert stored()["default/one"].enabled
    assert ml_events("rules", "delete", "one", "--workspace", "fraud").out == "deleted fraud/one\n"
    assert set(stored()) == {"default/one"}


@pytest.mark.parametrize("act", ["show", "enable", "disable", "delete"])
def test_an_unknown_rule_is_said(ml_events: Command, act: str) -> None:
    put("one", workspace="fraud")
    said = ml_events("rules", act, "one")
    assert (said.code, said.out) == (1, "")
    assert said.err == "error: workspace 'default' has no rule 'one'; see `airflow ml-events rules list`\n"


def test_a_rule_is_tested_on_a_file_and_on_a_recorded_event(
    ml_events: Command, file: Callable[[str, str], str]
) -> None:
    path = file("rules.yaml", RULE)
    task = failed_task()
    said = ml_events("rules", "test", "-f", path, "--event", file("event.json", task.to_json()))
    assert (said.code, said.out) == (0, "训练失败: matches\n")
    events.record_now([task])
    assert ml_events("rules", "test", "-f", path, "--event", "e-1").out == "训练失败: matches\n"
    assert ml_events("rules", "test", "--event", "e-1").code == 1
    ml_events("rules", "apply", "-f", path)
    assert ml_events("rules", "test", "--event", "e-1").code == 0


def test_a_rule_that_does_not_match_says_what_it_wants_and_what_there_is(
    ml_events: Command, file: Callable[[str, str], str]
) -> None:
    path = file("event.json", failed_task("серый").to_json())
    said = ml_events("rules", "test", "-f", file("rules.yaml", RULE), "--event", path)
    assert said.code == 1
    assert said.out.splitlines() == [
        "训练失败: does not match",
        '    data.dag_id: wants {"prefix": "train_"}, found "серый"',
    ]


def test_a_disabled_rule_says_so(ml_events: Command, file: Callable[[str, str], str]) -> None:
    put("off", enabled=False)
    said = ml_events("rules", "test", "--event", file("event.json", failed_task().to_json()))
    assert (said.code, said.out) == (1, "off: disabled\n")


def test_rules_of_one_name_in_two_workspaces_are_told_apart(
    ml_events: Command, file: Callable[[str, str], str]
) -> None:
    put("one")
    put("one", workspace="fraud")
    said = ml_events("rules", "test", "--event", file("event.json", failed_task().to_json()))
    assert said.code == 0
    assert said.out.splitlines() == [
        "one: matches",
        "one: does not match",
        '    workspace: wants "fraud", found "default"',
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "event.json: "),
        ('{"specversion": "1.0"}', "event.json: "),
        (None, "'e-9' is no file, recorded event's id or event type"),
    ],
)
@pytest.mark.parametrize("command", [("rules", "test"), ("templates", "render")])
def test_an_event_that_is_none_is_said(
    ml_events: Command,
    file: Callable[[str, str], str],
    command: tuple[str, ...],
    content: str | None,
    problem: str,
) -> None:
    named = "e-9" if content is None else file("event.json", content)
    said = ml_events(*command, "--event", named)
    assert (said.code, said.out) == (1, "")
    assert problem in said.err


@pytest.mark.parametrize("name", ["e" * 255, "ü" * 200], ids=["long", "long in bytes"])
def test_an_id_that_no_file_can_be_named_is_an_id_all_the_same(ml_events: Command, name: str) -> None:
    said = ml_events("rules", "test", "--event", name)
    assert said.code == 1
    assert "is no file, recorded event's id or event type" in said.err


def test_rule_schema_takes_the_rule_that_apply_takes(ml_events: Command) -> None:
    import jsonschema

    found = ml_events("rules", "schema").json
    validator = jsonschema.Draft202012Validator(found)
    # Plain YAML 1.1 would read the key `on` as true.
    rule = yaml.load(RULE, yaml.BaseLoader)
    assert list(validator.iter_errors(rule)) == []
    del rule["on"], rule["event_pattern"]
    assert list(validator.iter_errors(rule))


# Events


def test_events_are_listed_newest_first(ml_events: Command) -> None:
    assert ml_events("events", "list").out == "no events yet\n"
    events.record_now([event("e-1", subject="größer 大"), event("e-2", type="other.thing", workspace="fraud")])
    table = ml_events("events", "list").out.splitlines()
    assert table[0].split() == ["TIME", "TYPE", "SUBJECT", "ORIGIN", "ID"]
    assert [line.split()[-1] for line in table[1:]] == ["e-2", "e-1"]
    assert "2026-11-22 12:00:00  tests.thing.happened  größer 大" in table[2]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), ["e-3", "e-2", "e-1"]),
        (("--type", "tests."), ["e-3", "e-1"]),
        (("-w", "fraud"), ["e-2"]),
        (("-n", "1"), ["e-3"]),
        (("--type", "nothing"), []),
    ],
)
def test_events_are_chosen(ml_events: Command, options: tuple[str, ...], ids: list[str]) -> None:
    events.record_now([event("e-1"), event("e-2", type="other", workspace="fraud"), event("e-3")])
    found = ml_events("events", "list", "--output", "json", *options).json
    assert [one["id"] for one in found] == ids
    assert all(one["matched"] is False for one in found)


def test_an_event_is_shown_with_its_deliveries(ml_events: Command) -> None:
    events.record_now([EVENT])
    assert ml_events("events", "show", "e-1").out.endswith("\nnot matched yet\n")
    deliver("d-1")
    said = ml_events("events", "show", "e-1").out
    document, end = json.JSONDecoder().raw_decode(said)
    assert document == EVENT.to_dict()
    heading, row = said[end:].split("\n", 2)[1:]
    assert heading.split() == ["RULE", "TARGET", "STATE", "ATTEMPTS", "CODE", "ID"]
    assert row.split() == ["规则", "d-1", "inbox", "dead", "1", "HTTP", "410", "d-1"]


def test_an_event_that_no_rule_matched_says_so(ml_events: Command) -> None:
    events.record_now([EVENT])
    with transaction() as connection:
        connection.execute(update(schema.event).values(matched_at=utc_now()))
    assert ml_events("events", "show", "e-1").out.endswith("\nno rule matched it\n")


def test_an_unknown_event_is_said(ml_events: Command) -> None:
    said = ml_events("events", "show", "größe")
    assert (said.code, said.out) == (1, "")
    assert said.err == "error: no event 'größe' is recorded; see `airflow ml-events events list`\n"


def test_event_types_and_their_schemas(ml_events: Command) -> None:
    assert {one["type"] for one in ml_events("events", "types", "-o", "json").json} == set(EVENT_TYPES)
    assert "airflow.dag_run.failed" in ml_events("events", "types").out
    one = ml_events("events", "schema", "airflow.dag_run.failed").json
    assert "run_id" in one["properties"]
    every = ml_events("events", "schema").json
    assert set(every) == set(EVENT_TYPES)
    assert every["airflow.dag_run.failed"] == one
    said = ml_events("events", "schema", "airflow.nothing")
    assert (said.code, said.out) == (1, "")
    assert "no event type 'airflow.nothing'" in said.err


# Deliveries


def test_deliveries_are_listed_and_chosen(ml_events: Command) -> None:
    assert ml_events("deliveries", "list").out == "no deliveries\n"
    deliver("d-1", "d-2")
    deliver("d-3", state=DeliveryState.PENDING)
    found = ml_events("deliveries", "list", "-o", "json").json
    assert {(one["id"], one["state"], one["code"]) for one in found} == {
        ("d-1", "dead", "HTTP 410"),
        ("d-2", "dead", "HTTP 410"),
        ("d-3", "pending", ""),
    }
    assert {(one["event"], one["event_id"]) for one in found} == {("tests.thing.happened things/1", "e-1")}

    def ids(*options: str) -> set[str]:
        return {one["id"] for one in ml_events("deliveries", "list", "-o", "json", *options).json}

    assert ids("--state", "dead") == {"d-1", "d-2"}
    assert ids("--rule", "规则 d-2") == {"d-2"}
    assert len(ids("-n", "1")) == 1
    assert "größer 大" in ml_events("deliveries", "list", "--state", "dead").out


def test_a_delivery_is_shown_with_its_attempts(ml_events: Command) -> None:
    deliver("d-1")
    lines = ml_events("deliveries", "show", "d-1").out.splitlines()
    fields = dict(line.split(":", 1) for line in lines[:-2])
    assert [fields[name].strip() for name in ("state", "rule", "event_id")] == ["dead", "规则 d-1", "e-1"]
    assert lines[-2].split() == ["NUMBER", "STARTED_AT", "MILLISECONDS", "OUTCOME", "CODE", "REASON"]
    assert lines[-1].endswith("7             refused  HTTP 410  dieser Haken ist weg, größer 大")
    deliver("d-2", state=DeliveryState.PENDING)
    assert ml_events("deliveries", "show", "d-2").out.endswith("\nnot tried yet\n")


def test_a_delivery_whose_event_was_pruned_is_shown(ml_events: Command) -> None:
    deliver("d-1")
    with transaction() as connection:
        connection.execute(schema.event.delete())
    assert "(pruned)" in ml_events("deliveries", "list").out
    lines = ml_events("deliveries", "show", "d-1").out.splitlines()
    assert ["event_id:", "-"] in [line.split() for line in lines]


def test_dead_letters_are_sent_again_one_or_all(ml_events: Command) -> None:
    deliver("d-1", "d-2", "d-3")
    assert ml_events("deliveries", "retry", "d-1").out == "1 to be sent again, each under its old id\n"
    assert [state_of(one) for one in ("d-1", "d-2", "d-3")] == ["pending", "dead", "dead"]
    assert ml_events("deliveries", "retry", "--all-dead").out.startswith("2 to be")
    assert [state_of(one) for one in ("d-1", "d-2", "d-3")] == ["pending"] * 3
    assert ml_events("deliveries", "retry", "--all-dead").out.startswith("0 to be")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("retry",), "name deliveries by their ids, or --all-dead"),
        (("retry", "d-1", "--all-dead"), "name deliveries by their ids, or --all-dead"),
        (("retry", "d-9"), "there is no delivery 'd-9'"),
        (("show", "d-9"), "there is no delivery 'd-9'"),
        (("retry", "d-2"), "delivery 'd-2' is pending: it is on its way already"),
    ],
)
def test_what_cannot_be_sent_again_is_said(ml_events: Command, arguments: tuple[str, ...], problem: str) -> None:
    deliver("d-1")
    deliver("d-2", state=DeliveryState.PENDING)
    said = ml_events("deliveries", *arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"error: {problem}")
    assert [state_of(one) for one in ("d-1", "d-2")] == ["dead", "pending"]


# Templates


def test_a_template_is_rendered_for_a_type_on_every_channel(ml_events: Command) -> None:
    said = ml_events("templates", "render", "--event", "airflow.task_instance.failed")
    assert said.code == 0
    headings = [line.split()[1] for line in said.out.splitlines() if line.startswith("=== ")]
    assert headings == ["dingtalk", "email", "slack", "webhook"]
    assert said.out.count("train") >= 4
    assert "!!!" not in said.out


def test_a_template_is_rendered_for_a_file_and_a_recorded_event(
    ml_events: Command, file: Callable[[str, str], str]
) -> None:
    note = sample_events()["ml.notification.requested"]
    note = note.with_data({**note.data, "title": "größer 大"})
    path = file("event.json", note.to_json())
    from_file = ml_events("templates", "render", "--event", path, "--channel", "dingtalk")
    assert from_file.out.startswith("=== dingtalk (")
    assert "größer 大" in from_file.out
    assert "=== slack" not in from_file.out
    events.record_now([note])
    assert ml_events("templates", "render", "--event", note.id, "--channel", "dingtalk").out == from_file.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--event", "airflow.dag_run.failed", "--channel", "pager"), "no channel 'pager'; there are dingtalk, email"),
        ((), "--event is missing"),
        (("--event", "airflow.nothing"), "'airflow.nothing' is no file"),
    ],
)
def test_what_cannot_be_rendered_is_said(ml_events: Command, arguments: tuple[str, ...], problem: str) -> None:
    said = ml_events("templates", "render", *arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"error: {problem}")


def test_a_template_that_does_not_exist_is_said_beside_the_usual_message(ml_events: Command) -> None:
    said = ml_events("templates", "render", "--event", "airflow.dag_run.failed", "--template", "größe")
    assert said.code == 0
    assert "!!! template 'größe' was not used" in said.out


# Health


def beat() -> None:
    now = utc_now()
    with transaction() as connection:
        dispatchers.beat(connection, dispatchers.Dispatcher("one", "host", 1, True, now, now))


def test_health_is_told_by_words_json_and_exit_code(ml_events: Command) -> None:
    said = ml_events("health")
    assert (said.code, said.out.splitlines()[0]) == (1, "unhealthy")
    assert "- no dispatcher is alive: start" in said.out
    beat()
    said = ml_events("health")
    told, *notices, numbers = said.out.splitlines()
    assert (said.code, told, numbers) == (0, "healthy", "1 dispatcher(s), 0 event(s) to match")
    assert all(one.startswith("- (notice) ") for one in notices)
    deliver("d-1", "d-2")
    said = ml_events("health", "--output", "json")
    assert said.code == 1
    assert (said.json["status"], said.json["deliveries"]) == ("unhealthy", {"dead": 2})
    (problem,) = said.json["problems"]
    assert problem.startswith("2 ")
    assert "airflow ml-events deliveries list --state dead" in problem


def test_events_that_nobody_matches_are_unhealthy(ml_events: Command) -> None:
    beat()
    with transaction() as connection:
        events.record(connection, [EVENT], now=datetime.now(UTC) - timedelta(minutes=5))
    said = ml_events("health")
    assert said.code == 1
    assert "- 1 event(s) of workspace default wait to be matched, the oldest for 30" in said.out


# The dispatcher and our errors


def test_dispatcher_does_what_is_due_once(ml_events: Command) -> None:
    put("one", targets=["no_such_connection"])
    events.record_now([failed_task()])
    said = ml_events("dispatcher", "--once", "--workers", "2")
    assert (said.code, said.out.splitlines()[-1]) == (0, "1 attempt(s) made")
    with transaction() as connection:
        (delivery,) = deliveries.latest(connection)
    assert (delivery.state, delivery.code) == ("failed", "no target")


def test_our_errors_are_one_line_and_others_are_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    from ml_event_provider.cli.output import command

    @command
    def ours(_: Any) -> None:
        raise MlEventError("größer 大: do this")

    @command
    def bug(_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(SystemExit, match="1"):
        ours(None)
    assert capsys.readouterr().err == "error: größer 大: do this\n"
    with pytest.raises(ZeroDivisionError):
        bug(None)
