"""A template that runs into its limits costs them once, and nobody else anything."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.exceptions import LimitReached, TemplateProblem
from ml_event_provider.messages import Renderer, limits
from ml_event_provider.messages.guards import code_in
from ml_event_provider.messages.limits import Budget, spending, step
from ml_event_provider.messages.memory import LEFT_OUT, LEFT_OUT_SECONDS, Costly
from ml_event_provider.messages.renderer import SECONDS
from tests.unit.messages.conftest import Clock, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ml_event_provider.events.model import Event

#: Slow where the clock moves at each look, quick where it stands.
SLOW = "{% for i in range(9000) %}x{% endfor %}"
NAME = "airflow.task_instance.failed.slack.j2"


@pytest.fixture
def clock() -> Clock:
    return Clock(per_look=0.1)


def test_time_is_the_threads_own() -> None:
    assert Budget(SECONDS).clock is time.thread_time
    # Waiting is no work.
    with spending(Budget(0.02)) as budget:
        time.sleep(0.05)
        step(budget.looks_at)
    assert SECONDS <= 0.1


def test_it_is_left_out_with_words_and_the_built_in_one_is_used(
    with_template: Callable[..., Renderer], failed_task: Event, clock: Clock
) -> None:
    renderer = with_template(SLOW, clock=clock, seconds=6.0)
    first = render(renderer, failed_task)
    assert "takes longer than 6 seconds" in first.problems[0]
    assert first.template == "airflow.task_instance.j2"
    # It would be quick enough now, and is not tried.
    clock.per_look = 0.0
    second = render(renderer, failed_task)
    assert second.problems == first.problems
    assert second.problems[0].endswith(LEFT_OUT)
    assert "was not used: " in second.body
    assert second.template == "airflow.task_instance.j2"


def test_it_is_tried_again_after_some_minutes(
    with_template: Callable[..., Renderer], failed_task: Event, clock: Clock
) -> None:
    renderer = with_template(SLOW, clock=clock, seconds=6.0)
    assert render(renderer, failed_task).problems
    clock.per_look = 0.0
    clock.now += LEFT_OUT_SECONDS - 60
    assert render(renderer, failed_task).problems
    clock.now += 120
    assert render(renderer, failed_task).problems == ()


def test_it_is_tried_again_at_once_when_it_was_changed(
    with_template: Callable[..., Renderer], failed_task: Event, clock: Clock, tmp_path: Path
) -> None:
    renderer = with_template(SLOW, clock=clock, seconds=6.0)
    assert render(renderer, failed_task).problems
    clock.per_look = 0.0
    (tmp_path / NAME).write_text("mended " + SLOW, encoding="utf-8")
    clock.now += 2
    assert render(renderer, failed_task).body.startswith("mended")


def test_others_are_none_the_worse(
    with_template: Callable[..., Renderer], failed_task: Event, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "other.j2").write_text("fine", encoding="utf-8")
    renderer = with_template(SLOW, clock=clock, seconds=6.0)
    assert render(renderer, failed_task).problems
    clock.per_look = 0.0
    assert render(renderer, failed_task, template="other").body == "fine"
    assert render(renderer, failed_task, channel="dingtalk").problems == ()
    assert render(renderer, replace(failed_task, workspace="other")).problems == ()
    assert render(renderer, failed_task).problems


def test_a_failure_that_costs_nothing_is_tried_with_each_event(
    with_template: Callable[..., Renderer], changed: Callable[..., Event], clock: Clock
) -> None:
    clock.per_look = 0.0
    renderer = with_template("{{ 1 / data.n }}", clock=clock)
    assert "division by zero" in render(renderer, changed(n=0)).problems[0]
    assert render(renderer, changed(n=2)).problems == ()


def test_a_failure_that_costs_much_is_left_out_whatever_it_is(
    with_template: Callable[..., Renderer], changed: Callable[..., Event], clock: Clock
) -> None:
    renderer = with_template("{{ 1 / data.n }}", clock=clock, seconds=1000)
    assert render(renderer, changed(n=0)).problems[0].endswith(LEFT_OUT)
    clock.per_look = 0.0
    assert render(renderer, changed(n=2)).problems[0].endswith(LEFT_OUT)


def test_a_json_body_is_refused_at_once_where_it_was_too_slow_and_nowhere_else(
    failed_task: Event, clock: Clock
) -> None:
    renderer = Renderer(clock=clock, seconds=6.0)
    source = '{"a": "' + SLOW + '"}'
    with pytest.raises(TemplateProblem, match="takes longer than 6 seconds"):
        renderer.render_json(source, failed_task, of="default/hook")
    clock.per_look = 0.0
    with pytest.raises(TemplateProblem, match=r"takes longer than 6 seconds.*left out for some minutes"):
        renderer.render_json(source, failed_task, of="default/hook")
    assert renderer.render_json(source, failed_task, of="other/hook")
    assert renderer.render_json('{"a": 1}', failed_task, of="default/hook")
    clock.now += LEFT_OUT_SECONDS + 1
    assert renderer.render_json(source, failed_task, of="default/hook")


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 2000000 }}",
        "{{ range(10 ** 9) }}",
        "{{ 2 ** 99999 }}",
        "{% for i in range(9999) %}{{ 'long text ' * 10 }}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "x" * (limits.MAX_SOURCE + 1),
        "{{ 1 }}" * limits.MAX_CODE,
    ],
    ids=["text", "range", "number", "output", "steps", "source", "code"],
)
def test_each_limit_is_one_that_leaves_out(
    with_template: Callable[..., Renderer], failed_task: Event, source: str
) -> None:
    renderer = with_template(source, seconds=60)
    assert render(renderer, failed_task).problems[0].endswith(LEFT_OUT)


def test_compiling_is_not_the_messages_time(
    with_template: Callable[..., Renderer], failed_task: Event, tmp_path: Path
) -> None:
    # Takes longer to compile than a message may take.
    part = "{{ data.dag_id }}{% if data.n %}{{ data.n }}{% endif %}"
    (tmp_path / "part.j2").write_text(part * 400, encoding="utf-8")
    renderer = with_template("{% include 'part.j2' %}", seconds=0.05)
    assert render(renderer, failed_task).problems == ()


@pytest.mark.parametrize(
    ("source", "characters"),
    [
        ("no code", 0),
        ("{{ a }}", 3),
        ("a {{ b }} c {% d %} e", 6),
        ("{{ never closed", 13),
        ("{{ a }} }} {{ b", 5),
        ("{# {{ #}", 3),
    ],
)
def test_code_is_counted(source: str, characters: int) -> None:
    assert code_in(source) == characters


def test_counting_code_takes_no_longer_than_reading_it() -> None:
    # Were it quadratic, this would take minutes.
    assert code_in("{{" * 500_000) == 0
    assert code_in("{%" * 500_000 + "}}" * 500_000)


def test_little_is_remembered() -> None:
    costly = Costly(clock=lambda: 0.0)
    for number in range(5000):
        costly.note(number, "words")
    assert costly.why(4999) == "words"
    assert costly.why(0) is None
    assert sum(costly.why(number) is not None for number in range(5000)) == 1000


# Only what is wanted is made.


@pytest.mark.parametrize(
    ("parts", "made"),
    [
        (set(), (False, False, False)),
        ({"title"}, (True, False, False)),
        ({"body"}, (False, True, False)),
        ({"title", "body"}, (True, True, False)),
        ({"html"}, (False, False, True)),
        ({"title", "body", "html", "json"}, (True, True, True)),
    ],
)
def test_only_the_parts_that_are_wanted_are_made(
    built_in: Renderer, failed_task: Event, parts: set[str], made: tuple[bool, ...]
) -> None:
    whole = render(built_in, failed_task, channel="email")
    rendered = render(built_in, failed_task, channel="email", parts=frozenset(parts))
    assert (rendered.title, rendered.body) == (whole.title if made[0] else "", whole.body if made[1] else "")
    assert rendered.parts == (whole.parts if made[2] else {})


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ('{"a": 1}', set()),
        ('{"a": "{{ title }}"}', {"title"}),
        ('{"a": {{ body | tojson }}, "b": "{{ data.title }}"}', {"body"}),
        ('{% set t = title ~ "!" %}{"a": "{{ t }}{{ body }}"}', {"title", "body"}),
        ('{% macro m() %}{{ body }}{% endmacro %}{"a": "{{ m() }}"}', {"body"}),
        ("{% include 'other.j2' %}", {"title", "body"}),
    ],
)
def test_a_json_body_has_made_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed_task: Event, source: str, used: set[str]
) -> None:
    (tmp_path / "other.j2").write_text('{"a": "{{ title }} {{ body }}"}', encoding="utf-8")
    renderer = Renderer([tmp_path])
    asked: list[frozenset[str]] = []

    def noted(*args: Any, parts: frozenset[str], **options: Any) -> Any:
        asked.append(parts)
        return Renderer.render(renderer, *args, parts=parts, **options)

    monkeypatch.setattr(renderer, "render", noted)
    written = renderer.render_json(source, failed_task)
    assert asked == ([frozenset(used)] if used else [])
    if "title" in used:
        assert "task train failed" in written


@pytest.mark.parametrize(
    ("files", "has"),
    [
        ({NAME: "{% block title %}t{% endblock %}"}, False),
        ({NAME: "{% block json %}{}{% endblock %}"}, True),
        ({NAME: "{% extends 'base.j2' %}", "base.j2": "{% block json %}{}{% endblock %}"}, True),
        ({NAME: "{% extends 'message.j2' %}"}, False),
        ({NAME: "{% extends data.base %}", "base.j2": "{% block json %}{}{% endblock %}"}, True),
    ],
)
def test_a_json_block_is_run_where_there_may_be_one(
    tmp_path: Path, changed: Callable[..., Event], files: dict[str, str], has: bool
) -> None:
    for name, source in files.items():
        (tmp_path / name.replace("slack", "webhook")).write_text(source, encoding="utf-8")
    message = render(Renderer([tmp_path]), changed(base="base.j2"), channel="webhook")
    assert message.problems == ()
    assert message.parts == ({"json": "{}"} if has else {})


def test_a_limit_is_a_template_problem() -> None:
    assert issubclass(LimitReached, TemplateProblem)
