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
    from ml_event_provider.rules.engine.firing import Heard
    from ml_event_provider.rules.engine.outlet import Outlet
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
            verdict = self._judge(rule, place, body, seen, now)
            if verdict.active is False and rule.condition.ends_by_itself and body["open"] is not None:
                self.end(rule, place, body, seen, now)
        end_at = body.get("end_at")
        if body["open"] is not None and (ends or (end_at is not None and end_at <= now)):
            upto = seen.time if ends and seen is not None else body["newest"]
            self.end(rule, place, body, seen, now, upto=upto)
            if rule.condition is not None:
                verdict = rule.condition.tracked.judge(body["memory"], now)
        if body["flapping"] and not alerts.flaps(rule, body, now):
            self._calm_down(rule, place, body, now)
        self._tell_the_others(rule, place, body, now)
        self._remind(rule, place, body, verdict.next_at if verdict else None, now)
        self.keep(rule, place, body, alerts.due(rule, body, verdict.next_at if verdict else None, now), now)

    def _judge(self, rule: Rule, place: Place, body: Body, seen: Firing | None, now: float) -> Verdict:
        """Ask the condition, and tell of its firings."""
        assert rule.condition is not None
        tracked = rule.condition.tracked
        verdict = tracked.judge(body["memory"], now)
        body["facts"] = dict(verdict.facts)
        for seq in verdict.fired:
            time = seen.time if seen is not None and seen.seq == seq else now
            if alerts.is_over(body, time):
                # It began and ended before it came.
                facts = {**verdict.facts, "over": shown(body["over"])}
                self._outlet.decide(rule, seq, place.key, Outcome.OVER, facts, now)
                alerts.restart(rule, body, body["over"], now)
                return tracked.judge(body["memory"], now)
            alerts.open_(rule, body, place.key, seq, time, now)
            firing = self._about(Kind.FIRED, place, body, seq, now)
            if seq is None and verdict.next_at is not None and verdict.next_at <= self._horizon:
                # The next moment of the schedule is past already, and has more to say.
                verdict = self._jump_slots(rule, place, body, verdict, now)
                continue
            self.fire(rule, body, firing._replace(time=time), now)
        if seen is not None and seen.seq not in verdict.fired:
            self._outlet.decide(rule, seen.seq, place.key, Outcome.WAITING, verdict.facts, now)
        return verdict

    def keep(self, rule: Rule, place: Place, body: Body, due: float | None, now: float) -> None:
        """Put an alert's state back, or forget it where there is nothing to remember."""
        self.note_heard(place, body)
        self._states.put(place, None if alerts.idle(rule, body, now) else body, due)

    def note_heard(self, present: Place | None = None, present_body: Body | None = None) -> None:
        """Note in alerts who heard of them, once that is known."""
        for (place, alert), (rule, heard) in self._outlet.heard.items():
            body = present_body if place == present else self._states.get(place)
            if body is None or body.get("id") != alert or body["open"] is None:
                continue
            alerts.heard(rule, alerts.read(rule, body), heard.who, heard.again_at)
            if place != present:
                moments = (self._states.due(place), alerts.next_change(rule, body), alerts.next_repetition(rule, body))
                self._states.put(place, body, min((one for one in moments if one is not None), default=None))
        self._outlet.heard.clear()

    def fire(self, rule: Rule, body: Body, firing: Firing, now: float) -> None:
        """Tell of a firing, unless the alert flaps or the rule holds it back.

        All that is told of one alert is told, in order, with the group of its first event.
        """
        if body.get("group") is None:
            body["group"] = firing.context.get("group")
        else:
            firing = firing._replace(context={**firing.context, "group": body["group"]})
        if not self._flapping(rule, body, firing, now):
            self._heard(rule, body, self._outlet.fire(rule, firing, now))

    def _heard(self, rule: Rule, body: Body, heard: Heard | None) -> None:
        """Note who heard of the alert, unless it waits to be told."""
        if heard is not None:
            alerts.heard(rule, body, heard.who, heard.again_at)

    def end(
        self,
        rule: Rule,
        place: Place,
        body: Body,
        seen: Firing | None,
        now: float,
        *,
        upto: float | None = None,
        at_once: bool = False,
        why: str = "",
    ) -> None:
        """The alert is over: tell those who heard of it, and why if it is not by an event or its condition.

        :param upto: where something else than its condition ends it, the time of what it ends.
        :param at_once: do not wait for others of its group, nor let its beginning wait there.
        """
        since = body["open"]
        alerts.end(rule, body, now)
        if upto is not None:
            alerts.restart(rule, body, upto, now)
        if seen is not None:
            body["seq"] = seen.seq
        firing = self._about(Kind.RESOLVED, place, body, body.get("seq"), now)
        firing.facts.update({"since": shown(since)} | ({"why": why} if why else {}))
        if self._flapping(rule, body, firing, now):
            return
        if at_once:
            self._outlet.call_off(rule, firing)
        if not self._tell_the_end(rule, body, firing, now, at_once=at_once) and seen is not None:
            # Who heard nothing of the alert need not hear of its end.
            self._outlet.decide(rule, seen.seq, place.key, Outcome.ENDED, firing.facts, now)

    def _tell_the_end(self, rule: Rule, body: Body, firing: Firing, now: float, *, at_once: bool = False) -> bool:
        """Tell of an end those who heard of the beginning; say whether there may be any."""
        told, steps = alerts.hearers(body), body.get("steps", {})
        body["told"], body["steps"] = {}, {}
        if self._outlet.waits(rule, firing):
            told.setdefault(firing.alert, [])
        if not rule.resolve or not (told or steps):
            return False
        for alert, who in told.items():
            end = firing._replace(alert=alert, to=who)
            if at_once:
                self._outlet.tell(rule, [end], now)
            else:
                self._outlet.pass_on(rule, end, now)
        for number, step in enumerate(rule.steps[: body["escalated"]], 1):
            # Whom the alert was escalated to hears of its end, too.
            facts = {**firing.facts, "escalated": number}
            up = firing._replace(alert=body.get("called", firing.alert), facts=facts, to=steps.get(str(number), []))
            if up.to:
                self._outlet.tell(rule, [up], now, step.targets)
        return True

    def _tell_the_others(self, rule: Rule, place: Place, body: Body, now: float) -> None:
        """What lasts is told to those who might not hear of it before, when they may."""
        again_at = body.get("again_at")
        if body["open"] is None or body["flapping"] or again_at is None or again_at > now:
            return
        del body["again_at"]
        told = body["told"]
        others = [one for one in self._outlet.planner.audience(rule) if told.get(one) != body["id"]]
        if others:
            firing = self._about(Kind.FIRED, place, body, body.get("seq"), now)
            facts = {**firing.facts, "since": shown(body["open"])}
            # What inhibits it is near to when it happened, not to when it may be told.
            time = now if firing.seq is None else float(body["again_of"] if "again_of" in body else body["newest"])
            late = firing._replace(time=time, facts=facts, to=others)
            self._heard(rule, body, self._outlet.fire(rule, late, now))

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
        if body["open"] is None or body["flapping"] or body.get("ack") or body["told_at"] is None:
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
            elif (to := alerts.informed(body)) and not self._outlet.planner.holds(rule, now):
                # Repetitions that wait for active hours would all come at once.
                self._outlet.pass_on(rule, repeated._replace(to=to), now)
        while (moment := alerts.next_escalation(rule, body)) is not None and moment <= now:
            step = rule.steps[body["escalated"]]
            body["escalated"] += 1
            firing = self._about(Kind.ESCALATED, place, body, body.get("seq"), now)
            heard = self._outlet.tell(rule, [firing], now, step.targets)
            if heard.who:
                body["steps"][str(body["escalated"])] = sorted(heard.who)
                body["called"] = body["id"]
            elif heard.again_at is not None:
                # What is muted calls nobody: the step is taken when it may be.
                body["escalated"] -= 1
                body["postponed"] = max(heard.again_at, now + 0.001)

    def _flapping(self, rule: Rule, body: Body, firing: Firing, now: float) -> bool:
        """Whether nothing is to be told because the alert flaps; that it does is told once."""
        changes = {"changes": len(body["changes"])}
        if body["flapping"]:
            self._outlet.decide(rule, firing.seq, firing.key, Outcome.FLAPPING, changes, now)
        elif alerts.flaps(rule, body, now):
            body["flapping"] = True
            flapping = firing._replace(kind=Kind.FLAPPING, alert=body["id"], facts={**firing.facts, **changes})
            self._heard(rule, body, self._outlet.pass_on(rule, flapping, now))
        else:
            return False
        return True

    def _calm_down(self, rule: Rule, place: Place, body: Body, now: float) -> None:
        """The alert flaps no more: tell how it stands."""
        alerts.calm(body)
        if body["open"] is None:
            self._tell_the_end(rule, body, self._about(Kind.RESOLVED, place, body, body.get("seq"), now), now)
            return
        firing = self._about(Kind.FIRED, place, body, body.get("seq"), now)
        self._heard(rule, body, self._outlet.pass_on(rule, firing, now))
        body["repeat_at"] = now + rule.repeat.total_seconds() if rule.repeat else None

    def _about(self, kind: Kind, place: Place, body: Body, seq: int | None, now: float) -> Firing:
        """What is to be told about an alert itself."""
        facts = dict(body.get("facts") or {})
        if kind in {Kind.REPEATED, Kind.ESCALATED}:
            facts |= {"since": shown(body["open"]), "repeats": body["repeats"], "escalated": body["escalated"]}
        context = body.get("context", {})
        if body.get("group") is not None:
            context = {**context, "group": body["group"]}
        return Firing(kind, seq, place.key, body.get("id", ""), now, facts, context)
