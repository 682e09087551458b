"""What a rule may tell a target, and what only the dispatcher may."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ml_event_provider.rules import Rule

INNER = {"conn_id": "mail", "options": {"to": ["ada@example.com"], "skip_recipients": ["ada@example.com"]}}


@pytest.mark.parametrize(
    "more",
    [
        {"targets": [INNER]},
        {"targets": [{"conn_id": "x", "fallback": INNER}]},
        {"targets": ["x"], "repeat": "1d", "escalate": [{"after": "1h", "targets": [INNER]}]},
    ],
)
def test_what_is_noted_between_two_tries_is_no_option_of_a_rule(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="skip_recipients is noted between two tries and cannot be said"):
        Rule.model_validate({"name": "r", "on": ["x.y"], **more})


@pytest.mark.parametrize("name", ["action", "hops", "kind", "lane_id"])
def test_a_target_is_a_connection_and_never_an_action(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Rule.model_validate({"name": "r", "on": ["x.y"], "targets": [{"conn_id": "airflow", name: {}}]})
