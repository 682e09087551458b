"""What people do with open alerts: look after them, or say that they are over."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_event_provider.dispatch.batch import Batch
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.rules.engine import Engine, Place
from ml_event_provider.store import cursors, states
from ml_event_provider.store.engine import database_now, transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ml_event_provider.store.states import OpenAlert


class Handled(NamedTuple):
    """An alert as somebody left it, and whether it still lasts."""

    alert: OpenAlert
    lasts: bool


def acknowledge(
    alert_id: str, *, who: str, rules: Rules | None = None, now: Callable[[Any], datetime] = database_now
) -> Handled:
    """Somebody looks after an alert: it is not repeated and not escalated any more.

    One that nothing else ends is over with that. It waits while a dispatcher matches.

    :param rules: kept by callers that do this often, so that rules are compiled only when they changed.
    :raises NotFound: if no open alert has the id.
    """
    return _handle(Engine.acknowledge, alert_id, who, rules, now)


def resolve(
    alert_id: str, *, who: str, rules: Rules | None = None, now: Callable[[Any], datetime] = database_now
) -> Handled:
    """Somebody says that an alert is over; who was told of it is told that, if the rule says so.

    What is still wrong begins a new alert with its next event.

    :raises NotFound: if no open alert has the id.
    """
    return _handle(Engine.resolve, alert_id, who, rules, now)


def _handle(
    change: Callable[[Engine, Place, str, float], bool],
    alert_id: str,
    who: str,
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
        if not change(batch.engine, place, who, moment.timestamp()):
            # Its rule was deleted, switched off or changed: nothing else will ever end it.
            batch.memory.put(place, None)
        batch.write()
        body = batch.memory.get(place)
    seen = {"by": who, "at": moment.astimezone(UTC).isoformat()}
    return Handled(alert._replace(acknowledged=seen), lasts=body is not None and body["open"] is not None)
