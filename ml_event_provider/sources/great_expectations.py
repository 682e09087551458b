"""Turns the result of a Great Expectations checkpoint, and of a drift check, into events.

Pure: Great Expectations is not imported. The result is read by its attributes (``CheckpointResult`` of
Great Expectations 1.x: ``name``, ``run_id``, ``success``, ``run_results``), because ``describe_dict()`` lacks
names and severities. Values come as NumPy scalars and may be NaN or infinite; events hold plain JSON.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ml_event_provider.events.bounds import bounded, cut
from ml_event_provider.events.identity import change_id
from ml_event_provider.events.model import Event, attribute_text
from ml_event_provider.events.times import checked_time
from ml_event_provider.exceptions import InvalidEvent
from ml_event_provider.sources.expectations import content
from ml_event_provider.sources.expectations import failed as describe
from ml_event_provider.sources.plain import MAX_TEXT, joined, named, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The most failed expectations and columns that one event lists; the counts beside them are of all.
MAX_FAILED = 100
MAX_COLUMNS = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def validation_event(
    result: Any,
    *,
    workspace: str,
    owner: str = "",
    origin: str = "worker",
    data_docs_url: str = "",
    dag_id: str = "",
    run_id: str = "",
    task_id: str = "",
    map_index: int = -1,
) -> Event:
    """``ml.data_validation.success`` or ``.failed`` of a ``CheckpointResult``.

    The event's id is over workspace, checkpoint, the run's name and time, the dag run, and what each expectation found
    in which data: the same result always gives the same event, and two results never share one, although they may
    share the run's name and time. ``failed_expectations`` lists at most 100, none with the unexpected values
    themselves: these may be personal data.
    """
    checkpoint = _CONTROL.sub(" ", str(result.name))
    run_name, run_time = _run(result)
    validations = list(result.run_results.values())
    outcomes = [outcome for validation in validations for outcome in validation.results]
    failed = [outcome for outcome in outcomes if not outcome.success]
    success = bool(result.success)
    data = {
        "checkpoint": cut(checkpoint, MAX_TEXT),
        "success": success,
        "evaluated": len(outcomes),
        "successful": len(outcomes) - len(failed),
        "unsuccessful": len(failed),
        "failed_expectations": [describe(outcome) for outcome in failed[:MAX_FAILED]],
        "data_asset": joined(getattr(validation, "asset_name", None) for validation in validations),
        "batch_id": joined(getattr(validation, "batch_id", None) for validation in validations),
        "run_name": run_name,
        "data_docs_url": data_docs_url or joined(getattr(item, "result_url", None) for item in validations),
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
    }
    return bounded(
        Event(
            id=change_id(
                workspace,
                "data_validation",
                checkpoint,
                run_name,
                run_time.isoformat(),
                *(dag_id, run_id, map_index),
                _digest([success, *map(content, validations)]),
            ),
            source=f"/great-expectations/{quote(workspace, safe='')}",
            type=f"ml.data_validation.{'success' if success else 'failed'}",
            subject=attribute_text("subject", f"checkpoints/{checkpoint}/runs/{run_name or run_time.isoformat()}"),
            time=run_time,
            data=data,
            workspace=workspace,
            owner=attribute_text("owner", owner),
            origin=origin,
        )
    )


def drift_detected(
    *,
    workspace: str,
    name: str,
    time: datetime,
    columns: Sequence[Mapping[str, Any]],
    drift_coefficient: float,
    base_dataset_id: str = "",
    target_dataset_id: str = "",
    start_time: datetime | str | None = None,
    end_time: datetime | str | None = None,
    method: str = "",
    threshold: float | None = None,
    base_rows: int | None = None,
    target_rows: int | None = None,
    drifted_share: float | None = None,
    details: Mapping[str, Any] | None = None,
    owner: str = "",
    origin: str = "worker",
    dag_id: str = "",
    run_id: str = "",
    task_id: str = "",
    map_index: int = -1,
) -> Event:
    """``ml.dataset.drift_detected``, with the field names of ``DatasetDriftDetected``.

    Azure Machine Learning's event on Event Grid has ``DataDriftId``, ``DataDriftName``, ``RunId``,
    ``BaseDatasetId``, ``TargetDatasetId``, ``DriftCoefficient`` (0…1), ``StartTime`` and ``EndTime``; its
    subject is ``datadrifts/{DataDriftId}/runs/{RunId}``, and its ``RunId`` ends in epoch milliseconds.

    The event's id is over workspace, name, time, the dag run, the two datasets, the window and what was
    measured: checks that share name and time are events of their own.

    :param time: when the check ran.
    :param columns: one mapping a column: ``column``, ``method``, ``value``, ``threshold``, ``drifted``.
    :param drift_coefficient: 0 (no drift was measured) to 1.
    :param base_dataset_id: names the reference data, ``target_dataset_id`` the current data.
    :param start_time: with ``end_time``, the time window of the current data; UTC, if no zone is given.
    :param details: further fields for ``data``.
    :raises InvalidEvent: if ``start_time`` or ``end_time`` is a text that is no time.
    """
    drift_id = change_id(workspace, "dataset_drift", name)
    drift_run = f"{drift_id}_{int(time.timestamp() * 1000)}"
    rows = [{key: plain(value) for key, value in column.items()} for column in columns]
    drifted = [str(row.get("column")) for row in rows if row.get("drifted")]
    if drifted_share is None:
        drifted_share = len(drifted) / len(rows) if rows else 0.0
    rows = sorted(rows, key=lambda row: not row.get("drifted"))
    measured = {
        "base": base_dataset_id,
        "target": target_dataset_id,
        "window": [_moment(start_time), _moment(end_time)],
        "rows": [plain(base_rows), plain(target_rows)],
        "columns": rows,
    }
    data = {
        "DataDriftId": drift_id,
        "DataDriftName": cut(name, MAX_TEXT),
        "RunId": drift_run,
        "BaseDatasetId": cut(base_dataset_id, MAX_TEXT),
        "TargetDatasetId": cut(target_dataset_id, MAX_TEXT),
        "DriftCoefficient": plain(drift_coefficient),
        "StartTime": _moment(start_time),
        "EndTime": _moment(end_time),
        "method": method,
        "threshold": plain(threshold),
        "base_rows": plain(base_rows),
        "target_rows": plain(target_rows),
        "drifted_columns": drifted[:MAX_COLUMNS],
        "drifted_share": plain(drifted_share),
        "columns": rows[:MAX_COLUMNS],
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        **{key: plain(value) for key, value in (details or {}).items()},
    }
    return bounded(
        Event(
            id=change_id(
                workspace,
                "dataset_drift",
                name,
                drift_run,
                dag_id,
                run_id,
                map_index,
                _digest(named(measured)),
            ),
            source=f"/dataset-drift/{quote(workspace, safe='')}",
            type="ml.dataset.drift_detected",
            subject=f"datadrifts/{drift_id}/runs/{drift_run}",
            time=time,
            data=data,
            workspace=workspace,
            owner=attribute_text("owner", owner),
            origin=origin,
        )
    )


def _run(result: Any) -> tuple[str, datetime]:
    identifier = result.run_id
    moment = getattr(identifier, "run_time", None)
    if not isinstance(moment, datetime):
        raise TypeError(f"the checkpoint result's run_id has no run_time: {identifier!r}")
    name = _CONTROL.sub(" ", str(getattr(identifier, "run_name", None) or ""))
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return cut(name, MAX_TEXT), checked_time(moment, moment.isoformat())


def _moment(value: datetime | str | None) -> str | None:
    if isinstance(value, str) and value.strip():
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidEvent(f"{value!r} is no time: give ISO 8601, such as 2026-01-31T00:00:00Z") from None
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()


def _digest(content: Any) -> str:
    return change_id(json.dumps(content, sort_keys=True))
