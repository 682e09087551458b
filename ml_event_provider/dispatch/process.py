"""The dispatcher process: one loop that matches and sends, one thread that keeps house.

It can be killed at any moment: what is matched is matched in one transaction, what is sent is leased first and
settled after, and a lease that nobody settles runs out.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import signal
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ml_event_provider import config
from ml_event_provider.dispatch.attempt import Connections, Sender, default_renderer
from ml_event_provider.dispatch.completion import complete
from ml_event_provider.dispatch.matching import Rules, match_batch
from ml_event_provider.dispatch.reconciler import Reconciler
from ml_event_provider.dispatch.retry import RetryPolicy
from ml_event_provider.store import cursors, deliveries, dispatchers, events, retention
from ml_event_provider.store.engine import transaction, utc_now, worth_retrying
from ml_event_provider.store.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.events.model import Event
    from ml_event_provider.store.deliveries import Delivery, Settlement

log = logging.getLogger(__name__)

MATCH_BATCH = 500
#: How many deliveries wait for each worker at the most, so that it is never idle while the next are leased.
MOST_WAITING = 3
HEARTBEAT_SECONDS = 5.0
#: A dispatcher that was silent for this long does not count as alive.
SILENT_SECONDS = 30.0
HOUSEKEEPING_SECONDS = 1.0
#: How long one housekeeping job may keep the others waiting.
TURN_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a dispatcher works; times in seconds."""

    poll: float
    workers: int
    lease: float
    send_timeout: float
    reconcile_every: float
    grace: float
    retention_days: float
    policy: RetryPolicy

    @classmethod
    def from_config(cls) -> Settings:
        """As ``[ml_events]`` says.

        :raises ValueError: if a lease would run out while its delivery is being sent.
        """
        if config.lease_seconds() < 2 * config.send_timeout_seconds():
            raise ValueError(
                f"[ml_events] lease_seconds = {config.lease_seconds():g} is shorter than twice send_timeout_seconds ="
                f" {config.send_timeout_seconds():g}: a delivery could be sent twice at the same time"
            )
        return cls(
            poll=config.poll_seconds(),
            workers=config.send_workers(),
            lease=config.lease_seconds(),
            send_timeout=config.send_timeout_seconds(),
            reconcile_every=config.reconcile_seconds(),
            grace=config.reconcile_grace_seconds(),
            retention_days=config.retention_days(),
            policy=RetryPolicy(
                max_attempts=config.max_attempts(),
                base=config.retry_base_seconds(),
                longest=config.retry_max_seconds(),
            ),
        )


class DispatcherProcess:
    """Matches, delivers and keeps house until told to stop, or until its parent ends."""

    def __init__(self, settings: Settings, *, parent: int | None = None) -> None:
        self._settings = settings
        self._parent = parent
        self._stopping = threading.Event()
        self.id = f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._rules = Rules()
        self._settled: queue.SimpleQueue[Settlement | None] = queue.SimpleQueue()
        self._under_way = 0
        self._sender = Sender(
            policy=settings.policy,
            timeout=settings.send_timeout,
            renderer=default_renderer(),
            connections=Connections(),
            random=random.random,
        )

    def stop(self, *_: Any) -> None:
        """End after what is under way; also a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Work until stopped."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        log.info("Dispatcher %s started (parent %s)", self.id, self._parent or "none")
        housekeeper = threading.Thread(target=self._keep_house, name="ml-events-housekeeping", daemon=True)
        housekeeper.start()
        with ThreadPoolExecutor(self._settings.workers, thread_name_prefix="ml-events-send") as pool:
            match_at = lease_at = 0.0
            while not self._stopping.is_set():
                busy = False
                if time.monotonic() >= match_at:
                    busy = self._guarded("match", self._match)
                    match_at = 0.0 if busy else time.monotonic() + self._settings.poll
                    lease_at = 0.0 if busy else lease_at
                roomy = self._room() >= self._settings.workers
                if roomy and time.monotonic() >= lease_at:
                    leased = self._guarded("lease", lambda: self._lease(pool))
                    lease_at = 0.0 if leased else time.monotonic() + self._settings.poll
                    busy = busy or leased
                busy = self._guarded("settle", self._settle) or busy
                if not busy:
                    # Without room there is nothing to lease before an attempt ends, which ends the wait too.
                    self._wait(until=min(match_at, lease_at) if roomy else match_at)
            while self._under_way:
                self._guarded("settle", self._settle)
                time.sleep(0.01)
        self._guarded("sign off", self._sign_off)
        log.info("Dispatcher %s ended", self.id)

    def drain_once(self) -> int:
        """Match and send all that is due now, then return how many attempts were made (tests, one-shot use)."""
        attempts = 0
        with ThreadPoolExecutor(self._settings.workers) as pool:
            while True:
                busy = self._match()
                busy = self._lease(pool) or busy
                while self._under_way:
                    before = self._under_way
                    self._settle(wait=0.05)
                    attempts += before - self._under_way
                    busy = True
                if not busy:
                    return attempts

    def _match(self) -> bool:
        matched = match_batch(self._rules, limit=MATCH_BATCH)
        if matched.events or matched.deliveries:
            log.info("Matched %d event(s): %d deliveries", matched.events, matched.deliveries)
            count("events_matched", matched.events)
        return matched.events > 0 or matched.deliveries > 0

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
            leased = deliveries.lease(connection, owner=self.id, limit=room, now=now, until=until)
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
                deliveries.settle(connection, [one for one in settled if one], owner=self.id, now=utc_now())
        except Exception:
            for one in settled:
                self._settled.put(one)
            raise
        self._under_way -= len(settled)
        return True

    def _wait(self, until: float) -> None:
        """Until the next poll, or until an attempt ends."""
        while not self._stopping.is_set() and self._settled.empty():
            remaining = until - time.monotonic()
            if remaining <= 0:
                return
            self._stopping.wait(min(remaining, 0.01 if self._under_way else 0.1))

    def _keep_house(self) -> None:
        """Heartbeat, watch the parent, reconcile, drain the spool, prune; each guarded from the others."""
        reconciler = Reconciler(grace=self._settings.grace, retention=self._settings.retention_days)
        spool = Spool(config.spool_directory())
        jobs: list[tuple[str, float, Callable[[], object]]] = [
            ("heartbeat", HEARTBEAT_SECONDS, self._beat),
            ("spool", HOUSEKEEPING_SECONDS, lambda: spool.drain(record_spooled, go_on=turn())),
        ]
        if self._settings.reconcile_every > 0:
            jobs.append(("tables", HOUSEKEEPING_SECONDS, lambda: self._alone("tables", reconciler.read_tables)))
            jobs.append(
                (
                    "reconcile",
                    self._settings.reconcile_every,
                    lambda: self._alone("reconcile", reconciler.reconcile_runs),
                )
            )
        if self._settings.retention_days > 0:
            jobs.append(("prune", 60.0, lambda: self._alone("prune", self._prune)))
        due = dict.fromkeys((name for name, _, _ in jobs), 0.0)
        while not self._stopping.is_set():
            if self._parent is not None and os.getppid() != self._parent:
                log.info("Parent %d ended", self._parent)
                self.stop()
                return
            for name, every, job in jobs:
                if time.monotonic() >= due[name]:
                    due[name] = time.monotonic() + every
                    self._guarded(name, job)
            self._stopping.wait(0.25)

    def _alone(self, name: str, job: Callable[[], object]) -> None:
        """Do a job that one dispatcher at a time does."""
        now = utc_now()
        with transaction() as connection:
            ours = cursors.hold(
                connection,
                f"job:{name}",
                holder=self.id,
                now=now,
                until=now + timedelta(seconds=SILENT_SECONDS),
            )
        if ours:
            job()

    def _prune(self) -> None:
        before = utc_now() - timedelta(days=self._settings.retention_days)
        pruned = retention.prune(before, go_on=turn())
        if pruned:
            log.info("Pruned %d event(s) recorded before %s", pruned, before.isoformat())

    def _beat(self) -> None:
        now = utc_now()
        with transaction() as connection:
            dispatchers.beat(
                connection,
                dispatchers.Dispatcher(
                    self.id, socket.gethostname()[:250], os.getpid(), self._parent is not None, now, now
                ),
            )
            dispatchers.forget_silent(connection, before=now - timedelta(days=1))
            waiting, oldest = events.count_unmatched(connection)
        gauge("events_unmatched", waiting)
        gauge("oldest_unmatched_seconds", (now - oldest).total_seconds() if oldest else 0.0)

    def _sign_off(self) -> bool:
        with transaction() as connection:
            deliveries.release(connection, owner=self.id)
            cursors.let_go(connection, holder=self.id)
            dispatchers.forget(connection, self.id)
        return False

    def _guarded(self, name: str, work: Callable[[], object]) -> bool:
        """Do one step; whatever it raises is logged and does not end the others."""
        try:
            return bool(work())
        except Exception as error:
            if worth_retrying(error):
                log.warning("%s: the database is busy or away: %s", name, str(error).splitlines()[0])
            else:
                log.exception("%s failed", name)
            count("dispatcher_errors")
            self._stopping.wait(0.2)
            return False


def turn() -> Callable[[], bool]:
    """Says for ``TURN_SECONDS`` from here on that a job may go on; the rest waits for its next turn."""
    end = time.monotonic() + TURN_SECONDS
    return lambda: time.monotonic() < end


def record_spooled(spooled: list[Event]) -> None:
    """Record events from the spool as the ingest endpoint would have."""
    with transaction() as connection:
        events.record(connection, complete(connection, spooled))


def count(name: str, amount: int = 1) -> None:
    """Count ``ml_events.<name>`` in Airflow's metrics."""
    from airflow._shared.observability.metrics import stats

    stats.incr(f"ml_events.{name}", amount)


def gauge(name: str, value: float) -> None:
    """Set the gauge ``ml_events.<name>`` in Airflow's metrics."""
    from airflow._shared.observability.metrics import stats

    stats.gauge(f"ml_events.{name}", value)
