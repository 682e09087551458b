"""Whether events wait on the dispatchers' machines, or were put aside there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ml_event_provider.store.dispatchers import all_dispatchers
from ml_event_provider.store.health.dispatchers import SILENT_SECONDS
from ml_event_provider.store.health.finding import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: For how long spooled events may wait where a dispatcher runs, in seconds.
WAITING_SECONDS = 120


def check(connection: Connection, moment: datetime) -> Finding:
    """The spools of the machines on which dispatchers run; those of other machines are in their tasks' logs."""
    silent = timedelta(seconds=SILENT_SECONDS)
    spools = {
        (one.hostname, str(spool.get("directory"))): spool
        for one in all_dispatchers(connection)
        if abs(moment - one.heartbeat_at) < silent and isinstance(spool := one.report.get("spool"), dict)
    }
    problems, notices, told = [], [], []
    for (host, directory), spool in sorted(spools.items()):
        told.append({"hostname": host, **spool})
        if spool["oldest_seconds"] > WAITING_SECONDS:
            problems.append(
                f"{spool['files']} file(s) with events ({spool['bytes']} bytes) wait in {directory} on {host}, the"
                f" oldest for {spool['oldest_seconds']:.0f} s: see 'spool failed' and 'Spooled events' in the log of"
                " that dispatcher"
            )
        if spool["rejected"]:
            notices.append(
                f"{spool['rejected']} file(s) with events that were refused lie in {directory}/rejected on {host}: each"
                " has its reason beside it; mend and move it back, or delete it"
            )
    return Finding(problems, notices, {"spools": told})
