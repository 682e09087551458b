"""Rules and what stands beside them, as JSON with a history of versions; their meaning is that of ``rules``."""

from __future__ import annotations

import json
import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import String, bindparam, cast, delete, func, insert, select, update

from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import cancelling, cursors, schema
from ml_event_provider.store.choice import chosen
from ml_event_provider.store.engine import database_now, in_chunks
from ml_event_provider.store.one_by_one import json_object, readable_rows, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select

    from ml_event_provider.store.choice import Names

    #: A workspace and a name in it.
    Place = tuple[str, str]

log = logging.getLogger(__name__)

_TABLE = schema.definition
_VERSIONS = schema.definition_version
#: The cursor that counts changes.
_CHANGES = "rules"
#: As the database writes it: only compared, and never read.
_MOMENT = cast(_VERSIONS.c.changed_at, String)
#: What a change writes anew.
_CHANGED: dict[str, Any] = {
    name: bindparam(name) for name in ("version", "enabled", "managed_by", "definition", "updated_at")
}
#: Built once: each round of each workspace asks so.
_LAST = select(_VERSIONS.c.id, _MOMENT).order_by(_VERSIONS.c.id.desc()).limit(1)


class Kind(StrEnum):
    """What is defined."""

    RULE = "rule"
    GROUP = "resource_group"
    CALENDAR = "calendar"
    SILENCE = "silence"
    #: A pack that is switched on, with its parameters.
    PACK = "pack"


class Stored(NamedTuple):
    """A definition with its version."""

    kind: str
    workspace: str
    name: str
    version: int
    enabled: bool
    managed_by: str
    definition: dict[str, Any]
    updated_at: datetime


class Version(NamedTuple):
    """What a definition was from a moment on: ``definition`` is ``None`` from its deletion on."""

    version: int
    change: str
    author: str
    managed_by: str
    definition: dict[str, Any] | None
    changed_at: datetime


def put(
    connection: Connection,
    definition: dict[str, Any],
    *,
    managed_by: str,
    kind: Kind = Kind.RULE,
    author: str = "",
    change: str = "",
) -> str:
    """Create or change a definition; say ``"created"``, ``"changed"`` or ``"unchanged"``.

    :param change: what the history says of it, in place of these words.
    """
    return put_all(connection, [definition], managed_by=managed_by, kind=kind, author=author, change=change)[0]


def put_all(
    connection: Connection,
    wanted: Sequence[dict[str, Any]],
    *,
    managed_by: str,
    kind: Kind = Kind.RULE,
    author: str = "",
    change: str = "",
) -> list[str]:
    """Create or change definitions of one kind, each of another name, as :func:`put` does; say so of each.

    The number of statements does not grow with theirs.
    """
    now = lock_changes(connection)
    places = {(one["workspace"], one["name"]) for one in wanted}
    known = {(row.workspace, row.name): row for row in _rows(connection, kind, places)}
    # A name that was deleted goes on counting, so that a version is never two things.
    last = _last_versions(connection, kind, places)
    said, new, changed, versions = [], [], [], []
    for one in wanted:
        place = one["workspace"], one["name"]
        text, row = json.dumps(one, ensure_ascii=False, sort_keys=True), known.get(place)
        if row is not None and row.definition == text and row.managed_by == managed_by:
            said.append("unchanged")
            continue
        said.append("created" if row is None else "changed")
        about = {"kind": kind, "workspace": place[0], "name": place[1], "version": last.get(place, 0) + 1}
        shared = {"managed_by": managed_by, "definition": text}
        values = about | shared | {"enabled": bool(one.get("enabled", True)), "updated_at": now}
        if row is None:
            new.append(values | {"created_at": now})
        else:
            changed.append(values | {"row_id": row.id})
        note = {"change": (change or said[-1])[:20], "author": author[:200], "changed_at": now}
        versions.append(about | shared | note)
    if new:
        connection.execute(insert(_TABLE), new)
    if changed:
        connection.execute(update(_TABLE).where(_TABLE.c.id == bindparam("row_id")).values(_CHANGED), changed)
    _note(connection, versions, now=now)
    return said


def lock_changes(connection: Connection) -> datetime:
    """Wait for whoever changes definitions, keep others waiting until this transaction ends, and say when that is.

    It comes before anything else that a change reads or writes: whoever began with rows would wait for others' rows
    while they wait for these, and would overwrite what they are about to commit.
    """
    cursors.lock(connection, _CHANGES, now=database_now(connection), wait=True)
    return database_now(connection)


def find(connection: Connection, kind: Kind = Kind.RULE, *, workspace: Names = "") -> list[Stored]:
    """All definitions of a kind, by workspace and name."""
    query = select(_TABLE).where(_TABLE.c.kind == kind, chosen(_TABLE.c.workspace, workspace))
    query = query.order_by(_TABLE.c.workspace, _TABLE.c.name)
    found: list[Stored] = []

    def unreadable(what: object, error: Exception) -> None:
        log.error("%s %s cannot be read: %s", kind, what, reason_of(error))

    for row in readable_rows(connection, query, _TABLE.c.id, lambda key, error: unreadable(f"number {key}", error)):
        try:
            found.append(_stored(row))
        except (ValueError, RecursionError) as error:
            unreadable(f"{row.name} of workspace {row.workspace}", error)
    return found


def enabled_rules(connection: Connection, workspace: str) -> frozenset[str]:
    """The name of each rule of a workspace that is switched on, whether its definition can be read or not."""
    query = select(_TABLE.c.name).where(_TABLE.c.kind == Kind.RULE, _TABLE.c.workspace == workspace, _TABLE.c.enabled)
    return frozenset(connection.execute(query).scalars())


def get(connection: Connection, name: str, *, workspace: str, kind: Kind = Kind.RULE) -> Stored:
    """One definition.

    :raises NotFound: if there is none of that name.
    """
    row = connection.execute(_named(kind, workspace, name)).first()
    if row is None:
        raise missing(name, workspace=workspace, kind=kind)
    return _stored(row)


def missing(name: str, *, workspace: str, kind: Kind) -> NotFound:
    """The error that there is no definition of that name, the same for one that may not be seen."""
    return NotFound(f"workspace {workspace!r} has no {_word(kind)} {name!r}; see `airflow ml-events {_WHERE[kind]}`")


def set_enabled(connection: Connection, name: str, *, workspace: str, enabled: bool, author: str = "") -> None:
    """Switch a rule on or off; a change is a new version.

    :raises NotFound: if there is none of that name.
    """
    lock_changes(connection)
    stored = get(connection, name, workspace=workspace)
    put(
        connection,
        {**stored.definition, "enabled": enabled},
        managed_by=stored.managed_by,
        author=author,
        change="enabled" if enabled else "disabled",
    )


def remove(connection: Connection, name: str, *, workspace: str, kind: Kind = Kind.RULE, author: str = "") -> None:
    """Delete a definition; its history stays. What a rule had still to send is called off.

    :raises NotFound: if there is none of that name.
    """
    now = lock_changes(connection)
    managed_by = connection.execute(
        _named(kind, workspace, name).with_only_columns(_TABLE.c.managed_by)
    ).scalar_one_or_none()
    if managed_by is None:
        raise missing(name, workspace=workspace, kind=kind)
    connection.execute(
        delete(_TABLE).where(_TABLE.c.kind == kind, _TABLE.c.workspace == workspace, _TABLE.c.name == name)
    )
    place = workspace, name
    note = {
        "kind": kind,
        "workspace": workspace,
        "name": name,
        "version": _last_versions(connection, kind, {place}).get(place, 0) + 1,
        "change": "deleted",
        "author": author[:200],
        "managed_by": managed_by,
        "definition": None,
        "changed_at": now,
    }
    _note(connection, [note], now=now)
    if kind == Kind.RULE:
        cancelling.with_deleted_rules(connection, workspace, author=author, now=now)


def history(connection: Connection, name: str, *, workspace: str, kind: Kind = Kind.RULE) -> list[Version]:
    """All versions of a definition, the first first.

    :raises NotFound: if there never was one of that name.
    """
    query = (
        select(_VERSIONS)
        .where(_VERSIONS.c.kind == kind, _VERSIONS.c.workspace == workspace, _VERSIONS.c.name == name)
        .order_by(_VERSIONS.c.version)
    )
    found = _versions(connection, query)
    if not found:
        raise NotFound(f"workspace {workspace!r} never had a {_word(kind)} {name!r}")
    return [version for _, version in found]


def roll_back(
    connection: Connection, name: str, version: int, *, workspace: str, kind: Kind = Kind.RULE, author: str = ""
) -> str:
    """Make a definition what it was in a former version, as a new version; say what changed, as :func:`put` does.

    :raises NotFound: if there is no such version, or it is a deletion.
    """
    lock_changes(connection)
    versions = {one.version: one for one in history(connection, name, workspace=workspace, kind=kind)}
    former = versions.get(version)
    if former is None or former.definition is None:
        known = ", ".join(str(one.version) for one in versions.values() if one.definition is not None)
        raise NotFound(f"{_word(kind)} {name!r} has no version {version} to go back to; it has {known}")
    return put(
        connection,
        former.definition,
        managed_by=former.managed_by,
        kind=kind,
        author=author,
        change=f"rolled back to {version}",
    )


def at(connection: Connection, kind: Kind, moment: datetime, *, workspace: str) -> list[tuple[str, Version]]:
    """What a workspace's definitions of a kind were at a moment: by name, the version that was in force."""
    query = (
        select(_VERSIONS)
        .where(_VERSIONS.c.kind == kind, _VERSIONS.c.workspace == workspace, _VERSIONS.c.changed_at <= moment)
        .order_by(_VERSIONS.c.name, _VERSIONS.c.version)
    )
    newest = dict(_versions(connection, query))
    return [(name, version) for name, version in newest.items() if version.definition is not None]


def _versions(connection: Connection, query: Select[Any]) -> list[tuple[str, Version]]:
    """The versions with their names. One that cannot be read is logged, and costs no other."""

    def unreadable(what: object, error: Exception) -> None:
        log.error("Version %s of a definition cannot be read: %s", what, reason_of(error))

    found: list[tuple[str, Version]] = []
    for row in readable_rows(connection, query, _VERSIONS.c.id, unreadable):
        try:
            found.append((row.name, _version(row)))
        except (ValueError, RecursionError) as error:
            unreadable(f"{row.version} ({row.kind} {row.name} of workspace {row.workspace})", error)
    return found


def fingerprint(connection: Connection) -> str:
    """What the last change of any definition is known by: another after each; cheap enough to ask before each batch.

    It names the change, and counts none: a database that is restored, or emptied, comes back to a number, never to a
    change that it did not hold.
    """
    row = connection.execute(_LAST).first()
    return "" if row is None else _mark(*row)


def changes(connection: Connection, *, workspace: str = "") -> dict[str, str]:
    """The last change in each workspace that ever had a definition, or in one, as :func:`fingerprint` knows it."""
    last = select(func.max(_VERSIONS.c.id)).group_by(_VERSIONS.c.workspace)
    if workspace:
        last = last.where(_VERSIONS.c.workspace == workspace)
    query = select(_VERSIONS.c.workspace, _VERSIONS.c.id, _MOMENT).where(_VERSIONS.c.id.in_(last))
    return {str(name): _mark(*mark) for name, *mark in connection.execute(query)}


def _mark(number: int, moment: str) -> str:
    return f"{number} {moment}"


_WHERE = {
    Kind.RULE: "rules list",
    Kind.GROUP: "rules list --kind resource_group",
    Kind.CALENDAR: "rules list --kind calendar",
    Kind.SILENCE: "silences list",
    Kind.PACK: "packs list",
}


def _word(kind: Kind) -> str:
    return kind.replace("_", " ")


def _named(kind: Kind, workspace: str, name: str) -> Any:
    return select(_TABLE).where(_TABLE.c.kind == kind, _TABLE.c.workspace == workspace, _TABLE.c.name == name)


def _rows(connection: Connection, kind: Kind, places: set[Place]) -> Iterator[Any]:
    """What is stored under the names.

    No more than is needed: whatever else of it cannot be read, it is mended by being put anew.
    """
    known = _TABLE.c.id, _TABLE.c.workspace, _TABLE.c.name, _TABLE.c.definition, _TABLE.c.managed_by
    for workspace, names in _by_workspace(places).items():
        for chunk in in_chunks(names):
            yield from connection.execute(
                select(*known).where(_TABLE.c.kind == kind, _TABLE.c.workspace == workspace, _TABLE.c.name.in_(chunk))
            )


def _last_versions(connection: Connection, kind: Kind, places: set[Place]) -> dict[Place, int]:
    """The last version of each name that ever had one."""
    found: dict[Place, int] = {}
    for workspace, names in _by_workspace(places).items():
        for chunk in in_chunks(names):
            query = (
                select(_VERSIONS.c.name, func.max(_VERSIONS.c.version))
                .where(_VERSIONS.c.kind == kind, _VERSIONS.c.workspace == workspace, _VERSIONS.c.name.in_(chunk))
                .group_by(_VERSIONS.c.name)
            )
            found.update({(workspace, name): int(version) for name, version in connection.execute(query)})
    return found


def _by_workspace(places: set[Place]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for workspace, name in sorted(places):
        found.setdefault(workspace, []).append(name)
    return found


def _note(connection: Connection, versions: list[dict[str, Any]], *, now: datetime) -> None:
    """Write versions into the history."""
    if versions:
        cursors.advance(connection, _CHANGES, now=now, by=len(versions))
        connection.execute(insert(_VERSIONS), versions)


def _stored(row: Any) -> Stored:
    return Stored(
        kind=row.kind,
        workspace=row.workspace,
        name=row.name,
        version=row.version,
        enabled=row.enabled,
        managed_by=row.managed_by,
        definition=json_object(row.definition),
        updated_at=row.updated_at,
    )


def _version(row: Any) -> Version:
    return Version(
        version=row.version,
        change=row.change,
        author=row.author,
        managed_by=row.managed_by,
        definition=None if row.definition is None else json_object(row.definition),
        changed_at=row.changed_at,
    )
