"""Takes events in the order of their arrival, looks at what is due between them, and says what follows."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.conditions import Observation
from ml_event_provider.rules.engine import alerts
from ml_event_provider.rules.engine.absent import awaited
from ml_event_provider.rules.engine.arrival import Arrival, Prepared
from ml_event_provider.rules.engine.firing import Firing, context_of, shown, waiting_in
from ml_event_provider.rules.engine.guard import Guard
from ml_event_provider.rules.engine.keeper import Keeper
from ml_event_provider.rules.engine.outlet import Outlet
from ml_event_provider.rules.engine.output import Decision, Failure, Kind, Outcome, Planned
from ml_event_provider.rules.engine.planning import Planner
from ml_event_provider.rules.engine.states import Place
from ml_event_provider.rules.fields import value_at
from ml_event_provider.rules.resources import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ml_event_provider.rules.engine.states import Body, States
    from ml_event_provider.rules.model import Rule
    from ml_event_provider.rules.ruleset import RuleSet

log = logging.getLogger(__name__)


#: How long until a state whose rule is away is looked at again, in seconds.
AWAY: Final = 60.0
_NOBODY: Final[Mapping[str, Collection[str]]] = MappingProxyType({})


def _always() -> bool:
    return True


def _no_limit(_: str) -> int:
    return 0


def _not_kept(_: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
    return {}


class Engine:
    """What the rules make of a stream of events.

    :param hourly_limit: how many notifications one rule of a workspace may make in an hour; 0 is any number.
    :param documents_of: events as JSON by their places, so that silences made after them are asked about them too.
    :param horizon: the present moment, where the clock may be behind it: of what recurs only the last is told, not all
        that was missed.

    Call :meth:`take` for each event in the order of arrival and :meth:`advance` where none waits; collect
    :attr:`planned` and :attr:`decisions`. The clock only goes forward: what is due before an event is done first.
    """

    def __init__(
        self,
        rules: RuleSet,
        states: States,
        hourly_limit: Callable[[str], int] = _no_limit,
        documents_of: Callable[[Sequence[int]], Mapping[int, Mapping[str, Any]]] = _not_kept,
        horizon: float = 0.0,
    ) -> None:
        self._rules = rules
        self._states = states
        self._documents_of = documents_of
        self._outlet = Outlet(states, Planner(rules, states, hourly_limit, documents_of))
        self._keeper = Keeper(states, self._outlet, horizon)
        self.clock = 0.0
        #: The events that could not be digested.
        self.failures: list[Failure] = []

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
                with Guard(self, rule, place, [(None, place.key)]):
                    self._expect(rule, place, now)

    def _expect(self, rule: Rule, place: Place, now: float) -> None:
        known = self._states.get(place)
        if known is None or known.get("form") != rule.form:
            context = context_of(rule, awaited(rule, place.key), ())
            self._keeper.update(rule, place, alerts.begin(rule, now) | {"context": context}, None, now)

    def prepare(self, arrival: Arrival) -> Prepared:
        """See what an event means to each rule; nothing is remembered yet."""
        document = arrival.event.to_dict()
        steps: list[tuple[Rule, set[str], str, dict[str, Any]]] = []
        try:
            found = self._rules.find(document)
        except Exception as error:
            # An event that no rule can digest must not hold up the others; it stays recorded and can be looked at.
            log.exception("Event %s of type %s could not be matched", arrival.event.id, arrival.event.type)
            self.failures.append(Failure(arrival.seq, "", f"{type(error).__name__}: {error}"))
            return Prepared(arrival, document, steps)
        for _, name in sorted(found.too_costly):
            reason = "the event is too costly for this rule's pattern: arrays that are too long, or too many of them"
            log.error("Event %s of type %s: rule %s: %s", arrival.event.id, arrival.event.type, name, reason)
            self.failures.append(Failure(arrival.seq, name, reason))
        silences = [silence.name for silence in found.silences]
        for place, roles in sorted(found.roles.items()):
            rule = self._rules.get(*place)
            if rule is not None:
                with Guard(self, rule, None, [(arrival.seq, "")]):
                    key = "" if rule.is_plain else key_of(document, rule.by)
                    steps.append((rule, roles, key, context_of(rule, document, silences)))
        return Prepared(arrival, document, steps)

    def take(self, arrival: Arrival | Prepared) -> None:
        """Take one event."""
        prepared = arrival if isinstance(arrival, Prepared) else self.prepare(arrival)
        self.advance(prepared.arrival.at)
        self._outlet.planner.arriving = prepared.arrival.seq
        for rule, roles, key, context in prepared.steps:
            place = Place(rule.workspace, rule.name, "alert", key)
            with Guard(self, rule, place, [(prepared.arrival.seq, key)]):
                self._step(rule, roles, prepared, place, context)

    def advance(self, now: float, go_on: Callable[[], bool] = _always, *, free_until: float = 0.0) -> bool:
        """Do what is due up to a moment, but no more than one thing after ``go_on`` says no; say whether it is done.

        :param free_until: up to when no event comes, if that is known to be later.
        """
        self._keeper.free_until = max(now, free_until)
        while (found := self._states.pop_due(now)) is not None:
            due, place = found
            self.clock = max(self.clock, due)
            body = self._states.get(place)
            rule = self._rules.get(place.workspace, place.rule)
            if body is None or place.role == "quota":
                self._states.put(place, None)
            elif rule is None:
                # It is not there, or cannot be used at present: whoever reads the rules knows which.
                self._states.put(place, body, max(self.clock, now) + AWAY)
            else:
                about = waiting_in(body) if place.role == "group" else [(body.get("seq"), place.key)]
                with Guard(self, rule, place, about):
                    self._due(rule, place, body)
            if not go_on():
                return False
        self.clock = max(self.clock, now)
        return True

    def failed(
        self,
        error: Exception,
        rule: Rule,
        place: Place | None,
        about: Sequence[tuple[int | None, str]],
        said: tuple[int, int],
    ) -> None:
        """One rule could not digest something, after so many notifications and decisions: log it, note it for the
        events that it is about, and forget what is remembered there, which may be the cause."""
        named = ", ".join(f"event {seq or 'awaited'} of key {key!r}" for seq, key in about)
        log.error("Rule %s of workspace %s could not digest %s", rule.name, rule.workspace, named, exc_info=error)
        del self.planned[said[0] :], self.decisions[said[1] :]
        self._outlet.heard.clear()
        for seq, key in about:
            self._outlet.decide(rule, seq, key, Outcome.FAILED, {"error": type(error).__name__}, self.clock)
            if seq is not None:
                self.failures.append(Failure(seq, rule.name, f"{type(error).__name__}: {error}"))
        if place is not None:
            self._states.put(place, None)

    def _due(self, rule: Rule, place: Place, body: Body) -> None:
        """Do what a state is due for."""
        if place.role == "alert" and self._wanted(rule, place, body):
            self._keeper.update(rule, place, alerts.read(rule, body), None, self.clock)
        elif place.role == "group":
            self._outlet.flush(rule, place, body, self.clock)
            self._keeper.note_heard()
        elif place.role == "cooldown" and body["held"]:
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

    def acknowledge(self, place: Place, who: str, now: float, reason: str = "") -> bool:
        """Somebody looks after an alert: no repetition, no escalation. Say whether it was open.

        Who was first stays noted. Only this alert changes, as it stands: what is due and what arrived is not overtaken,
        but comes after.
        """
        return self._change(place, who, now, reason, ends=False)

    def resolve(self, place: Place, who: str, now: float, reason: str = "") -> bool:
        """Somebody says that an alert is over, as it stands. Say whether it was open."""
        return self._change(place, who, now, reason, ends=True)

    def in_question(self, places: Sequence[Place]) -> list[int]:
        """The events of those alerts whose rules look at other things than before: :meth:`note_rule` asks for them."""
        found: list[int] = []
        for place in places:
            rule, body = self._rules.get(place.workspace, place.rule), self._states.get(place)
            if rule is not None and body is not None and body.get("look", rule.look) != rule.look:
                found += [] if body.get("seq") is None else [body["seq"]]
        return found

    def note_rule(self, place: Place, now: float, unheard: Mapping[str, Collection[str]] = _NOBODY) -> None:
        """Note what a changed rule means for an alert that lasts: it goes on where it means the same, else it ends.

        What could not be told before is tried again: what muted it may be gone.

        :param unheard: the targets that are to hear anew of an alert, by its id.
        """
        rule, body = self._rules.get(place.workspace, place.rule), self._states.get(place)
        if rule is None or body is None or body.get("open") is None:
            return
        if body.get("form") != rule.form:
            self.end(rule, place, "the rule's condition or key was changed", now)
            return
        with Guard(self, rule, place, [(body.get("seq"), place.key)]):
            body = alerts.read(rule, body)
            if anew := unheard.get(body["id"]):
                alerts.unhear(rule, body, anew, now)
            if body.get("look", rule.look) != rule.look and not self._looks_at(rule, place, body["seq"]):
                self.end(rule, place, "the rule does not look at it any more", now)
            elif "again_at" in body or body.get("look") != rule.look:
                body["look"] = rule.look
                if "again_at" in body:
                    body["again_at"] = now
                self._keeper.update(rule, place, body, None, now)

    def end(self, rule: Rule, place: Place, why: str, now: float) -> None:
        """An alert ends because its rule does not ask for it any more: a word to those who heard of it."""
        body = self._states.get(place)
        if body is None or body.get("open") is None:
            return
        with Guard(self, rule, place, [(body.get("seq"), place.key)]):
            body = alerts.read(rule, body)
            body["flapping"], body["changes"] = False, []
            self._keeper.end(rule, place, body, None, now, at_once=True, why=why)
            self._states.put(place, None)

    def _looks_at(self, rule: Rule, place: Place, seq: int | None) -> bool:
        """Whether an alert's newest event, as far as it is known, is still one of its rule's."""
        document = None if seq is None else self._documents_of([seq]).get(seq)
        if document is None:
            return True
        found = self._rules.find(document).roles.get((place.workspace, place.rule), set())
        return "hit" in found and key_of(document, rule.by) == place.key

    def _change(self, place: Place, who: str, now: float, reason: str, *, ends: bool) -> bool:
        rule = self._rules.get(place.workspace, place.rule)
        body = self._states.get(place)
        if rule is None or body is None or body["form"] != rule.form or body["open"] is None:
            return False
        self.clock = max(self.clock, now)
        body = alerts.read(rule, body)
        said = {"by": who, "at": shown(now)} | ({"reason": reason} if reason else {})
        body["ack"] = body.get("ack") or said
        if ends or not rule.ends:
            why = f"resolved by {who}" + (f": {reason}" if reason else "")
            # What fires next is a new alert.
            self._keeper.end(rule, place, body, None, self.clock, upto=body["newest"], why=why)
        # What it was due for still comes at its time.
        moments = (self._states.due(place), alerts.due(rule, body, None, self.clock))
        due = min((one for one in moments if one is not None), default=None)
        self._keeper.keep(rule, place, body, due, self.clock)
        return True

    def _step(self, rule: Rule, roles: set[str], prepared: Prepared, place: Place, context: dict[str, Any]) -> None:
        """What an event means to a rule."""
        arrival, document, key = prepared.arrival, prepared.document, place.key
        time = arrival.event.time.timestamp()
        if time > self.clock:
            # A clock that runs ahead must not make an event of tomorrow; which event it is stays known.
            context = {**context, "ahead": time}
            time = self.clock
        firing = Firing(Kind.FIRED, arrival.seq, key, "", time, {}, context)
        for role in roles:
            if role.startswith("inhibit"):
                number = int(role.removeprefix("inhibit"))
                self._outlet.note_inhibiting(rule, number, document, arrival.seq, time, self.clock)
        if not rule.has_alerts:
            if "hit" in roles:
                self._outlet.fire(rule, firing, self.clock)
            return
        if not roles & {"hit", "break", "other", "then", "resolve"}:
            return
        body = self._alert(rule, place)
        if rule.condition is not None and not self._observed(rule, roles, firing, document, body):
            return
        hits = rule.condition is None and "hit" in roles
        ends = "resolve" in roles and not hits
        if ends:
            alerts.undone(body, time, self.clock)
            # What is older does not end what is newer.
            ends = body["open"] is None or time >= body["newest"]
        elif hits and alerts.is_over(body, time):
            self._outlet.decide(rule, firing.seq, key, Outcome.OVER, {"over": shown(body["over"])}, self.clock)
            return
        if body["open"] is not None and "hit" in roles:
            body["newest"] = max(body["newest"], time)
        body["context"] = context
        if hits:
            alerts.open_(rule, body, key, arrival.seq, time, self.clock)
            self._keeper.fire(rule, body, firing._replace(alert=body["id"]), self.clock)
        self._keeper.update(rule, place, body, firing, self.clock, ends=ends)

    def _observed(self, rule: Rule, roles: set[str], firing: Firing, document: Mapping[str, Any], body: Body) -> bool:
        """Show an event to the condition; say whether it is not too late."""
        condition = rule.condition
        if condition is None or firing.seq is None:
            return True
        allowed = condition.too_late(firing.time, self.clock)
        if allowed is not None:
            facts = {"seconds_late": self.clock - firing.time, "allowed": allowed}
            self._outlet.decide(rule, firing.seq, firing.key, Outcome.TOO_LATE, facts, self.clock)
            return False
        if firing.time <= body.get("floor", float("-inf")):
            over = {"over": shown(body["floor"])}
            self._outlet.decide(rule, firing.seq, firing.key, Outcome.OVER, over, self.clock)
            return False
        value = value_at(document, condition.value_path) if condition.value_path else None
        if "hit" in roles:
            condition.tracked.take(body["memory"], Observation(firing.time, firing.seq, "hit", value), self.clock)
        elif "break" in roles:
            condition.tracked.take(body["memory"], Observation(firing.time, firing.seq, "break"), self.clock)
        elif "other" in roles:
            condition.tracked.take(body["memory"], Observation(firing.time, firing.seq, "other"), self.clock)
        if "then" in roles:
            condition.tracked.take(body["memory"], Observation(firing.time, firing.seq, "then"), self.clock)
        return True

    def _alert(self, rule: Rule, place: Place) -> Body:
        """The alert's state; a new one where the rule's condition was changed since."""
        body = self._states.get(place)
        if body is not None and body["form"] == rule.form:
            return alerts.read(rule, body)
        return alerts.begin(rule, self.clock)
