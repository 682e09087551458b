"""Callbacks for DAG files. Each publishes an event; that the listener saw the same change is harmless.

.. code-block:: python

    from ml_event_provider import callbacks

    with DAG(
        "train",
        default_args={"on_failure_callback": callbacks.on_failure_callback()},
        on_success_callback=callbacks.dag_success_callback(),
    ): ...

With ``targets`` (connection ids) the event is also sent there at once, without a rule.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ml_event_provider.hooks.ml_events import MlEventHook
from ml_event_provider.hooks.reporting import context_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk.definitions.callback import AsyncCallback, SyncCallback

    Callback = Callable[[Mapping[str, Any]], None]


def on_failure_callback(*, targets: Sequence[str] = (), conn_id: str | None = None) -> Callback:
    """For a task's ``on_failure_callback``: publishes ``airflow.task_instance.failed``."""
    return _callback("failed", of_dag=False, targets=targets, conn_id=conn_id)


def on_success_callback(*, targets: Sequence[str] = (), conn_id: str | None = None) -> Callback:
    """For a task's ``on_success_callback``: publishes ``airflow.task_instance.success``."""
    return _callback("success", of_dag=False, targets=targets, conn_id=conn_id)


def on_retry_callback(*, targets: Sequence[str] = (), conn_id: str | None = None) -> Callback:
    """For a task's ``on_retry_callback``: publishes ``airflow.task_instance.up_for_retry``."""
    return _callback("up_for_retry", of_dag=False, targets=targets, conn_id=conn_id)


def on_skipped_callback(*, targets: Sequence[str] = (), conn_id: str | None = None) -> Callback:
    """For a task's ``on_skipped_callback``: publishes ``airflow.task_instance.skipped``."""
    return _callback("skipped", of_dag=False, targets=targets, conn_id=conn_id)


def dag_failure_callback(*, targets: Sequence[str] = (), conn_id: str | None = None) -> Callback:
    """For a DAG's ``on_failure_callback``: publishes ``airflow.dag_run.failed``."""
    return _callback("failed", of_dag=True, targets=targets, conn_id=conn_id)


def dag_success_callback(*, targets: Sequence[str] = (), conn_id: str | None = None) -> Callback:
    """For a DAG's ``on_success_callback``: publishes ``airflow.dag_run.success``."""
    return _callback("success", of_dag=True, targets=targets, conn_id=conn_id)


def deadline_alert_callback(
    *, asynchronous: bool = True, targets: Sequence[str] = (), conn_id: str | None = None
) -> AsyncCallback | SyncCallback:
    """For ``DeadlineAlert(callback=…)``: publishes ``airflow.deadline.missed``.

    ``asynchronous`` ones run in the triggerer, others in an executor.
    """
    from airflow.sdk.definitions.callback import AsyncCallback, SyncCallback

    kwargs = {"targets": list(targets), "conn_id": conn_id}
    if asynchronous:
        return AsyncCallback(f"{__name__}.{publish_deadline_missed_async.__name__}", kwargs=kwargs)
    return SyncCallback(f"{__name__}.{publish_deadline_missed.__name__}", kwargs=kwargs)


def publish_deadline_missed(
    context: Mapping[str, Any], targets: Sequence[str] = (), conn_id: str | None = None, **_: Any
) -> None:
    """What a missed deadline calls in an executor."""
    publish_context(context, targets=targets, conn_id=conn_id)


async def publish_deadline_missed_async(
    context: Mapping[str, Any], targets: Sequence[str] = (), conn_id: str | None = None, **_: Any
) -> None:
    """What a missed deadline calls in the triggerer; its event loop is not blocked."""
    await asyncio.to_thread(publish_context, context, targets=targets, conn_id=conn_id)


def publish_context(
    context: Mapping[str, Any],
    *,
    state: str | None = None,
    of_dag: bool | None = None,
    targets: Sequence[str] = (),
    conn_id: str | None = None,
) -> str | None:
    """Publish the event that a context tells of; return its id, or ``None`` if it is not captured.

    :raises HandOverError: if the ingest endpoint could not be reached; the event is spooled.
    """
    event = context_event(context, state=state, of_dag=of_dag)
    if event is None:
        return None
    MlEventHook(conn_id).report(event, targets=targets)
    return event.id


def _callback(state: str, *, of_dag: bool, targets: Sequence[str], conn_id: str | None) -> Callback:
    def publish(context: Mapping[str, Any]) -> None:
        publish_context(context, state=state, of_dag=of_dag, targets=targets, conn_id=conn_id)

    publish.__name__ = f"publish_{'dag_run' if of_dag else 'task_instance'}_{state}"
    return publish
