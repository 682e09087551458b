"""Says what is wrong."""

from __future__ import annotations

from typing import Any, Final

from anyio import to_thread
from fastapi import APIRouter, Response

from ml_event_provider.api import authority
from ml_event_provider.api.security import Caller, CallerDep
from ml_event_provider.store.health import health as read_health

router = APIRouter(prefix="/v1")

_HIDDEN: Final = "something is wrong; who may see all workspaces and DAGs sees what"


@router.get("/health")
async def health(response: Response, who: CallerDep) -> dict[str, Any]:
    """``status``, the ``problems`` in words and the numbers behind them; 503 when there is a problem.

    Problems may name anybody's targets, so who may not see all workspaces and DAGs is told the status only.
    """
    found = await to_thread.run_sync(_health, who)
    if found["status"] != "healthy":
        response.status_code = 503
    return found


def _health(who: Caller) -> dict[str, Any]:
    everything = authority.sees_everything(who)
    found = read_health()
    if everything:
        return found
    return {"status": found["status"], "problems": [_HIDDEN] if found["problems"] else [], "notices": []}
