"""The dispatcher's housekeeping thread: heartbeat, parent watch, spool, Airflow's tables, pruning."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ml_event_provider import config, troubles
from ml_event_provider.dispatch.completion import complete
from ml_event_provider.dispatch.loop import guarded
from ml_event_provider.dispatch.reconciler import Reconciler
from ml_event_provider.exceptions import EventRejected
from ml_event_provider.metrics import gauge
from ml_event_provider.store import claims, cursors, dispatchers, quarantine, retention, unmatched
from ml_event_provider.store.engine import (
    IDLE_SECONDS,
    database_now,
    refuses,
    schema_differs,
    transaction,
    utc_now,
    worth_retrying,
)
from ml_event_provider.store.spool import Spool
from ml_event_provider.store.unread import Ended, Unread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ml_event_provider.dispatch.loop import Signals
    from ml_event_provider.dispatch.settings import Settings
    from ml_event_provider.events.model import Event

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
#: A dispatcher that was silent for this long does not count as alive.
SILENT_SECONDS = 30.0
HOUSEKEEPING_SECONDS = 1.0
#: How often the ends of tries that are not committed yet are looked at: the latency of a failed task's event.
CLAIM_SECONDS = 0.2
#: How often sessions are looked for whose process does not read what it asked for.
UNREAD_SECONDS = 3.0
#: How many such sessions the heartbeat tells of, and for how long.
MOST_ENDED, TELL_ENDED = 5, timedelta(hours=1)
#: How long one housekeeping job may keep the others waiting.
TURN_SECONDS = 4.0


class Housekeeping:
    """All that a dispatcher does beside matching and sending.

    :param report: what else health is told of this dispatcher.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        dispatcher_id: str,
        parent: int | None,
        report: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._report = report
        self._settings = settings
        self._id = dispatcher_id
        self._parent = parent
        self._spool = Spool(config.spool_directory(), megabytes=config.spool_megabytes())
        self._unread = Unread()
        self._ended: deque[Ended] = deque(maxlen=MOST_ENDED)

    def run(self, signals: Signals) -> None:
        """Do each job when it is due, each guarded from the others, until told to stop; end with the parent."""
        jobs = self._jobs()
        due = dict.fromkeys((name for name, _, _ in jobs), 0.0)
        while not signals.stopping.is_set():
            if self._parent is not None and os.getppid() != self._parent:
                log.info("Parent %d ended", self._parent)
                signals.stop()
                return
            for name, every, job in jobs:
                if time.monotonic() >= due[name]:
                    due[name] = time.monotonic() + every
                    guarded(name, job, signals.stopping)
            signals.stopping.wait(CLAIM_SECONDS)

    def sign_off(self) -> None:
        """Give up what only a living dispatcher holds."""
        with transaction() as connection:
            cursors.let_go(connection, holder=self._id)
            dispatchers.forget(connection, self._id)

    def _jobs(self) -> list[tuple[str, float, Callable[[], object]]]:
        reconciler = Reconciler(grace=self._settings.grace, retention=self._settings.retention_days)
        jobs: list[tuple[str, float, Callable[[], object]]] = [
            ("heartbeat", HEARTBEAT_SECONDS, self._beat),
            ("spool", HOUSEKEEPING_SECONDS, lambda: self._spool.drain(record_spooled, away=away, go_on=turn())),
        ]
        jobs.append(("unread", UNREAD_SECONDS, self._end_unread))
        jobs.append(("claims", CLAIM_SECONDS, settle_claims))
        every = self._settings.reconcile_every
        if every > 0:
            jobs.append(("tables", HOUSEKEEPING_SECONDS, lambda: self._alone("tables", reconciler.read_tables)))
            jobs.append(("reconcile", every, lambda: self._alone("reconcile", reconciler.reconcile_runs)))
        if self._settings.retention_days > 0:
            jobs.append(("prune", 60.0, lambda: self._alone("prune", self._prune)))
        return jobs

    def _alone(self, name: str, job: Callable[[], object]) -> None:
        """Do a job that one dispatcher at a time does."""
        with transaction() as connection:
            now = database_now(connection)
            ours = cursors.hold(connection, f"job:{name}", holder=self._id, now=now, seconds=SILENT_SECONDS)
        if not ours:
            return
        job()
        with transaction() as connection:
            cursors.done(connection, f"job:{name}", now=database_now(connection))

    def _prune(self) -> None:
        with transaction() as connection:
            before = database_now(connection) - timedelta(days=self._settings.retention_days)
        pruned = retention.prune(before, go_on=turn())
        if pruned:
            log.info("Pruned %d event(s) recorded before %s", pruned, before.isoformat())

    def _end_unread(self) -> None:
        for one in self._unread.end():
            self._ended.append(one)
            log.warning(
                "Database session %d (%s, from %s) was ended: its process did not read a statement's answer for %d s."
                " It is frozen, or its machine is gone; it had a transaction open for %d s",
                *(one.pid, one.name, one.host, IDLE_SECONDS, one.open_for),
            )

    def _beat(self) -> None:
        held = self._spool.look()
        with transaction() as connection:
            asked = utc_now()
            now = database_now(connection)
            skew = round((asked + (utc_now() - asked) / 2 - now).total_seconds(), 3)
            report = {
                "skew_seconds": skew,
                **self._report(),
                "ended": [
                    {**one._asdict(), "at": one.at.isoformat()} for one in self._ended if now - one.at < TELL_ENDED
                ],
                "spool": {**held._asdict(), "directory": str(self._spool.directory)},
            }
            dispatchers.beat(
                connection,
                dispatchers.Dispatcher(
                    self._id, socket.gethostname()[:250], os.getpid(), self._parent is not None, now, now, report
                ),
            )
            silent, wrong = now - timedelta(days=1), now + 2 * timedelta(seconds=SILENT_SECONDS)
            dispatchers.forget_silent(connection, before=silent, after=wrong)
        # Apart: what cannot be counted must not make a dispatcher look dead.
        with transaction() as connection:
            waiting, oldest = unmatched.count(connection)
            aside = quarantine.count(connection)
        gauge("clock_skew_seconds", skew)
        gauge("spool_files", held.files)
        gauge("spool_bytes", held.bytes)
        gauge("spool_oldest_seconds", held.oldest_seconds)
        gauge("spool_rejected", held.rejected)
        gauge("quarantined", sum(aside.values()))
        gauge("rules_unusable", sum(len(one) for one in report.get("unusable", {}).values()))
        gauge("events_unmatched", waiting)
        gauge("oldest_unmatched_seconds", (now - oldest).total_seconds() if oldest else 0.0)


def turn() -> Callable[[], bool]:
    """Says for ``TURN_SECONDS`` from here on that a job may go on; the rest waits for its next turn."""
    end = time.monotonic() + TURN_SECONDS
    return lambda: time.monotonic() < end


def settle_claims() -> None:
    """Record the ends of tries that Airflow has committed since their processes told of them."""
    after: int | None = 0
    go_on = turn()
    while after is not None and go_on():
        with transaction() as connection:
            _, after = claims.settle(connection, after=after)


def record_spooled(spooled: list[Event]) -> None:
    """Record events from the spool as the ingest endpoint would have.

    :raises EventRejected: if the database refuses what one of them holds.
    """
    try:
        with transaction() as connection:
            claims.record(connection, complete(connection, spooled))
    except Exception as error:
        if refuses(error):
            raise EventRejected(f"the database refuses them: {troubles.first_line(error)}") from error
        raise


def away(error: Exception) -> bool:
    """Whether the database takes no events at all now."""
    return worth_retrying(error) or schema_differs(error)
