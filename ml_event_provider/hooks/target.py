"""The hook over any target: send one message by hand, and Airflow's "Test connection"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.sdk import BaseHook

from ml_event_provider import config, extensions
from ml_event_provider.targets import Outcome

if TYPE_CHECKING:
    from ml_event_provider.connection import Connection
    from ml_event_provider.targets import Message, Result


class TargetHook(BaseHook):
    """Sends over the connection by the target that serves its type.

    :param conn_id: the connection.
    :param timeout: how long one send may take, in seconds; by default ``[ml_events] send_timeout_seconds``.
    """

    conn_name_attr: ClassVar[str] = "conn_id"
    default_conn_name: ClassVar[str] = "ml_events_target_default"
    conn_type: ClassVar[str] = ""
    hook_name: ClassVar[str] = "ML Events: Target"

    def __init__(self, conn_id: str | None = None, *, timeout: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.conn_id = conn_id or self.default_conn_name
        self.timeout = config.send_timeout_seconds() if timeout is None else timeout

    def get_conn(self) -> Connection:
        """The Airflow connection."""
        return cast("Connection", self.get_connection(self.conn_id))

    def send(self, message: Message) -> Result:
        """Try once to send a message.

        :raises UnknownTarget: if no target serves the connection's type.
        """
        connection = self.get_conn()
        return extensions.target_for(connection.conn_type).send(connection, message, timeout=self.timeout)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the connection works, and what the remote said."""
        connection = self.get_conn()
        result = extensions.target_for(connection.conn_type).check(connection, timeout=self.timeout)
        return result.outcome is Outcome.DELIVERED, f"{result.code}: {result.reason}".strip(": ")
