"""Matches recorded events with the rules and creates their deliveries, each workspace for itself.

One dispatcher at a time matches a workspace, in the order in which its events were recorded, so that what rules
remember is the same however many dispatchers there are; workspaces are shared among them.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.dispatch import changed_rules
from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.events.identity import change_id
from ml_event_provider.store import cursors, events, notifications, states, unmatched
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.store.notifications import NewDelivery, NewNotification

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from ml_event_provider.events.model import Event

log = logging.getLogger(__name__)

#: How many events of a workspace are matched in one transaction, and how long one may take, in seconds: what is left
#: waits until the others had their turn.
ROUND_EVENTS: Final = 500
ROUND_SECONDS: Final = 0.25


class Matched(NamedTuple):
    """What was matched: so many events, which made so many deliveries; and whether more can be done at once."""

    events: int = 0
    deliveries: int = 0
    more: bool = False


class Rotation:
    """Matches workspace after workspace, the one that took the least time first.

    :param clock: by what time is measured, in seconds.
    """

    def __init__(self, rules: Rules | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rules = rules or Rules()
        self._clock = clock
        #: The time that each workspace took of late, and which had something to do in the last turn.
        self._used: dict[str, float] = {}
        self._active: set[str] = set()
        #: The workspaces whose locks exist.
        self._lockable: set[str] = set()

    def turn(
        self,
        *,
        limit: int = ROUND_EVENTS,
        seconds: float = ROUND_SECONDS,
        now: Callable[[Any], datetime] = database_now,
    ) -> Matched:
        """A round in each workspace that has something to do, as long as the time of one round is not over.

        A workspace in which something fails is no reason to leave out the others: what it raised is raised at the end.
        """
        began = self._clock()
        total, failure = Matched(), None
        for workspace in self._waiting(seconds, now):
            if self._clock() - began >= seconds:
                total = total._replace(more=True)
                break
            start = self._clock()
            try:
                made = self._round(workspace, limit, seconds, now)
            except Exception as error:
                if failure is not None:
                    log.exception("Matching workspace %s failed", workspace)
                failure = failure or error
                continue
            finally:
                self._used[workspace] += self._clock() - start
            total = Matched(total.events + made.events, total.deliveries + made.deliveries, total.more or made.more)
        if failure is not None:
            raise failure
        return total

    def _waiting(self, seconds: float, now: Callable[[Any], datetime]) -> list[str]:
        """The workspaces that have something to do, the one that took the least time first."""
        with transaction() as connection:
            moment = now(connection)
            found = unmatched.workspaces(connection)
            found |= states.workspaces(connection, due_by=moment.timestamp())
            busy = frozenset(found)
            found |= self.rules.to_note(connection)
            new = sorted(found - self._lockable)
            cursors.ensure(connection, [states.lock_of(name) for name in new], now=moment)
        self._lockable.update(new)
        # Who had nothing to do for a while comes before those that have all the time, but saves up no more than that.
        least = min((self._used[name] for name in found & self._active), default=0.0)
        for name in found - self._active:
            self._used[name] = max(self._used.get(name, 0.0), least - seconds)
        self._active = found
        # Where nothing waits but that rules are compiled, there is time.
        return sorted(found, key=lambda name: (name not in busy, self._used[name], name))

    def _round(self, workspace: str, limit: int, seconds: float, now: Callable[[Any], datetime]) -> Matched:
        """Match some events of a workspace and do what is due there; nothing where another dispatcher is at it.

        Taking the events, changing what rules remember and creating deliveries is one transaction: whoever is killed
        in between has done nothing.
        """
        with transaction() as connection:
            moment = now(connection)
            if not cursors.lock(connection, states.lock_of(workspace), now=moment, wait=False):
                return Matched()
            # Under the lock: whoever held it before may have used newer rules.
            compiled = self.rules.of(connection, workspace)
            to_note = self.rules.is_to_note(workspace)
            renamed = changed_rules.follow_renamed(connection, workspace, compiled, moment) if to_note else {}
            batch = Batch(connection, workspace, compiled, moment)
            # The time counts from the first event at hand: neither rules that are compiled for the first time nor a
            # database that is slow to read leave none, so that what was read is not read for one event alone.
            until: float | None = None

            def go_on() -> bool:
                nonlocal until
                at = self._clock()
                until = at + seconds if until is None else until
                return at < until

            if to_note:
                batch.note_rules(renamed)
            taken, drained = batch.take(limit, go_on)
            done = drained and batch.advance(go_on)
            if done and to_note:
                batch.engine.expect(moment.timestamp())
            made = batch.write()
        if done and to_note:
            self.rules.noted(workspace, compiled)
        return Matched(taken, made, not done)


def match_batch(rules: Rules, *, limit: int, now: Callable[[Any], datetime] = database_now) -> Matched:
    """A turn through all workspaces, with so many events of each."""
    return Rotation(rules).turn(limit=limit, seconds=float("inf"), now=now)


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
    notifications.create(connection, [notification], now=database_now(connection))
    return new, [one.id for one in made]
