"""Rules in the store, as JSON definitions with a version each; their meaning is ``rules.model``'s."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, insert, select, update

from ml_event_provider.exceptions import NotFound
from ml_event_provider.store import cursors, schema
from ml_event_provider.store.engine import utc_now

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

_TABLE = schema.rule
#: The cursor that counts changes.
_CHANGES = "rules"


class StoredRule(NamedTuple):
    """A rule's definition with its version."""

    workspace: str
    name: str
    version: int
    enabled: bool
    managed_by: str
    definition: dict[str, Any]
    updated_at: datetime


def put(connection: Connection, definition: dict[str, Any], *, managed_by: str) -> str:
    """Create or change a rule; say ``"created"``, ``"changed"`` or ``"unchanged"``."""
    workspace, name = definition["workspace"], definition["name"]
    text = json.dumps(definition, ensure_ascii=False, sort_keys=True)
    enabled = bool(definition.get("enabled", True))
    now = utc_now()
    row = connection.execute(select(_TABLE).where(_TABLE.c.workspace == workspace, _TABLE.c.name == name)).first()
    if row is None:
        connection.execute(
            insert(_TABLE).values(
                workspace=workspace,
                name=name,
                version=1,
                enabled=enabled,
                managed_by=managed_by,
                definition=text,
                created_at=now,
                updated_at=now,
            )
        )
        cursors.advance(connection, _CHANGES, now=utc_now())
        return "created"
    if row.definition == text and row.managed_by == managed_by:
        return "unchanged"
    connection.execute(
        update(_TABLE)
        .where(_TABLE.c.id == row.id)
        .values(
            version=row.version + 1,
            enabled=enabled,
            managed_by=managed_by,
            definition=text,
            updated_at=now,
        )
    )
    cursors.advance(connection, _CHANGES, now=utc_now())
    return "changed"


def all_rules(connection: Connection, *, workspace: str = "") -> list[StoredRule]:
    """All rules by workspace and name."""
    query = select(_TABLE).order_by(_TABLE.c.workspace, _TABLE.c.name)
    if workspace:
        query = query.where(_TABLE.c.workspace == workspace)
    found: list[StoredRule] = []
    for row in connection.execute(query):
        try:
            found.append(_stored(row))
        except ValueError as error:
            log.error("Rule %s of workspace %s cannot be read: %s", row.name, row.workspace, error)
    return found


def get(connection: Connection, name: str, *, workspace: str) -> StoredRule:
    """One rule.

    :raises NotFound: if there is none of that name.
    """
    row = connection.execute(select(_TABLE).where(_TABLE.c.workspace == workspace, _TABLE.c.name == name)).first()
    if row is None:
        raise NotFound(f"workspace {workspace!r} has no rule {name!r}; see `airflow ml-events rules list`")
    return _stored(row)


def set_enabled(connection: Connection, name: str, *, workspace: str, enabled: bool) -> None:
    """Switch a rule on or off; a change is a new version.

    :raises NotFound: if there is none of that name.
    """
    stored = get(connection, name, workspace=workspace)
    put(connection, {**stored.definition, "enabled": enabled}, managed_by=stored.managed_by)


def remove(connection: Connection, name: str, *, workspace: str) -> None:
    """Delete a rule. Its notifications and deliveries stay.

    :raises NotFound: if there is none of that name.
    """
    get(connection, name, workspace=workspace)
    connection.execute(delete(_TABLE).where(_TABLE.c.workspace == workspace, _TABLE.c.name == name))
    cursors.advance(connection, _CHANGES, now=utc_now())


def fingerprint(connection: Connection) -> int:
    """Rises with each change of any rule; cheap enough to ask before each batch."""
    found = cursors.read(connection, _CHANGES)
    return 0 if found is None else found[0]


def _stored(row: Any) -> StoredRule:
    return StoredRule(
        workspace=row.workspace,
        name=row.name,
        version=row.version,
        enabled=row.enabled,
        managed_by=row.managed_by,
        definition=json.loads(row.definition),
        updated_at=row.updated_at,
    )
