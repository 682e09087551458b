"""Asks the rules without recording anything."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from ml_event_provider.api.body import BodyDep, parsed
from ml_event_provider.api.security import Caller, may_publish
from ml_event_provider.dispatch.matching import Rules
from ml_event_provider.events.model import Event
from ml_event_provider.store.engine import transaction

router = APIRouter(prefix="/v1/rules")

_rules = Rules()


class EvaluationRequest(BaseModel):
    """An event to be matched now."""

    model_config = ConfigDict(extra="forbid")

    event: dict[str, Any]


@router.post("/evaluate")
async def evaluate(_: Annotated[Caller, Depends(may_publish)], body: BodyDep) -> dict[str, Any]:
    """The enabled rules that match an event, with their targets; nothing is recorded or sent."""
    return await to_thread.run_sync(_evaluate, body)


def _evaluate(body: bytes) -> dict[str, Any]:
    event = Event.from_dict(parsed(EvaluationRequest, body).event)
    with transaction() as connection:
        _rules.refresh(connection)
    matched = [
        {
            "workspace": rule.workspace,
            "name": rule.name,
            "severity": str(rule.severity),
            "targets": [target.conn_id for target in rule.targets],
        }
        for rule in _rules.match(event)
    ]
    return {"matched": matched}
