"""Drives the engine by ticks: moments are whole numbers of ten seconds since ``BASE``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ml_event_provider.events import Event
from ml_event_provider.rules.engine import Arrival, Decision, Engine, MemoryStates, Place, Planned
from ml_event_provider.rules.model import Rule
from ml_event_provider.rules.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ml_event_provider.rules.engine.states import Body, States

#: The length of a tick in seconds.
TICK = 10
BASE = datetime(2026, 1, 1, tzinfo=UTC)
START = BASE.timestamp()

FAILED = "airflow.dag_run.failed"
SUCCESS = "airflow.dag_run.success"


def at(tick: float) -> float:
    """A tick in seconds since 1970."""
    return START + tick * TICK


def tick_of(moment: float) -> float:
    return (moment - START) / TICK


def arrival(seq: int, tick: float, type: str = FAILED, *, late: float = 0, **data: Any) -> Arrival:
    """An event that arrives at ``tick`` and happened ``late`` ticks before."""
    event = Event(
        id=f"event-{seq}",
        source="/tests",
        type=type,
        time=BASE + timedelta(seconds=(tick - late) * TICK),
        data=data,
    )
    return Arrival(seq, event, at(tick))


class JsonStates:
    """States that are kept as texts of JSON: what the engine does not put back is lost."""

    def __init__(self) -> None:
        self.texts: dict[Place, str] = {}
        self.dues: dict[Place, float] = {}

    def get(self, place: Place) -> Body | None:
        text = self.texts.get(place)
        body: Body | None = None if text is None else json.loads(text)
        return body

    def put(self, place: Place, body: Body | None, due: float | None = None) -> None:
        self.texts.pop(place, None)
        self.dues.pop(place, None)
        if body is not None:
            self.texts[place] = json.dumps(body, allow_nan=False)
            if due is not None:
                self.dues[place] = due

    def prefetch(self, places: Iterable[Place]) -> None:
        """All are at hand."""

    def due(self, place: Place) -> float | None:
        return self.dues.get(place)

    def pop_due(self, moment: float) -> tuple[float, Place] | None:
        if not self.dues:
            return None
        due, place = min((due, place) for place, due in self.dues.items())
        if due > moment:
            return None
        del self.dues[place]
        return due, place


class CountedStates(MemoryStates):
    """Ends an engine that runs in circles: far more moments than a short stream can make due."""

    left = 3000

    def pop_due(self, moment: float) -> tuple[float, Place] | None:
        self.left -= 1
        assert self.left, "the same is due again and again"
        return super().pop_due(moment)


@dataclass
class Said:
    """What engines have said in all."""

    planned: list[Planned] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def kinds(self) -> list[tuple[str, float, tuple[int, ...]]]:
        """Of each notification its kind, its tick and its events."""
        return [(one.kind.value, tick_of(one.at), one.seqs) for one in self.planned]

    def outcomes(self) -> list[tuple[int | None, str]]:
        return [(one.seq, one.outcome.value) for one in self.decisions]


class Driver:
    """An engine that may crash: :meth:`crash` leaves only its states."""

    def __init__(
        self,
        rules: RuleSet | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        states: States | None = None,
        hourly_limit: int = 0,
        horizon: float = 0.0,
    ) -> None:
        self.horizon = horizon
        self.rules = rules if isinstance(rules, RuleSet) else rule_set(rules)
        self.states = JsonStates() if states is None else states
        self.hourly_limit = hourly_limit
        self._said = Said()
        self._documents: dict[int, Mapping[str, Any]] = {}
        self.engine = self._engine()

    def crash(self, rules: RuleSet | None = None) -> None:
        """Go on with a new engine, perhaps with other rules."""
        self._said = self.said
        self.rules = rules or self.rules
        self.engine = self._engine()

    def _engine(self) -> Engine:
        return Engine(
            self.rules, self.states, lambda workspace: self.hourly_limit, lambda _: self._documents, self.horizon
        )

    @property
    def said(self) -> Said:
        return Said(
            [*self._said.planned, *self.engine.planned],
            [*self._said.decisions, *self.engine.decisions],
        )

    def begin(self) -> Driver:
        """Switch the rules on at tick 0."""
        self.engine.advance(START)
        self.engine.expect(START)
        return self

    def take(self, *arrivals: Arrival) -> Driver:
        for one in arrivals:
            self._documents[one.seq] = one.event.to_dict()
            self.engine.take(one)
        return self

    def until(self, tick: float) -> Driver:
        self.engine.advance(at(tick))
        return self


def rule_set(rules: Mapping[str, Any] | Sequence[Mapping[str, Any]], **around: Any) -> RuleSet:
    """Rules that all can be used."""
    made = RuleSet([Rule.model_validate(one) for one in ([rules] if isinstance(rules, dict) else rules)], **around)
    assert not made.broken
    return made


def run(rules: Mapping[str, Any], arrivals: Iterable[Arrival] = (), until: float = 0) -> Said:
    """What a rule says of a stream, to its end."""
    return Driver(rules).begin().take(*arrivals).until(until).said
