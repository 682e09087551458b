"""Makes a notification of firings: silences, quota, targets, active hours, fall-backs, actions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.events.identity import change_id
from ml_event_provider.rules.engine.absent import awaited
from ml_event_provider.rules.engine.firing import Heard
from ml_event_provider.rules.engine.output import Decision, Kind, Outcome, Planned, PlannedDelivery
from ml_event_provider.rules.engine.states import Place
from ml_event_provider.rules.model import SEVERITIES, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ml_event_provider.rules.calendars import Hours
    from ml_event_provider.rules.engine.firing import Firing
    from ml_event_provider.rules.engine.states import States
    from ml_event_provider.rules.model import Rule, RuleTarget
    from ml_event_provider.rules.ruleset import RuleSet
    from ml_event_provider.rules.silences import Silence

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

    def audience(self, rule: Rule) -> list[str]:
        """Whom a rule tells that it fired: its targets by their names, and ``""`` for its actions."""
        named = zip(names_of(rule.targets), rule.targets, strict=True)
        found = [name for name, one in named if _is_grave_enough(rule, one)]
        return [*found, *([""] if rule.actions else [])]

    def plan(
        self, rule: Rule, firings: Sequence[Firing], now: float, targets: Sequence[RuleTarget] | None
    ) -> tuple[Planned, list[Decision], list[Heard]]:
        """The notification of some firings of one kind; what becomes of each, and who hears of each.

        Silenced ones are left out if others are not. Who heard that an alert began hears of its end, whatever is
        silenced or used up meanwhile.
        """
        moment = datetime.fromtimestamp(now, UTC)
        ends = firings[0].kind == Kind.RESOLVED
        silenced = self._silenced(rule, firings, moment, ends=ends)
        audible = [one for one, silence in zip(firings, silenced, strict=True) if silence is None]
        muted, outcome, again_at = "", Outcome.NOTIFIED, None
        if not audible:
            muted, outcome = _words_of(silenced[-1]), Outcome.SILENCED
        elif not ends and self._over_quota(rule, now):
            limit = self._hourly_limit(rule.workspace)
            muted, outcome = f"quota: more than {limit} notifications of this rule in one hour", Outcome.QUOTA
            again_at = _next_hour(now)
        planned, opening = self._notification(rule, audible or firings, now, muted, targets)
        who = {one.target: one.not_before or now for one in planned.deliveries if not one.muted}
        moments = [one for one in (again_at, opening) if one is not None]
        told = Heard(who, min(moments, default=None))
        decisions: list[Decision] = []
        heards: list[Heard] = []
        for firing, silence in zip(firings, silenced, strict=True):
            heards.append(told if silence is None else Heard({}, _end_of(silence, moment)))
            if rule.is_plain and not muted:
                continue
            left_out = silence is not None and bool(audible)
            words = muted if silence is None else _words_of(silence)
            decisions.append(
                Decision(
                    rule=rule,
                    seq=firing.seq,
                    key=firing.key,
                    outcome=Outcome.SILENCED if left_out else outcome,
                    at=now,
                    facts={**firing.facts, "kind": str(firing.kind), **({"muted": words} if words else {})},
                    notification="" if left_out else planned.id,
                )
            )
        return planned, decisions, heards

    def _notification(
        self, rule: Rule, firings: Sequence[Firing], now: float, muted: str, targets: Sequence[RuleTarget] | None
    ) -> tuple[Planned, float | None]:
        """The notification, and when the active hours open next of a target that is muted outside of them."""
        newest = firings[-1]
        kind = Kind(newest.kind)
        # Whoever heard of one of some ends hears of all that are told together.
        to = None if newest.to is None else {who for one in firings for who in one.to or ()}
        seqs = [one.seq for one in firings if one.seq is not None]
        severity = "info" if kind is Kind.RESOLVED else str(rule.severity)
        facts: dict[str, Any] = dict(newest.facts)
        if len(firings) > 1:
            facts["members"] = [[str(one.kind), one.seq, one.key, one.alert] for one in firings[-MAX_NAMED:]]
        # Two steps of escalation may come at one moment.
        step = None if targets is None else newest.facts.get("escalated")
        # A plain rule says one thing about one event, whenever it says it; the others may say much of one event. A
        # place alone names no event: a database that was restored, and another Airflow's, give the same ones.
        event = (newest.seq, newest.context.get("ahead", newest.time))
        what = event if rule.is_plain else (*event, kind, newest.key, now, len(firings), step, *sorted(to or ()))
        openings: list[float] = []
        wanted = rule.targets if targets is None else targets
        deliveries = [
            self._delivery(rule, name, target, now, muted, openings if kind is not Kind.RESOLVED else None)
            for name, target in zip(names_of(wanted), wanted, strict=True)
            if _is_grave_enough(rule, target)
            and (target.resolved or kind is not Kind.RESOLVED)
            and (to is None or name in to)
        ]
        if kind is Kind.FIRED and targets is None and (to is None or "" in to):
            deliveries += [
                PlannedDelivery(action=one.model_dump(mode="json", exclude_defaults=True), muted=muted)
                for one in rule.actions
            ]
        planned = Planned(
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
        return planned, min(openings, default=None)

    def _delivery(
        self, rule: Rule, name: str, target: RuleTarget, now: float, muted: str, openings: list[float] | None
    ) -> PlannedDelivery:
        """One delivery; where hours mute it, their opening is added to ``openings``, without which it waits."""
        not_before = None
        hours = target.active or rule.active
        if hours is not None and not muted:
            muted, not_before = self._outside(rule, hours, now)
            if muted and not_before is not None:
                if openings is None:
                    muted = ""
                else:
                    openings.append(not_before)
                    not_before = None
        return PlannedDelivery(
            conn_id=target.conn_id,
            target=name,
            template=target.template or rule.template,
            options=target.options,
            muted=muted,
            not_before=not_before,
            fallback=None
            if target.fallback is None
            else target.fallback.model_dump(mode="json", exclude_defaults=True),
        )

    def _outside(self, rule: Rule, hours: Hours, now: float) -> tuple[str, float | None]:
        """Why a delivery is muted outside of active hours, and when it may go."""
        moment = datetime.fromtimestamp(now, UTC)
        calendars = self._rules.calendars(rule.workspace)
        if hours.is_open(moment, calendars):
            return "", None
        opening = hours.next_opening(moment, calendars)
        if opening is None:
            return "the active hours do not open within a year", None
        return "outside of the active hours" if hours.outside == "mute" else "", opening.timestamp()

    def holds(self, rule: Rule, now: float) -> bool:
        """Whether what the rule says now would wait for its active hours."""
        hours = rule.active
        moment = datetime.fromtimestamp(now, UTC)
        return (
            hours is not None
            and hours.outside == "hold"
            and not hours.is_open(moment, self._rules.calendars(rule.workspace))
        )

    def _silenced(self, rule: Rule, firings: Sequence[Firing], moment: datetime, *, ends: bool) -> list[Silence | None]:
        """Which silence mutes each firing."""
        if not self._rules.has_silences(rule.workspace):
            return [None] * len(firings)
        # Silences may have been made since the events of those that waited.
        earlier = [one.seq for one in firings if one.seq is not None and one.seq != self.arriving]
        documents = self._documents_of(earlier) if earlier else {}
        return [self._silence(rule, one, documents, moment, ends=ends) for one in firings]

    def _silence(
        self,
        rule: Rule,
        firing: Firing,
        documents: Mapping[int, Mapping[str, Any]],
        moment: datetime,
        *,
        ends: bool,
    ) -> Silence | None:
        known = [self._rules.silence(rule.workspace, name) for name in firing.context.get("silences", ())]
        document = awaited(rule, firing.key) if firing.seq is None else documents.get(firing.seq)
        known += [] if document is None else self._rules.find(document).silences
        for silence in known:
            if silence is None or (ends and not silence.mutes_ends):
                continue
            if silence.concerns(rule.name) and silence.covers(moment):
                return silence
        return None

    def used_up(self, rule: Rule, now: float) -> float | None:
        """The next hour, where the quota of this one is used up."""
        limit = self._hourly_limit(rule.workspace)
        body = self._states.get(_quota_of(rule, now)) if limit else None
        return _next_hour(now) if body is not None and body["count"] >= limit else None

    def _over_quota(self, rule: Rule, now: float) -> bool:
        """Count a notification; say whether it is one too many in this hour."""
        limit = self._hourly_limit(rule.workspace)
        if not limit:
            return False
        place = _quota_of(rule, now)
        body = self._states.get(place) or {"count": 0}
        body["count"] += 1
        self._states.put(place, body, _next_hour(now))
        return int(body["count"]) > limit


def _next_hour(now: float) -> float:
    return (now // 3600 + 1) * 3600.0


def _quota_of(rule: Rule, now: float) -> Place:
    """Where it is counted how many notifications the rule made in this hour."""
    return Place(rule.workspace, rule.name, "quota", str(int(now // 3600)))


def _is_grave_enough(rule: Rule, target: RuleTarget) -> bool:
    return SEVERITIES.index(target.min_severity) <= SEVERITIES.index(rule.severity)


def _words_of(silence: Silence | None) -> str:
    return "" if silence is None else f"silence {silence.name!r} of {silence.author}: {silence.reason}"


def _end_of(silence: Silence, moment: datetime) -> float | None:
    """When a silence that covers a moment does not any more."""
    until = silence.until(moment)
    return None if until is None else until.timestamp()


def _stream(rule: Rule, firing: Firing) -> str | None:
    """What comes in order with a firing: what waits in one group goes out together, else each key is told alone."""
    if rule.grouping is not None:
        return f"group {firing.context.get('group', '')}"
    return f"key {firing.key}" if rule.has_alerts else None
