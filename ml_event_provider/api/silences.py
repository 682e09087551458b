"""Silences: see, add, end and delete them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends
from pydantic import RootModel

from ml_event_provider import config
from ml_event_provider.api.body import BodyDep, parsed
from ml_event_provider.api.security import Caller, may_manage, may_read
from ml_event_provider.dispatch import silences
from ml_event_provider.store import definitions
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import transaction, utc_now

if TYPE_CHECKING:
    from ml_event_provider.rules.silences import Silence

router = APIRouter(prefix="/v1/silences")


class SilenceRequest(RootModel[dict[str, Any]]):
    """A silence as it is written in a file; ``name``, ``workspace`` and ``author`` may be left out."""


@router.get("")
async def list_silences(
    _: Annotated[Caller, Depends(may_read)], workspace: str = "", ended: bool = False
) -> dict[str, Any]:
    """The silences with how they stand; those that have ended only with ``ended=true``."""
    return {"silences": await to_thread.run_sync(_list, workspace, ended)}


@router.post("", status_code=201)
async def add(who: Annotated[Caller, Depends(may_manage)], body: BodyDep) -> dict[str, Any]:
    """Add a silence; its author is the caller, whatever the body says."""
    return await to_thread.run_sync(_add, who.name, body)


@router.post("/{name:path}/end")
async def end(name: str, who: Annotated[Caller, Depends(may_manage)], workspace: str = "") -> dict[str, Any]:
    """Let a silence end now; ``ended`` is false if it had before."""
    return await to_thread.run_sync(partial(_end, name, workspace or config.workspace(), who.name))


@router.delete("/{name:path}", status_code=204)
async def delete(name: str, who: Annotated[Caller, Depends(may_manage)], workspace: str = "") -> None:
    """Delete a silence; its history stays."""
    await to_thread.run_sync(partial(_delete, name, workspace or config.workspace(), who.name))


def _list(workspace: str, ended: bool) -> list[dict[str, Any]]:
    now = utc_now()
    with transaction() as connection:
        found = silences.listed(connection, workspace, now)
    return [_shown(one, standing) for one, standing in found if ended or standing.state != "ended"]


def _add(who: str, body: bytes) -> dict[str, Any]:
    now = utc_now()
    document = {**parsed(SilenceRequest, body).root, "author": who}
    silence = silences.read(document, author=who, now=now)
    shown = _shown(silence, silences.standing(silence, now))
    with transaction() as connection:
        silences.add(connection, silence, author=who, now=now, managed_by="api")
    return shown


def _end(name: str, workspace: str, who: str) -> dict[str, Any]:
    with transaction() as connection:
        ended = silences.end(connection, name, workspace=workspace, author=who, now=utc_now())
    return {"workspace": workspace, "name": name, "ended": ended}


def _delete(name: str, workspace: str, who: str) -> None:
    with transaction() as connection:
        definitions.remove(connection, name, workspace=workspace, kind=Kind.SILENCE, author=who)


def _shown(silence: Silence, standing: silences.Standing) -> dict[str, Any]:
    return {
        **silence.model_dump(mode="json", exclude_defaults=True),
        "workspace": silence.workspace,
        "state": standing.state,
        "begins": standing.begins,
        "ends": standing.ends,
    }
