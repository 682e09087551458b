"""Completes what a sender could not know.

A DAG-level callback often gets no more than ``dag`` and ``run_id``, so its event lacks what names the run: when it was
created and how often it was cleared. The database knows, and gives the event the id under which the scheduler's
listener recorded the same change.

Nor does each process know to which team its DAG belongs: a deadline's callback never, a task on Airflow 3.2 neither.
What they tell of in the configured workspace is moved to the team's, under the id that others give the same change.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider import config
from ml_event_provider.dispatch import approvals
from ml_event_provider.events.belonging import dag_of
from ml_event_provider.sources.airflow import dag_run_event, in_workspace
from ml_event_provider.store import airflow_tables, events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_event_provider.events.model import Event

_DAG_RUN: Final = "airflow.dag_run."
#: Who speaks from within a process of a DAG's.
_PROCESSES: Final = frozenset({"worker", "callback"})


def complete(connection: Any, told: Sequence[Event]) -> list[Event]:
    """The events: those of dag runs from callbacks completed from the run's row, approvals under their change's id."""
    completed: list[Event] = []
    for event in _in_their_workspaces(connection, told):
        if tells_of_run(event):
            completed.append(_from_row(connection, event))
        elif approvals.is_sighting(event):
            completed.append(approvals.named(connection, event, beside=completed))
        else:
            completed.append(event)
    return completed


def tells_of_run(event: Event) -> bool:
    """Whether the event is completed from what Airflow's tables say of its dag run."""
    return event.origin == "callback" and event.type.startswith(_DAG_RUN)


def _in_their_workspaces(connection: Any, told: Sequence[Event]) -> list[Event]:
    """The events, each that a process of a team's DAG told of in the configured workspace in the team's."""
    unsure = {
        number: dag_id
        for number, event in enumerate(told)
        if event.origin in _PROCESSES and event.workspace == config.workspace() and (dag_id := dag_of(event))
    }
    owners = airflow_tables.workspaces_of(connection, set(unsure.values()))
    return [
        in_workspace(event, owners[unsure[number]]) if number in unsure else event for number, event in enumerate(told)
    ]


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
