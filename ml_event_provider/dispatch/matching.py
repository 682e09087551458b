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
from ml_event_provider.rules.engine.absent import awaited
from ml_event_provider.rules.engine.firing import waiting_in
from ml_event_provider.rules.scope import ResourceGroup
from ml_event_provider.rules.silences import Silence
from ml_event_provider.store import cursors, decisions, definitions, events, notifications, states
from ml_event_provider.store.airflow_actions import hops_of
from ml_event_provider.store.decisions import RecordedDecision
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import transaction, utc_now
from ml_event_provider.store.notifications import NewDelivery, NewNotification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from ml_event_provider.events.model import Event
    from ml_event_provider.rules.engine import Decision, Place, PlannedDelivery

log = logging.getLogger(__name__)

#: The cursor that counts notifications, in the order in which they were made.
_ORDINALS = "notifications"


class Compiled(NamedTuple):
    """All that was read of the store's rules at one fingerprint. Never changed: a newer one takes its place."""

    fingerprint: int
    rules: RuleSet
    #: The versions under which the rules are stored, by workspace and name.
    versions: Mapping[tuple[str, str], int]
    #: All enabled rules of the store, also those that cannot be used at present.
    enabled: frozenset[tuple[str, str]]


class Rules:
    """The enabled rules of all workspaces with what stands beside them, compiled; again when the store's change."""

    def __init__(self) -> None:
        self._known: Compiled | None = None
        #: Whether what the rules wait for from the beginning is yet to be noted.
        self.pending = False

    @property
    def known(self) -> Compiled:
        """What was read last.

        :raises RuntimeError: if nothing was yet: without rules nothing is matched, and nothing forgotten.
        """
        if self._known is None:
            raise RuntimeError("the rules were not read yet: call refresh() first")
        return self._known

    @property
    def compiled(self) -> RuleSet:
        """The rules of :attr:`known`."""
        return self.known.rules

    def refresh(self, connection: Any) -> None:
        """Read the definitions again if any changed. One that cannot be used is logged and left out.

        Where anything fails, all stays as it was, and the next call tries again.
        """
        fingerprint = definitions.fingerprint(connection)
        if self._known is not None and self._known.fingerprint == fingerprint:
            return
        while True:
            compiled = _compiled(connection, fingerprint)
            # Between two statements others may commit: what was read is whole if nothing changed meanwhile.
            fingerprint = definitions.fingerprint(connection)
            if fingerprint == compiled.fingerprint:
                break
        for name, problem in compiled.rules.broken.items():
            log.error("%s cannot be used: %s", name, problem)
        self.pending = True
        self._known = compiled

    def match(self, event: Event) -> list[Rule]:
        """The rules whose own events include this one, by name."""
        return self.compiled.match(event)

    def version(self, rule: Rule) -> int:
        """The version under which a rule is stored."""
        return self.known.versions.get((rule.workspace, rule.name), 0)


def _compiled(connection: Any, fingerprint: int) -> Compiled:
    versions: dict[tuple[str, str], int] = {}

    def read(kind: Kind, model: type[BaseModel]) -> list[Any]:
        usable: list[Any] = []
        for stored in definitions.find(connection, kind):
            try:
                usable.append(model.model_validate(stored.definition))
            except ValueError as error:
                log.error("%s %s of workspace %s cannot be used: %s", kind, stored.name, stored.workspace, error)
                continue
            if kind is Kind.RULE:
                versions[stored.workspace, stored.name] = stored.version
        return usable

    enabled = definitions.enabled_rules(connection)
    rules = RuleSet(
        read(Kind.RULE, Rule),
        groups=read(Kind.GROUP, ResourceGroup),
        calendars=read(Kind.CALENDAR, Calendar),
        silences=read(Kind.SILENCE, Silence),
    )
    return Compiled(fingerprint, rules, versions, enabled)


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
        if not (events.any_unmatched(connection) or states.any_due(connection, moment.timestamp())):
            rules.refresh(connection)
            if not rules.pending:
                return Matched()
        if not cursors.lock(connection, states.LOCK, now=moment, wait=False):
            return Matched()
        # Under the lock: whoever held it before may have used newer rules.
        rules.refresh(connection)
        batch = Batch(connection, rules, moment)
        if rules.pending:
            gone = states.forget_others(connection, rules.known.enabled)
            decisions.record(connection, [one for place, body in gone for one in _forgotten(place, body, moment)])
        taken = batch.take(limit)
        drained = taken < limit
        if drained:
            batch.engine.advance(batch.horizon)
        if drained and rules.pending and not batch.more_due:
            batch.engine.expect(moment.timestamp())
        made = batch.write()
    if drained and not batch.more_due:
        rules.pending = False
    return Matched(taken, made)


class Batch:
    """An engine on the store's states and events, in one transaction of whoever holds ``states.LOCK``."""

    def __init__(self, connection: Any, rules: Rules, moment: datetime) -> None:
        self._connection = connection
        self._rules = rules
        self._moment = moment
        self._events: dict[int, Event] = {}
        self.memory = states.StoredStates(connection, until=moment.timestamp())
        #: Up to when all that is due is known here, and whether there is more.
        self.horizon = self.memory.horizon
        self.more_due = self.horizon < moment.timestamp()
        self.engine = Engine(rules.compiled, self.memory, _hourly_limit, self._documents_of, moment.timestamp())

    def take(self, limit: int) -> int:
        """Take up to ``limit`` unmatched events; say how many there were."""
        until = datetime.fromtimestamp(self.horizon, UTC) if self.more_due else None
        taken = events.take_unmatched(self._connection, limit, now=self._moment, recorded_until=until)
        self._events.update((one.seq, one.event) for one in taken)
        prepared = [self.engine.prepare(Arrival(one.seq, one.event, one.recorded_at.timestamp())) for one in taken]
        self.memory.prefetch(place for one in prepared for place in one.places)
        for one in prepared:
            self.engine.take(one)
        return len(taken)

    def write(self) -> int:
        """Write what the engine said and remembers; return how many deliveries that made."""
        planned = self.engine.planned
        first = self._ordinals(len(planned))
        made = [self._notification(one, first + place) for place, one in enumerate(planned)]
        notifications.create(self._connection, made, now=self._moment)
        decisions.record(self._connection, [_decision(self._rules, one) for one in self.engine.decisions])
        self.memory.save(self._awaited_dag)
        return sum(len(one.deliveries) for one in made)

    def _awaited_dag(self, place: Place) -> str | None:
        """The DAG of an alert about an event that did not come, as far as rule and key tell."""
        rule = self._rules.compiled.get(place.workspace, place.rule)
        dag_id = None if rule is None else awaited(rule, place.key)["data"].get("dag_id")
        return dag_id if isinstance(dag_id, str) else None

    def _ordinals(self, count: int) -> int:
        """The first of ``count`` places in the order of notifications."""
        return cursors.advance(self._connection, _ORDINALS, now=self._moment, by=count) - count + 1 if count else 0

    def _documents_of(self, seqs: Sequence[int]) -> dict[int, dict[str, Any]]:
        return {seq: event.to_dict() for seq, event in self._events_at(seqs).items()}

    def _events_at(self, seqs: Sequence[int]) -> dict[int, Event]:
        """Events by their places: those of the batch are at hand."""
        missing = [seq for seq in seqs if seq not in self._events]
        if missing:
            self._events.update((seq, one.event) for seq, one in events.by_seq(self._connection, missing).items())
        return {seq: self._events[seq] for seq in seqs if seq in self._events}

    def _notification(self, planned: Planned, ordinal: int) -> NewNotification:
        context: dict[str, Any] = {}
        if planned.facts:
            context["facts"] = dict(planned.facts)
        if len(planned.seqs) > 1:
            context["seqs"] = list(planned.seqs)
        event = planned.absent_event()
        if event is None:
            seq = planned.seqs[-1]
        else:
            events.record_one(self._connection, event, now=datetime.fromtimestamp(planned.at, UTC))
            seq = events.place_of(self._connection, event)
            self._events[seq] = event
        acts = any(one.action is not None for one in planned.deliveries)
        hops = self._hops(seq) if acts else 0
        return NewNotification(
            id=planned.id,
            workspace=planned.rule.workspace,
            rule=planned.rule.name,
            rule_version=self._rules.version(planned.rule),
            severity=planned.severity,
            event_seq=seq,
            kind=planned.kind,
            alert_id=planned.alert,
            members=planned.members,
            context=context,
            deliveries=tuple(
                _delivery(planned.id, position, one, hops) for position, one in enumerate(planned.deliveries)
            ),
            stream=planned.stream,
            ordinal=ordinal,
        )

    def _hops(self, seq: int) -> int:
        """Which action in a chain of events and actions those of a notification about an event are."""
        event = self._events_at([seq]).get(seq)
        return 1 if event is None else hops_of(self._connection, event) + 1


def _delivery(notification_id: str, position: int, planned: PlannedDelivery, hops: int) -> NewDelivery:
    muted = planned.muted
    if planned.action is not None and hops > config.max_hops():
        limit = config.max_hops()
        muted = muted or f"loop: {hops - 1} actions of rules led to this event; [ml_events] max_hops = {limit}"
    return NewDelivery(
        id=change_id("delivery", notification_id, planned.conn_id, position),
        conn_id=planned.conn_id,
        template=planned.template,
        options=planned.options,
        action=None if planned.action is None else {"action": planned.action, "hops": hops},
        muted=muted,
        not_before=None if planned.not_before is None else datetime.fromtimestamp(planned.not_before, UTC),
        fallback=planned.fallback,
    )


def _forgotten(place: Place, body: dict[str, Any], moment: datetime) -> Iterator[RecordedDecision]:
    """What becomes of firings that waited for a rule that was deleted or switched off."""
    for seq, key in waiting_in(body):
        facts = {"why": "the rule was deleted or switched off"}
        yield RecordedDecision(seq, place.workspace, place.rule, 0, key, Outcome.FORGOTTEN, facts, None, moment)


def _hourly_limit(workspace: str) -> int:
    return config.quota("notifications_per_hour", workspace)


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
        event_seq=events.place_of(connection, event),
        deliveries=made,
    )
    notifications.create(connection, [notification], now=utc_now())
    return new, [one.id for one in made]
