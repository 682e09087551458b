"""The event that says that an event did not come."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.events.identity import change_id
from ml_event_provider.events.model import Event, attribute_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.rules.model import Rule

ABSENT: Final = "ml.event.absent"


def absent_event(rule: Rule, key: str, at: float, facts: Mapping[str, Any]) -> Event:
    """The event for a rule whose events did not come for one key."""
    try:
        values = json.loads(key)
    except ValueError:
        values = [key]
    by = list(rule.by or ())
    return Event(
        id=change_id("absent", rule.workspace, rule.name, key, at),
        source=attribute_text("source", f"/rules/{rule.name}"),
        type=ABSENT,
        time=datetime.fromtimestamp(at, UTC),
        subject=attribute_text("subject", ", ".join(str(value) for value in values) or rule.name),
        workspace=rule.workspace,
        owner=rule.owner,
        origin="dispatcher",
        data={
            "rule": rule.name,
            "key": values,
            **({"by": by} if by else {}),
            **{name: facts[name] for name in ("last", "within", "missed") if facts.get(name) is not None},
        },
    )
