"""One workspace's rules at work on the store's events and states, in one transaction."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider import config
from ml_event_provider.dispatch import changed_rules
from ml_event_provider.events.identity import change_id
from ml_event_provider.rules.engine import Arrival, Engine, Failure, Outcome, Planned
from ml_event_provider.rules.engine.absent import awaited
from ml_event_provider.rules.engine.firing import waiting_in
from ml_event_provider.store import cancelling, cursors, decisions, events, notifications, quarantine, states, unmatched
from ml_event_provider.store.airflow_actions import hops_of
from ml_event_provider.store.breakers import UNREACHABLE
from ml_event_provider.store.decisions import RecordedDecision
from ml_event_provider.store.notifications import NewDelivery, NewNotification
from ml_event_provider.store.one_by_one import each, reason_of
from ml_event_provider.store.quarantine import Kind, SetAside

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from ml_event_provider.dispatch.rules import Compiled
    from ml_event_provider.events.model import Event
    from ml_event_provider.rules.engine import Decision, Place, PlannedDelivery, Prepared
    from ml_event_provider.rules.model import Rule
    from ml_event_provider.store.events import RecordedEvent

log = logging.getLogger(__name__)

#: How many events are read at once.
READ: Final = 100


def endless() -> bool:
    """Goes on and on."""
    return True


class Batch:
    """An engine on a workspace's states and events, in one transaction of whoever holds ``states.lock_of`` it."""

    def __init__(self, connection: Any, workspace: str, compiled: Compiled, moment: datetime) -> None:
        self._connection = connection
        self.workspace = workspace
        self._compiled = compiled
        self._moment = moment
        self._events: dict[int, Event] = {}
        self.memory = states.StoredStates(connection, workspace, until=moment.timestamp())
        #: Up to when all that is due is known here, and whether there is more.
        self.horizon = self.memory.horizon
        self.more_due = self.horizon < moment.timestamp()
        self.engine = Engine(compiled.rules, self.memory, _hourly_limit, self._documents_of, moment.timestamp())

    def note_rules(self, unheard: Mapping[str, Collection[str]]) -> None:
        """Note what changed rules mean for what is remembered: alerts go on where they mean the same, else they end.

        What is remembered for rules that were deleted or switched off is forgotten, and what waited in their groups is
        told. What deleted ones had still to send is called off: somebody may have matched by them after they were
        deleted.

        :param unheard: the targets that are to hear anew of an alert, by its id.
        """
        cancelling.with_deleted_rules(self._connection, self.workspace, author="", now=self._moment)
        now, enabled = self._moment.timestamp(), self._compiled.enabled
        for rule, places, why in changed_rules.gone(self._connection, self.workspace, enabled):
            self.memory.prefetch(places)
            for place in places:
                self.engine.end(rule, place, why, now)
        lasting = states.open_places(self._connection, self.workspace)
        self.memory.prefetch(lasting)
        # In few statements, however many alerts last.
        self._events_at(self.engine.in_question(lasting))
        for place in lasting:
            self.engine.note_rule(place, now, unheard)
        gone = states.forget_others(self._connection, self.workspace, self._compiled.enabled)
        made = [one for place, body in gone for one in _forgotten(place, body, self._moment)]
        decisions.record(self._connection, made)

    def take(self, limit: int, go_on: Callable[[], bool] = endless) -> tuple[int, bool]:
        """Take up to ``limit`` unmatched events, but none after the first when ``go_on`` says no.

        Return how many, and whether none is left that may be taken.
        """
        until = datetime.fromtimestamp(self.horizon, UTC) if self.more_due else None
        taken, last, left, drained = 0, 0, limit, False
        while left and not drained:
            asked = min(left, READ)
            waiting = unmatched.read(self._connection, self.workspace, limit=asked, after=last, recorded_until=until)
            found = len(waiting.events) + len(waiting.spoilt)
            if not found:
                drained = True
                break
            last, left = waiting.last, left - found
            self._set_aside(waiting.spoilt)
            done = self._take_each(waiting.events, go_on, first=not taken)
            unmatched.mark(self._connection, done, now=self._moment)
            taken += len(done) + len(waiting.spoilt)
            if len(done) < len(waiting.events):
                break
            # What is recorded from here on is the next round's.
            drained = found < asked
            if not go_on():
                break
        return taken, drained

    def _take_each(self, waiting: Sequence[RecordedEvent], go_on: Callable[[], bool], *, first: bool) -> list[int]:
        """Take events one by one while there is time; return the places of those that were taken."""
        self._events.update((one.seq, one.event) for one in waiting)
        # No clock but the database's counts: what was recorded by one that is ahead comes now.
        latest = self._moment.timestamp()
        arrivals = [Arrival(one.seq, one.event, min(one.recorded_at.timestamp(), latest)) for one in waiting]
        prepared: list[Prepared] = []
        for one in arrivals:
            if prepared and not go_on():
                break
            prepared.append(self.engine.prepare(one))
        self.memory.prefetch(place for one in prepared for place in one.places)
        done: list[int] = []
        for ready in prepared:
            if not (go_on() or (first and not done)) or not self.engine.advance(ready.arrival.at, go_on):
                break
            self.engine.take(ready)
            done.append(ready.arrival.seq)
        return done

    def take_again(self, seq: int, rule: str) -> bool:
        """Show a matched event to one rule once more, as if it came now; say whether it is there and can be read."""
        event = self._events_at([seq]).get(seq)
        if event is None:
            return False
        prepared = self.engine.prepare(Arrival(seq, event, 0.0))
        steps = [step for step in prepared.steps if step[0].name == rule]
        # What is due is not overtaken, but comes after.
        self.engine.clock = self._moment.timestamp()
        self.engine.take(prepared._replace(steps=steps))
        return True

    def advance(self, go_on: Callable[[], bool] = endless) -> bool:
        """Do what is due, as far as there is time; say whether nothing is left."""
        following = unmatched.first(self._connection, self.workspace)
        latest = self._moment if following is None else min(following, self._moment)
        return self.engine.advance(self.horizon, go_on, free_until=latest.timestamp()) and not self.more_due

    def _set_aside(self, some: Sequence[SetAside]) -> None:
        quarantine.set_aside(self._connection, some, now=self._moment)
        unmatched.mark(self._connection, [int(one.reference) for one in some], now=self._moment)

    def write(self) -> int:
        """Write what the engine said and remembers; return how many deliveries that made.

        What cannot be written is set aside, and costs nothing else.
        """
        planned = list(enumerate(self.engine.planned, self._ordinals(len(self.engine.planned))))
        made: dict[int, int] = {}

        def create(some: Sequence[tuple[int, Planned]]) -> None:
            new = [self._notification(one, ordinal) for ordinal, one in some]
            notifications.create(self._connection, new, now=self._moment)
            made.update((one.ordinal, len(one.deliveries)) for one in new)

        def record(some: Sequence[Decision]) -> None:
            decisions.record(self._connection, [_decision(self._compiled, one) for one in some])

        each(self._connection, planned, create, lambda one, error: self._unwritten(one[1].rule, one[1].seqs, error))
        each(
            self._connection,
            self.engine.decisions,
            record,
            lambda one, error: self._unwritten(one.rule, () if one.seq is None else (one.seq,), error),
        )
        self.memory.save(self._awaited_dag)
        self._write_failures()
        return sum(made.values())

    def _unwritten(self, rule: Rule, seqs: Sequence[int], error: Exception) -> None:
        reason = f"what the rule says of it cannot be written: {reason_of(error)}"
        log.error("Rule %s of workspace %s: %s", rule.name, rule.workspace, reason)
        self.engine.failures.extend(Failure(seq, rule.name, reason) for seq in seqs)

    def _write_failures(self) -> None:
        """Set aside what could not be digested or written."""
        failed = [
            SetAside(Kind.MATCH, f"{one.seq} {one.rule}", self.workspace, one.reason)
            if one.rule
            else SetAside(Kind.EVENT, str(one.seq), self.workspace, one.reason)
            for one in dict.fromkeys(self.engine.failures)
        ]
        quarantine.set_aside(self._connection, [*failed, *self.memory.spoilt], now=self._moment)

    def _awaited_dag(self, place: Place) -> str | None:
        """The DAG of an alert about an event that did not come, as far as rule and key tell."""
        rule = self._compiled.rules.get(place.workspace, place.rule)
        dag_id = None if rule is None else awaited(rule, place.key)["data"].get("dag_id")
        return dag_id if isinstance(dag_id, str) else None

    def _ordinals(self, count: int) -> int:
        """The first of ``count`` places in the order of notifications."""
        if not count:
            return 0
        name = f"notifications:{change_id('workspace', self.workspace)}"
        return cursors.advance(self._connection, name, now=self._moment, by=count) - count + 1

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
            rule_version=self._compiled.version(planned.rule),
            severity=planned.severity,
            event_seq=seq,
            kind=planned.kind,
            alert_id=planned.alert,
            members=planned.members,
            context=context,
            deliveries=tuple(
                _delivery(planned.id, position, one, hops, about=self._events_at([seq]).get(seq))
                for position, one in enumerate(planned.deliveries)
            ),
            stream=planned.stream,
            ordinal=ordinal,
        )

    def _hops(self, seq: int) -> int:
        """Which action in a chain of events and actions those of a notification about an event are."""
        event = self._events_at([seq]).get(seq)
        return 1 if event is None else hops_of(self._connection, event) + 1


def _delivery(
    notification_id: str, position: int, planned: PlannedDelivery, hops: int, *, about: Event | None
) -> NewDelivery:
    muted = planned.muted
    if about is not None and about.type == UNREACHABLE and about.data.get("conn_id") == planned.conn_id:
        muted = muted or "the target that does not answer need not hear so"
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


def _decision(compiled: Compiled, decision: Decision) -> RecordedDecision:
    return RecordedDecision(
        event_seq=decision.seq,
        workspace=decision.rule.workspace,
        rule=decision.rule.name,
        rule_version=compiled.version(decision.rule),
        key=decision.key,
        outcome=decision.outcome,
        facts=dict(decision.facts),
        notification_id=decision.notification or None,
        decided_at=datetime.fromtimestamp(decision.at, UTC),
    )
