"""Completes what a sender could not know.

A DAG-level callback often gets no more than ``dag`` and ``run_id``, so its event lacks what names the run: when it was
created and how often it was cleared. The database knows, and gives the event the id under which the scheduler's
listener recorded the same change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider import config
from ml_event_provider.sources.airflow import dag_run_event
from ml_event_provider.store import airflow_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_event_provider.events.model import Event

_DAG_RUN = "airflow.dag_run."


def complete(connection: Any, events: Sequence[Event]) -> list[Event]:
    """The events, those of dag runs from callbacks completed from the run's row."""
    return [
        _from_row(connection, event) if event.origin == "callback" and event.type.startswith(_DAG_RUN) else event
        for event in events
    ]


def _from_row(connection: Any, event: Event) -> Event:
    run = airflow_tables.run_named(connection, str(event.data.get("dag_id")), str(event.data.get("run_id")))
    if run is None:
        return event
    return dag_run_event(
        run,
        state=event.type.removeprefix(_DAG_RUN),
        previous_state=event.data.get("previous_state"),
        message=str(event.data.get("message") or ""),
        workspace=airflow_tables.workspace_of(connection, run.dag_id),
        origin=event.origin,
        base_url=config.airflow_base_url(),
        owner=event.owner,
        tags=event.data.get("tags") or (),
    )
