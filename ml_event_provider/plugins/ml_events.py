"""The Airflow plugin: listeners everywhere, the web app where requests come.

Every task process imports this module, so it imports nothing that such a process does not have anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

from ml_event_provider.listeners import dag_runs, lifecycle, task_instances

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Scope]]
    Send = Callable[[Scope], Awaitable[None]]


class _WebApp:
    """The FastAPI app, made at the first request, so that no other process ever imports it."""

    def __init__(self) -> None:
        self._app: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            from ml_event_provider.api.app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


class MlEventsPlugin(AirflowPlugin):
    """Captures state changes and serves the ingest endpoint."""

    name = "ml_events"
    listeners = [dag_runs, task_instances, lifecycle]  # noqa: RUF012 - declared so by the base class
    fastapi_apps = [{"app": _WebApp(), "url_prefix": "/ml-events", "name": "ML Events"}]  # noqa: RUF012
