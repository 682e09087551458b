"""Says what is wrong."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Response

from ml_event_provider.api.security import Caller, may_read
from ml_event_provider.store.health import health as read_health

router = APIRouter(prefix="/v1")


@router.get("/health")
async def health(response: Response, _: Annotated[Caller, Depends(may_read)]) -> dict[str, Any]:
    """``status``, the ``problems`` in words and the numbers behind them; 503 when there is a problem."""
    found = await to_thread.run_sync(read_health)
    if found["status"] != "healthy":
        response.status_code = 503
    return found
