"""Values with templates: an expression keeps its type, a text its letters, and what is missing is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ml_event_provider.exceptions import TemplateProblem
from ml_event_provider.messages.values import json_value, render_values
from tests.peers.samples import sample_event

DATA: dict[str, Any] = {
    "model": "churn",
    "score": 0.1234567890123,
    "count": 3,
    "passed": True,
    "none": None,
    "nan": float("nan"),
    "text": 'two\nlines  and "quotes" <b>',
    "columns": [{"name": "age", "drifted": True}, {"name": "sex", "drifted": False}],
    "tags": {"team": "risk"},
}
VARIABLES = {"event": sample_event(data=DATA), "data": DATA, "rule": "deploy"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain", "plain"),
        ("{not a template}", "{not a template}"),
        ("{{ data.model }}", "churn"),
        ("{{ data.score }}", 0.1234567890123),
        ("{{ data.count + 1 }}", 4),
        ("{{ data.passed }}", True),
        ("{{ not data.passed }}", False),
        ("{{ data.none }}", None),
        ("{{ data.nan }}", None),
        ("{{ data.tags }}", {"team": "risk"}),
        ("{{ data.columns | selectattr('drifted') | map(attribute='name') }}", ["age"]),
        ("{{ {'names': data.columns | map(attribute='name')} }}", {"names": ["age", "sex"]}),
        ("{{ 1, 2 }}", [1, 2]),
        ("{{ range(2) }}", [0, 1]),
        ("{{ data.missing | default(none) }}", None),
        ("{{ 'yes' if data.missing else 'no' }}", "no"),
        ("{{ data.tags | tojson }}", '{"team": "risk"}'),
        ("{{ data.text }}", DATA["text"]),
        ("{{ event.time }}", "2026-11-20T12:00:01.500000Z"),
        ("{{ event.type }}", "airflow.task_instance.failed"),
        ("{{ data.count }}\n", 3),
        (" {{ data.count }}", " 3"),
        ("{{ data.count }}{{ data.passed }}", "3true"),
        ("at {{ event.time }}", "at 2026-11-20T12:00:01.500000Z"),
        ("{{ data.score }} of {{ data.model }}", "0.1234567890123 of churn"),
        ("<{{ data.text }}>", f"<{DATA['text']}>"),
        ("{% if data.passed %}ok{% endif %}", "ok"),
        ("{# nothing #}", ""),
        ("{{ '{{ data.model }}' }}", "{{ data.model }}"),
    ],
)
def test_a_text_is_filled(source: str, expected: Any) -> None:
    filled = render_values(source, VARIABLES)
    assert filled == expected
    assert type(filled) is type(expected)


def test_values_are_filled_however_deep_and_keys_are_not() -> None:
    value = {"{{ rule }}": [{"a": ("{{ data.count }}", 1.5)}, None, True]}
    assert render_values(value, VARIABLES) == {"{{ rule }}": [{"a": [3, 1.5]}, None, True]}


def test_what_is_filled_is_a_copy() -> None:
    filled = render_values({"tags": "{{ data.tags }}"}, VARIABLES)
    filled["tags"]["team"] = "other"
    assert DATA["tags"] == {"team": "risk"}


def test_an_event_becomes_its_json() -> None:
    assert render_values("{{ event }}", VARIABLES)["id"] == sample_event().id


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ data.missing }}", "conf.a[1].b was not used: there is no 'missing': add '| default(…)'"),
        ("x {{ data.missing.more }}", "conf.a[1].b was not used: there is no 'missing.more'"),
        ("{{ [data.missing] }}", "conf.a[1].b was not used: there is no 'missing'"),
        ("\n{{ data.count +/ 2 }}", "conf.a[1].b was not used: line 2: "),
        ("{{ data.count / 0 }}", "conf.a[1].b was not used: line 1: ZeroDivisionError"),
        ("{{ range }}", "conf.a[1].b was not used: makes a function, which JSON does not have"),
        ("{{ ''.__class__ }}", "conf.a[1].b was not used: line 1: reads '__class__' of str"),
        ("{{ event.to_dict() }}", "conf.a[1].b was not used: line 1: reads 'to_dict' of Event"),
        ("{% include 'x.j2' %}", "conf.a[1].b was not used: line 1: there is no template 'x.j2'"),
        ("{{ ('x' * 900000) ~ ('x' * 900000) }}", "conf.a[1].b was not used: line 1: makes a value of more than"),
        ("{% for x in range(9999) %}0123456789{% endfor %}", "conf.a[1].b was not used: writes more than 65,536"),
    ],
)
def test_a_template_that_fails_is_named_by_its_place(source: str, words: str) -> None:
    with pytest.raises(TemplateProblem) as caught:
        render_values({"a": ["fine", {"b": source}]}, VARIABLES, what="conf")
    assert words in str(caught.value)


def test_all_templates_of_a_value_share_one_limit() -> None:
    loop = "{% for x in range(9999) %}{% endfor %}"
    render_values([loop], VARIABLES)
    with pytest.raises(TemplateProblem, match="more than 100,000 steps"):
        render_values([loop] * 20, VARIABLES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\0b\ud800c", "a\ufffdb\ufffdc"),
        ({"a\0": ("x", {"y": float("inf")})}, {"a\ufffd": ["x", {"y": None}]}),
        (datetime(2026, 11, 20, tzinfo=UTC), "2026-11-20T00:00:00Z"),
    ],
)
def test_a_json_value_can_be_stored_everywhere(value: Any, expected: Any) -> None:
    made = json_value(value)
    assert made == expected
    json.dumps(made, allow_nan=False).encode()
