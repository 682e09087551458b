"""Finds the connections that targets go by, as a task of the workspace's team would."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from ml_event_provider.connection import held
from ml_event_provider.exceptions import LookUpFailed, UnknownTarget
from ml_event_provider.store import airflow_tables
from ml_event_provider.store.engine import transaction, worth_retrying

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.connection import Connection

#: How long a looked-up connection is used before it is looked up again, in seconds.
CONNECTION_SECONDS = 30.0


def look_up(conn_id: str, workspace: str) -> Connection:
    """The connection of that id: the workspace's team's own, else everybody's.

    :raises UnknownTarget: if there is none.
    :raises LookUpFailed: if that cannot be said at present.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        with transaction() as connection:
            teams = airflow_tables.teams(connection)
        if teams and conn_id.startswith("_") and "___" in conn_id:
            # So begin the environment's variables of teams' own connections, each of which must stay the team's.
            raise AirflowNotFoundException(conn_id)
        return _of_team(conn_id, workspace) if workspace in teams else _of_everybody(conn_id)
    except AirflowNotFoundException:
        _check_reachable(conn_id)
        raise UnknownTarget(
            f"there is no Airflow connection {conn_id!r} for workspace {workspace!r}: create it, and the next try"
            " finds it"
        ) from None
    except Exception as error:
        if worth_retrying(error):
            raise LookUpFailed(f"connection {conn_id!r} cannot be looked up at present: the database is away") from None
        raise


def _of_everybody(conn_id: str) -> Connection:
    from airflow.sdk.bases.hook import BaseHook

    return cast("Connection", BaseHook.get_connection(conn_id))


def _of_team(conn_id: str, team: str) -> Connection:
    from airflow.models.connection import Connection as AirflowConnection
    from airflow.sdk.log import mask_secret

    found: Any = AirflowConnection.get_connection_from_secrets(conn_id, team_name=team)
    # As the hook does: nothing of it stands in a log.
    for secret in (found.password, found.extra):
        if secret:
            mask_secret(secret)
    return cast("Connection", found)


def _check_reachable(conn_id: str) -> None:
    """Airflow passes over a table that cannot be read, as if the connection were not there.

    :raises Exception: what the database says, if it is away.
    """
    with transaction() as connection:
        airflow_tables.connection_teams(connection, [conn_id])


class Connections:
    """Airflow connections, each looked up at most every ``CONNECTION_SECONDS``."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        look_up: Callable[[str, str], Connection] = look_up,
    ) -> None:
        self._clock = clock
        self._look_up = look_up
        self._known: dict[tuple[str, str], tuple[float, Connection]] = {}
        self._held: dict[tuple[str, str], tuple[Connection, Connection]] = {}

    def get(self, conn_id: str, workspace: str) -> Connection:
        """The connection of that id for a workspace.

        :raises UnknownTarget: if there is none.
        :raises LookUpFailed: if that cannot be said at present.
        """
        key = workspace, conn_id
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        try:
            connection = self._look_up(conn_id, workspace)
        except UnknownTarget:
            self._known.pop(key, None)
            raise
        self._known[key] = (self._clock() + CONNECTION_SECONDS, connection)
        return connection

    def held(self, conn_id: str, workspace: str) -> Connection:
        """:meth:`get`, decrypted and parsed once and not at each reading.

        :raises UnknownTarget: if there is none.
        :raises LookUpFailed: if that cannot be said at present.
        """
        connection = self.get(conn_id, workspace)
        known = self._held.get((workspace, conn_id))
        if known is None or known[0] is not connection:
            known = self._held[workspace, conn_id] = (connection, held(connection))
        return known[1]
