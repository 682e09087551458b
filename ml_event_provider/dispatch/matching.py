"""Matches recorded events with the rules and creates their deliveries, in one transaction.

One dispatcher matches at a time, in the order in which events were recorded, so that what rules remember is the
same however many there are; sending is shared.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_event_provider import config
from ml_event_provider.events.identity import change_id
from ml_event_provider.rules import Rule, RuleSet
from ml_event_provider.rules.calendars import Calendar
from ml_event_provider.rules.engine import Arrival, Engine, Outcome, Planned
from ml_event_provider.rules.engine.planning import AIRFLOW
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.rules.silences import Silence
from ml_event_provider.store import cursors, decisions, definitions, deliveries, events, states
from ml_event_provider.store.airflow_actions import hops_of
from ml_event_provider.store.decisions import RecordedDecision
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.deliveries import NewDelivery, NewNotification
from ml_event_provider.store.engine import transaction, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from ml_event_provider.events.model import Event
    from ml_event_provider.rules.engine import Decision, Place

log = logging.getLogger(__name__)


class Rules:
    """The enabled rules of all workspaces with what stands beside them, compiled; again when the store's change."""

    def __init__(self) -> None:
        self._fingerprint: object = None
        self.compiled = RuleSet([])
        self._versions: dict[tuple[str, str], int] = {}
        #: All enabled rules of the store, also those that cannot be used at present.
        self.enabled: set[tuple[str, str]] = set()
        #: Whether what the rules wait for from the beginning is yet to be noted.
        self.pending = False

    def refresh(self, connection: Any) -> bool:
        """Read the definitions again if any changed; say whether. One that cannot be used is logged and left out."""
        fingerprint = definitions.fingerprint(connection)
        if fingerprint == self._fingerprint:
            return False
        while fingerprint != self._fingerprint:
            # Between two statements others may commit: what was read is whole if nothing changed meanwhile.
            self._fingerprint = fingerprint
            self._versions, self.enabled = {}, set()
            compiled = RuleSet(
                self._read(connection, Kind.RULE, Rule),
                groups=self._read(connection, Kind.GROUP, ResourceGroup),
                calendars=self._read(connection, Kind.CALENDAR, Calendar),
                silences=self._read(connection, Kind.SILENCE, Silence),
            )
            fingerprint = definitions.fingerprint(connection)
        self.compiled = compiled
        for name, problem in self.compiled.broken.items():
            log.error("%s cannot be used: %s", name, problem)
        self.pending = True
        return True

    def _read(self, connection: Any, kind: Kind, model: type[BaseModel]) -> list[Any]:
        usable: list[Any] = []
        for stored in definitions.find(connection, kind):
            if kind is Kind.RULE and stored.enabled:
                self.enabled.add((stored.workspace, stored.name))
            try:
                usable.append(model.model_validate(stored.definition))
            except ValueError as error:
                log.error("%s %s of workspace %s cannot be used: %s", kind, stored.name, stored.workspace, error)
                continue
            if kind is Kind.RULE:
                self._versions[stored.workspace, stored.name] = stored.version
        return usable

    def match(self, event: Event) -> list[Rule]:
        """The rules whose own events include this one, by name."""
        return self.compiled.match(event)

    def version(self, rule: Rule) -> int:
        """The version under which a rule is stored."""
        return self._versions.get((rule.workspace, rule.name), 0)


class Matched(NamedTuple):
    """What a batch came to."""

    events: int = 0
    deliveries: int = 0


def match_batch(rules: Rules, *, limit: int, now: Callable[[], datetime] = utc_now) -> Matched:
    """Match up to ``limit`` new events, and do what is due where none waits.

    Taking the events, changing what rules remember and creating deliveries is one transaction: whoever is killed in
    between has done nothing. Where another dispatcher is at it, there is nothing to do.
    """
    with transaction() as connection:
        moment = now()
        rules.refresh(connection)
        waits = events.any_unmatched(connection) or states.any_due(connection, moment.timestamp())
        if not (waits or rules.pending) or not cursors.lock(connection, states.LOCK, now=moment, wait=False):
            return Matched()
        # Whoever held the lock before may have used newer rules.
        rules.refresh(connection)
        forgotten = states.forget_others(connection, rules.enabled) if rules.pending else []
        decisions.record(connection, [one for place, body in forgotten for one in _forgotten(place, body, moment)])
        engine, memory = engine_on(connection, rules, moment)
        horizon = memory.horizon
        until = None if horizon >= moment.timestamp() else datetime.fromtimestamp(horizon, UTC)
        taken = events.take_unmatched(connection, limit, now=moment, recorded_until=until)
        prepared = [engine.prepare(Arrival(one.seq, one.event, one.recorded_at.timestamp())) for one in taken]
        memory.prefetch(place for one in prepared for place in one.places)
        for one in prepared:
            engine.take(one)
        drained = len(taken) < limit
        if drained:
            engine.advance(min(horizon, moment.timestamp()))
        if drained and rules.pending and until is None:
            engine.expect(moment.timestamp())
        made = write(connection, rules, engine, memory, moment)
    if drained and until is None:
        rules.pending = False
    return Matched(len(taken), made)


def _forgotten(place: Place, body: dict[str, Any], moment: datetime) -> Iterator[RecordedDecision]:
    """What becomes of firings that waited for a rule that was deleted or switched off."""
    for _, seq, key, *_ in body.get("waiting", ()):
        facts = {"why": "the rule was deleted or switched off"}
        yield RecordedDecision(seq, place.workspace, place.rule, 0, key, Outcome.FORGOTTEN, facts, None, moment)


def engine_on(connection: Any, rules: Rules, moment: datetime) -> tuple[Engine, states.StoredStates]:
    """An engine on the store's states. Its caller holds ``states.LOCK`` and calls :func:`write` at the end."""
    memory = states.StoredStates(connection, until=moment.timestamp())

    def document_of(seq: int) -> Mapping[str, Any] | None:
        recorded = events.by_seq(connection, [seq]).get(seq)
        return None if recorded is None else recorded.event.to_dict()

    return Engine(rules.compiled, memory, _hourly_limit, document_of, moment.timestamp()), memory


def _hourly_limit(workspace: str) -> int:
    return config.quota("notifications_per_hour", workspace)


def write(connection: Any, rules: Rules, engine: Engine, memory: states.StoredStates, moment: datetime) -> int:
    """Write what the engine said and remembers; return how many deliveries that made."""
    made = [_notification(connection, rules, one) for one in engine.planned]
    deliveries.create(connection, made, now=moment)
    decisions.record(connection, [_decision(rules, one) for one in engine.decisions])
    memory.save()
    return sum(len(one.deliveries) for one in made)


def _notification(connection: Any, rules: Rules, planned: Planned) -> NewNotification:
    context: dict[str, Any] = {}
    at = datetime.fromtimestamp(planned.at, UTC)
    if planned.facts:
        context["facts"] = dict(planned.facts)
    if len(planned.seqs) > 1:
        context["seqs"] = list(planned.seqs)
    return NewNotification(
        id=planned.id,
        workspace=planned.rule.workspace,
        rule=planned.rule.name,
        rule_version=rules.version(planned.rule),
        severity=planned.severity,
        event_seq=planned.seqs[-1] if planned.event is None else _recorded(connection, planned.event, at),
        kind=planned.kind,
        alert_id=planned.alert,
        members=planned.members,
        context=context,
        deliveries=tuple(
            NewDelivery(
                id=change_id("delivery", planned.id, one.conn_id, position),
                conn_id=one.conn_id,
                template=one.template,
                options=one.options if hops is None else {**one.options, "hops": hops},
                muted=one.muted if hops is None or hops <= config.max_hops() else one.muted or _cut(hops),
                not_before=None if one.not_before is None else datetime.fromtimestamp(one.not_before, UTC),
                fallback=one.fallback,
            )
            for position, one in enumerate(planned.deliveries)
            for hops in (None if one.conn_id != AIRFLOW else _hops(connection, planned),)
        ),
    )


def _hops(connection: Any, planned: Planned) -> int:
    """Which action in a chain of events and actions a notification's actions are."""
    event = planned.event
    if event is None:
        recorded = events.by_seq(connection, planned.seqs[-1:])
        if not recorded:
            return 1
        event = recorded[planned.seqs[-1]].event
    return hops_of(connection, event) + 1


def _cut(hops: int) -> str:
    return f"loop: {hops - 1} actions of rules led to this event; [ml_events] max_hops = {config.max_hops()}"


def _recorded(connection: Any, event: Event, now: datetime) -> int:
    """The place of an event that is recorded now, if it is not yet."""
    events.record_one(connection, event, now=now)
    return next(one.seq for one in events.find(connection, event.id) if one.event.source == event.source)


def _decision(rules: Rules, decision: Decision) -> RecordedDecision:
    return RecordedDecision(
        event_seq=decision.seq,
        workspace=decision.rule.workspace,
        rule=decision.rule.name,
        rule_version=rules.version(decision.rule),
        key=decision.key,
        outcome=decision.outcome,
        facts=dict(decision.facts),
        notification_id=decision.notification or None,
        decided_at=datetime.fromtimestamp(decision.at, UTC),
    )


def notify_directly(
    connection: Any,
    event: Event,
    targets: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    template: str | None,
    severity: str,
    name: str,
) -> tuple[bool, list[str]]:
    """Record an event and deliver it to given targets, without a rule; say whether it was new, and the deliveries' ids.

    The same event to the same targets under the same name is one notification, however often it is asked for.
    """
    notification_id = change_id("direct", event.workspace, name, event.source, event.id)
    new = events.record_one(connection, event)
    seq = _recorded(connection, event, utc_now())
    made = tuple(
        NewDelivery(
            id=change_id("delivery", notification_id, conn_id, position),
            conn_id=conn_id,
            template=template,
            options=options,
        )
        for position, (conn_id, options) in enumerate(targets)
    )
    notification = NewNotification(
        id=notification_id,
        workspace=event.workspace,
        rule=name,
        rule_version=0,
        severity=severity,
        event_seq=seq,
        deliveries=made,
    )
    deliveries.create(connection, [notification], now=utc_now())
    return new, [one.id for one in made]
