"""Whether the tables in the database are those that this version works with, and what to do if not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import inspect, text

from ml_event_provider import __version__
from ml_event_provider.store.schema import REVISIONS, VERSION_TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: The migration that this version works with.
NEEDED = next(reversed(REVISIONS.values()))


class Standing(NamedTuple):
    """The migration that the database is at, empty for none, and what to do; empty if all is well."""

    at: str
    remedy: str


def standing(connection: Connection) -> Standing:
    """Where the database stands."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return Standing("", "the tables of ML events are not in the database: run `airflow db migrate`")
    at = str(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or "")  # noqa: S608 - a constant
    if at == NEEDED:
        return Standing(at, "")
    if at in REVISIONS.values() or not at:
        return Standing(
            at,
            f"the tables of ML events are at migration {at or 'none'}, and version {__version__} needs {NEEDED}:"
            " run `airflow db migrate`",
        )
    return Standing(
        at,
        f"the tables of ML events are at migration {at}, which version {__version__} does not know: a newer version"
        " migrated them; install it here, too",
    )
