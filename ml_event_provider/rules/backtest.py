"""Runs rules over a history of events: what would have been told, when, and to whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_event_provider.rules.engine import Arrival, Engine, MemoryStates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ml_event_provider.rules.engine import Planned
    from ml_event_provider.rules.ruleset import RuleSet


class Past:
    """A recorded event as the engine asks for it, without the cost of an :class:`Event`."""

    __slots__ = ("_document",)

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON."""
        return self._document

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self._document["id"])

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self._document["type"])

    @property
    def time(self) -> datetime:
        """The event's own time."""
        return datetime.fromisoformat(self._document["time"])


class Told(NamedTuple):
    """A notification that would have been made."""

    rule: str
    kind: str
    at: datetime
    about: str
    events: int
    sent: tuple[str, ...]
    held: tuple[str, ...]
    muted: tuple[str, ...]


@dataclass
class Report:
    """What rules would have told."""

    events: int = 0
    notifications: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    by_day: Counter[str] = field(default_factory=Counter)
    #: Messages by target: sent, and muted by reason.
    sent: Counter[str] = field(default_factory=Counter)
    muted: Counter[str] = field(default_factory=Counter)
    #: What became of events that rules looked at, where no notification came of them at once.
    outcomes: Counter[str] = field(default_factory=Counter)
    #: The first notifications, at most so many as were asked for.
    told: list[Told] = field(default_factory=list)

    def add(self, planned: Planned, keep: int) -> None:
        """Count a notification."""
        moment = datetime.fromtimestamp(planned.at, UTC)
        self.notifications += 1
        self.by_rule[planned.rule.name] += 1
        self.by_kind[planned.kind] += 1
        self.by_day[moment.date().isoformat()] += 1
        for one in planned.deliveries:
            if one.muted:
                self.muted[f"{one.conn_id} ({one.muted})"] += 1
            else:
                self.sent[one.conn_id] += 1
        if len(self.told) < keep:
            names = {
                "sent": [one.conn_id for one in planned.deliveries if not one.muted and one.not_before is None],
                "held": [one.conn_id for one in planned.deliveries if not one.muted and one.not_before is not None],
                "muted": [one.conn_id for one in planned.deliveries if one.muted],
            }
            self.told.append(
                Told(
                    planned.rule.name,
                    planned.kind,
                    moment,
                    planned.key,
                    planned.members,
                    **{name: tuple(found) for name, found in names.items()},
                )
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            found[one.name] = dict(value) if isinstance(value, Counter) else value
        found["told"] = [{**each._asdict(), "at": each.at.isoformat()} for each in self.told]
        return found


def backtest(
    rule_sets: Sequence[RuleSet],
    history: Iterable[tuple[int, float, dict[str, Any]]],
    *,
    since: float,
    until: float,
    hourly_limit: Callable[[str], int] = lambda _: 0,
    keep: int = 50,
) -> list[Report]:
    """Run each of some rule sets over a history of events, and say what it would have told.

    :param history: each event's place, the moment at which it was recorded (seconds since 1970) and the event as
        JSON, in the order in which they were recorded.
    :param keep: how many notifications a report names.
    """
    engines = [Engine(rules, MemoryStates(), hourly_limit) for rules in rule_sets]
    reports = [Report() for _ in engines]
    for engine in engines:
        engine.advance(since)
        engine.expect(since)
    for seq, at, document in history:
        arrival = Arrival(seq, Past(document), at)
        for engine, report in zip(engines, reports, strict=True):
            engine.take(arrival)
            report.events += 1
            if engine.planned or engine.decisions:
                _drain(engine, report, keep)
    for engine, report in zip(engines, reports, strict=True):
        engine.advance(until)
        _drain(engine, report, keep)
    return reports


def _drain(engine: Engine, report: Report, keep: int) -> None:
    for planned in engine.planned:
        report.add(planned, keep)
    for decision in engine.decisions:
        if not decision.notification:
            report.outcomes[decision.outcome] += 1
    engine.planned.clear()
    engine.decisions.clear()


def types_asked(patterns: Iterable[Mapping[str, Any]]) -> list[str] | None:
    """The event types that patterns ask for, so that others need not be read; ``None`` where they cannot be listed."""
    found: set[str] = set()
    for pattern in patterns:
        asked = _types(pattern)
        if asked is None:
            return None
        found |= asked
    return sorted(found)


def _types(pattern: Mapping[str, Any]) -> set[str] | None:
    """The types of which the event's must be one, as far as the pattern lists them."""
    asked = pattern.get("type")
    if isinstance(asked, list) and all(isinstance(one, str) for one in asked):
        return set(asked)
    parts = [one for one in pattern.get("$and", ()) if isinstance(one, dict)]
    for part in parts:
        found = _types(part)
        if found is not None:
            return found
    ways = [_types(one) for one in pattern.get("$or", ()) if isinstance(one, dict)]
    if ways and all(one is not None for one in ways):
        return set().union(*(one for one in ways if one is not None))
    return None
