"""Takes events: CloudEvents 1.0 over HTTP in binary, structured and batch mode; and direct notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from ml_event_provider import config
from ml_event_provider.api import authority
from ml_event_provider.api.body import BodyDep, parsed
from ml_event_provider.api.security import Caller, CallerDep
from ml_event_provider.dispatch.completion import complete
from ml_event_provider.dispatch.matching import notify_directly
from ml_event_provider.events.bounds import MAX_EVENT_BYTES, bounded
from ml_event_provider.events.model import Event
from ml_event_provider.events.wire import read_request
from ml_event_provider.rules.fields import Options
from ml_event_provider.store import claims
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

router = APIRouter(prefix="/v1")

#: PostgreSQL's texts hold no NUL.
_STORABLE: Final = r"^[^\x00]*$"


@router.post("/events", status_code=202)
async def publish(request: Request, who: CallerDep, body: BodyDep) -> dict[str, Any]:
    """Record one event or a batch, all or nothing; events that are recorded already change nothing.

    Answers 202 with the ids in the order of the request.
    """
    # In a thread: reading a large batch takes longer than the API server's event loop may stand still.
    return {"ids": await to_thread.run_sync(_record, who, request.headers, body)}


def _record(who: Caller, headers: Mapping[str, str], body: bytes) -> list[str]:
    # Too large an event is cut, not refused; only the body as a whole has a limit.
    largest = config.max_body_bytes() + MAX_EVENT_BYTES
    events = [bounded(event) for event in read_request(headers, body, max_event_bytes=largest)]
    with transaction() as connection:
        # Completed, an event may belong to another workspace than it said.
        completed = complete(connection, events)
    authority.publish(who, [*events, *completed])
    if completed:
        with transaction() as connection:
            claims.record(connection, completed)
    return [event.id for event in events]


class NotificationTarget(BaseModel):
    """A target with options of its own."""

    model_config = ConfigDict(extra="forbid")

    conn_id: str = Field(min_length=1, max_length=250, pattern=_STORABLE)
    options: Options = {}


class NotificationRequest(BaseModel):
    """A message to be sent over the delivery path, without a rule."""

    model_config = ConfigDict(extra="forbid")

    event: dict[str, Any]
    targets: list[NotificationTarget] = Field(min_length=1, max_length=100)
    template: str | None = Field(default=None, max_length=250, pattern=_STORABLE)
    severity: str = Field(default="info", pattern="^(info|warning|error|critical)$")
    name: str = Field(default="direct", min_length=1, max_length=200, pattern=_STORABLE)


@router.post("/notifications", status_code=202)
async def notify(who: CallerDep, body: BodyDep) -> dict[str, Any]:
    """Record an event and deliver it to the given targets; the same request again changes nothing."""
    return await to_thread.run_sync(_notify, who, body)


def _notify(who: Caller, body: bytes) -> dict[str, Any]:
    request = parsed(NotificationRequest, body)
    event = bounded(Event.from_dict(request.event))
    targets = [(target.conn_id, target.options) for target in request.targets]
    with transaction() as connection:
        (completed,) = complete(connection, [event])
    authority.publish(who, [event])
    authority.notify(who, completed, targets)
    with transaction() as connection:
        new, made = notify_directly(
            connection,
            completed,
            targets,
            template=request.template,
            severity=request.severity,
            name=request.name,
        )
    return {"id": completed.id, "new": new, "deliveries": made}
