"""The open alerts: see them, look after them, end them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from ml_event_provider.api import authority
from ml_event_provider.api.body import BodyDep, parsed
from ml_event_provider.api.security import Caller, CallerDep
from ml_event_provider.dispatch import alerts
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.store import states
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.store.states import OpenAlert

router = APIRouter(prefix="/v1/alerts")


class Why(BaseModel):
    """What may be said with it."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=alerts.MOST_REASON)


#: Compiled again when rules change; read under the lock that whoever handles an alert holds.
_rules = Rules()


@router.get("")
async def list_alerts(
    who: CallerDep,
    workspace: str = "",
    rule: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """The open alerts that the caller may see, the newest first."""
    found = await to_thread.run_sync(partial(_found, who, workspace=workspace, rule=rule, limit=limit))
    return {"alerts": [_shown(one) for one in found]}


def _found(who: Caller, *, workspace: str, rule: str, limit: int) -> list[OpenAlert]:
    seen = authority.sight(who)
    with transaction() as connection:
        return states.open_alerts(connection, workspace=workspace, rule=rule, limit=limit, sight=seen)


@router.post("/{alert_id}/acknowledge")
async def acknowledge(alert_id: str, who: CallerDep, body: BodyDep) -> dict[str, Any]:
    """Look after an alert in the caller's name: no repetition, no escalation. Who was first stays noted."""
    return await to_thread.run_sync(_handle, alerts.acknowledge, alert_id, who, body)


@router.post("/{alert_id}/resolve")
async def resolve(alert_id: str, who: CallerDep, body: BodyDep) -> dict[str, Any]:
    """End an alert in the caller's name."""
    return await to_thread.run_sync(_handle, alerts.resolve, alert_id, who, body)


def _handle(change: Callable[..., alerts.Handled], alert_id: str, who: Caller, body: bytes) -> dict[str, Any]:
    reason = parsed(Why, body).reason if body else ""
    seen = authority.sight(who)
    with transaction() as connection:
        alert = states.open_alert(connection, alert_id, sight=seen)
    authority.manage(who, alert.workspace)
    return _handled(change(alert_id, who=who.name, reason=reason, rules=_rules))


def _handled(handled: alerts.Handled) -> dict[str, Any]:
    return {**_shown(handled.alert), "lasts": handled.lasts, "first": handled.first}


def _shown(alert: OpenAlert) -> dict[str, Any]:
    return {**alert._asdict(), "since": datetime.fromtimestamp(alert.since, UTC).isoformat()}
