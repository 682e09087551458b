"""The Airflow connection as targets and registries see it, so that they need no Airflow to be read or tested."""

from __future__ import annotations

from typing import Any, Protocol, cast


class Connection(Protocol):
    """The parts of an Airflow connection that targets read (``airflow.sdk.Connection`` fits)."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    login: str | None
    password: str | None
    port: int | None

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extra fields, parsed."""


class HeldConnection:
    """A connection that is used many times: read, decrypted and parsed once; all else is the connection's own."""

    __slots__ = ("_connection", "_extra", "conn_id", "conn_type", "host", "login", "password", "port", "schema")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._extra = dict(connection.extra_dejson)
        for name in ("conn_id", "conn_type", "host", "login", "password", "port", "schema"):
            setattr(self, name, getattr(connection, name))

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extra fields, parsed."""
        return dict(self._extra)

    def __getattr__(self, name: str) -> Any:
        if name in HeldConnection.__slots__:
            # Not made yet: a copy or an unpickled one would ask without end.
            raise AttributeError(name)
        return getattr(self._connection, name)


def held(connection: Connection) -> Connection:
    """The connection for many uses."""
    return cast("Connection", HeldConnection(connection))
