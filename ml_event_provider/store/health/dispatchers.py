"""Whether dispatchers are alive, go by the same clock, and come to the end of their jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ml_event_provider.store import cursors
from ml_event_provider.store.dispatchers import Dispatcher, all_dispatchers
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

#: A dispatcher that was silent for longer does not count as alive, in seconds.
SILENT_SECONDS = 30
#: For how long one that fell silent without signing off is told of, in seconds.
MISSED_SECONDS = 3_600
#: How far a host's clock may be from the database's, in seconds.
SKEW_SECONDS = 2.0
#: After how many seconds a job that never comes to its end is a problem.
JOB_SECONDS = {"tables": 300, "reconcile": 300, "prune": 7_200}
_CONSEQUENCES = {
    "tables": "new assets and import errors are not told of",
    "reconcile": "tasks that were killed are not told of",
    "prune": "old events are not deleted",
}


def check(connection: Connection, moment: datetime) -> Finding:
    """The dispatchers by their heartbeats and what they report."""
    known = all_dispatchers(connection)
    silent = timedelta(seconds=SILENT_SECONDS)
    alive = [one for one in known if abs(moment - one.heartbeat_at) < silent]
    problems = []
    if not alive:
        problems.append(
            "no dispatcher is alive: start a scheduler with [ml_events] embedded_dispatcher = True, or"
            " `airflow ml-events dispatcher`"
        )
    problems += [*_skewed(alive), *_overdue(alive), *(_stuck(connection, moment) if alive else ())]
    told = [
        {
            "id": one.id,
            "hostname": one.hostname,
            "embedded": one.embedded,
            "heartbeat_at": one.heartbeat_at,
            "skew_seconds": one.report.get("skew_seconds", 0.0),
        }
        for one in alive
    ]
    return Finding(problems, _missed(known, alive, moment), {"dispatchers": told})


def _skewed(alive: Sequence[Dispatcher]) -> list[str]:
    skews = {one.hostname: float(one.report.get("skew_seconds") or 0.0) for one in alive}
    return [
        f"the clock of {host} is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the database's: times of"
        " events from there are wrong by as much. Let NTP (chrony, systemd-timesyncd) set it"
        for host, skew in skews.items()
        if abs(skew) > SKEW_SECONDS
    ]


def _overdue(alive: Sequence[Dispatcher]) -> list[str]:
    return [
        f"dispatcher {dispatcher.id} has been sending one message to {one['target']} (workspace {one['workspace']}) for"
        f" {one['seconds']} s: the target's code does not keep to its time limit, and the others to it wait. Restart"
        " that dispatcher, which sends the message again, and mend the target"
        for dispatcher in alive
        for one in dispatcher.report.get("overdue", ())
    ]


def _stuck(connection: Connection, moment: datetime) -> list[str]:
    found = []
    for job in cursors.jobs(connection):
        idle = (moment - (job.done_at or job.since)).total_seconds()
        # A job that nobody holds is switched off, or about to be taken.
        if job.holder and idle > JOB_SECONDS.get(job.name, float("inf")):
            found.append(
                f"the job '{job.name}' has not come to its end for {idle / 60:.0f} min, so {_CONSEQUENCES[job.name]}:"
                f" see '{job.name} failed' in the log of dispatcher {job.holder}"
            )
    return found


def _missed(known: Sequence[Dispatcher], alive: Sequence[Dispatcher], moment: datetime) -> list[str]:
    """Those that neither beat nor signed off. One that another on its host succeeded was killed, and is no news."""
    latest = {one.hostname: max(o.started_at for o in known if o.hostname == one.hostname) for one in known}
    return [
        f"dispatcher {one.id} on {one.hostname} (process {one.pid}) has been silent for"
        f" {(moment - one.heartbeat_at).total_seconds():.0f} s and did not end by itself: it was killed, is frozen, or"
        " its machine is gone. Others have taken over; end the process if it is still there"
        for one in known
        if one not in alive
        and timedelta() < moment - one.heartbeat_at < timedelta(seconds=MISSED_SECONDS)
        and one.started_at == latest[one.hostname]
    ]
