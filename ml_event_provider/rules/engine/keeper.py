"""Keeps alerts: brings each up to date with its condition, its end, repetition, escalation and flapping."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor
from typing import TYPE_CHECKING

from ml_event_provider.rules.engine import alerts
from ml_event_provider.rules.engine.firing import Firing, shown
from ml_event_provider.rules.engine.output import Kind, Outcome

if TYPE_CHECKING:
    from ml_event_provider.rules.conditions import Verdict
    from ml_event_provider.rules.engine.outlet import Outlet, Told
    from ml_event_provider.rules.engine.states import Body, Place, States
    from ml_event_provider.rules.model import Rule


class Keeper:
    """Changes the states of alerts (``alerts`` says what is in one), and passes on what is to be told of them.

    :param horizon: of what recurs and is due again by this moment, only the last is told.
    """

    def __init__(self, states: States, outlet: Outlet, horizon: float) -> None:
        self._states = states
        self._outlet = outlet
        self._horizon = horizon
        #: Up to when no event comes: what is overtaken until then is jumped over.
        self.free_until = 0.0

    def update(
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
                if seq is None and verdict.next_at is not None and verdict.next_at <= self._horizon:
                    # The next moment of the schedule is past already, and has more to say.
                    verdict = self._jump_slots(rule, place, body, verdict, now)
                    continue
                if seen is not None and seen.seq == seq:
                    firing = firing._replace(time=seen.time)
                self.fire(rule, body, firing, now)
            if seen is not None and seen.seq not in verdict.fired:
                self._outlet.decide(rule, seen.seq, place.key, Outcome.WAITING, verdict.facts, now)
            ends = ends or (verdict.active is False and rule.condition.ends_by_itself)
        end_at = body.get("end_at")
        if body["open"] is not None and (ends or (end_at is not None and end_at <= now)):
            self.end(rule, place, body, seen, now)
        if body["flapping"] and not alerts.flaps(rule, body, now):
            self._calm_down(rule, place, body, now)
        self._remind(rule, place, body, verdict.next_at if verdict else None, now)
        self.keep(rule, place, body, alerts.due(rule, body, verdict.next_at if verdict else None, now))

    def keep(self, rule: Rule, place: Place, body: Body, due: float | None) -> None:
        """Put an alert's state back, or forget it where there is nothing to remember."""
        self.note_heard(place, body)
        idle = body["open"] is None and rule.condition is None and not body["changes"]
        self._states.put(place, None if idle else body, due)

    def note_heard(self, present: Place | None = None, present_body: Body | None = None) -> None:
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

    def fire(self, rule: Rule, body: Body, firing: Firing, now: float) -> None:
        """Tell of a firing, unless the alert flaps or the rule holds it back."""
        if not self._flapping(rule, body, firing, now):
            self._told(body, self._outlet.fire(rule, firing, now))

    def _told(self, body: Body, told: Told) -> None:
        """Note that an alert was told, or waits to be."""
        body["told"] = told is True or body.get("told") or told

    def end(self, rule: Rule, place: Place, body: Body, seen: Firing | None, now: float) -> None:
        """The alert is over: tell those who heard of it."""
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
        elif not self._flapping(rule, body, firing, now):
            self._outlet.pass_on(rule, firing, now)
            for number, step in enumerate(steps, 1):
                # Whom the alert was escalated to hears of its end, too.
                facts = {**firing.facts, "escalated": number}
                self._outlet.tell(rule, [firing._replace(facts=facts)], now, step.targets)

    def _jump_slots(self, rule: Rule, place: Place, body: Body, verdict: Verdict, now: float) -> Verdict:
        """A missed moment of a schedule is overtaken: go on to the last that is, and note that once.

        As far as nothing else is due for the alert in between.
        """
        facts = dict(verdict.facts)
        absence = None if rule.condition is None else rule.condition.absence
        moments = (alerts.next_change(rule, body), alerts.next_repetition(rule, body))
        before = min((one for one in moments if one is not None), default=float("inf"))
        jumped = absence and absence.jump(body["memory"], min(self.free_until, self._horizon), before, self._horizon)
        if jumped:
            facts["overtaken_until"] = shown(jumped.slot)
            if rule.resolve is not None and rule.resolve.after is not None:
                body["end_at"] = jumped.judged_at + rule.resolve.after.total_seconds()
            verdict = replace(verdict, next_at=jumped.next_at)
        self._outlet.decide(rule, None, place.key, Outcome.OVERTAKEN, facts, now)
        return verdict

    def _jump_repetitions(self, rule: Rule, body: Body, verdict_at: float | None) -> int:
        """Go on to the last repetition that is overtaken, as far as nothing else is due in between; say how many."""
        assert rule.repeat is not None
        length, first = rule.repeat.total_seconds(), body["repeat_at"]
        number: int = floor((min(self.free_until, self._horizon - length) - first) / length) + 1
        moments = [one for one in (verdict_at, alerts.next_change(rule, body)) if one is not None]
        if moments:
            # At one moment, the others come first.
            number = min(number, ceil((min(moments) - first) / length))
        number = max(number, 0)
        body["repeats"] += number
        body["repeat_at"] = first + number * length
        return number

    def _remind(self, rule: Rule, place: Place, body: Body, verdict_at: float | None, now: float) -> None:
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
            if body["repeat_at"] <= self._horizon:
                jumped = self._jump_repetitions(rule, body, verdict_at)
                facts = {**repeated.facts, "repeats": body["repeats"], "overtaken": 1 + jumped}
                self._outlet.decide(rule, repeated.seq, place.key, Outcome.OVERTAKEN, facts, now)
            elif not self._outlet.planner.holds(rule, now):
                # Repetitions that wait for active hours would all come at once.
                self._told(body, self._outlet.pass_on(rule, repeated, now))
        while (moment := alerts.next_escalation(rule, body)) is not None and moment <= now:
            step = rule.steps[body["escalated"]]
            body["escalated"] += 1
            firing = self._about(Kind.ESCALATED, place, body, body.get("seq"), now)
            self._told(body, self._outlet.tell(rule, [firing], now, step.targets))

    def _flapping(self, rule: Rule, body: Body, firing: Firing, now: float) -> bool:
        """Whether nothing is to be told because the alert flaps; that it does is told once."""
        changes = {"changes": len(body["changes"])}
        if body["flapping"]:
            self._outlet.decide(rule, firing.seq, firing.key, Outcome.FLAPPING, changes, now)
        elif alerts.flaps(rule, body, now):
            body["flapping"] = True
            flapping = firing._replace(kind=Kind.FLAPPING, alert=body["id"], facts={**firing.facts, **changes})
            self._told(body, self._outlet.pass_on(rule, flapping, now))
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

    def _about(self, kind: Kind, place: Place, body: Body, seq: int | None, now: float) -> Firing:
        """What is to be told about an alert itself."""
        facts = dict(body.get("facts") or {})
        if kind in {Kind.REPEATED, Kind.ESCALATED}:
            facts |= {"since": shown(body["open"]), "repeats": body["repeats"], "escalated": body["escalated"]}
        return Firing(kind, seq, place.key, body.get("id", ""), now, facts, body.get("context", {}))
