"""``ModelApprovalTrigger``: waits for a model version's approval in the triggerer."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from airflow.triggers.base import BaseTrigger, TriggerEvent

from ml_event_provider.exceptions import RegistryError
from ml_event_provider.registries.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ml_event_provider.connection import Connection

#: A wait after errors grows to this many poll intervals at most.
_LONGEST_BACK_OFF = 8


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads of our own: a registry that hangs must not take those that other triggers share."""
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="ml-events-registry")


class ModelApprovalTrigger(BaseTrigger):
    """Reads the version every ``poll_interval`` seconds (± 10 %) until it is approved or rejected.

    Ends with one event ``{"watch": …, "error": …}``: a watch with a decision, or with none and an error, or
    neither at the end of the time. The task publishes the decision, so that a triggerer that dies in between
    loses nothing.

    :param registry: the registry's name.
    :param conn_id: the connection to it.
    :param watch: the :class:`~ml_event_provider.registries.watch.Watch` as text, with what was seen so far.
    :param poll_interval: seconds between two reads; doubled for each error in a row, eightfold at most.
    :param request_timeout: the longest wait for one answer, in seconds.
    :param end_time: when to give up.
    """

    def __init__(
        self,
        *,
        registry: str,
        conn_id: str,
        watch: str | Mapping[str, Any],
        poll_interval: float,
        request_timeout: float,
        end_time: datetime,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.conn_id = conn_id
        self.watch = watch
        self.poll_interval = poll_interval
        self.request_timeout = request_timeout
        self.end_time = end_time

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments to build this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "registry": self.registry,
                "conn_id": self.conn_id,
                "watch": self.watch,
                "poll_interval": self.poll_interval,
                "request_timeout": self.request_timeout,
                "end_time": self.end_time,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the version is approved or rejected, the time is up, or the registry is given up."""
        watch = Watch.from_dict(self.watch)
        try:
            while True:
                await self._look(watch)
                left = (self.end_time - datetime.now(UTC)).total_seconds()
                if watch.decision is not None or left <= 0:
                    break
                await asyncio.sleep(min(left, self._pause(watch.errors)))
        except RegistryError as error:
            yield _event(watch, str(error))
        else:
            yield _event(watch)

    async def _look(self, watch: Watch) -> None:
        try:
            # Each time anew: a rotated password is used as soon as it is stored.
            connection = cast("Connection", await BaseHook.aget_connection(self.conn_id))
        except (AirflowException, AirflowRuntimeError) as error:
            watch.failed(f"connection {self.conn_id!r} cannot be read: {error}")
        else:
            await asyncio.get_running_loop().run_in_executor(_threads(), self._read, watch, connection)
        if watch.errors:
            self.log.warning("Error %d of %d in a row: %s", watch.errors, watch.max_errors, watch.last_error)

    def _read(self, watch: Watch, connection: Connection) -> None:
        from ml_event_provider.extensions import registry_named

        watch.look(registry_named(self.registry), connection, timeout=self.request_timeout, now=datetime.now(UTC))

    def _pause(self, errors: int) -> float:
        """Seconds until the next look; spread, so that many triggers do not ask in the same moment."""
        factor = min(1 << errors, _LONGEST_BACK_OFF)
        return self.poll_interval * factor * random.uniform(0.9, 1.1)  # noqa: S311 - no secret


def _event(watch: Watch, error: str = "") -> TriggerEvent:
    return TriggerEvent({"watch": watch.to_json(), "error": error})
