"""Turns the result of a Great Expectations checkpoint, and of a drift check, into events.

Pure: Great Expectations is not imported. The result is read by its attributes (``CheckpointResult`` of
Great Expectations 1.x: ``name``, ``run_id``, ``success``, ``run_results``), because ``describe_dict()`` lacks
names and severities. Values come as NumPy scalars and may be NaN or infinite; events hold plain JSON.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ml_event_provider.events.bounds import bounded, cut
from ml_event_provider.events.identity import change_id
from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: The most failed expectations and columns that one event lists; the counts beside them are of all.
MAX_FAILED = 100
MAX_COLUMNS = 500
#: The longest text, list and nesting of a value of an expectation.
MAX_TEXT = 500
MAX_ITEMS = 20
MAX_DEPTH = 4
#: The longest observed value as JSON; a longer one is a cut text.
MAX_OBSERVED = 1_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
#: Arguments that say where an expectation looked, or are far too long to read.
_HIDDEN_ARGUMENTS = frozenset({"batch_id", "column", "partition_object"})


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
) -> Event:
    """``ml.data_validation.success`` or ``.failed`` of a ``CheckpointResult``.

    The event's id follows from workspace, checkpoint and the run's name and time, so that the same result
    always gives the same event. ``failed_expectations`` lists at most 100, none with the unexpected values
    themselves: these may be personal data.
    """
    checkpoint = str(result.name)
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
        "failed_expectations": [_failed(outcome) for outcome in failed[:MAX_FAILED]],
        "data_asset": _joined(getattr(validation, "asset_name", None) for validation in validations),
        "batch_id": _joined(getattr(validation, "batch_id", None) for validation in validations),
        "run_name": run_name,
        "data_docs_url": data_docs_url or _joined(getattr(item, "result_url", None) for item in validations),
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
    }
    return bounded(
        Event(
            id=change_id(workspace, "data_validation", checkpoint, run_name, run_time.isoformat()),
            source=f"/great-expectations/{quote(workspace, safe='')}",
            type=f"ml.data_validation.{'success' if success else 'failed'}",
            subject=_line(f"checkpoints/{checkpoint}/runs/{run_name or run_time.isoformat()}"),
            time=run_time,
            data=data,
            workspace=workspace,
            owner=owner,
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
) -> Event:
    """``ml.dataset.drift_detected``, with the field names of ``DatasetDriftDetected``.

    Azure Machine Learning's event on Event Grid has ``DataDriftId``, ``DataDriftName``, ``RunId``,
    ``BaseDatasetId``, ``TargetDatasetId``, ``DriftCoefficient`` (0…1), ``StartTime`` and ``EndTime``; its
    subject is ``datadrifts/{DataDriftId}/runs/{RunId}``, and its ``RunId`` ends in epoch milliseconds.

    :param time: when the check ran; name and time identify the event.
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
    rows.sort(key=lambda row: not row.get("drifted"))
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
            id=change_id(workspace, "dataset_drift", name, drift_run),
            source=f"/dataset-drift/{quote(workspace, safe='')}",
            type="ml.dataset.drift_detected",
            subject=f"datadrifts/{drift_id}/runs/{drift_run}",
            time=time,
            data=data,
            workspace=workspace,
            owner=owner,
            origin=origin,
        )
    )


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """``value`` as bounded, plain JSON; NaN, infinite and missing values are ``None``."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, str):
        return cut(str(value), MAX_TEXT)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    # pandas' NaT is a datetime that differs from itself; pandas' NA refuses to be compared.
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict | list | tuple | set | frozenset) and depth <= 0:
        return cut(str(value), MAX_TEXT)
    if isinstance(value, dict):
        pairs = list(value.items())[:MAX_ITEMS]
        return {cut(str(key), MAX_TEXT): plain(item, depth - 1) for key, item in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth - 1) for item in list(value)[:MAX_ITEMS]]
    for unpack in ("item", "tolist"):  # NumPy's scalars have both, its arrays need the second.
        method = getattr(value, unpack, None)
        if callable(method) and (unpack == "tolist" or getattr(value, "ndim", None) == 0):
            unpacked = method()
            return plain(unpacked, depth) if type(unpacked) is not type(value) else cut(str(value), MAX_TEXT)
    return cut(str(value), MAX_TEXT)


def expectation_type(outcome: Any) -> str:
    """The snake-case name of the expectation that an ``ExpectationValidationResult`` is of."""
    config = outcome.expectation_config
    return str(getattr(config, "type", "") or getattr(config, "expectation_type", ""))


def exception_message(outcome: Any) -> str:
    """What an expectation raised while it was evaluated, without the traceback; empty if nothing."""
    return "; ".join(dict.fromkeys(_exceptions(outcome.exception_info)))


def _exceptions(information: Any) -> Iterator[str]:
    # Either one exception's fields, or such fields for each metric that failed.
    if not isinstance(information, dict):
        return
    if "raised_exception" in information or "exception_message" in information:
        if message := information.get("exception_message"):
            yield cut(str(message), MAX_TEXT)
        return
    for item in information.values():
        yield from _exceptions(item)


def _failed(outcome: Any) -> dict[str, Any]:
    config = outcome.expectation_config
    found = outcome.result or {}
    arguments = dict(config.kwargs or {})
    return {
        "expectation_type": expectation_type(outcome),
        "column": _column(arguments),
        "severity": str(plain(getattr(config, "severity", None)) or "critical"),
        "observed_value": _observed(found.get("observed_value")),
        "detail": _detail(outcome, found, arguments),
    }


def _observed(value: Any) -> Any:
    known = plain(value)
    text = json.dumps(known, ensure_ascii=False)
    return known if len(text) <= MAX_OBSERVED else cut(text, MAX_OBSERVED)


def _column(arguments: Mapping[str, Any]) -> str:
    if arguments.get("column") is not None:
        return cut(str(arguments["column"]), MAX_TEXT)
    several = arguments.get("column_list") or [arguments.get("column_A"), arguments.get("column_B")]
    return _joined(several)


def _detail(outcome: Any, found: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    if message := exception_message(outcome):
        return f"could not be evaluated: {message}"
    parts = []
    if found.get("unexpected_count") is not None:
        total = f" of {found['element_count']}" if found.get("element_count") is not None else ""
        parts.append(f"{found['unexpected_count']}{total} values are unexpected")
    parts += [
        f"{name}={plain(value)}"
        for name, value in arguments.items()
        if name not in _HIDDEN_ARGUMENTS and value is not None
    ]
    return cut(", ".join(parts), MAX_TEXT)


def _run(result: Any) -> tuple[str, datetime]:
    identifier = result.run_id
    moment = getattr(identifier, "run_time", None)
    if not isinstance(moment, datetime):
        raise TypeError(f"the checkpoint result's run_id has no run_time: {identifier!r}")
    name = _CONTROL.sub(" ", str(getattr(identifier, "run_name", None) or ""))
    return cut(name, MAX_TEXT), moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _moment(value: datetime | str | None) -> str | None:
    if isinstance(value, str) and value.strip():
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidEvent(f"{value!r} is no time: give ISO 8601, such as 2026-01-31T00:00:00Z") from None
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()


def _joined(values: Any) -> str:
    present = dict.fromkeys(str(value) for value in values if value not in (None, ""))
    return cut(", ".join(present), MAX_TEXT)


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)[:1024]
