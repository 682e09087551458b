"""The open alerts: see them, look after them, end them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query

from ml_event_provider.api.security import Caller, may_manage, may_read
from ml_event_provider.dispatch import alerts
from ml_event_provider.dispatch.matching import Rules
from ml_event_provider.store import states
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from ml_event_provider.store.states import OpenAlert

router = APIRouter(prefix="/v1/alerts")

#: Compiled again when rules change; read under the lock that whoever handles an alert holds.
_rules = Rules()


@router.get("")
async def list_alerts(
    _: Annotated[Caller, Depends(may_read)],
    workspace: str = "",
    rule: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """The open alerts, the newest first."""
    found = await to_thread.run_sync(partial(_found, workspace=workspace, rule=rule, limit=limit))
    return {"alerts": [_shown(one) for one in found]}


def _found(*, workspace: str, rule: str, limit: int) -> list[OpenAlert]:
    with transaction() as connection:
        return states.open_alerts(connection, workspace=workspace, rule=rule, limit=limit)


@router.post("/{alert_id}/acknowledge")
async def acknowledge(alert_id: str, who: Annotated[Caller, Depends(may_manage)]) -> dict[str, Any]:
    """Look after an alert in the caller's name: no repetition, no escalation."""
    return _handled(await to_thread.run_sync(partial(alerts.acknowledge, alert_id, who=who.name, rules=_rules)))


@router.post("/{alert_id}/resolve")
async def resolve(alert_id: str, who: Annotated[Caller, Depends(may_manage)]) -> dict[str, Any]:
    """End an alert in the caller's name."""
    return _handled(await to_thread.run_sync(partial(alerts.resolve, alert_id, who=who.name, rules=_rules)))


def _handled(handled: alerts.Handled) -> dict[str, Any]:
    return {**_shown(handled.alert), "lasts": handled.lasts}


def _shown(alert: OpenAlert) -> dict[str, Any]:
    return {**alert._asdict(), "since": datetime.fromtimestamp(alert.since, UTC).isoformat()}
