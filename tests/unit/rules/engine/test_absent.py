"""The event that says that others did not come."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.events import Event
from ml_event_provider.events.belonging import dag_of
from ml_event_provider.rules.engine.absent import absent_event
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.resources import key_from

RULE = Rule.model_validate(
    {
        "name": "r",
        "on": "x.y",
        "by": ["data.dag_id"],
        "condition": {"absence": {"within": "1h"}},
        "owner": "ana",
        "targets": "inbox",
    }
)


@pytest.mark.parametrize(
    ("changes", "value", "found"),
    [
        ({}, "train", {"source": "/rules/r", "subject": "train", "workspace": "default", "owner": "ana"}),
        ({"owner": "a\ufffe"}, "train", {"owner": "a\ufffd"}),
        ({"owner": "a" * 501}, "train", {"owner": "a" * 500}),
        ({"workspace": "\ufdd0"}, "train", {"workspace": "\ufffd"}),
        ({"name": "\U0001ffff"}, "train", {"source": "/rules/\ufffd"}),
        ({}, "a\0b\ud800", {"subject": "a\ufffdb\ufffd"}),
        ({}, "", {"subject": "r"}),
        ({"name": "\x07"}, "", {"subject": "\ufffd"}),
    ],
)
def test_no_rule_and_no_key_keeps_it_from_being_an_event(
    changes: dict[str, Any], value: str, found: dict[str, Any]
) -> None:
    event = absent_event(RULE.model_copy(update=changes), key_from([value]), 0.0, {})
    assert {name: getattr(event, name) for name in found} == found
    assert Event.from_json(event.to_json()).subject == event.subject


@pytest.mark.parametrize(
    ("changes", "key", "dag_id"),
    [
        ({}, ["train"], "train"),
        ({"by": ["data.model"]}, ["churn"], None),
        ({"by": None, "on": "airflow.dag_run.success"}, ["train"], "train"),
        ({"by": [], "event_pattern": {"data": {"dag_id": ["train"]}}}, [], "train"),
        ({"by": [], "event_pattern": {"data": {"dag_id": ["train", "load"]}}}, [], None),
        ({"by": [], "event_pattern": {"data": {"dag_id": [{"prefix": "train"}]}}}, [], None),
        ({"by": ["data.model"], "scope": {"dags": ["train"]}}, ["churn"], "train"),
        ({"by": [], "scope": {"dags": ["train*"]}}, [], None),
        ({"by": [], "scope": {"dags": ["train"]}, "event_pattern": {"data": {"dag_id": ["load"]}}}, [], None),
    ],
)
def test_it_belongs_to_the_dag_whose_events_did_not_come(
    changes: dict[str, Any], key: list[str], dag_id: str | None
) -> None:
    rule = Rule.model_validate(RULE.model_dump(exclude_unset=True) | changes)
    event = absent_event(rule, key_from(key), 0.0, {})
    assert dag_of(Event.from_json(event.to_json())) == dag_id
