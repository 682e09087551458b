"""Describes what a listener or callback in a task, triggerer or DAG-processor process was told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ml_event_provider import capture, config
from ml_event_provider.redaction import redact
from ml_event_provider.sources.airflow import dag_run_event, deadline_missed_event, task_instance_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.events.model import Event


def task_event(
    task_instance: Any, state: str, *, previous_state: Any = None, error: Any = None, origin: str
) -> Event | None:
    """The event of the task SDK's ``RuntimeTaskInstance``, or ``None`` if it is not captured."""
    task = task_instance.task
    tags = set(getattr(getattr(task, "dag", None), "tags", None) or ())
    if not capture.task_is_captured(task_instance.dag_id, task_instance.task_id, tags=tags, task=task):
        return None
    server = getattr(task_instance, "_ti_context_from_server", None)
    dag_run = getattr(server, "dag_run", None)
    return task_instance_event(
        task_instance,
        state=state,
        previous_state=state_text(previous_state),
        error=error,
        redact=redact,
        workspace=getattr(dag_run, "team_name", None) or config.workspace(),
        origin=origin,
        base_url=config.airflow_base_url(),
        task=task,
        dag_run=dag_run,
        tags=tags,
    )


def context_event(context: Mapping[str, Any], *, state: str | None = None, of_dag: bool | None = None) -> Event | None:
    """The event that a callback's context tells of, or ``None`` if it is not captured.

    The context tells by itself what it is about: ``deadline`` only stands in a deadline's, ``reason`` only in a
    DAG-level callback's. ``state`` and ``of_dag`` say so where the caller knows better.

    :raises ValueError: if it names neither a task instance nor a dag run.
    """
    if "deadline" in context and of_dag is None:
        run = context.get("dag_run") or {}
        if not capture.dag_is_captured(str(run.get("dag_id") or "")):
            return None
        return deadline_missed_event(
            context, workspace=config.workspace(), origin="callback", base_url=config.airflow_base_url()
        )
    if of_dag or (of_dag is None and "reason" in context):
        return _dag_run_event(context, state)
    task_instance = context.get("ti") or context.get("task_instance")
    if task_instance is None:
        raise ValueError(
            "the callback's context names no task instance, dag run or deadline: use the callback for what it is"
            f" made for (context has: {', '.join(sorted(context))})"
        )
    return task_event(
        task_instance,
        state or state_text(task_instance.state) or "failed",
        error=context.get("exception"),
        origin="callback",
    )


def _dag_run_event(context: Mapping[str, Any], state: str | None) -> Event | None:
    dag, run = context.get("dag"), context.get("dag_run")
    dag_id = str(getattr(dag, "dag_id", None) or getattr(run, "dag_id", None) or "")
    run_id = str(context.get("run_id") or getattr(run, "run_id", None) or "")
    if not dag_id or not run_id:
        raise ValueError("the DAG callback's context names no dag run")
    tags = set(getattr(dag, "tags", None) or ())
    if not capture.dag_is_captured(dag_id, tags):
        return None
    reason = str(context.get("reason") or "")
    known = run if run is not None else SimpleNamespace(dag_id=dag_id, run_id=run_id, start_date=None, end_date=None)
    # The API server completes what a callback cannot know: when the run was created, how often cleared.
    return dag_run_event(
        known,
        state=state or ("success" if reason == "success" else "failed"),
        message=redact(reason),
        workspace=config.workspace(),
        origin="callback",
        base_url=config.airflow_base_url(),
        owner=str(getattr(dag, "owner", "") or ""),
        tags=tags,
    )


def state_text(state: Any) -> str | None:
    """A state enum's value."""
    return None if state is None else str(getattr(state, "value", state))
