"""``MlEventHook``: publishes events from wherever there is no database."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.bases.hook import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from ml_event_provider import config, troubles
from ml_event_provider.exceptions import EventRejected, HandOverError, InvalidEvent, Unauthorized
from ml_event_provider.hooks import ingest
from ml_event_provider.store.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ml_event_provider.events.model import Event

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Whether this process has learnt that this machine's key is not the API server's.
_foreign_key = False


class MlEventHook(BaseHook):
    """Hands events over to the ingest endpoint of the API server.

    The connection ``ml_events_conn_id`` (type ``mlevents``) gives address and credentials. On a machine that
    holds ``[api_auth] jwt_secret`` and has no connection of the default's name in its environment, a
    short-lived service token is minted instead: looking a connection up costs a task process 7 to 12 ms,
    which is longer than the hand-over itself. Any other ``ml_events_conn_id`` is always looked up.
    """

    conn_name_attr = "ml_events_conn_id"
    default_conn_name = "ml_events_default"
    conn_type = "mlevents"
    hook_name = "ML Events"

    def __init__(self, ml_events_conn_id: str | None = None, *, seconds: float | None = None) -> None:
        super().__init__()
        self.ml_events_conn_id = ml_events_conn_id or config.conn_id()
        self.seconds = config.hand_over_seconds() if seconds is None else seconds

    def get_conn(self) -> ingest.Endpoint:
        """Where the API server is and who asks.

        :raises HandOverError: if there is neither the connection nor a key to mint a token with.
        """
        return ingest.local_endpoint() if self._mints() else self._connected()

    def _mints(self) -> bool:
        name = self.ml_events_conn_id
        in_environment = f"AIRFLOW_CONN_{name.upper()}" in os.environ
        return name == self.default_conn_name and not in_environment and not _foreign_key and ingest.can_mint()

    def _at_endpoint(self, send: Callable[[ingest.Endpoint], T]) -> tuple[ingest.Endpoint, T]:
        """What ``send`` gives at the endpoint, and the endpoint that took it.

        Airflow writes itself a random ``jwt_secret`` wherever it finds none, so a machine may hold a key that the API
        server does not know. There, and from then on in this process, the connection is used.
        """
        global _foreign_key
        mints = self._mints()
        endpoint = self.get_conn()
        try:
            return endpoint, send(endpoint)
        except Unauthorized as refused:
            if not mints:
                raise
            try:
                endpoint = self._connected()
            except HandOverError as missing:
                raise Unauthorized(
                    f"{refused}: the key in [api_auth] of this machine is not the API server's, and {missing}"
                ) from None
            _foreign_key = True
            return endpoint, send(endpoint)

    def _connected(self) -> ingest.Endpoint:
        name = self.ml_events_conn_id
        try:
            connection = self.get_connection(name)
        except AirflowNotFoundException as error:
            raise HandOverError(f"there is no connection {name!r}: create it (type 'ml_events'): {error}") from None
        host = (connection.host or "").rstrip("/")
        if not host:
            raise HandOverError(f"connection {name!r} has no host: set it to the API server's URL")
        if "@" in host:
            raise HandOverError(f"connection {name!r} has credentials in its host: move them to login and password")
        if "://" not in host:
            host = f"{connection.schema or 'http'}://{host}"
        if connection.port and host.count(":") < 2:
            host = f"{host}:{connection.port}"
        return ingest.Endpoint(
            host,
            user=connection.login or "",
            password=connection.password or "",
            verify=str(connection.extra_dejson.get("verify", True)).lower() != "false",
        )

    def publish(self, events: Sequence[Event]) -> list[str]:
        """Hand events over and return their ids.

        What cannot be handed over in time is spooled on this machine's disk, so that it is not lost, and
        still raised, so that the caller knows. The ids make a later second hand-over harmless.

        :raises InvalidEvent: if one cannot be JSON; nothing was sent, nothing is spooled.
        :raises EventRejected: if the endpoint refused them; nothing was recorded, nothing is spooled.
        :raises HandOverError: if it could not be reached in time; the events are spooled.
        """
        if not events:
            return []
        deadline = time.monotonic() + self.seconds
        try:
            endpoint, ids = self._at_endpoint(lambda endpoint: ingest.send_events(endpoint, events, deadline=deadline))
        except (EventRejected, InvalidEvent):
            raise
        except Exception as error:
            self.spool.put(events)
            raise HandOverError(
                f"{len(events)} event(s) could not be handed over in {self.seconds:g} s and wait in"
                f" {self.spool.directory}: {error}"
            ) from error
        self._drain(endpoint, deadline)
        return ids

    def hand_over(self, events: Sequence[Event]) -> bool:
        """Like :meth:`publish`, but never raises: say whether the endpoint has the events now."""
        try:
            self.publish(events)
        except (HandOverError, InvalidEvent) as error:
            log.warning("%s", error)
            return False
        except OSError as error:
            lost = f"Events are lost: neither handed over nor spooled in {self.spool.directory}"
            troubles.tell(log, lost, error, level=logging.ERROR)
            return False
        return True

    def report(self, event: Event, *, targets: Sequence[str] = ()) -> None:
        """Publish one event and, where ``targets`` (connection ids) are given, send it there without a rule.

        :raises HandOverError: if the endpoint could not be reached; the event is spooled, its direct
            notification is not: call again to have it sent.
        """
        if not targets:
            self.publish([event])
            return
        try:
            self.notify(event, targets=[{"conn_id": target} for target in targets])
        except EventRejected:
            raise
        except HandOverError:
            self.spool.put([event])
            raise

    def notify(
        self,
        event: Event,
        *,
        targets: Sequence[Mapping[str, Any]],
        template: str | None = None,
        severity: str = "info",
        name: str = "direct",
    ) -> list[str]:
        """Record an event and deliver it to targets (``conn_id``, ``options``) without a rule.

        Returns the deliveries' ids, which are the same however often this is called for the same event and
        name.

        :raises EventRejected: if it was refused.
        :raises HandOverError: if the endpoint could not be reached in time.
        """
        document = {
            "event": event.to_dict(),
            "targets": list(targets),
            "template": template,
            "severity": severity,
            "name": name,
        }
        return list(self.call("/notifications", document)["deliveries"])

    def evaluate(self, event: Event) -> list[dict[str, Any]]:
        """The enabled rules that match an event now; nothing is recorded or sent.

        :raises EventRejected: if it was refused.
        :raises HandOverError: if the endpoint could not be reached in time.
        """
        return list(self.call("/rules/evaluate", {"event": event.to_dict()})["matched"])

    def call(self, path: str, document: Mapping[str, Any]) -> Any:
        """POST a JSON document to the ingest API (evaluate, notify) and return its answer.

        :raises EventRejected: if it was refused.
        :raises HandOverError: if the endpoint could not be reached in time.
        """
        deadline = time.monotonic() + max(self.seconds, 10.0)
        return self._at_endpoint(lambda endpoint: ingest.send_json(endpoint, path, document, deadline=deadline))[1]

    def test_connection(self) -> tuple[bool, str]:
        """Hand over an empty batch and say what the API server said."""
        try:
            deadline = time.monotonic() + 10.0
            self._at_endpoint(lambda endpoint: ingest.send_events(endpoint, [], deadline=deadline))
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer
            return False, str(error)
        return True, "The ingest endpoint accepts events."

    @property
    def spool(self) -> Spool:
        """Where events wait while the endpoint cannot be reached."""
        return Spool(config.spool_directory(), megabytes=config.spool_megabytes())

    def _drain(self, endpoint: ingest.Endpoint, deadline: float) -> None:
        """Send what waits on this machine, in the time that is left."""
        try:
            self.spool.drain(
                lambda events: ingest.send_events(endpoint, events, deadline=deadline),
                go_on=lambda: time.monotonic() < deadline - self.seconds / 2,
            )
        except Exception as error:  # noqa: BLE001 - what was asked for is done; the spool is drained again
            troubles.tell(log, "Spooled events wait on", error)
