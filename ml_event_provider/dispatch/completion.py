"""Completes what a sender could not know.

A DAG-level callback often gets no more than ``dag`` and ``run_id``, so its event lacks what names the run: when it was
created and how often it was cleared. The database knows, and gives the event the id under which the scheduler's
listener recorded the same change.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ml_event_provider import config
from ml_event_provider.dispatch import approvals
from ml_event_provider.sources.airflow import dag_run_event
from ml_event_provider.store import airflow_tables, events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_event_provider.events.model import Event

_DAG_RUN = "airflow.dag_run."


def complete(connection: Any, told: Sequence[Event]) -> list[Event]:
    """The events: those of dag runs from callbacks completed from the run's row, approvals under their change's id."""
    completed: list[Event] = []
    for event in told:
        if event.origin == "callback" and event.type.startswith(_DAG_RUN):
            completed.append(_from_row(connection, event))
        elif approvals.is_sighting(event):
            completed.append(approvals.named(connection, event, beside=completed))
        else:
            completed.append(event)
    return completed


def _from_row(connection: Any, event: Event) -> Event:
    dag_id, run_id = str(event.data.get("dag_id")), str(event.data.get("run_id"))
    run = airflow_tables.run_named(connection, dag_id, run_id)
    if run is None:
        return event
    state = event.type.removeprefix(_DAG_RUN)
    workspace = airflow_tables.workspace_of(connection, run.dag_id)

    def completed(clear_number: int) -> Event:
        return dag_run_event(
            SimpleNamespace(**{**run._mapping, "clear_number": clear_number}),
            state=state,
            previous_state=event.data.get("previous_state"),
            message=str(event.data.get("message") or ""),
            workspace=workspace,
            origin=event.origin,
            base_url=config.airflow_base_url(),
            owner=event.owner,
            tags=event.data.get("tags") or (),
        )

    if run.state == state:
        return completed(run.clear_number)
    # The callback ran late: the run was cleared since. It tells of the latest clear in which the run had this state.
    for clear_number in range(run.clear_number, max(-1, run.clear_number - 20), -1):
        earlier = completed(clear_number)
        if events.known_ids(connection, [earlier.id]):
            return earlier
    return completed(max(run.clear_number - 1, 0))
