"""The dispatcher's sending: leases what is due, makes attempts in a pool of threads, settles them."""

from __future__ import annotations

import logging
import queue
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from ml_event_provider.dispatch.attempt import Sender, default_renderer
from ml_event_provider.dispatch.connections import Connections
from ml_event_provider.dispatch.loop import guarded
from ml_event_provider.metrics import count
from ml_event_provider.store import deliveries
from ml_event_provider.store.engine import transaction, utc_now

if TYPE_CHECKING:
    from ml_event_provider.dispatch.loop import Signals
    from ml_event_provider.dispatch.settings import Settings
    from ml_event_provider.store.deliveries import Delivery, Settlement

log = logging.getLogger(__name__)

#: How many deliveries wait for each worker at the most, so that it is never idle while the next are leased.
MOST_WAITING = 3


class Sending:
    """Leases, sends and settles."""

    def __init__(self, settings: Settings, *, dispatcher_id: str) -> None:
        self._settings = settings
        self._id = dispatcher_id
        self._settled: queue.SimpleQueue[Settlement | None] = queue.SimpleQueue()
        self._under_way = 0
        self._sender = Sender(
            policy=settings.policy,
            timeout=settings.send_timeout,
            renderer=default_renderer(),
            connections=Connections(),
            random=random.random,
        )

    def run(self, signals: Signals) -> None:
        """Work until told to stop, and end what is under way."""
        stopping = signals.stopping
        with ThreadPoolExecutor(self._settings.workers, thread_name_prefix="ml-events-send") as pool:
            lease_at, told = 0.0, signals.told
            while not stopping.is_set():
                busy = False
                roomy = self._room() >= self._settings.workers
                if signals.told != told:
                    lease_at, told = 0.0, signals.told
                if roomy and time.monotonic() >= lease_at:
                    busy = guarded("lease", lambda: self._lease(pool), stopping)
                    lease_at = 0.0 if busy else time.monotonic() + self._settings.poll
                busy = guarded("settle", self._settle, stopping) or busy
                if not busy:
                    # Without room there is nothing to lease before an attempt ends, which ends the wait too.
                    self._wait(signals, told, until=lease_at if roomy else None)
            while self._under_way:
                guarded("settle", self._settle, stopping)
                time.sleep(0.01)

    def drain_once(self) -> int:
        """Send all that is due now, then return how many attempts were made."""
        attempts = 0
        with ThreadPoolExecutor(self._settings.workers) as pool:
            while self._lease(pool):
                while self._under_way:
                    before = self._under_way
                    self._settle(wait=0.05)
                    attempts += before - self._under_way
        return attempts

    def sign_off(self) -> None:
        """Give back what is leased."""
        with transaction() as connection:
            deliveries.release(connection, owner=self._id)

    def _room(self) -> int:
        """How many deliveries may be leased: so many that each is sent before its lease runs out."""
        each = max(1, min(MOST_WAITING, int(self._settings.lease / self._settings.send_timeout) - 1))
        return (1 + each) * self._settings.workers - self._under_way

    def _lease(self, pool: ThreadPoolExecutor) -> bool:
        room = self._room()
        if room <= 0:
            return False
        now = utc_now()
        until = now + timedelta(seconds=self._settings.lease)
        with transaction() as connection:
            leased = deliveries.lease(connection, owner=self._id, limit=room, now=now, until=until)
        for delivery in leased:
            self._under_way += 1
            pool.submit(self._attempt, delivery)
        return bool(leased)

    def _attempt(self, delivery: Delivery) -> None:
        settlement: Settlement | None = None
        try:
            settlement = self._sender.attempt(delivery)
        finally:
            # Whatever happened, the main loop must learn that this delivery is not under way any more.
            self._settled.put(settlement)
        log.info(
            "delivery=%s event=%s rule=%s target=%s attempt=%d outcome=%s code=%r ms=%d state=%s",
            delivery.id,
            delivery.recorded.event.id if delivery.recorded else "-",
            delivery.rule,
            delivery.conn_id,
            settlement.number,
            settlement.outcome,
            settlement.code,
            settlement.milliseconds,
            settlement.state,
        )
        count(f"deliveries_{settlement.state}")

    def _settle(self, wait: float = 0.0) -> bool:
        """Record the attempts that ended; keep them for the next try if the database cannot."""
        settled: list[Settlement | None] = []
        try:
            while True:
                settled.append(self._settled.get(timeout=wait) if wait and not settled else self._settled.get_nowait())
        except queue.Empty:
            pass
        if not settled:
            return False
        try:
            with transaction() as connection:
                deliveries.settle(connection, [one for one in settled if one], owner=self._id, now=utc_now())
        except Exception:
            for one in settled:
                self._settled.put(one)
            raise
        self._under_way -= len(settled)
        return True

    def _wait(self, signals: Signals, told: int, *, until: float | None) -> None:
        """Until the next poll, or until an attempt ends or there is news."""
        while not signals.stopping.is_set() and self._settled.empty() and signals.told == told:
            remaining = 1.0 if until is None else until - time.monotonic()
            if remaining <= 0:
                return
            signals.stopping.wait(min(remaining, 0.01 if self._under_way else 0.05))
