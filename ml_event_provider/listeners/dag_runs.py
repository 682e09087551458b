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

    from ml_event_provider.events.model import Event

#: How often one dag run may be set to the same state by hand, with the other between, and still be told of.
MOST_REPETITIONS = 10


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

    if str(getattr(dag_run.state, "value", dag_run.state)) != state:
        # Airflow also tells of a state asked for by hand that a pending teardown puts off.
        return
    dag = dag_run.dag
    tags = set(getattr(dag, "tags", None) or ())
    if not events.shares_transactions(dag_run):
        # The reconciler tells of its end.
        return
    if not capture.dag_is_captured(dag_run.dag_id, tags):
        return
    origin = origin_of_process()
    with events.savepoint_of(dag_run) as connection:
        workspace = workspace_of(connection, dag_run.dag_id)

        def described(state: str, repetition: int) -> Event:
            return dag_run_event(
                dag_run,
                state=state,
                previous_state=_previous_state(dag_run),
                message=message or "",
                workspace=workspace,
                origin=origin,
                base_url=config.airflow_base_url(),
                owner=str(getattr(dag, "owner", "") or ""),
                tags=tags,
                repetition=repetition,
            )

        if not events.record_one(connection, described(state, 0)) and origin == "api-server":
            # Set by hand to a state that this run has had before: a change of its own if another came between.
            ids = {
                described(name, number).id: (name, number)
                for name in ("success", "failed")
                for number in range(MOST_REPETITIONS)
            }
            recorded = [ids[event_id] for event_id in events.recorded_of(connection, list(ids))]
            if recorded[-1][0] != state:
                events.record_one(connection, described(state, sum(name == state for name, _ in recorded)))


def origin_of_process() -> str:
    """``scheduler`` or ``api-server``: the only two processes whose ORM objects reach a listener."""
    import sys

    return "api-server" if "airflow.api_fastapi.main" in sys.modules else "scheduler"


def _previous_state(dag_run: Any) -> str | None:
    """The state that this session replaces, if it has not been flushed yet."""
    from ml_event_provider.store.airflow_tables import replaced_value

    previous = replaced_value(dag_run, "_state")
    return None if previous is None else str(getattr(previous, "value", previous))
