"""The Airflow connection as targets and registries see it, so that they need no Airflow to be read or tested."""

from __future__ import annotations

from typing import Any, Protocol


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
