"""Whether messages arrive."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ml_event_provider.store import lanes
from ml_event_provider.store.deliveries import count_by_state, count_dead
from ml_event_provider.store.health.finding import Finding
from ml_event_provider.store.one_by_one import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from ml_event_provider.store.lanes import Standing

#: How long a dead letter is a problem, in seconds; it is kept, and counted, until it is sent again or pruned.
DEAD_SECONDS = 86_400
#: A delivery that is due for longer is a problem, in seconds.
DUE_SECONDS = 60
#: A target all of whose attempts fail for longer is a problem, in seconds.
FAILING_SECONDS = 180
#: How many targets are named; the others are counted.
MOST_NAMED = 10


def check(connection: Connection, moment: datetime) -> Finding:
    """The targets that do not answer, the deliveries that wait, and those that became dead letters."""
    spoilt: list[str] = []
    standings = lanes.standings(
        connection, now=moment, unreadable=lambda lane, error: spoilt.append(f"lane {lane}: {reason_of(error)}")
    )
    unreachable = [one for one in standings if one.is_open]
    due = [one for one in standings if not one.is_open and one.due_since is not None]
    oldest = max((_age(one.due_since, moment) for one in due), default=0.0)
    problems = [f"how a target stands cannot be read ({one}): its messages may wait; mend its row" for one in spoilt]
    problems += [*_named(unreachable), *_failing(standings, moment), *_waiting(due, moment)]
    died = count_dead(connection, since=moment - timedelta(seconds=DEAD_SECONDS))
    if died:
        problems.append(
            f"{died} deliveries became dead letters in the last day:"
            " see `airflow ml-events deliveries list --state dead`"
        )
    numbers = {
        "deliveries": count_by_state(connection),
        "oldest_due_seconds": round(oldest, 1),
        "unreachable_targets": len(unreachable),
    }
    return Finding(problems, numbers=numbers)


def _named(unreachable: Sequence[Standing]) -> Iterator[str]:
    for one in sorted(unreachable, key=lambda each: -each.waiting)[:MOST_NAMED]:
        since = f" since {one.opened_at:%Y-%m-%d %H:%M} UTC" if one.opened_at else ""
        yield (
            f"target {one.target} (workspace {one.workspace}) has not answered{since}: {one.reason or one.code};"
            f" {one.waiting} message(s) wait: check that it is up and that its connection is right. It is tried again"
            " by itself"
        )
    if len(unreachable) > MOST_NAMED:
        yield f"{len(unreachable) - MOST_NAMED} more targets do not answer: see `airflow ml-events targets list`"


def _failing(standings: Sequence[Standing], moment: datetime) -> Iterator[str]:
    """Targets whose attempts fail, too seldom to be left alone."""
    failing = [
        one
        for one in standings
        if one.failures and not one.is_open and _age(one.failing_since, moment) > FAILING_SECONDS
    ]
    for one in failing[:MOST_NAMED]:
        yield (
            f"target {one.target} (workspace {one.workspace}): the last {one.failures} attempt(s) failed, a message"
            f" waits for {_age(one.failing_since, moment):.0f} s: {one.reason or one.code}"
        )


def _waiting(due: Sequence[Standing], moment: datetime) -> Iterator[str]:
    late = [one for one in due if _age(one.due_since, moment) > DUE_SECONDS]
    if late:
        worst = max(late, key=lambda one: _age(one.due_since, moment))
        slow = " It answers slowly." if worst.slow else ""
        yield (
            f"messages to {len(late)} target(s) are late, the oldest, to {worst.target} (workspace {worst.workspace}),"
            f" by {_age(worst.due_since, moment):.0f} s.{slow} Start more dispatchers, or raise [ml_events]"
            " send_workers; is one running?"
        )


def _age(since: datetime | None, moment: datetime) -> float:
    return 0.0 if since is None else (moment - since).total_seconds()
