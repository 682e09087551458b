"""Dag runs: recorded on the ``DagRun``'s own connection, in the scheduler or the API server.

The event commits or rolls back together with the state change: no phantom, no loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from ml_event_provider import capture, config
from ml_event_provider.listeners.guard import guarded

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


@hookimpl
@guarded
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """A dag run started."""
    _record(dag_run, "running", msg)


@hookimpl
@guarded
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """A dag run succeeded."""
    _record(dag_run, "success", msg)


@hookimpl
@guarded
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """A dag run failed."""
    _record(dag_run, "failed", msg)


def _record(dag_run: DagRun, state: str, message: str) -> None:
    from ml_event_provider.sources.airflow import dag_run_event
    from ml_event_provider.store import events
    from ml_event_provider.store.airflow_tables import workspace_of

    dag = dag_run.dag
    tags = set(getattr(dag, "tags", None) or ())
    if not capture.dag_is_captured(dag_run.dag_id, tags):
        return
    with events.savepoint_of(dag_run) as connection:
        event = dag_run_event(
            dag_run,
            state=state,
            previous_state=_previous_state(dag_run),
            message=message or "",
            workspace=workspace_of(connection, dag_run.dag_id),
            origin=origin_of_process(),
            base_url=config.airflow_base_url(),
            owner=str(getattr(dag, "owner", "") or ""),
            tags=tags,
        )
        events.record_one(connection, event)


def origin_of_process() -> str:
    """``scheduler`` or ``api-server``: the only two processes whose ORM objects reach a listener."""
    import sys

    return "api-server" if "airflow.api_fastapi.main" in sys.modules else "scheduler"


def _previous_state(dag_run: Any) -> str | None:
    """The state that this session replaces, if it has not been flushed yet."""
    from ml_event_provider.store.airflow_tables import replaced_value

    previous = replaced_value(dag_run, "_state")
    return None if previous is None else str(getattr(previous, "value", previous))
