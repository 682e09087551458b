"""What people do with what was set aside: try it again, or let it be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import cursors, quarantine, states, unmatched
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.store.quarantine import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ml_event_provider.store.choice import Names
    from ml_event_provider.store.quarantine import Quarantined

#: What can be tried again.
AGAIN = (Kind.EVENT, Kind.MATCH)


def retry(number: int, *, rules: Rules | None = None, now: Callable[[Any], datetime] = database_now) -> str:
    """Try again what is set aside under a number; say in words what became of it.

    An event that could not be read waits for the dispatchers again. One that a rule could not digest is shown to that
    rule once more, at once. What fails again is set aside again.

    :raises NotFound: if nothing is set aside under the number, or its event is gone.
    """
    with transaction() as connection:
        one = quarantine.get(connection, number)
        if one.kind == Kind.EVENT:
            if one.seq is None or not unmatched.unmark(connection, [one.seq]):
                raise NotFound(f"the event of {number} is not recorded any more: discard it")
            quarantine.remove(connection, [number])
            return "its event waits to be matched again"
        if one.kind != Kind.MATCH or one.seq is None:
            return "there is nothing to try again: discard it"
        cursors.lock(connection, states.lock_of(one.workspace), now=now(connection), wait=True)
        compiled = (rules or Rules()).of(connection, one.workspace)
        batch = Batch(connection, one.workspace, compiled, now(connection))
        # What fails again is set aside under a number of its own.
        quarantine.remove(connection, [number])
        if not batch.take_again(one.seq, one.rule):
            raise NotFound(f"the event of {number} is not recorded any more, or cannot be read: discard it")
        made = batch.write()
        failed = batch.engine.failures
    return f"it failed again: {failed[0].reason}" if failed else f"its rule took it: {made} deliveries"


def retry_all(*, workspace: Names = "") -> list[tuple[Quarantined, str]]:
    """Try everything again that can be; with what became of each."""
    with transaction() as connection:
        found = quarantine.find(connection, workspace=workspace, limit=100_000)
    rules, said = Rules(), []
    for one in reversed([one for one in found if one.kind in AGAIN]):
        try:
            said.append((one, retry(one.id, rules=rules)))
        except NotFound as error:
            said.append((one, str(error)))
    return said


def discard(number: int) -> Quarantined:
    """Let what is set aside be; what it is about stays recorded as it is.

    :raises NotFound: if nothing is set aside under the number.
    """
    with transaction() as connection:
        one = quarantine.get(connection, number)
        quarantine.remove(connection, [number])
    return one
