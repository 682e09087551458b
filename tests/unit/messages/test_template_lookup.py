from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ml_event_provider.exceptions import TemplateProblem
from ml_event_provider.messages import Renderer
from ml_event_provider.messages.lookup import FRESH_SECONDS, candidates
from ml_event_provider.messages.plain import size
from ml_event_provider.messages.preview import sample_events
from tests.unit.messages.conftest import CHANNELS, Clock, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ml_event_provider.events.model import Event

ORDER = [
    "airflow.task_instance.failed.slack.j2",
    "airflow.task_instance.slack.j2",
    "airflow.slack.j2",
    "default.slack.j2",
    "airflow.task_instance.failed.mrkdwn.j2",
    "airflow.task_instance.mrkdwn.j2",
    "airflow.mrkdwn.j2",
    "default.mrkdwn.j2",
    "airflow.task_instance.failed.j2",
    "airflow.task_instance.j2",
    "airflow.j2",
    "default.j2",
]


def test_names_go_from_channel_to_dialect_to_all_and_from_type_to_default() -> None:
    assert list(candidates("airflow.task_instance.failed", "slack", "mrkdwn")) == ORDER


@pytest.mark.parametrize("present", range(9))
def test_first_file_that_exists_is_used(tmp_path: Path, failed_task: Event, present: int) -> None:
    for name in ORDER[present:9]:
        (tmp_path / name).write_text(f"from {name}")
    message = render(Renderer([tmp_path]), failed_task)
    assert message.template == ORDER[present]
    assert message.body == f"from {ORDER[present]}"


def test_first_directory_wins(tmp_path: Path, failed_task: Event) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "default.slack.j2").write_text(name)
    assert render(Renderer([tmp_path / "two", tmp_path / "one"]), failed_task).body == "two"


def test_other_types_and_channels_keep_their_template(
    with_template: Callable[..., Renderer], failed_task: Event
) -> None:
    renderer = with_template("mine", "airflow.task_instance.failed.slack.j2")
    assert render(renderer, failed_task, "slack").body == "mine"
    assert render(renderer, failed_task, "dingtalk") == render(Renderer(), failed_task, "dingtalk")
    other = sample_events()["airflow.task_instance.success"]
    assert render(renderer, other, "slack") == render(Renderer(), other, "slack")


@pytest.mark.parametrize("named", ["urgent", "urgent.j2", "urgent.slack", "team/urgent"])
def test_template_that_a_rule_names_comes_first(tmp_path: Path, failed_task: Event, named: str) -> None:
    path = tmp_path / f"{named.removesuffix('.j2').removesuffix('.slack')}.slack.j2"
    path.parent.mkdir(exist_ok=True)
    path.write_text("urgent")
    (tmp_path / "airflow.task_instance.failed.slack.j2").write_text("usual")
    message = render(Renderer([tmp_path]), failed_task, template=named)
    assert (message.body, message.problems) == ("urgent", ())


@pytest.mark.parametrize("named", ["nothing", "../secret", "/etc/passwd", "", "builtin/", "a\x00b"])
def test_template_that_does_not_exist_is_reported(tmp_path: Path, failed_task: Event, named: str) -> None:
    (tmp_path / "secret.j2").write_text("secret")
    (tmp_path / "inner").mkdir()
    message = render(Renderer([tmp_path / "inner"]), failed_task, template=named)
    assert message.template == "airflow.task_instance.j2"
    assert bool(message.problems) == bool(named)
    assert all("no template folder has it" in problem for problem in message.problems)


@pytest.mark.parametrize("event_type", ["a/../../b", "../../etc/passwd", "x" * 255, "a\\b", "...", "a b", "ä.ö"])
def test_strange_type_uses_the_default(built_in: Renderer, failed_task: Event, event_type: str) -> None:
    message = render(built_in, replace(failed_task, type=event_type))
    assert (message.template, message.problems) == ("default.j2", ())


def test_user_template_extends_the_built_in_one(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    source = (
        '{% extends "airflow.task_instance.j2" %}'
        '{% block content %}{{ super() }}{{ para("Call ", data.owner_phone) }}{% endblock %}'
    )
    message = render(with_template(source), failed_task.with_data({**failed_task.data, "owner_phone": "*7*"}))
    assert message.body.startswith("*DAG:* `churn_training`")
    assert "Call \u22177\u2217" in message.body
    assert message.title == render(Renderer(), failed_task).title


def test_user_template_extends_the_built_in_one_of_the_same_name(
    with_template: Callable[..., Renderer], failed_task: Event
) -> None:
    source = '{% extends "builtin/airflow.task_instance.j2" %}{% block title %}MY {{ super() }}{% endblock %}'
    renderer = with_template(source, "airflow.task_instance.j2")
    for channel in CHANNELS:
        message = render(renderer, failed_task, channel)
        assert message.title == "MY " + render(Renderer(), failed_task, channel).title
        assert message.problems == ()
    assert "MY ❌" in render(renderer, failed_task, "email").parts["html"]


def test_mail_template_with_only_a_body_has_no_html(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    renderer = with_template("{% block body %}short{% endblock %}", "default.email.j2")
    message = render(renderer, failed_task, "email")
    assert (message.body, message.parts) == ("short", {})


def test_mail_template_with_only_html_keeps_the_text(
    with_template: Callable[..., Renderer], failed_task: Event
) -> None:
    renderer = with_template("{% block html %}<b>{{ data.dag_id }}</b>{% endblock %}", "default.email.j2")
    message = render(renderer, failed_task, "email")
    assert message.parts == {"html": "<b>churn_training</b>"}
    assert message.body == render(Renderer(), failed_task, "email").body


def test_webhook_template_may_have_a_json_block(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    renderer = with_template('{% block json %}{"dag": "{{ data.dag_id }}"}{% endblock %}', "default.webhook.j2")
    message = render(renderer, failed_task, "webhook")
    assert message.parts == {"json": '{"dag": "churn_training"}'}
    assert message.title == render(Renderer(), failed_task).title


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% block body %}\n{% if %}{% endblock %}", "line 2: Expected an expression"),
        ("{% block body %}\n\n{{ 1 / 0 }}{% endblock %}", "line 3: ZeroDivisionError: division by zero"),
        ("{% block body %}{{ data.tags.nothing() }}{% endblock %}", "line 1:"),
        ("{% extends 'gone.j2' %}", "there is no template 'gone.j2'"),
        ("{{ data | nothing }}", "No filter named 'nothing'"),
        ("{% block body %}{% block body %}{% endblock %}{% endblock %}", "line 1"),
        ("{{ data.dag_id + 1 }}", "TypeError"),
    ],
)
@pytest.mark.parametrize("channel", CHANNELS)
def test_broken_template_falls_back_and_says_so(
    with_template: Callable[..., Renderer], failed_task: Event, channel: str, source: str, expected: str
) -> None:
    message = render(with_template(source, f"default.{channel}.j2"), failed_task, channel)
    usual = render(Renderer(), failed_task, channel)
    assert message.template == "airflow.task_instance.j2"
    assert message.title == usual.title
    assert message.body.startswith(usual.body)
    assert expected in message.problems[0]
    assert f"default.{channel}.j2" in message.body.replace("\\", "")
    if channel == "email":
        assert "default.email.j2" in message.parts["html"]


def test_broken_json_block_falls_back(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    renderer = with_template("{% block json %}\n{\n{{ data.dag_id }}}{% endblock %}", "default.webhook.j2")
    message = render(renderer, failed_task, "webhook")
    assert message.parts == {}
    assert "is not JSON" in message.problems[0]


def test_file_that_is_not_text_falls_back(tmp_path: Path, failed_task: Event) -> None:
    (tmp_path / "default.slack.j2").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in render(Renderer([tmp_path]), failed_task).problems[0]


@pytest.mark.parametrize("limit", [0, 10, 100, 300, 1000])
def test_fall_back_keeps_the_limit(with_template: Callable[..., Renderer], failed_task: Event, limit: int) -> None:
    for channel in CHANNELS:
        message = render(with_template("{{", f"default.{channel}.j2"), failed_task, channel, max_body_bytes=limit)
        assert size(message.body) <= limit
        assert all(size(part) <= limit for part in message.parts.values())


def test_missing_fields_are_empty_and_reported(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    message = render(with_template("[{{ data.owner.mail }}][{{ data.dag_id }}]{{ 'x' ~ data.gone }}"), failed_task)
    assert message.body == "[][churn_training]x"
    assert [problem.partition(": ")[2] for problem in message.problems] == [
        "the event has no 'owner.mail'",
        "the event has no 'gone'",
    ]


def test_changed_new_and_removed_files_are_seen(tmp_path: Path, failed_task: Event) -> None:
    clock = Clock()
    renderer = Renderer([tmp_path], clock=clock)
    path, nearer = tmp_path / "default.slack.j2", tmp_path / "airflow.slack.j2"

    def body() -> str:
        clock.now += FRESH_SECONDS
        return render(renderer, failed_task).body

    built_in = body()
    path.write_text("one")
    assert body() == "one"
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert body() == "two"
    nearer.write_text("three")
    assert body() == "three"
    nearer.unlink()
    assert body() == "two"
    path.unlink()
    assert body() == built_in


def test_disk_is_not_looked_at_for_every_message(tmp_path: Path, failed_task: Event) -> None:
    renderer = Renderer([tmp_path], clock=Clock())
    before = render(renderer, failed_task)
    (tmp_path / "default.slack.j2").write_text("new")
    assert render(renderer, failed_task) == before


def test_check_names_line_of_an_error(with_template: Callable[..., Renderer]) -> None:
    renderer = with_template("\n\n{% if %}", "x.j2")
    with pytest.raises(TemplateProblem, match=r"'x\.j2' was not used: line 3"):
        renderer.check("x.j2")
    with pytest.raises(TemplateProblem, match="no template"):
        renderer.check("y.j2")


def test_all_built_in_templates_compile(built_in: Renderer) -> None:
    names = built_in.folders.list_templates()
    assert "message.j2" in names
    for name in names:
        built_in.check(name)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('{\n"a": {{ data.dag_id }}\n}', "line 2 of its result is not JSON"),
        ('{"a": {{ data.nothing }}}', "line 1 of its result is not JSON"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ("", "is not JSON"),
        ("{{ data.dag_id", "line 1"),
        ("\n\n{{ 1 / 0 }}", "line 3: ZeroDivisionError"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_bad_json_body_names_its_line(built_in: Renderer, failed_task: Event, source: str, expected: str) -> None:
    with pytest.raises(TemplateProblem, match=expected):
        built_in.render_json(source, failed_task)


def test_json_body_has_the_rules_variables(built_in: Renderer, failed_task: Event) -> None:
    source = (
        '{"t": "{{ title }}", "r": "{{ rule }}", "o": {{ options.mobiles | tojson }},'
        ' "n": {{ data.duration }}, "b": {{ data.map_index < 0 }}, "m": "{{ "<!all>" | mrkdwn }}"}'
    )
    body = built_in.render_json(source, failed_task, rule='a "rule"', options={"mobiles": ["1"]}, title="T", body="B")
    assert body == '{"t": "T", "r": "a \\"rule\\"", "o": ["1"], "n": 1122.4, "b": true, "m": "&lt;!all&gt;"}'


def test_json_body_has_the_usual_title_and_body(built_in: Renderer, failed_task: Event) -> None:
    usual = render(built_in, failed_task, "webhook", rule="r")
    body = built_in.render_json('{"t": "{{ title }}", "b": {{ body | tojson }}}', failed_task, rule="r")
    assert json.loads(body) == {"t": usual.title, "b": usual.body}


def test_field_that_a_json_body_lacks_is_logged(
    built_in: Renderer, failed_task: Event, caplog: pytest.LogCaptureFixture
) -> None:
    assert built_in.render_json('{"a": "{{ data.gone }}"}', failed_task) == '{"a": ""}'
    assert "'gone'" in caplog.text


def test_unknown_dialect_is_plain_text(built_in: Renderer, failed_task: Event) -> None:
    message = render(built_in, failed_task, channel="slack", dialect="bbcode")
    assert message.body in render(built_in, failed_task, "webhook").body
