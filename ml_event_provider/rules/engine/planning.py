"""Makes a notification of firings: silences, quota, targets, active hours, fall-backs, actions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.events.identity import change_id
from ml_event_provider.rules.engine.absent import awaited
from ml_event_provider.rules.engine.output import Decision, Kind, Outcome, Planned, PlannedDelivery
from ml_event_provider.rules.engine.states import Place
from ml_event_provider.rules.model import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ml_event_provider.rules.calendars import Hours
    from ml_event_provider.rules.engine.firing import Firing
    from ml_event_provider.rules.engine.states import States
    from ml_event_provider.rules.model import Rule, RuleTarget
    from ml_event_provider.rules.ruleset import RuleSet

#: How many events of a group a notification names; all are counted.
MAX_NAMED: Final = 100


class Planner:
    """Plans notifications."""

    def __init__(
        self,
        rules: RuleSet,
        states: States,
        hourly_limit: Callable[[str], int],
        documents_of: Callable[[Sequence[int]], Mapping[int, Mapping[str, Any]]],
    ) -> None:
        self._rules = rules
        self._states = states
        self._hourly_limit = hourly_limit
        self._documents_of = documents_of
        #: The event that arrives now: which silences fit it has been asked already.
        self.arriving: int | None = None

    def plan(
        self, rule: Rule, firings: Sequence[Firing], now: float, targets: Sequence[RuleTarget] | None
    ) -> tuple[Planned, list[Decision]]:
        """The notification of some firings, and what becomes of each. Silenced ones are left out if others are not."""
        reasons = self._silenced(rule, firings, datetime.fromtimestamp(now, UTC))
        heard = [one for one, reason in zip(firings, reasons, strict=True) if not reason]
        muted, outcome = ("", Outcome.NOTIFIED) if heard else (reasons[-1], Outcome.SILENCED)
        if heard and self._over_quota(rule, now):
            limit = self._hourly_limit(rule.workspace)
            muted, outcome = f"quota: more than {limit} notifications of this rule in one hour", Outcome.QUOTA
        planned = self._notification(rule, heard or firings, now, muted, targets)
        decisions = []
        if not rule.is_plain or muted:
            for firing, reason in zip(firings, reasons, strict=True):
                left_out = bool(reason) and bool(heard)
                decisions.append(
                    Decision(
                        rule=rule,
                        seq=firing.seq,
                        key=firing.key,
                        outcome=Outcome.SILENCED if left_out else outcome,
                        at=now,
                        facts={
                            **firing.facts,
                            "kind": str(firing.kind),
                            **({"muted": reason or muted} if reason or muted else {}),
                        },
                        notification="" if left_out else planned.id,
                    )
                )
        return planned, decisions

    def _notification(
        self, rule: Rule, firings: Sequence[Firing], now: float, muted: str, targets: Sequence[RuleTarget] | None
    ) -> Planned:
        newest = firings[-1]
        # Of several kinds, a firing is what counts: only where one is among them, actions follow.
        kind = Kind.FIRED if any(one.kind == Kind.FIRED for one in firings) else Kind(newest.kind)
        seqs = [one.seq for one in firings if one.seq is not None]
        severity = "info" if kind is Kind.RESOLVED else str(rule.severity)
        facts: dict[str, Any] = dict(newest.facts)
        if len(firings) > 1:
            facts["members"] = [[str(one.kind), one.seq, one.key] for one in firings[-MAX_NAMED:]]
        # Two steps of escalation may come at one moment.
        step = None if targets is None else newest.facts.get("escalated")
        # A plain rule says one thing about one event, whenever it says it; the others may say much of one event. A
        # place alone names no event: a database that was restored, and another Airflow's, give the same ones.
        event = (newest.seq, newest.context.get("ahead", newest.time))
        what = event if rule.is_plain else (*event, kind, newest.key, now, len(firings), step)
        wanted = rule.targets if targets is None else targets
        deliveries = [
            self._delivery(rule, target, now, muted)
            for target in wanted
            if SEVERITIES.index(target.min_severity) <= SEVERITIES.index(rule.severity)
            and (target.resolved or kind is not Kind.RESOLVED)
        ]
        if kind is Kind.FIRED and targets is None:
            deliveries += [
                PlannedDelivery(action=one.model_dump(mode="json", exclude_defaults=True), muted=muted)
                for one in rule.actions
            ]
        return Planned(
            id=change_id("notification", rule.workspace, rule.name, *what),
            rule=rule,
            kind=kind,
            severity=severity,
            at=now,
            seqs=tuple(dict.fromkeys(seqs))[-MAX_NAMED:],
            absent_at=None if seqs else newest.time,
            alert=newest.alert,
            key=newest.key,
            facts=facts,
            deliveries=tuple(deliveries),
            members=len(firings),
            stream=_stream(rule, newest),
        )

    def _delivery(self, rule: Rule, target: RuleTarget, now: float, muted: str) -> PlannedDelivery:
        not_before = None
        hours = target.active or rule.active
        if hours is not None and not muted:
            muted, not_before = self._outside(rule, hours, now)
        return PlannedDelivery(
            conn_id=target.conn_id,
            template=target.template or rule.template,
            options=target.options,
            muted=muted,
            not_before=not_before,
            fallback=None
            if target.fallback is None
            else target.fallback.model_dump(mode="json", exclude_defaults=True),
        )

    def _outside(self, rule: Rule, hours: Hours, now: float) -> tuple[str, float | None]:
        """Why a delivery is muted outside of active hours, or when it may go."""
        moment = datetime.fromtimestamp(now, UTC)
        calendars = self._rules.calendars(rule.workspace)
        if hours.is_open(moment, calendars):
            return "", None
        if hours.outside == "mute":
            return "outside of the active hours", None
        opening = hours.next_opening(moment, calendars)
        if opening is None:
            return "the active hours do not open within a year", None
        return "", opening.timestamp()

    def holds(self, rule: Rule, now: float) -> bool:
        """Whether what the rule says now would wait for its active hours."""
        hours = rule.active
        moment = datetime.fromtimestamp(now, UTC)
        return (
            hours is not None
            and hours.outside == "hold"
            and not hours.is_open(moment, self._rules.calendars(rule.workspace))
        )

    def _silenced(self, rule: Rule, firings: Sequence[Firing], moment: datetime) -> list[str]:
        """Which silence mutes each firing, in words."""
        if not self._rules.has_silences(rule.workspace):
            return [""] * len(firings)
        # Silences may have been made since the events of those that waited.
        earlier = [one.seq for one in firings if one.seq is not None and one.seq != self.arriving]
        documents = self._documents_of(earlier) if earlier else {}
        return [self._silence(rule, one, documents, moment) for one in firings]

    def _silence(self, rule: Rule, firing: Firing, documents: Mapping[int, Mapping[str, Any]], moment: datetime) -> str:
        known = [self._rules.silence(rule.workspace, name) for name in firing.context.get("silences", ())]
        document = awaited(rule, firing.key) if firing.seq is None else documents.get(firing.seq)
        known += [] if document is None else self._rules.find(document).silences
        for silence in known:
            if silence is not None and silence.concerns(rule.name) and silence.covers(moment):
                return f"silence {silence.name!r} of {silence.author}: {silence.reason}"
        return ""

    def _over_quota(self, rule: Rule, now: float) -> bool:
        """Count a notification; say whether it is one too many in this hour."""
        limit = self._hourly_limit(rule.workspace)
        if not limit:
            return False
        hour = int(now // 3600)
        place = Place(rule.workspace, rule.name, "quota", str(hour))
        body = self._states.get(place) or {"count": 0}
        body["count"] += 1
        self._states.put(place, body, (hour + 1) * 3600.0)
        return int(body["count"]) > limit


def _stream(rule: Rule, firing: Firing) -> str | None:
    """What comes in order with a firing: what waits in one group goes out together, else each key is told alone."""
    if rule.grouping is not None:
        return f"group {firing.context.get('group', '')}"
    return f"key {firing.key}" if rule.has_alerts else None
