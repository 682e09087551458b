"""The dispatcher's sending: leases what is due, fairly between targets, has it sent by threads, and settles it.

One thread leases, one settles, one renews leases; attempts are made by as many threads as are needed (``lanes``).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ml_event_provider.dispatch.attempt import Sender, default_renderer
from ml_event_provider.dispatch.connections import Connections
from ml_event_provider.dispatch.holding import DatabaseClock, Held
from ml_event_provider.dispatch.lanes import Lanes
from ml_event_provider.dispatch.loop import Bell, guarded
from ml_event_provider.dispatch.settling import Ended, Settling
from ml_event_provider.dispatch.workers import Workers
from ml_event_provider.metrics import gauge
from ml_event_provider.store import lanes, leases, recovery, settlements
from ml_event_provider.store.breakers import LONGEST_WAIT
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.targets.deadline import nothing_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_event_provider.dispatch.loop import Signals
    from ml_event_provider.dispatch.settings import Settings
    from ml_event_provider.store.deliveries import Delivery
    from ml_event_provider.store.settlements import Settlement

log = logging.getLogger(__name__)

#: How often the budgets are looked at again while something waits for them, in seconds.
LOOK_SECONDS = 0.05
#: How often what went wrong with moments and dead targets is looked for, in seconds.
TIDY_SECONDS = 10.0
#: How long one turn makes due what waited for targets that answer again, in seconds.
RECOVER_SECONDS = 1.0
#: An attempt is overdue after so many times of what a send may take; how many of these health is told of.
OVERDUE, MOST_OVERDUE = 3, 10
#: The longest that a remote's wish to wait is obeyed, in seconds.
LONGEST_WISH = 86_400.0


class Sending:
    """Leases, sends and settles."""

    def __init__(self, settings: Settings, *, dispatcher_id: str) -> None:
        self._settings = settings
        self._id = dispatcher_id
        self._clock = DatabaseClock()
        self._bell = Bell()
        self._lock = threading.Lock()
        self._lanes = Lanes(settings.workers)
        self._held = Held(owner=dispatcher_id, seconds=settings.lease, needed=settings.send_timeout)
        self._workers: Workers[Delivery] = Workers(self._work, name="ml-events-send")
        self._stopping = threading.Event()
        self._unsent: list[str] = []
        self._unsettled = 0
        self._made = 0
        #: The attempts that are under way, and since when.
        self._under_way: dict[str, tuple[Delivery, float]] = {}
        self._sender = Sender(
            policy=settings.policy,
            timeout=settings.send_timeout,
            renderer=default_renderer(),
            connections=Connections(),
            random=random.random,
            now=self._clock.now,
        )

    def run(self, signals: Signals) -> None:
        """Work until told to stop; then give back what is queued, and wait for what is under way."""
        self._bell = signals.deliveries
        settling = self._start()
        lease_at = tidy_at = 0.0
        while not signals.stopping.is_set():
            told = self._bell.told
            now = time.monotonic()
            if now >= tidy_at:
                tidy_at = now + TIDY_SECONDS
                guarded("tidy", self._tidy, signals.stopping)
                guarded("recover", self._recover, signals.stopping)
            leased = guarded("lease", self._lease, signals.stopping)
            lease_at = time.monotonic() + self._settings.poll
            if not (leased and self._lanes.hungry):
                self._rest(signals, told, lease_at)
        self._end(settling)

    def drain_once(self) -> int:
        """Send all that is due now, then return how many attempts were made."""
        settling = self._start()
        while self._lease() or self._busy():
            while self._busy():
                told = self._bell.told
                self._pump()
                if self._lanes.hungry:
                    self._lease()
                else:
                    self._bell.wait(LOOK_SECONDS, since=told)
        self._end(settling)
        return self._made

    def report(self) -> dict[str, Any]:
        """For health: ``overdue``, the attempts that have lasted far longer than a send may, in seconds."""
        began = time.monotonic() - OVERDUE * self._settings.send_timeout
        return {
            "overdue": [
                {"target": one.target, "workspace": one.workspace, "seconds": round(time.monotonic() - since)}
                for one, since in list(self._under_way.values())
                if since < began
            ][:MOST_OVERDUE]
        }

    def sign_off(self) -> None:
        """Give back whatever is still leased."""
        with transaction() as connection:
            leases.give_back(connection, owner=self._id, now=database_now(connection))

    def _start(self) -> Settling:
        self._stopping.clear()
        self._made = 0
        threading.Thread(target=self._renew, name="ml-events-renew", daemon=True).start()
        settling = self._settling = Settling(owner=self._id, now=self._clock.now, on_settled=self._on_settled)
        settling.start()
        return settling

    def _end(self, settling: Settling) -> None:
        self._stopping.set()
        deadline = time.monotonic() + self._settings.send_timeout
        with self._lock:
            self._unsent += [one.id for one in self._lanes.drop_all()]
        guarded("give back", self._give_back, self._stopping)
        while self._lanes.running and (left := deadline - time.monotonic()) > 0:
            self._bell.wait(min(left, LOOK_SECONDS), since=self._bell.told)
        settling.finish(max(1.0, deadline - time.monotonic()))

    def _busy(self) -> bool:
        with self._lock:
            return bool(self._lanes.queued or self._lanes.running or self._unsettled)

    def _rest(self, signals: Signals, told: int, until: float) -> None:
        """Until the next poll, or until there is something to lease; see meanwhile whether budgets became free."""
        while not signals.stopping.is_set() and not self._lanes.hungry and self._bell.told == told:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._pump()
            self._bell.wait(min(left, LOOK_SECONDS) if self._lanes.queued else left, since=told)

    def _lease(self) -> bool:
        """Lease what is due and may be sent soon; say whether that was anything."""
        self._give_back()
        since = self._held.begin()
        with transaction() as connection:
            now = database_now(connection)
            self._clock.put(now)
            furthest = now + timedelta(seconds=2 * LONGEST_WAIT)
            due = leases.due_lanes(connection, now=now, furthest=furthest)
            with self._lock:
                shares, probes = self._lanes.shares(due)
            until = now + timedelta(seconds=self._settings.lease)
            shares |= {
                lane: 1
                for lane in probes
                if leases.claim_probe(connection, lane, now=now, until=until, furthest=furthest)
            }
            leased = leases.lease(connection, shares, owner=self._id, now=now, until=until) if shares else []
        self._held.add([one.id for one in leased], since)
        with self._lock:
            self._lanes.put(leased, shares)
        self._pump()
        return bool(leased)

    def _pump(self) -> None:
        """Hand to threads whatever may be sent now."""
        while (delivery := self._take()) is not None:
            self._workers.hand(delivery)

    def _take(self) -> Delivery | None:
        with self._lock:
            return None if self._stopping.is_set() else self._lanes.next()

    def _work(self, delivery: Delivery) -> Delivery | None:
        """Make one attempt; return the next delivery to be sent."""
        settlement: Settlement | None = None
        try:
            if self._in_time(delivery):
                self._under_way[delivery.id] = delivery, time.monotonic()
                with nothing_after(time.monotonic() + self._held.left(delivery.id)):
                    settlement = self._sender.attempt(delivery, lambda: self._may_go(delivery))
                settlement = self._believed(delivery, settlement)
        finally:
            # Whatever happened, it must not count as under way any more.
            self._under_way.pop(delivery.id, None)
            self._ended(delivery, settlement)
        return self._take()

    def _may_go(self, delivery: Delivery) -> bool:
        """The message is made: whether it may still be sent."""
        with self._lock:
            another = self._lanes.made(delivery)
        if another:
            self._pump()
        return self._in_time(delivery)

    def _believed(self, delivery: Delivery, settlement: Settlement | None) -> Settlement | None:
        """A failure that ended after its lease tells that we stood still, and nothing of the target."""
        if settlement is None or settlement.heard is None or settlement.heard.delivered:
            return settlement
        return settlement if self._held.left(delivery.id) > 0 else settlement.quiet()

    def _in_time(self, delivery: Delivery) -> bool:
        return not self._stopping.is_set() and self._held.in_time(delivery.id)

    def _ended(self, delivery: Delivery, settlement: Settlement | None) -> None:
        with self._lock:
            self._lanes.ended(delivery, settlement)
            hungry = self._lanes.hungry
            if settlement is None:
                self._unsent.append(delivery.id)
            else:
                self._unsettled += 1
                self._made += 1
                if not self._lanes.worth_noting(settlement, delivery.lane_id):
                    settlement = settlement.quiet()
        if settlement is not None:
            self._settling.put(Ended(delivery, settlement))
        if hungry or settlement is None or self._stopping.is_set():
            self._bell.ring()

    def _on_settled(self, batch: Sequence[Ended]) -> None:
        self._held.remove(one.delivery.id for one in batch)
        with self._lock:
            self._unsettled -= len(batch)
            back = self._lanes.settled(one.delivery.lane_id for one in batch)
            self._unsent += [one.id for one in back]
            ring = bool(back) or not self._unsettled
        if ring:
            self._bell.ring()

    def _give_back(self) -> None:
        """Give back what was leased and cannot be sent."""
        with self._lock:
            ids, self._unsent = self._unsent, []
        if not ids:
            return
        try:
            with transaction() as connection:
                leases.give_back(connection, owner=self._id, now=database_now(connection), ids=ids)
        except Exception:
            with self._lock:
                self._unsent += ids
            raise
        self._held.remove(ids)

    def _renew(self) -> None:
        """Renew leases, so that each lasts as long as its delivery is queued or under way."""
        stopping = self._stopping
        while not stopping.wait(self._settings.lease / 3):
            guarded("renew", self._held.renew, stopping)

    def _tidy(self) -> None:
        """Give up what waited too long for a dead target, and mend moments that no clock of ours can have given."""
        policy = self._settings.policy
        with transaction() as connection:
            now = database_now(connection)
            standings = lanes.standings(connection, now=now)
            given_up = settlements.give_up(
                connection, due_before=now - timedelta(seconds=max(policy.total, 4 * LONGEST_WAIT)), now=now
            )
            mended = leases.mend_far_ahead(
                connection,
                now=now,
                lease_end=now + timedelta(seconds=4 * self._settings.lease),
                retry_end=now + timedelta(seconds=LONGEST_WISH + 2 * policy.longest),
            )
        due = [one.due_since for one in standings if one.due_since is not None and not one.is_open]
        gauge("deliveries_waiting", sum(one.waiting for one in standings))
        gauge("oldest_due_seconds", (now - min(due)).total_seconds() if due else 0.0)
        gauge("targets_unreachable", sum(1 for one in standings if one.is_open))
        if given_up:
            log.warning("%d delivery(ies) were given up: their targets do not answer", given_up)
        if mended:
            log.warning("%d delivery(ies) waited for a moment that a wrong clock had set: they are due now", mended)

    def _recover(self) -> None:
        """Make due what failed while its target did not answer, and now does."""
        end = time.monotonic() + RECOVER_SECONDS
        made: int | None = 0
        while made is not None and time.monotonic() < end and not self._stopping.is_set():
            with transaction() as connection:
                made = recovery.make_due(connection, now=database_now(connection))
