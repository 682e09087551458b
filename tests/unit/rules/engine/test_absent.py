"""The event that says that others did not come."""

from __future__ import annotations

from typing import Any

import pytest

from ml_event_provider.events import Event
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
