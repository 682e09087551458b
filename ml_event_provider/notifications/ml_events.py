"""``MlEventNotifier``: publishes an event wherever Airflow takes a notifier."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from ml_event_provider.hooks.ml_events import MlEventHook
from ml_event_provider.hooks.reporting import context_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context


class MlEventNotifier(BaseNotifier):
    """Publishes the state change that its context tells of: of a task, a DAG or a deadline.

    :param targets: connection ids to send it to at once, without a rule.
    :param ml_events_conn_id: the connection to the ingest endpoint.

    It holds no message text: Airflow renders a notifier's template fields in place, so that an instance used twice
    would send the first text again. The text comes from the message templates.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, targets: Sequence[str] = (), ml_events_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targets = tuple(targets)
        self.ml_events_conn_id = ml_events_conn_id

    def notify(self, context: Context | Mapping[str, Any]) -> None:
        """Publish.

        :raises HandOverError: if the ingest endpoint could not be reached; the event is spooled.
        """
        event = context_event(context)
        if event is not None:
            MlEventHook(self.ml_events_conn_id).report(event, targets=self.targets)

    async def async_notify(self, context: Context | Mapping[str, Any]) -> None:
        """Publish without blocking the triggerer's event loop."""
        await asyncio.to_thread(self.notify, context)
