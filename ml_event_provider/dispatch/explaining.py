"""Why a recorded event led to notifications, or did not: for every rule, from what was recorded then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ml_event_provider.rules import Rule, explain
from ml_event_provider.rules.matcher import all_of
from ml_event_provider.rules.patterns.budget import TooCostly
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.store import decisions, definitions, deliveries
from ml_event_provider.store.definitions import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ml_event_provider.rules import Explained
    from ml_event_provider.store.decisions import RecordedDecision
    from ml_event_provider.store.deliveries import Delivery
    from ml_event_provider.store.events import RecordedEvent

#: What an event is to a rule in whose roles it stands, beside its own events.
_ROLES = {
    "break": "breaks the rule's row of events",
    "other": "is another of the events of which the rule counts the last",
    "then": "is the event that the rule waits for after its own",
    "resolve": "ends the rule's alerts",
}


@dataclass(slots=True)
class Reason:
    """One thing that was looked at, in words; ``passed`` is ``None`` where it is only told."""

    step: str
    passed: bool | None
    text: str


@dataclass(slots=True)
class Explanation:
    """What one rule made of an event."""

    workspace: str
    rule: str
    version: int
    #: Whether a notification was made.
    fired: bool
    #: Whether one was made, and each of its deliveries is muted: nobody is told.
    muted: bool = False
    reasons: list[Reason] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """What came of it, in words."""
        return "muted for all targets" if self.muted else "notified" if self.fired else "no notification"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "workspace": self.workspace,
            "rule": self.rule,
            "version": self.version,
            "fired": self.fired,
            "muted": self.muted,
            "reasons": [{"step": one.step, "passed": one.passed, "text": one.text} for one in self.reasons],
        }


def explain_event(connection: Any, recorded: RecordedEvent) -> list[Explanation]:
    """What every rule of the event's workspace made of it, with the rules as they were when it was matched.

    Patterns and scopes are looked at again; what depended on time and on other events was recorded then.
    """
    workspace = recorded.event.workspace
    moment = recorded.matched_at or recorded.recorded_at
    groups = {
        name: ResourceGroup.model_validate(version.definition)
        for name, version in definitions.at(connection, Kind.GROUP, moment, workspace=workspace)
    }
    made: dict[str, list[Delivery]] = {}
    for delivery in deliveries.latest(connection, event_seq=recorded.seq, limit=1000):
        made.setdefault(delivery.rule, []).append(delivery)
    decided: dict[str, list[RecordedDecision]] = {}
    for decision in decisions.of_event(connection, recorded.seq):
        decided.setdefault(decision.rule, []).append(decision)
        if decision.notification_id:
            known = {one.id for one in made.get(decision.rule, [])}
            for delivery in deliveries.of_notification(connection, decision.notification_id):
                if delivery.id not in known:
                    made.setdefault(decision.rule, []).append(delivery)
    found = []
    for name, version in definitions.at(connection, Kind.RULE, moment, workspace=workspace):
        muted = [delivery.state == "muted" for delivery in made.get(name, ())]
        one = Explanation(workspace, name, version.version, bool(muted), bool(muted) and all(muted))
        found.append(one)
        try:
            rule = Rule.model_validate(version.definition)
            one.reasons += _looked_at(rule, recorded, groups)
        except ValueError as error:
            one.reasons.append(Reason("rule", False, f"cannot be used: {error}"))
            continue
        one.reasons += [_decided(decision) for decision in decided.get(name, [])]
        one.reasons += [_delivered(delivery) for delivery in sorted(made.get(name, []), key=lambda one: one.created_at)]
        if not recorded.matched_at:
            one.reasons.append(Reason("matching", False, "the event waits to be matched"))
    return found


def _looked_at(rule: Rule, recorded: RecordedEvent, groups: Mapping[str, ResourceGroup]) -> Iterator[Reason]:
    if not rule.enabled:
        yield Reason("enabled", False, "the rule was switched off")
    try:
        yield from _weighed(rule, recorded.event.to_dict(), groups)
    except TooCostly:
        yield Reason(
            "pattern", False, "the event is too costly to match: arrays that are too long, or too many of them"
        )


def _weighed(rule: Rule, document: Mapping[str, Any], groups: Mapping[str, ResourceGroup]) -> Iterator[Reason]:
    patterns = rule.patterns(groups)
    own = explain(all_of(rule.workspace, rule.wishes()), document)
    narrowed = rule.scope.narrowed(rule.owner, groups)
    scope = explain({"$and": narrowed}, document) if narrowed else None
    whole = explain(patterns["hit"], document)
    if own.matches and (scope is None or scope.matches) and not whole.matches:
        # Each holds for itself, but not in one element of an array.
        yield from _findings("pattern", whole)
    else:
        yield from _findings("pattern", own)
        if scope is not None:
            yield from _findings("scope", scope)
    for role in roles_of(patterns, document) if rule.enabled else ():
        yield Reason("role", None, f"the event {role}")


def roles_of(patterns: Mapping[str, Mapping[str, Any]], document: Mapping[str, Any]) -> list[str]:
    """What an event is to a rule beside one of its own, in words; ``patterns`` are those of ``Rule.patterns``."""
    return [
        _ROLES.get(role, "mutes the rule's notifications about the same")
        for role, pattern in patterns.items()
        if role != "hit" and explain(pattern, document).matches
    ]


def _findings(step: str, explained: Explained) -> Iterator[Reason]:
    if explained.matches:
        yield Reason(step, True, "fits")
    for one in explained.causes:
        yield Reason(step, False, f"{one.path}: wants {one.predicate}, found {one.found!r}")


def _decided(decision: RecordedDecision) -> Reason:
    told = decision.outcome == "notified"
    facts = {name: value for name, value in decision.facts.items() if name not in {"members", "kind"}}
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
    kind = decision.facts.get("kind")
    text = f"{decision.decided_at.isoformat(timespec='seconds')} {decision.outcome}"
    if kind and kind != "fired":
        text += f" ({kind})"
    if decision.key not in {"", "[]"}:
        text += f" for {decision.key}"
    step = "condition" if decision.outcome in {"waiting", "too late"} else "decision"
    return Reason(step, told, f"{text}: {words}" if words else text)


def _delivered(delivery: Delivery) -> Reason:
    passed = {"delivered": True, "dead": False, "muted": False}.get(delivery.state)
    why = " ".join(part for part in (delivery.code, delivery.reason) if part)
    text = f"{delivery.target}: {delivery.state}" + (f" ({why})" if why and delivery.state != "delivered" else "")
    if delivery.kind != "fired":
        text = f"{delivery.kind}: {text}"
    if delivery.next_attempt_at is not None and not delivery.attempts and delivery.state == "pending":
        text += f", not before {delivery.next_attempt_at.isoformat(timespec='seconds')}"
    return Reason("delivery", passed, text)
