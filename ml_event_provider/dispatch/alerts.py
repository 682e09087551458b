"""What people do with open alerts: look after them, or say that they are over."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.rules.engine import Engine, Place
from ml_event_provider.store import cursors, states
from ml_event_provider.store.engine import database_now, transaction
from ml_event_provider.store.one_by_one import storable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ml_event_provider.store.states import OpenAlert


#: How much of a reason is kept, in characters.
MOST_REASON: Final = 1000


class Handled(NamedTuple):
    """An alert as somebody left it, whether it still lasts, and whether nobody had looked after it before."""

    alert: OpenAlert
    lasts: bool
    first: bool = True


def acknowledge(
    alert_id: str,
    *,
    who: str,
    reason: str = "",
    rules: Rules | None = None,
    now: Callable[[Any], datetime] = database_now,
) -> Handled:
    """Somebody looks after an alert: it is not repeated and not escalated any more.

    One that nothing else ends is over with that. Where somebody does so already, that stays noted. It waits while a
    dispatcher matches.

    :param reason: what is to be said of it, at most 1,000 characters of it.
    :param rules: kept by callers that do this often, so that rules are compiled only when they changed.
    :raises NotFound: if no open alert has the id.
    """
    return _handle(Engine.acknowledge, alert_id, who, reason, rules, now)


def resolve(
    alert_id: str,
    *,
    who: str,
    reason: str = "",
    rules: Rules | None = None,
    now: Callable[[Any], datetime] = database_now,
) -> Handled:
    """Somebody says that an alert is over; who was told of it is told that, if the rule says so.

    What is still wrong begins a new alert with its next event.

    :raises NotFound: if no open alert has the id.
    """
    return _handle(Engine.resolve, alert_id, who, reason, rules, now)


def _handle(
    change: Callable[[Engine, Place, str, float, str], bool],
    alert_id: str,
    who: str,
    reason: str,
    rules: Rules | None,
    now: Callable[[Any], datetime],
) -> Handled:
    rules = rules or Rules()
    with transaction() as connection:
        workspace = states.open_alert(connection, alert_id).workspace
        cursors.lock(connection, states.lock_of(workspace), now=now(connection), wait=True)
        moment = now(connection)
        # Meanwhile it may have changed, or ended.
        alert = states.open_alert(connection, alert_id)
        place = Place(alert.workspace, alert.rule, "alert", alert.key)
        batch = Batch(connection, workspace, rules.of(connection, workspace), moment)
        reason = storable(reason)[:MOST_REASON]
        if not change(batch.engine, place, who, moment.timestamp(), reason):
            # Its rule was deleted, switched off or changed: nothing else will ever end it.
            batch.memory.put(place, None)
        batch.write()
        body = batch.memory.get(place)
    said = {"by": who, "at": moment.astimezone(UTC).isoformat()} | ({"reason": reason} if reason else {})
    lasts = body is not None and body["open"] is not None
    # Who was first is who looks after it.
    seen = alert.acknowledged or said
    return Handled(alert._replace(acknowledged=seen), lasts=lasts, first=alert.acknowledged is None)
