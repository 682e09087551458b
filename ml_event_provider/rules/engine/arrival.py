"""An event on its way into the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ml_event_provider.rules.engine.firing import Firing
from ml_event_provider.rules.engine.outlet import inhibitor, waiting_place
from ml_event_provider.rules.engine.output import Kind
from ml_event_provider.rules.engine.states import Place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ml_event_provider.events import Event
    from ml_event_provider.rules.model import Rule


class Seen(Protocol):
    """What the engine asks of an event."""

    @property
    def id(self) -> str:
        """The event's id."""

    @property
    def type(self) -> str:
        """The event's type."""

    @property
    def time(self) -> datetime:
        """When it happened."""

    def to_dict(self) -> Mapping[str, Any]:
        """The event as JSON."""


class Arrival(NamedTuple):
    """An event as it arrives: its place in the store, the event, and when it was recorded (seconds since 1970)."""

    seq: int
    event: Event | Seen
    at: float


class Prepared(NamedTuple):
    """An event with what it means to each rule: the rule, the event's roles, its key and its context."""

    arrival: Arrival
    document: Mapping[str, Any]
    steps: list[tuple[Rule, set[str], str, dict[str, Any]]]

    @property
    def places(self) -> set[Place]:
        """The states that the event will ask for, so that they can be read in one go."""
        found: set[Place] = set()
        for rule, _, key, context in self.steps:
            if rule.has_alerts:
                found.add(Place(rule.workspace, rule.name, "alert", key))
            if "cooldown" in context:
                found.add(Place(rule.workspace, rule.name, "cooldown", context["cooldown"]))
            if rule.inhibit or rule.grouping is not None:
                found.add(waiting_place(rule, Firing(Kind.FIRED, self.arrival.seq, key, "", 0.0, {}, context)))
            compared = enumerate(context.get("inhibit", ()))
            found |= {inhibitor(rule, number, one) for number, one in compared if one is not None}
        return found
