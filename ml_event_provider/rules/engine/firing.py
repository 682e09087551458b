"""A firing on its way to a notification. It is plain JSON while it waits in a group."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_event_provider.rules.resources import compared_key, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_event_provider.rules.model import Rule


class Firing(NamedTuple):
    """What is to be told: of one event, or of an alert."""

    kind: str
    #: The event's place in the store; ``None`` where the absence of events is what it is about.
    seq: int | None
    key: str
    alert: str
    #: When what it tells of happened, in seconds since 1970.
    time: float
    facts: dict[str, Any]
    context: dict[str, Any]
    #: The targets that it is for, by their names (``names_of``), and ``""`` for the rule's actions; ``None``: for all.
    to: list[str] | None = None


class Heard(NamedTuple):
    """Who hears of a firing, each with the moment; and when to try again to tell those who may not hear of it now."""

    who: dict[str, float]
    again_at: float | None = None


def context_of(rule: Rule, document: Mapping[str, Any], silences: Sequence[str]) -> dict[str, Any]:
    """What the way to a notification asks of an event: which silences fit it, and its values for grouping,
    inhibition and cooldown."""
    context: dict[str, Any] = {}
    if silences:
        context["silences"] = list(silences)
    if rule.inhibit:
        context["inhibit"] = [compared_key(document, one.equal) for one in rule.inhibit]
    if rule.group is not None:
        context["group"] = key_of(document, rule.group.by)
    elif rule.suppress is not None:
        context["group"] = key_of(document, rule.by)
    if rule.cooldown is not None:
        context["cooldown"] = key_of(document, rule.by if rule.cooldown.by is None else rule.cooldown.by)
    return context


def waiting_in(body: Mapping[str, Any]) -> list[tuple[int | None, str]]:
    """The events, with their keys, of the firings that wait in a group's state."""
    return [(one[1], one[2]) for one in body.get("waiting", ()) if isinstance(one, list) and len(one) > 2]


def shown(moment: float) -> str:
    """A moment as an RFC 3339 text."""
    return datetime.fromtimestamp(moment, UTC).isoformat()
