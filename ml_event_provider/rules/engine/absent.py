"""Events that did not come: what is known of one that is awaited, and the event that says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.events.belonging import by_dag
from ml_event_provider.events.identity import change_id
from ml_event_provider.events.model import Event, attribute_text
from ml_event_provider.rules.resources import natural_paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.rules.model import Rule

ABSENT: Final = "ml.event.absent"


def awaited(rule: Rule, key: str) -> dict[str, Any]:
    """The event that a rule awaits for one key, as far as rule and key tell."""
    types = [kind for wish in rule.wishes() for kind in wish.get("type", ()) if isinstance(kind, str)]
    document: dict[str, Any] = {"workspace": rule.workspace, "type": types[0] if types else ABSENT, "data": {}}
    paths = natural_paths(document["type"]) if rule.by is None else rule.by
    for path, value in zip(paths, _values(key), strict=False):
        *outer, last = path.split(".")
        place = document
        for name in outer:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        place[last] = value
    if only := _only_dag(rule):
        document["data"].setdefault("dag_id", only)
    return document


def absent_event(rule: Rule, key: str, at: float, facts: Mapping[str, Any]) -> Event:
    """The event for a rule whose events did not come for one key."""
    values = _values(key)
    by = list(rule.by or ())
    return Event(
        id=change_id("absent", rule.workspace, rule.name, key, at),
        source=attribute_text("source", f"/rules/{rule.name}"),
        type=ABSENT,
        time=datetime.fromtimestamp(at, UTC),
        subject=attribute_text("subject", ", ".join(str(value) for value in values) or rule.name),
        workspace=attribute_text("workspace", rule.workspace),
        owner=attribute_text("owner", rule.owner),
        origin="dispatcher",
        extensions=by_dag(awaited(rule, key)["data"].get("dag_id")),
        data={
            "rule": rule.name,
            "key": values,
            **({"by": by} if by else {}),
            **{name: facts[name] for name in ("last", "within", "missed") if facts.get(name) is not None},
        },
    )


def _only_dag(rule: Rule) -> str | None:
    """The DAG of whose events a rule speaks, if it is one."""
    wished: list[Any] = [*rule.scope.dags]
    for wish in rule.wishes():
        data = wish.get("data")
        wished += data.get("dag_id", ()) if isinstance(data, dict) else ()
    found = {one if isinstance(one, str) else "*" for one in wished}
    name = found.pop() if len(found) == 1 else ""
    return None if not name or "*" in name else name


def _values(key: str) -> list[Any]:
    """The values of a key, or the key itself where it is shortened."""
    try:
        values: list[Any] = json.loads(key)
    except ValueError:
        return [key]
    return values
