"""Templates can neither reach what is not theirs nor use up the process: each try ends as a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ml_event_provider.exceptions import TemplateProblem
from tests.unit.messages.conftest import Clock, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.events.model import Event
    from ml_event_provider.messages import Renderer

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ event.__init__.__globals__ }}",
    "{{ event['__class__'] }}",
    "{{ event.to_dict() }}",
    "{{ event.with_data({}) }}",
    "{{ data.__class__ }}",
    "{{ data.update({'a': 1}) }}",
    "{{ data.pop('dag_id') }}",
    "{{ bold.__globals__ }}",
    "{{ bold.__func__.__globals__ }}",
    "{{ bold.__self__ }}",
    "{{ range.__class__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ namespace.__init__ }}",
    "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._environment }}",
    "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "{{ [''] | map(attribute='__class__') | list }}",
    "{{ ('{0.__class__}').format(event) }}",
    "{{ '%s' % event }}",
    "{{ event.time.strftime('%9999999999d') }}",
    "{{ '' | attr('__class__') }}",
    "{{ lipsum() }}",
    "{{ cycler.__init__ }}",
    "{{ get_flashed_messages() }}",
    "{% include '../../../../etc/passwd' %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'builtin/../pyproject.toml' %}",
]

GROWING = [
    ("2", "n.x * n.x", ""),
    ("'a'", "n.x ~ n.x", ""),
    ("'a'", "n.x + n.x", ""),
    ("bold('a')", "n.x ~ n.x", ""),
    ("'a'", "[n.x, n.x]", "{{ n.x }}"),
    ("'a'", "(n.x, n.x)", "{{ n.x == n.x }}"),
    ("'a'", "{'a': n.x, 'b': n.x}", ""),
    ("'a'", "dict(a=n.x, b=n.x)", ""),
    ("'aa'", "n.x | replace('a', n.x)", ""),
    ("'aa'", "n.x.replace('a', n.x)", ""),
    ("['aa']", "[n.x | join(n.x[0]), n.x[0]]", ""),
]
BOMBS = [
    "{% for x in range(10**9) %}x{% endfor %}",
    "{% for x in range(10**30) %}x{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% set x = a %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) if false %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [1] * 10**9 }}",
    "{{ 'a' * 999999 * 999999 }}",
    "{{ 10 ** (10 ** 10) }}",
    *(
        f"{{% set n = namespace(x={start}) %}}{{% for i in range(100) %}}{{% set n.x = {step} %}}{{% endfor %}}{end}"
        for start, step, end in GROWING
    ),
    "{% set x %}{{ 'a' * 400000 }}{% endset %}{{ [x] * 9999 | join }}",
    "{{ range(9999) | map('string') | map('replace', '', 'a' * 9999) | join }}",
    "{{ 'a'.center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ 'a'.zfill(10**9) }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a' | indent(10**9) }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%999999999d' | format(1) }}",
    "{{ [1] | batch(10**9, 'x') | list }}",
    "{{ [1] | slice(10**9) | list }}",
    "{{ 1.5 | round(10**9, 'ceil') }}",
    "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m(n, x) %}{{ m(n - 1, [x, x]) if n else x }}{% endmacro %}{{ m(60, 'a') }}",
    "{% block body %}{{ self.body() }}{{ self.body() }}{% endblock %}",
    "{% for x in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "{% for i in range(9999) %}" + "long text " * 100 + "{% endfor %}",
    "{% macro m() %}{% for i in range(9999) %}" + "long text " * 100 + "{% endfor %}{% endmacro %}{{ m() }}",
    "{% include 'airflow.task_instance.failed.slack.j2' %}" * 2,
    "{% extends 'airflow.task_instance.failed.slack.j2' %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "-" * 50000 + "1 }}",
    "{{ " + "[" * 90 + "1" + "]" * 90 + " }}" + "x" * 200_001,
    "{{ range(9999) | map('upper') }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_escape_is_refused(with_template: Callable[..., Renderer], failed_task: Event, source: str) -> None:
    message = render(with_template(source), failed_task)
    assert message.template == "airflow.task_instance.j2"
    assert "was not used" in message.problems[0]


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_bomb_is_stopped(with_template: Callable[..., Renderer], failed_task: Event, source: str) -> None:
    message = render(with_template(source, seconds=10), failed_task)
    assert message.template == "airflow.task_instance.j2"
    assert "was not used" in message.problems[0]
    assert "task train failed" in message.title


@pytest.mark.parametrize("source", [*ESCAPES, *BOMBS], ids=range(len(ESCAPES) + len(BOMBS)))
def test_bomb_or_escape_in_a_json_body_is_a_problem(built_in: Renderer, failed_task: Event, source: str) -> None:
    with pytest.raises(TemplateProblem, match="JSON template was not used"):
        built_in.render_json(source, failed_task)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(2000) %}x{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "{% set n = namespace(x=0) %}{% for i in range(2000) %}{% set n.x = n.x + 1 %}{% endfor %}",
        "{{ range(2000) | map('string') | join }}",
    ],
)
def test_time_is_looked_at_while_a_template_runs(
    with_template: Callable[..., Renderer], failed_task: Event, source: str
) -> None:
    slow = with_template(source, clock=Clock(per_look=0.5), seconds=2.0)
    assert "takes longer than 2 seconds" in render(slow, failed_task).problems[0]
    quick = with_template(source, clock=Clock(per_look=0.0), seconds=2.0)
    assert render(quick, failed_task).problems == ()


def test_output_has_a_limit(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    source = "{% for i in range(100) %}0123456789{% endfor %}"
    assert render(with_template(source, max_output_bytes=1000), failed_task).problems == ()
    assert "more than 999 bytes" in render(with_template(source, max_output_bytes=999), failed_task).problems[0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ data.dag_id | upper }}", "CHURN_TRAINING"),
        ("{{ data['dag_id'][:5] }}", "churn"),
        ("{{ data.get('nothing', 'else') }}", "else"),
        ("{{ data.tags | sort | join(', ') }}", "churn, training"),
        ("{{ event.time.year }}", "2026"),
        (
            "{% for key, value in data.exception.items() | list | sort %}{{ key }} {% endfor %}",
            "message traceback type",
        ),
        ("{{ 'a,b'.split(',') | last }}", "b"),
        ("{{ (data.duration / 60) | round(1) }}", "18.7"),
        ("{{ [1, 2, 3] | sum }}", "6"),
        ("{{ [{'n': 1}, {'n': 2}, {'n': 2}] | groupby('n') | map(attribute='grouper') | list }}", "[1, 2]"),
        ("{% set x = namespace(n=1) %}{% set x.n = x.n + 1 %}{{ x.n }}", "2"),
        ("{% macro m(x) %}{{ bold(x) }}{{ caller() }}{% endmacro %}{% call m('a') %}!{% endcall %}", "*a*!"),
        ("{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "123"),
        ("{{ 2 ** 10 }} {{ '-' * 3 }} {{ 7 // 2 }} {{ 7 % 2 }}", "1024 --- 3 1"),
        ("{{ 'x' if data.nothing > 3 else 'y' }}", "y"),
        ("{{ data.nothing.at.all | default('none') }}", "none"),
        ("{% for x in data.nothing %}{% else %}empty{% endfor %}", "empty"),
        ("{% for x in none %}{% else %}empty{% endfor %}", "empty"),
        ("{{ options.greeting }}", "hello"),
        ("{{ {'a': 1} | tojson }}", '{"a": 1}'),
    ],
)
def test_useful_things_work(
    with_template: Callable[..., Renderer], failed_task: Event, source: str, expected: str
) -> None:
    message = render(with_template(source), failed_task, options={"greeting": "hello"})
    assert message.problems == ()
    assert message.body == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ data.evil }}",
        "{{ data.evil ~ '' }}",
        "{{ bold('x') ~ data.evil }}",
        "{% set x = data.evil %}{{ x }}",
        "{% set x %}{{ data.evil }}{% endset %}{{ x }}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(data.evil) }}",
        "{{ [data.evil] | join(bold(',')) }}",
        "{{ [bold('x'), data.evil] | join(' ') }}",
        "{{ data.evil | trim }}",
        "{{ (bold('x') ~ data.evil) | upper }}",
        "{{ bold(data.evil) }}",
        "{{ code(data.evil) }}",
        "{{ data.evil | replace('z', '') }}",
        "{% autoescape true %}{{ data.evil }}{% endautoescape %}",
        "{% autoescape false %}{{ data.evil }}{% endautoescape %}",
        "{{ data.evil | e }}",
        "{{ [data.evil] }}",
        "{{ data | string }}",
        "{{ {'a': data.evil} | tojson }}",
    ],
)
def test_data_is_escaped_on_every_way_to_the_message(
    with_template: Callable[..., Renderer], changed: Callable[..., Event], source: str
) -> None:
    message = render(with_template(source), changed(evil="<!channel>"))
    assert message.problems == ()
    assert "CHANNEL" in message.body.upper()
    assert "<" not in message.body


def test_template_marks_its_own_markup_as_safe(with_template: Callable[..., Renderer], failed_task: Event) -> None:
    assert render(with_template("<!here> {{ '<!channel>' | safe }}"), failed_task).body == "<!here> <!channel>"
