"""The way from a firing to a notification: cooldown, group, inhibition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from ml_event_provider.rules.engine.firing import Firing, shown
from ml_event_provider.rules.engine.output import Decision, Kind, Outcome, Planned
from ml_event_provider.rules.engine.states import Place
from ml_event_provider.rules.resources import key_from, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_event_provider.rules.engine.planning import Planner
    from ml_event_provider.rules.engine.states import Body, States
    from ml_event_provider.rules.model import Rule, RuleTarget


#: How late an event may be, in seconds, and still inhibit what happened at its time, or be inhibited.
LATE: Final = 86_400

#: Whether anybody heard, or what is to be told waits for others.
Told = bool | Literal["waiting"]


class Outlet:
    """Takes firings; collects the notifications and the reasons where there is none."""

    def __init__(self, states: States, planner: Planner) -> None:
        self._states = states
        self.planner = planner
        self.planned: list[Planned] = []
        self.decisions: list[Decision] = []
        #: Of which alerts somebody heard, or nobody after all, since this was last looked at.
        self.heard: dict[tuple[Place, str], bool] = {}

    def decide(
        self, rule: Rule, seq: int | None, key: str, outcome: Outcome, facts: Mapping[str, Any], now: float
    ) -> None:
        """Note what became of an event."""
        self.decisions.append(Decision(rule=rule, seq=seq, key=key, outcome=outcome, at=now, facts=dict(facts)))

    def fire(self, rule: Rule, firing: Firing, now: float) -> Told:
        """Tell of a firing unless it is held back."""
        if rule.cooldown is not None:
            place = Place(rule.workspace, rule.name, "cooldown", firing.context.get("cooldown", firing.key))
            body = self._states.get(place)
            if body is not None and now < body["until"]:
                body["held"] += 1
                self._states.put(place, body, body["until"])
                self.decide(rule, firing.seq, firing.key, Outcome.COOLDOWN, {"until": shown(body["until"])}, now)
                return False
            if body is not None and body["held"]:
                firing = firing._replace(facts={**firing.facts, "held_back": body["held"]})
            until = now + rule.cooldown.time.total_seconds()
            self._states.put(place, {"until": until, "held": 0}, until)
        return self.pass_on(rule, firing, now)

    def pass_on(self, rule: Rule, firing: Firing, now: float) -> Told:
        """Tell at once, or let the firing wait for others of its group, or for what may inhibit it."""
        group = rule.grouping
        hold = max((one.wait.total_seconds() for one in rule.inhibit), default=0.0)
        if group is None and not hold:
            return self.tell(rule, [firing], now)
        place = waiting_place(rule, firing)
        body = self._states.get(place) or {"waiting": [], "told_at": None, "flush_at": None}
        body["waiting"].append(list(firing))
        if body["flush_at"] is None:
            body["flush_at"] = now + max(group.wait.total_seconds() if group else 0.0, hold)
            if group is not None and body["told_at"] is not None:
                body["flush_at"] = max(body["flush_at"], body["told_at"] + group.interval.total_seconds())
        full = group is not None and len(body["waiting"]) >= group.max
        if full or body["flush_at"] <= now:
            return self.flush(rule, place, body, now)
        facts = {"group": place.key, "until": shown(body["flush_at"])}
        self.decide(rule, firing.seq, firing.key, Outcome.GROUPED, facts, now)
        self._states.put(place, body, body["flush_at"])
        return "waiting"

    def flush(self, rule: Rule, place: Place, body: Body, now: float) -> bool:
        """A group's time has come: tell of what waits in it. One that stayed empty is forgotten."""
        waiting = [Firing(*one) for one in body["waiting"]]
        group = rule.grouping
        heard = bool(waiting) and self.tell(rule, waiting, now)
        if not waiting or group is None:
            self._states.put(place, None)
        else:
            body.update(waiting=[], flush_at=None, told_at=now)
            self._states.put(place, body, now + group.interval.total_seconds())
        return heard

    def tell(self, rule: Rule, firings: list[Firing], now: float, targets: Sequence[RuleTarget] | None = None) -> bool:
        """Make the notification of some firings, unless other events tell the same; say whether anybody hears of it."""
        mute = [self._inhibited(rule, one, now) for one in firings]
        said = {one.alert for one, muted in zip(firings, mute, strict=True) if not muted and one.kind != Kind.RESOLVED}
        unsaid = {one.alert for one in firings if one.kind == Kind.FIRED} - said
        left = []
        for one, muted in zip(firings, mute, strict=True):
            if one.kind == Kind.RESOLVED and one.alert in unsaid:
                # Who heard nothing of the alert need not hear of its end.
                self.decide(rule, one.seq, one.key, Outcome.ENDED, one.facts, now)
            elif not muted:
                left.append(one)
        heard = False
        if left:
            planned, decisions = self.planner.plan(rule, left, now, targets)
            self.planned.append(planned)
            self.decisions += decisions
            heard = any(not one.muted for one in planned.deliveries)
        for one in firings:
            if one.alert and one.kind != Kind.RESOLVED:
                place = Place(rule.workspace, rule.name, "alert", one.key)
                self.heard[place, one.alert] = heard and one.alert in said
        return heard

    def note_inhibiting(
        self, rule: Rule, number: int, document: Mapping[str, Any], seq: int, time: float, now: float
    ) -> None:
        """Remember an event that inhibits a rule's notifications."""
        inhibit = rule.inhibit[number]
        place = inhibitor(rule, number, key_of(document, inhibit.equal))
        known = self._states.get(place)
        times = [one for one in (known["times"] if known else []) if one[0] > time - LATE]
        times = sorted([*times, [time, seq]])[-100:]
        self._states.put(place, {"times": times}, now + inhibit.within.total_seconds() + LATE)

    def _inhibited(self, rule: Rule, firing: Firing, now: float) -> bool:
        for number, (inhibit, values) in enumerate(zip(rule.inhibit, firing.context.get("inhibit", ()), strict=False)):
            body = self._states.get(inhibitor(rule, number, values))
            # An event mutes itself only where that is what is asked for.
            other = None if "id" in inhibit.equal else firing.seq
            for time, seq in body["times"] if body else ():
                if seq != other and abs(time - firing.time) <= inhibit.within.total_seconds():
                    facts = {"by": seq, "equal": list(inhibit.equal)}
                    self.decide(rule, firing.seq, firing.key, Outcome.INHIBITED, facts, now)
                    return True
        return False


def waiting_place(rule: Rule, firing: Firing) -> Place:
    """Where a firing waits: for others of its group, or alone for what may inhibit it."""
    alone = rule.grouping is None
    key = key_from([firing.kind, firing.seq, firing.key]) if alone else firing.context.get("group", "")
    return Place(rule.workspace, rule.name, "group", key)


def inhibitor(rule: Rule, number: int, values: str) -> Place:
    """Where it is remembered that an event came by which the rule is inhibited."""
    return Place(rule.workspace, rule.name, "inhibit", f"{number} {values}")
