"""The way from a firing to a notification: cooldown, group, inhibition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.engine.firing import Firing, Heard, shown
from ml_event_provider.rules.engine.output import Decision, Kind, Outcome, Planned
from ml_event_provider.rules.engine.states import Place
from ml_event_provider.rules.resources import compared_key, key_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_event_provider.rules.engine.planning import Planner
    from ml_event_provider.rules.engine.states import Body, States
    from ml_event_provider.rules.model import Rule, RuleTarget


#: How late an event may be, in seconds, and still inhibit what happened at its time, or be inhibited.
LATE: Final = 86_400


class Outlet:
    """Takes firings; collects the notifications and the reasons where there is none."""

    def __init__(self, states: States, planner: Planner) -> None:
        self._states = states
        self.planner = planner
        self.planned: list[Planned] = []
        self.decisions: list[Decision] = []
        #: Who heard of which alerts since this was last looked at.
        self.heard: dict[tuple[Place, str], tuple[Rule, Heard]] = {}

    def decide(
        self, rule: Rule, seq: int | None, key: str, outcome: Outcome, facts: Mapping[str, Any], now: float
    ) -> None:
        """Note what became of an event."""
        self.decisions.append(Decision(rule=rule, seq=seq, key=key, outcome=outcome, at=now, facts=dict(facts)))

    def fire(self, rule: Rule, firing: Firing, now: float) -> Heard | None:
        """Tell of a firing unless it is held back; ``None`` where it waits.

        What nobody heard starts no cooldown.
        """
        if rule.cooldown is None:
            return self.pass_on(rule, firing, now)
        place = cooling_place(rule, firing)
        body = self._states.get(place)
        # The targets that could not be told with the others are told when they may be.
        same = body is not None and firing.to is not None and body.get("alert") == firing.alert
        if body is not None and now < body["until"] and not same:
            if firing.to is None:
                body["held"] += 1
                self._states.put(place, body, body["until"])
            self.decide(rule, firing.seq, firing.key, Outcome.COOLDOWN, {"until": shown(body["until"])}, now)
            return Heard({}, body["until"])
        if body is not None and body["held"] and not same:
            firing = firing._replace(facts={**firing.facts, "held_back": body["held"]})
        told = self.pass_on(rule, firing, now)
        if (told is None or told.who) and not same:
            until = now + rule.cooldown.time.total_seconds()
            started = {"until": until, "held": 0, "alert": firing.alert, "by": [firing.seq, firing.key]}
            self._states.put(place, started, until)
        return told

    def pass_on(self, rule: Rule, firing: Firing, now: float) -> Heard | None:
        """Tell at once, or let the firing wait for others of its group, or for what may inhibit it: ``None``."""
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
            heard = self.flush(rule, place, body, now)
            own = self.heard.get((Place(rule.workspace, rule.name, "alert", firing.key), firing.alert))
            return heard if not firing.alert else own[1] if own else Heard({})
        facts = {"group": place.key, "until": shown(body["flush_at"])}
        self.decide(rule, firing.seq, firing.key, Outcome.GROUPED, facts, now)
        self._states.put(place, body, body["flush_at"])
        return None

    def waits(self, rule: Rule, firing: Firing) -> bool:
        """Whether something about the firing's alert waits where it would."""
        if rule.grouping is None and not rule.inhibit:
            return False
        body = self._states.get(waiting_place(rule, firing))
        return body is not None and any(Firing(*one).alert == firing.alert for one in body["waiting"])

    def call_off(self, rule: Rule, firing: Firing) -> None:
        """What waits about a firing's alert is not told."""
        place = waiting_place(rule, firing)
        body = self._states.get(place)
        if body is not None:
            left = [one for one in body["waiting"] if Firing(*one).alert != firing.alert]
            self._states.put(place, {**body, "waiting": left}, self._states.due(place))

    def flush(self, rule: Rule, place: Place, body: Body, now: float) -> Heard:
        """A group's time has come: tell of what waits in it. One that stayed empty is forgotten."""
        waiting = [Firing(*one) for one in body["waiting"]]
        group = rule.grouping
        heard = self.tell(rule, waiting, now) if waiting else Heard({})
        if not waiting or group is None:
            self._states.put(place, None)
            return heard
        # What nobody heard keeps no interval.
        told_at = now if heard.who else body["told_at"]
        body.update(waiting=[], flush_at=None, told_at=told_at)
        lasts = told_at is not None and told_at + group.interval.total_seconds() > now
        self._states.put(place, body if lasts else None, told_at + group.interval.total_seconds() if lasts else None)
        return heard

    def tell(
        self, rule: Rule, firings: Sequence[Firing], now: float, targets: Sequence[RuleTarget] | None = None
    ) -> Heard:
        """Make the notifications of some firings, unless other events tell the same; say who hears of any.

        Each says one thing: what began is told apart from what ended. About one key, they come in order.
        """
        left: list[Firing] = []
        who: dict[str, float] = {}
        again: list[float] = []
        for one in firings:
            until = None if one.kind == Kind.RESOLVED else self._inhibited(rule, one, now)
            if until is None:
                left.append(one)
            elif one.kind == Kind.ESCALATED:
                # What lasts when the other event is long past is worth a call.
                again.append(until)
        for batch in _batches(left):
            if batch[0].kind == Kind.RESOLVED:
                batch = self._with_hearers(rule, batch, now)
                if not batch:
                    continue
            elif _is_late(batch[0]) and (next_hour := self.planner.used_up(rule, now)) is not None:
                # That they were muted stands in the first notification; they wait for another hour.
                for one in batch:
                    self._note(rule, one, Heard({}, next_hour))
                again.append(next_hour)
                continue
            planned, decisions, heards = self.planner.plan(rule, batch, now, targets)
            self.planned.append(planned)
            self.decisions += decisions
            for one, heard in zip(batch, heards, strict=True):
                who |= heard.who
                again += [] if heard.again_at is None else [heard.again_at]
                if one.alert and one.kind in (Kind.FIRED, Kind.FLAPPING):
                    self._note(rule, one, heard)
        for one in firings:
            if not who and one.kind == Kind.FIRED and rule.cooldown is not None:
                self._warm_up(rule, one)
        return Heard(who, min(again, default=None))

    def _note(self, rule: Rule, firing: Firing, heard: Heard) -> None:
        place = Place(rule.workspace, rule.name, "alert", firing.key)
        known = self.heard.get((place, firing.alert))
        if known is not None:
            heard = Heard(known[1].who | heard.who, heard.again_at)
        self.heard[place, firing.alert] = (rule, heard)

    def _with_hearers(self, rule: Rule, batch: list[Firing], now: float) -> list[Firing]:
        """The ends of alerts, for those who heard of them; without those of which nobody did."""
        found: list[Firing] = []
        for one in batch:
            if one.to is None:
                # It was stored by a version that knew only that somebody had heard.
                found.append(one)
                continue
            place = Place(rule.workspace, rule.name, "alert", one.key)
            lately = self.heard.get((place, one.alert))
            to = sorted({*one.to, *(lately[1].who if lately else ())})
            if to:
                found.append(one._replace(to=to))
            else:
                self.decide(rule, one.seq, one.key, Outcome.ENDED, one.facts, now)
        return found

    def _warm_up(self, rule: Rule, firing: Firing) -> None:
        """Nobody heard of a firing after all: the cooldown that it started is none."""
        place = cooling_place(rule, firing)
        body = self._states.get(place)
        if body is not None and body.get("by") == [firing.seq, firing.key]:
            self._states.put(place, None)

    def note_inhibiting(
        self, rule: Rule, number: int, document: Mapping[str, Any], seq: int, time: float, now: float
    ) -> None:
        """Remember an event that inhibits a rule's notifications."""
        inhibit = rule.inhibit[number]
        values = compared_key(document, inhibit.equal)
        if values is None:
            return
        place = inhibitor(rule, number, values)
        known = self._states.get(place)
        times = [one for one in (known["times"] if known else []) if one[0] > time - LATE]
        times = sorted([*times, [time, seq]])[-100:]
        self._states.put(place, {"times": times}, now + inhibit.within.total_seconds() + LATE)

    def _inhibited(self, rule: Rule, firing: Firing, now: float) -> float | None:
        """Until when an event inhibits what is told of a moment, if one does."""
        for number, (inhibit, values) in enumerate(zip(rule.inhibit, firing.context.get("inhibit", ()), strict=False)):
            body = None if values is None else self._states.get(inhibitor(rule, number, values))
            # An event mutes itself only where that is what is asked for.
            other = None if "id" in inhibit.equal else firing.seq
            for time, seq in body["times"] if body else ():
                within = inhibit.within.total_seconds()
                if seq != other and abs(time - firing.time) <= within:
                    facts = {"by": seq, "equal": list(inhibit.equal)}
                    self.decide(rule, firing.seq, firing.key, Outcome.INHIBITED, facts, now)
                    return float(time + within)
        return None


def waiting_place(rule: Rule, firing: Firing) -> Place:
    """Where a firing waits: for others of its group, or alone for what may inhibit it."""
    if rule.grouping is not None:
        key = firing.context.get("group", "")
    elif firing.alert:
        # Beginning and end of an alert go in order.
        key = key_from([firing.alert])
    else:
        key = key_from([firing.kind, firing.seq, firing.key])
    return Place(rule.workspace, rule.name, "group", key)


def cooling_place(rule: Rule, firing: Firing) -> Place:
    """Where it is remembered that firings are held back."""
    return Place(rule.workspace, rule.name, "cooldown", firing.context.get("cooldown", firing.key))


def _is_late(firing: Firing) -> bool:
    """Whether it is for those alone who did not hear of it with the others."""
    return firing.kind == Kind.FIRED and firing.to is not None


def _batches(firings: Sequence[Firing]) -> list[list[Firing]]:
    """The firings by what they say and to whom, as few as leave those about one key in their order."""
    found: list[list[Firing]] = []
    #: The last batch of each kind, and of each key.
    alike: dict[tuple[str, tuple[str, ...] | None], int] = {}
    latest: dict[str, int] = {}
    for one in firings:
        # Whom an end is told depends on who heard of its beginning.
        resolved = one.kind == Kind.RESOLVED
        kind = (str(one.kind), None if resolved or one.to is None else tuple(one.to))
        number = alike.get(kind, -1)
        if number < latest.get(one.key, 0) or number < 0:
            number = len(found)
            found.append([])
            alike[kind] = number
        found[number].append(one)
        latest[one.key] = number
    return found


def inhibitor(rule: Rule, number: int, values: str) -> Place:
    """Where it is remembered that an event came by which the rule is inhibited."""
    return Place(rule.workspace, rule.name, "inhibit", f"{number} {values}")
