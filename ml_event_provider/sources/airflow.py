"""Turns Airflow's own objects into events. Pure: an object in, an event out, no Airflow import.

The objects are duck-typed, because three kinds of each exist: the ORM's (scheduler, API server), the task
SDK's ``RuntimeTaskInstance`` (task process, DAG-level callbacks) and plain rows (reconciler). Only what is
already loaded is read, so that no event costs a query.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ml_event_provider.events.bounds import bounded, cut
from ml_event_provider.events.identity import change_id, dag_run_id, task_try_id
from ml_event_provider.events.model import Event, attribute_text
from ml_event_provider.events.steady import steady
from ml_event_provider.events.strict_json import parse_json
from ml_event_provider.exceptions import InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: The longest exception message and traceback in an event, in characters.
MAX_MESSAGE = 4_000
MAX_TRACEBACK = 16_000
_DEADLINE_MISSED: Final = "airflow.deadline.missed"
#: How Airflow ends a parse that takes longer than ``[core] dagbag_import_timeout``.
_STOPPED = "AirflowTaskTimeout: DagBag import timeout"
#: The line of a traceback that names the exception.
_RAISED = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Timeout|Exit|Interrupt|Group|Warning)(?::|\Z)", re.ASCII)


def event_source(workspace: str) -> str:
    """The CloudEvents ``source`` of all events about Airflow itself."""
    return f"/airflow/{quote(workspace, safe='')}"


def run_url(base_url: str, dag_id: str, run_id: str) -> str:
    """The page of a dag run in Airflow's UI."""
    return f"{base_url}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"


def log_url(base_url: str, dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int) -> str:
    """The page of a task try's log in Airflow's UI."""
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    tried = f"?try_number={try_number}" if try_number > 0 else ""
    return f"{run_url(base_url, dag_id, run_id)}/tasks/{quote(task_id)}{mapped}{tried}"


def dag_run_event(
    dag_run: Any,
    *,
    state: str,
    workspace: str,
    origin: str,
    base_url: str = "",
    previous_state: str | None = None,
    message: str = "",
    owner: str = "",
    tags: Iterable[str] = (),
    repetition: int = 0,
) -> Event:
    """``airflow.dag_run.<state>`` of an ORM ``DagRun`` or a row with the same columns."""
    dag_id, run_id = str(dag_run.dag_id), str(dag_run.run_id)
    clear_number = int(getattr(dag_run, "clear_number", 0) or 0)
    data = {
        "dag_id": dag_id,
        "run_id": run_id,
        "run_type": _text(getattr(dag_run, "run_type", None)),
        "state": state,
        "previous_state": previous_state,
        "logical_date": _moment(getattr(dag_run, "logical_date", None)),
        "data_interval_start": _moment(getattr(dag_run, "data_interval_start", None)),
        "data_interval_end": _moment(getattr(dag_run, "data_interval_end", None)),
        "run_after": _moment(getattr(dag_run, "run_after", None)),
        "queued_at": _moment(getattr(dag_run, "queued_at", None)),
        "start_date": _moment(getattr(dag_run, "start_date", None)),
        "end_date": _moment(getattr(dag_run, "end_date", None)),
        "duration": _seconds(dag_run),
        "clear_number": clear_number,
        "triggered_by": _text(getattr(dag_run, "triggered_by", None)),
        "triggering_user": getattr(dag_run, "triggering_user_name", None),
        "message": cut(message, MAX_MESSAGE) if message else None,
        "tags": sorted(tags),
        "url": run_url(base_url, dag_id, run_id),
    }
    moment = dag_run.start_date if state == "running" else dag_run.end_date
    return bounded(
        Event(
            id=dag_run_id(
                workspace,
                dag_id,
                run_id,
                getattr(dag_run, "created_at", None),
                clear_number,
                state,
                repetition,
            ),
            source=event_source(workspace),
            type=f"airflow.dag_run.{state}",
            subject=attribute_text("subject", f"dags/{dag_id}/runs/{run_id}"),
            time=_aware(moment) or datetime.now(UTC),
            data=_present(data),
            workspace=workspace,
            owner=attribute_text("owner", owner),
            origin=origin,
        )
    )


def task_instance_event(
    task_instance: Any,
    *,
    state: str,
    workspace: str,
    origin: str,
    base_url: str = "",
    previous_state: str | None = None,
    error: BaseException | str | None = None,
    redact: Callable[[str], str] = str,
    manual: bool = False,
    try_uuid: Any = None,
    task: Any = None,
    dag_run: Any = None,
    tags: Iterable[str] | None = None,
    owner: str | None = None,
    repetition: int = 0,
) -> Event:
    """``airflow.task_instance.<state>`` of one try of one task instance.

    ``try_uuid`` is Airflow's UUID of the try where ``task_instance.id`` is already the next try's. ``redact``
    masks secrets in the error's message and traceback.
    """
    dag_id, run_id, task_id = str(task_instance.dag_id), str(task_instance.run_id), str(task_instance.task_id)
    map_index = -1 if task_instance.map_index is None else int(task_instance.map_index)
    try_number = int(task_instance.try_number or 0)
    try_uuid = try_uuid or task_instance.id
    if tags is None:
        tags = getattr(getattr(task, "dag", None), "tags", None) or ()
    data = {
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "try_number": try_number,
        "max_tries": getattr(task_instance, "max_tries", None),
        "state": state,
        "previous_state": previous_state,
        "operator": getattr(task, "task_type", None) or getattr(task_instance, "operator", None),
        "tags": sorted(tags),
        "queue": getattr(task_instance, "queue", None),
        "pool": getattr(task, "pool", None) or getattr(task_instance, "pool", None),
        "hostname": getattr(task_instance, "hostname", None) or None,
        "start_date": _moment(task_instance.start_date),
        "end_date": _moment(task_instance.end_date),
        "duration": _seconds(task_instance),
        "logical_date": _moment(getattr(dag_run, "logical_date", None)),
        "run_type": _text(getattr(dag_run, "run_type", None)),
        "exception": None if error is None else exception_data(error, redact),
        "log_url": log_url(base_url, dag_id, run_id, task_id, map_index, try_number),
        "url": run_url(base_url, dag_id, run_id),
        "try_id": str(try_uuid),
        "manual": manual or None,
    }
    mapped = f"/{map_index}" if map_index >= 0 else ""
    moment = task_instance.start_date if state == "running" else task_instance.end_date
    return bounded(
        Event(
            id=task_try_id(workspace, try_uuid, state, repetition),
            source=event_source(workspace),
            type=f"airflow.task_instance.{state}",
            subject=attribute_text("subject", f"dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}"),
            time=_aware(moment) or datetime.now(UTC),
            data=_present(data),
            workspace=workspace,
            owner=attribute_text("owner", str(getattr(task, "owner", "") or "") if owner is None else owner),
            origin=origin,
        )
    )


def asset_created_event(row: Any, *, workspace: str, origin: str) -> Event:
    """``airflow.asset.created`` of a row of Airflow's ``asset`` table."""
    return _asset_event(
        row,
        name="created",
        event_id=change_id(workspace, "asset_created", row.id, row.uri),
        moment=row.created_at,
        workspace=workspace,
        origin=origin,
        more={},
    )


def asset_updated_event(row: Any, *, workspace: str, origin: str) -> Event:
    """``airflow.asset.updated`` of a row of ``asset_event`` joined with its ``asset``."""
    return _asset_event(
        row,
        name="updated",
        event_id=change_id(workspace, "asset_event", row.event_id, row.uri, _moment(row.timestamp)),
        moment=row.timestamp,
        workspace=workspace,
        origin=origin,
        more={
            "source_dag_id": row.source_dag_id,
            "source_task_id": row.source_task_id,
            "source_run_id": row.source_run_id,
            "source_map_index": row.source_map_index,
            "timestamp": _moment(row.timestamp),
        },
    )


def _asset_event(
    row: Any,
    *,
    name: str,
    event_id: str,
    moment: datetime,
    workspace: str,
    origin: str,
    more: Mapping[str, Any],
) -> Event:
    data = {
        "asset_id": row.id,
        "name": row.name,
        "uri": row.uri,
        "group": row.group,
        "extra": row.extra or None,
        **more,
    }
    event = Event(
        id=event_id,
        source=event_source(workspace),
        type=f"airflow.asset.{name}",
        subject=attribute_text("subject", f"assets/{row.name}"),
        time=_aware(moment) or datetime.now(UTC),
        data=_present(data),
        workspace=workspace,
        origin=origin,
    )
    try:
        parse_json(event.to_json())
        return bounded(event)
    except InvalidEvent as error:
        # The extra is a user's: where it is too large or no JSON, the event goes without it.
        return bounded(event.with_data(_present({**data, "extra": None, "extra_left_out": str(error)})))


def import_error_event(row: Any, *, workspace: str, origin: str, redact: Callable[[str], str] = str) -> Event:
    """``airflow.dag.import_error`` of a row of Airflow's ``import_error`` table.

    The same error of the same file, parsed again and again, is one event: the id is over bundle, file, the row (a new
    one whenever the file was whole in between) and the text without what differs at each parse.
    """
    stacktrace = redact(row.stacktrace or "")
    lines = [line for line in stacktrace.strip().splitlines() if line.strip()]
    # An exception's text may have several lines; the first says what it is.
    raised = [line for line in lines if _RAISED.match(line)] or lines
    data = {
        "filename": row.filename,
        "bundle_name": row.bundle_name,
        "message": cut(raised[-1].strip(), MAX_MESSAGE) if raised else None,
        "stacktrace": tail(stacktrace, MAX_TRACEBACK),
    }
    return bounded(
        Event(
            id=change_id(workspace, "import_error", row.bundle_name, row.filename, row.id, _same_error(row.stacktrace)),
            source=event_source(workspace),
            type="airflow.dag.import_error",
            subject=attribute_text("subject", f"files/{row.bundle_name or ''}/{row.filename}"),
            time=_aware(row.timestamp) or datetime.now(UTC),
            data=_present(data),
            workspace=workspace,
            origin=origin,
        )
    )


@lru_cache(maxsize=256)
def _same_error(stacktrace: str | None) -> str:
    """What names an import error, whenever the file is parsed."""
    text = stacktrace or ""
    # A parse that takes too long is stopped wherever it is: the frames are another each time.
    stopped = text.rfind(_STOPPED)
    return steady(text if stopped < 0 else text[stopped:])


def deadline_missed_event(
    context: Mapping[str, Any], *, workspace: str, origin: str, base_url: str = "", name: str = ""
) -> Event:
    """``airflow.deadline.missed`` of a deadline callback's context (``dag_run`` and ``deadline`` as JSON)."""
    run = context.get("dag_run") or {}
    deadline = context.get("deadline") or {}
    dag_id = str(run.get("dag_id") or "")
    run_id = str(run.get("dag_run_id") or run.get("run_id") or "")
    data = {
        "dag_id": dag_id,
        "run_id": run_id,
        "deadline_id": _optional_text(deadline.get("id")),
        "deadline_time": _optional_text(deadline.get("deadline_time")),
        "name": name or None,
        "state": _optional_text(run.get("state")),
        "url": run_url(base_url, dag_id, run_id),
    }
    return bounded(
        Event(
            id=_deadline_id(workspace, data),
            source=event_source(workspace),
            type=_DEADLINE_MISSED,
            subject=attribute_text("subject", f"dags/{dag_id}/runs/{run_id}"),
            time=datetime.now(UTC),
            data=_present(data),
            workspace=workspace,
            origin=origin,
        )
    )


def in_workspace(event: Event, workspace: str) -> Event:
    """The event as whoever knows its workspace describes the same change: Airflow's own under another source and id."""
    if event.workspace == workspace:
        return event
    if event.source != event_source(event.workspace):
        return replace(event, workspace=workspace)
    known = _named_by_data(event, event.workspace) == event.id
    event_id = _named_by_data(event, workspace) if known else event.id
    return replace(event, id=event_id, source=event_source(workspace), workspace=workspace)


def _named_by_data(event: Event, workspace: str) -> str:
    """The id that the event has in a workspace, where it is made of what its data say; else an empty text."""
    state = event.type.removeprefix("airflow.task_instance.")
    if event.type == _DEADLINE_MISSED:
        return _deadline_id(workspace, event.data)
    try:
        return "" if state == event.type else task_try_id(workspace, str(event.data.get("try_id")), state)
    except ValueError:
        return ""


def _deadline_id(workspace: str, data: Mapping[str, Any]) -> str:
    names = ("dag_id", "run_id", "deadline_id", "deadline_time")
    return change_id(workspace, "deadline", *(data.get(name) for name in names))


def exception_data(error: BaseException | str, redact: Callable[[str], str] = str) -> dict[str, str]:
    """An exception's ``type``, ``message`` and bounded ``traceback``, secrets masked."""
    if isinstance(error, str):
        return {"type": "", "message": cut(redact(error), MAX_MESSAGE)}
    described = {
        "type": type(error).__qualname__
        if type(error).__module__ == "builtins"
        else f"{type(error).__module__}.{type(error).__qualname__}",
        "message": cut(redact(_message(error)), MAX_MESSAGE),
    }
    if error.__traceback__ is not None:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-30))
        described["traceback"] = tail(redact(text), MAX_TRACEBACK)
    return described


def _message(error: BaseException) -> str:
    """``str(error)``, or a note where the exception's own ``__str__`` fails."""
    try:
        return str(error)
    except Exception as problem:  # noqa: BLE001 - foreign code; the task's failure is the news, not this
        return f"<its text cannot be had: {type(problem).__name__}>"


def tail(text: str, limit: int) -> str:
    """The last ``limit`` characters, where a traceback says what happened, with a mark of what was cut."""
    return text if len(text) <= limit else f"[cut {len(text) - limit} characters] …{text[-limit:]}"


def _present(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None and value != []}


def _text(value: Any) -> str | None:
    """An enum's value or a text."""
    return None if value is None else str(getattr(value, "value", value))


def _optional_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _aware(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        # A logical date in the first or last hours that Python has.
        return value


def _moment(value: datetime | None) -> str | None:
    aware = _aware(value)
    return None if aware is None else aware.isoformat().replace("+00:00", "Z")


def _seconds(thing: Any) -> float | None:
    start, end = _aware(getattr(thing, "start_date", None)), _aware(getattr(thing, "end_date", None))
    return None if start is None or end is None else round((end - start).total_seconds(), 3)
