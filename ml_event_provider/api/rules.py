"""Asks the rules without recording anything."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from ml_event_provider.api import authority
from ml_event_provider.api.body import BodyDep, parsed
from ml_event_provider.api.security import Caller, CallerDep
from ml_event_provider.dispatch.rules import Rules
from ml_event_provider.events.model import Event
from ml_event_provider.store.engine import transaction

router = APIRouter(prefix="/v1/rules")

_rules = Rules()


class EvaluationRequest(BaseModel):
    """An event to be matched now."""

    model_config = ConfigDict(extra="forbid")

    event: dict[str, Any]


@router.post("/evaluate")
async def evaluate(who: CallerDep, body: BodyDep) -> dict[str, Any]:
    """The enabled rules of an event's workspace that match it; nothing is recorded or sent.

    Of their targets those are named whose connections the caller may read.
    """
    return await to_thread.run_sync(_evaluate, who, body)


def _evaluate(who: Caller, body: bytes) -> dict[str, Any]:
    event = Event.from_dict(parsed(EvaluationRequest, body).event)
    authority.publish(who, [event])
    with transaction() as connection:
        rules = _rules.of(connection, event.workspace)
    matched = [
        {
            "workspace": rule.workspace,
            "name": rule.name,
            "severity": str(rule.severity),
            "targets": authority.readable(who, rule.workspace, [target.conn_id for target in rule.targets]),
        }
        for rule in rules.match(event)
    ]
    return {"matched": matched}
