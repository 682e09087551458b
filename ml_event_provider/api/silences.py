"""Silences: see, add, end and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import APIRouter
from pydantic import RootModel

from ml_event_provider import config
from ml_event_provider.api import authority
from ml_event_provider.api.body import BodyDep, parsed
from ml_event_provider.api.security import Caller, CallerDep
from ml_event_provider.dispatch import silences
from ml_event_provider.store import definitions
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import database_now, shared_now, transaction

if TYPE_CHECKING:
    from ml_event_provider.rules.silences import Silence

router = APIRouter(prefix="/v1/silences")


class SilenceRequest(RootModel[dict[str, Any]]):
    """A silence as it is written in a file; ``name``, ``workspace`` and ``author`` may be left out."""


@router.get("")
async def list_silences(who: CallerDep, workspace: str = "", ended: bool = False) -> dict[str, Any]:
    """The silences that the caller may see, with how they stand; those that have ended only with ``ended=true``."""
    return {"silences": await to_thread.run_sync(_list, who, workspace, ended)}


@router.post("", status_code=201)
async def add(who: CallerDep, body: BodyDep) -> dict[str, Any]:
    """Add a silence; its author is the caller, whatever the body says."""
    return await to_thread.run_sync(_add, who, body)


@router.post("/{name:path}/end")
async def end(name: str, who: CallerDep, workspace: str = "") -> dict[str, Any]:
    """Let a silence end now; ``ended`` is false if it had before."""
    return await to_thread.run_sync(_end, who, name, workspace or config.workspace())


@router.delete("/{name:path}", status_code=204)
async def delete(name: str, who: CallerDep, workspace: str = "") -> None:
    """Delete a silence; its history stays."""
    await to_thread.run_sync(_delete, who, name, workspace or config.workspace())


def _list(who: Caller, workspace: str, ended: bool) -> list[dict[str, Any]]:
    now = shared_now()
    seen = authority.sight(who)
    with transaction() as connection:
        found = silences.listed(connection, workspace, now, sight=seen)
    return [_shown(one, standing) for one, standing in found if ended or standing.state != "ended"]


def _add(who: Caller, body: bytes) -> dict[str, Any]:
    now = shared_now()
    document = {**parsed(SilenceRequest, body).root, "author": who.name}
    named = "name" in document
    silence = silences.read(document, author=who.name, now=now)
    shown = _shown(silence, silences.standing(silence, now))
    authority.manage(who, silence.workspace)
    if named:
        authority.choose_name(who)
    with transaction() as connection:
        silences.add(connection, silence, author=who.name, now=now, managed_by="api")
    return shown


def _end(who: Caller, name: str, workspace: str) -> dict[str, Any]:
    _theirs(who, name, workspace)
    with transaction() as connection:
        ended = silences.end(connection, name, workspace=workspace, author=who.name, now=database_now(connection))
    return {"workspace": workspace, "name": name, "ended": ended}


def _delete(who: Caller, name: str, workspace: str) -> None:
    _theirs(who, name, workspace)
    with transaction() as connection:
        definitions.remove(connection, name, workspace=workspace, kind=Kind.SILENCE, author=who.name)


def _theirs(who: Caller, name: str, workspace: str) -> None:
    """Whether the caller may see the silence, and change it.

    :raises NotFound: if there is none of that name, or none that the caller may see.
    :raises HTTPException: 403 if the caller sees it only.
    """
    seen = authority.sight(who)
    with transaction() as connection:
        silences.check_shown_to(seen, connection, name, workspace=workspace)
    authority.manage(who, workspace)


def _shown(silence: Silence, standing: silences.Standing) -> dict[str, Any]:
    return {
        **silence.model_dump(mode="json", exclude_defaults=True),
        "workspace": silence.workspace,
        "state": standing.state,
        "begins": standing.begins,
        "ends": standing.ends,
    }
