"""Task instances: handed over from task processes; recorded on the spot for states set by hand or by the scheduler.

In a task process the listener gets a ``RuntimeTaskInstance`` and there is no database; in the API server and the
scheduler it gets the ORM's ``TaskInstance``, whose session's connection takes the event.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from ml_event_provider import capture, config
from ml_event_provider.listeners.guard import guarded
from ml_event_provider.redaction import redact

if TYPE_CHECKING:
    from ml_event_provider.events.model import Event


#: The hand-over of this process's task start, while it is under way.
_start: threading.Thread | None = None


@hookimpl
@guarded
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    """A task process starts its task."""
    if config.capture_running():
        _capture(task_instance, "running", previous_state)


@hookimpl
@guarded
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """A task succeeded or was set so by hand."""
    _capture(task_instance, "success", previous_state)


@hookimpl
@guarded
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """A try failed: for good, or with a retry to come."""
    state = _text(task_instance.state)
    _capture(task_instance, "up_for_retry" if state == "up_for_retry" else "failed", previous_state, error)


@hookimpl
@guarded
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """A task skipped itself or was set so by hand."""
    _capture(task_instance, "skipped", previous_state)


def _capture(task_instance: Any, state: str, previous_state: Any, error: Any = None) -> None:
    if hasattr(task_instance, "_sa_instance_state"):
        _record(task_instance, state, previous_state, error)
    else:
        _hand_over(task_instance, state, previous_state, error)


def _hand_over(task_instance: Any, state: str, previous_state: Any, error: Any) -> None:
    """Hand over from a task process: the start beside the task, the end before the process goes."""
    global _start
    if state == "running":
        _start = threading.Thread(
            target=guarded(_send),
            args=(task_instance, state, previous_state, error),
            name="ml-events-hand-over",
            daemon=True,
        )
        _start.start()
        return
    began = time.monotonic()
    if _start is not None:
        _start.join(config.hand_over_seconds() / 2)
        _start = None
    _send(task_instance, state, previous_state, error, config.hand_over_seconds() - (time.monotonic() - began))


def _send(task_instance: Any, state: str, previous_state: Any, error: Any, seconds: float | None = None) -> None:
    from ml_event_provider.hooks.ml_events import MlEventHook
    from ml_event_provider.hooks.reporting import task_event

    event = task_event(task_instance, state, previous_state=previous_state, error=error, origin="worker")
    if event is not None:
        MlEventHook(seconds=seconds).hand_over([event])


def _record(task_instance: Any, state: str, previous_state: Any, error: Any) -> None:
    from ml_event_provider.listeners.dag_runs import origin_of_process
    from ml_event_provider.sources.airflow import task_instance_event
    from ml_event_provider.store import airflow_tables, events

    if not events.shares_transactions(task_instance):
        # The reconciler tells of its end.
        return
    dag_id, task_id = task_instance.dag_id, task_instance.task_id
    origin = origin_of_process()
    manual = origin == "api-server"
    with events.savepoint_of(task_instance) as connection:
        tags = airflow_tables.tags_of(connection, [dag_id])[dag_id]
        # States set by hand come with task instances that know nothing of their task.
        task = task_instance.__dict__.get("task") or airflow_tables.tasks_of(connection, [(dag_id, task_id)]).get(
            (dag_id, task_id)
        )
        if not capture.task_is_captured(dag_id, task_id, tags=tags, task=task):
            return
        try_uuid = airflow_tables.try_uuid_of(connection, task_instance)

        def described(repetition: int) -> Event:
            return task_instance_event(
                task_instance,
                state=state,
                previous_state=_text(previous_state),
                error=error,
                redact=redact,
                manual=manual,
                try_uuid=try_uuid,
                workspace=airflow_tables.workspace_of(connection, task_instance.dag_id),
                origin=origin,
                base_url=config.airflow_base_url(),
                task=task,
                dag_run=task_instance.__dict__.get("dag_run"),
                tags=tags,
                repetition=repetition,
            )

        if not events.record_one(connection, described(0)) and manual:
            # Set by hand to a state that this try has had before: a change of its own if another came between.
            last, counts = events.latest_state_of_try(connection, try_uuid)
            if last != state:
                events.record_one(connection, described(counts.get(state, 0)))


def _text(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
