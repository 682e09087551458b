"""Takes events in the order of their arrival, looks at what is due between them, and says what follows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from ml_event_provider.rules.conditions import Observation
from ml_event_provider.rules.engine import alerts
from ml_event_provider.rules.engine.absent import awaited
from ml_event_provider.rules.engine.firing import Firing, context_of, shown
from ml_event_provider.rules.engine.outlet import Outlet, Told, inhibitor
from ml_event_provider.rules.engine.output import Decision, Kind, Outcome, Planned
from ml_event_provider.rules.engine.planning import Planner
from ml_event_provider.rules.engine.states import Place
from ml_event_provider.rules.fields import value_at
from ml_event_provider.rules.resources import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from ml_event_provider.events import Event
    from ml_event_provider.rules.conditions import Verdict
    from ml_event_provider.rules.engine.states import Body, States
    from ml_event_provider.rules.model import Rule
    from ml_event_provider.rules.ruleset import RuleSet

log = logging.getLogger(__name__)


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
            wanted = {"group": context.get("group"), "cooldown": context.get("cooldown")}
            wanted["alert"] = key if rule.has_alerts else None
            found |= {Place(rule.workspace, rule.name, role, one) for role, one in wanted.items() if one is not None}
            found |= {inhibitor(rule, number, one) for number, one in enumerate(context.get("inhibit", ()))}
        return found


UNDIGESTED: Final = "Rule %s of workspace %s could not digest event %s"
#: How long until a state whose rule is away is looked at again, in seconds.
AWAY: Final = 60.0


def _no_limit(_: str) -> int:
    return 0


def _not_kept(_: int) -> None:
    return None


class Engine:
    """What the rules make of a stream of events.

    :param hourly_limit: how many notifications one rule of a workspace may make in an hour; 0 is any number.
    :param document_of: an event by its place, so that silences made after it are asked about it too.
    :param present: the present moment, where the clock may be behind it: of what recurs only the last is told, not all
        that was missed.

    Call :meth:`take` for each event in the order of arrival and :meth:`advance` where none waits; collect
    :attr:`planned` and :attr:`decisions`. The clock only goes forward: what is due before an event is done first.
    """

    def __init__(
        self,
        rules: RuleSet,
        states: States,
        hourly_limit: Callable[[str], int] = _no_limit,
        document_of: Callable[[int], Mapping[str, Any] | None] = _not_kept,
        present: float = 0.0,
    ) -> None:
        self._rules = rules
        self._states = states
        self._present = present
        self._outlet = Outlet(states, Planner(rules, states, hourly_limit, document_of))
        self.clock = 0.0

    @property
    def planned(self) -> list[Planned]:
        """The notifications to be made."""
        return self._outlet.planned

    @property
    def decisions(self) -> list[Decision]:
        """What became of events that rules looked at."""
        return self._outlet.decisions

    def expect(self, now: float) -> None:
        """Begin to wait for the events that rules expect from the beginning, where that has not begun yet."""
        for rule in self._rules.rules():
            places = [Place(rule.workspace, rule.name, "alert", key) for key in sorted(rule.expected)]
            self._states.prefetch(places)
            for place in places:
                known = self._states.get(place)
                if known is None or known.get("form") != rule.form:
                    context = context_of(rule, awaited(rule, place.key), ())
                    self._update(rule, place, alerts.begin(rule, now) | {"context": context}, None, now)

    def prepare(self, arrival: Arrival) -> Prepared:
        """See what an event means to each rule; nothing is remembered yet."""
        document = arrival.event.to_dict()
        steps: list[tuple[Rule, set[str], str, dict[str, Any]]] = []
        try:
            found = self._rules.find(document)
        except Exception:
            # An event that no rule can digest must not hold up the others; it stays recorded and can be looked at.
            log.exception("Event %s of type %s could not be matched", arrival.event.id, arrival.event.type)
            return Prepared(arrival, document, steps)
        silences = [silence.name for silence in found.silences]
        for place, roles in sorted(found.roles.items()):
            rule = self._rules.get(*place)
            if rule is None:
                continue
            try:
                key = "" if rule.is_plain else key_of(document, rule.by)
                steps.append((rule, roles, key, context_of(rule, document, silences)))
            except Exception as error:
                log.exception(UNDIGESTED, rule.name, rule.workspace, arrival.seq)
                self._failed(rule, arrival.seq, None, error, (len(self.planned), len(self.decisions)))
        return Prepared(arrival, document, steps)

    def take(self, arrival: Arrival | Prepared) -> None:
        """Take one event."""
        prepared = arrival if isinstance(arrival, Prepared) else self.prepare(arrival)
        self.advance(prepared.arrival.at)
        self._outlet.planner.present = prepared.arrival.seq
        for rule, roles, key, context in prepared.steps:
            said = len(self.planned), len(self.decisions)
            try:
                self._step(rule, roles, prepared, key, context)
            except Exception as error:
                # One rule must not hold up the others. What it remembers may be what it cannot digest.
                log.exception(UNDIGESTED, rule.name, rule.workspace, prepared.arrival.seq)
                place = Place(rule.workspace, rule.name, "alert", key)
                self._failed(rule, prepared.arrival.seq, place, error, said)

    def _failed(
        self, rule: Rule, seq: int | None, place: Place | None, error: Exception, said: tuple[int, int]
    ) -> None:
        self._outlet.fail(rule, seq, place.key if place else "", error, self.clock, said)
        self._outlet.heard.clear()
        if place is not None:
            self._states.put(place, None)

    def advance(self, now: float) -> None:
        """Do what is due up to a moment."""
        while (found := self._states.pop_due(now)) is not None:
            due, place = found
            self.clock = max(self.clock, due)
            body = self._states.get(place)
            if body is None:
                continue
            rule = self._rules.get(place.workspace, place.rule)
            if rule is None and place.role != "quota":
                # It is not there, or cannot be used at present: whoever reads the rules knows which.
                self._states.put(place, body, max(self.clock, now) + AWAY)
                continue
            said = len(self.planned), len(self.decisions)
            try:
                self._due(rule, place, body)
            except Exception as error:
                log.exception("The state at %s could not be looked at; it is forgotten", place)
                self._states.put(place, None)
                if rule is not None:
                    self._failed(rule, body.get("seq"), place, error, said)
        self.clock = max(self.clock, now)

    def _due(self, rule: Rule | None, place: Place, body: Body) -> None:
        """Do what a state is due for."""
        if rule is not None and place.role == "alert" and self._wanted(rule, place, body):
            self._update(rule, place, body, None, self.clock)
        elif rule is not None and place.role == "group":
            self._outlet.flush(rule, place, body, self.clock)
            self._note_heard()
        elif rule is not None and place.role == "cooldown" and body["held"]:
            # What was held back is told with the next firing.
            self._states.put(place, body)
        else:
            self._states.put(place, None)

    def _wanted(self, rule: Rule, place: Place, body: Body) -> bool:
        """Whether an alert's state is still of use: its rule's condition is the same, and its key still expected."""
        if body.get("form") != rule.form:
            return False
        waits = rule.condition is not None and rule.condition.absence is not None
        return not waits or body["memory"]["last"] is not None or place.key in rule.expected

    def acknowledge(self, place: Place, who: str, now: float) -> bool:
        """Somebody looks after an alert: no repetition, no escalation. Say whether it was open.

        Only this alert changes, as it stands: what is due and what arrived is not overtaken, but comes after.
        """
        return self._change(place, who, now, ends=False)

    def resolve(self, place: Place, who: str, now: float) -> bool:
        """Somebody says that an alert is over, as it stands. Say whether it was open."""
        return self._change(place, who, now, ends=True)

    def _change(self, place: Place, who: str, now: float, *, ends: bool) -> bool:
        rule = self._rules.get(place.workspace, place.rule)
        body = self._states.get(place)
        if rule is None or body is None or body["form"] != rule.form or body["open"] is None:
            return False
        self.clock = max(self.clock, now)
        body["ack"] = {"by": who, "at": shown(now)}
        if ends or not rule.ends:
            self._end(rule, place, body, None, self.clock)
            if rule.condition is not None:
                # What fires next is a new alert.
                body["memory"] = rule.condition.tracked.begin(self.clock)
        # What it was due for still comes at its time.
        moments = (self._states.due(place), alerts.due(rule, body, None, self.clock))
        self._keep(rule, place, body, min((one for one in moments if one is not None), default=None))
        return True

    def _step(self, rule: Rule, roles: set[str], prepared: Prepared, key: str, context: dict[str, Any]) -> None:
        """What an event means to a rule."""
        arrival, document = prepared.arrival, prepared.document
        # A clock that runs ahead must not make an event of tomorrow.
        time = min(arrival.event.time.timestamp(), self.clock)
        firing = Firing(Kind.FIRED, arrival.seq, key, "", time, {}, context)
        for role in roles:
            if role.startswith("inhibit"):
                number = int(role.removeprefix("inhibit"))
                self._outlet.note_inhibiting(rule, number, document, arrival.seq, time, self.clock)
        if not rule.has_alerts:
            if "hit" in roles:
                self._outlet.fire(rule, firing, self.clock)
            return
        place = Place(rule.workspace, rule.name, "alert", key)
        if not roles & {"hit", "break", "then", "resolve"}:
            return
        if not roles & {"hit", "then"} and self._states.get(place) is None:
            # Nothing to break or to end.
            return
        body = self._alert(rule, place)
        if rule.condition is not None and not self._observed(rule, roles, firing, document, body):
            return
        body["context"] = context
        ends = "resolve" in roles
        if rule.condition is None and "hit" in roles:
            ends = False
            alerts.open_(rule, body, key, arrival.seq, self.clock)
            self._fire(rule, body, firing._replace(alert=body["id"]))
        self._update(rule, place, body, firing, self.clock, ends=ends)

    def _observed(self, rule: Rule, roles: set[str], firing: Firing, document: Mapping[str, Any], body: Body) -> bool:
        """Show an event to the condition; say whether it is not too late."""
        condition = rule.condition
        if condition is None or firing.seq is None:
            return True
        lateness = condition.lateness
        if lateness is not None and self.clock - firing.time > lateness:
            facts = {"seconds_late": self.clock - firing.time, "allowed": lateness}
            self._outlet.decide(rule, firing.seq, firing.key, Outcome.TOO_LATE, facts, self.clock)
            return False
        value = value_at(document, condition.value_path) if condition.value_path else None
        if "hit" in roles:
            condition.tracked.take(body["memory"], Observation(firing.time, firing.seq, "hit", value), self.clock)
        elif "break" in roles:
            condition.tracked.take(body["memory"], Observation(firing.time, firing.seq, "break"), self.clock)
        if "then" in roles:
            condition.tracked.take(body["memory"], Observation(firing.time, firing.seq, "then"), self.clock)
        return True

    def _update(
        self, rule: Rule, place: Place, body: Body, seen: Firing | None, now: float, *, ends: bool = False
    ) -> None:
        """Bring an alert up to date: its condition, its end, repetition, escalation and calm; and keep it."""
        verdict: Verdict | None = None
        if rule.condition is not None:
            verdict = rule.condition.tracked.judge(body["memory"], now)
            body["facts"] = dict(verdict.facts)
            for seq in verdict.fired:
                alerts.open_(rule, body, place.key, seq, now)
                firing = self._about(Kind.FIRED, place, body, seq, now)
                if seq is None and verdict.next_at is not None and verdict.next_at <= self._present:
                    # The next moment of the schedule is past already, and has more to say.
                    self._outlet.decide(rule, None, place.key, Outcome.OVERTAKEN, verdict.facts, now)
                    continue
                if seen is not None and seen.seq == seq:
                    firing = firing._replace(time=seen.time)
                self._fire(rule, body, firing)
            if seen is not None and seen.seq not in verdict.fired:
                self._outlet.decide(rule, seen.seq, place.key, Outcome.WAITING, verdict.facts, now)
            ends = ends or (verdict.active is False and rule.condition.ends_by_itself)
        end_at = body.get("end_at")
        if body["open"] is not None and (ends or (end_at is not None and end_at <= now)):
            self._end(rule, place, body, seen, now)
        if body["flapping"] and not alerts.flaps(rule, body, now):
            self._calm_down(rule, place, body, now)
        self._remind(rule, place, body, now)
        self._keep(rule, place, body, alerts.due(rule, body, verdict.next_at if verdict else None, now))

    def _keep(self, rule: Rule, place: Place, body: Body, due: float | None) -> None:
        self._note_heard(place, body)
        idle = body["open"] is None and rule.condition is None and not body["changes"]
        self._states.put(place, None if idle else body, due)

    def _note_heard(self, present: Place | None = None, present_body: Body | None = None) -> None:
        """Note in alerts whether anybody heard of them, once that is known."""
        for (place, alert), heard in self._outlet.heard.items():
            body = present_body if place == present else self._states.get(place)
            if body is None or body.get("id") != alert:
                continue
            if heard or body.get("told") == "waiting":
                body["told"] = heard
            if place != present:
                self._states.put(place, body, self._states.due(place))
        self._outlet.heard.clear()

    def _fire(self, rule: Rule, body: Body, firing: Firing) -> None:
        if not self._flapping(rule, body, firing):
            self._told(body, self._outlet.fire(rule, firing, self.clock))

    def _told(self, body: Body, told: Told) -> None:
        """Note that an alert was told, or waits to be."""
        body["told"] = told is True or body.get("told") or told

    def _end(self, rule: Rule, place: Place, body: Body, seen: Firing | None, now: float) -> None:
        since, steps = body["open"], rule.steps[: body["escalated"]]
        alerts.end(rule, body, now)
        if seen is not None:
            body["seq"] = seen.seq
        firing = self._about(Kind.RESOLVED, place, body, body.get("seq"), now)
        firing.facts.update(since=shown(since))
        told = body.pop("told", False)
        if not rule.resolve or not told:
            # Who heard nothing of the alert need not hear of its end.
            if seen is not None:
                self._outlet.decide(rule, seen.seq, place.key, Outcome.ENDED, firing.facts, now)
        elif not self._flapping(rule, body, firing):
            self._outlet.pass_on(rule, firing, now)
            for number, step in enumerate(steps, 1):
                # Whom the alert was escalated to hears of its end, too.
                facts = {**firing.facts, "escalated": number}
                self._outlet.tell(rule, [firing._replace(facts=facts)], now, step.targets)

    def _remind(self, rule: Rule, place: Place, body: Body, now: float) -> None:
        """Repeat and escalate what nobody has acknowledged."""
        if body["open"] is None or body["flapping"] or body.get("ack"):
            return
        if rule.repeat is not None and body["repeat_at"] is None:
            # The rule was changed since the alert began.
            body["repeat_at"] = now + rule.repeat.total_seconds()
        elif rule.repeat is not None and body["repeat_at"] <= now:
            body["repeat_at"] = now + rule.repeat.total_seconds()
            body["repeats"] += 1
            repeated = self._about(Kind.REPEATED, place, body, body.get("seq"), now)
            if body["repeat_at"] <= self._present:
                self._outlet.decide(rule, repeated.seq, place.key, Outcome.OVERTAKEN, repeated.facts, now)
            elif not self._outlet.planner.holds(rule, now):
                # Repetitions that wait for active hours would all come at once.
                self._told(body, self._outlet.pass_on(rule, repeated, now))
        while (moment := alerts.next_escalation(rule, body)) is not None and moment <= now:
            step = rule.steps[body["escalated"]]
            body["escalated"] += 1
            firing = self._about(Kind.ESCALATED, place, body, body.get("seq"), now)
            self._told(body, self._outlet.tell(rule, [firing], now, step.targets))

    def _flapping(self, rule: Rule, body: Body, firing: Firing) -> bool:
        """Whether nothing is to be told because the alert flaps; that it does is told once."""
        changes = {"changes": len(body["changes"])}
        if body["flapping"]:
            self._outlet.decide(rule, firing.seq, firing.key, Outcome.FLAPPING, changes, self.clock)
        elif alerts.flaps(rule, body, self.clock):
            body["flapping"] = True
            flapping = firing._replace(kind=Kind.FLAPPING, alert=body["id"], facts={**firing.facts, **changes})
            self._told(body, self._outlet.pass_on(rule, flapping, self.clock))
        else:
            return False
        return True

    def _calm_down(self, rule: Rule, place: Place, body: Body, now: float) -> None:
        """The alert flaps no more: tell how it stands."""
        body["flapping"] = False
        kind = Kind.RESOLVED if body["open"] is None else Kind.FIRED
        firing = self._about(kind, place, body, body.get("seq"), now)
        if kind is Kind.FIRED:
            body["repeat_at"] = now + rule.repeat.total_seconds() if rule.repeat else None
            self._told(body, self._outlet.pass_on(rule, firing, now))
        elif rule.resolve:
            self._outlet.pass_on(rule, firing, now)

    def _alert(self, rule: Rule, place: Place) -> Body:
        """The alert's state; a new one where the rule's condition was changed since."""
        body = self._states.get(place)
        return body if body is not None and body["form"] == rule.form else alerts.begin(rule, self.clock)

    def _about(self, kind: Kind, place: Place, body: Body, seq: int | None, now: float) -> Firing:
        """What is to be told about an alert itself."""
        facts = dict(body.get("facts") or {})
        if kind in {Kind.REPEATED, Kind.ESCALATED}:
            facts |= {"since": shown(body["open"]), "repeats": body["repeats"], "escalated": body["escalated"]}
        return Firing(kind, seq, place.key, body.get("id", ""), now, facts, body.get("context", {}))
