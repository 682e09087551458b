"""The catalogue describes every event type, and the reference page is the catalogue."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from ml_event_provider.events import Event
from ml_event_provider.events.airflow_types import EventData
from ml_event_provider.events.catalogue import (
    EVENT_TYPES,
    SEVERITIES,
    EventType,
    family_of,
    json_schema,
    reference_markdown,
    severity_of,
    validate_data,
)
from ml_event_provider.exceptions import NotFound

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "events.md"
DAG_RUN = {"dag_id": "train", "run_id": "r1", "state": "failed"}
TASK = {
    **DAG_RUN,
    "task_id": "fit",
    "map_index": -1,
    "try_number": 1,
    "try_id": "01890a5d-ac96-774b-bcce-b302099a8057",
}
VERSION = {"registry": "mlflow", "model": "fraud", "version": "7", "status": "approved"}
# The vendor's printed example of Microsoft.MachineLearningServices.DatasetDriftDetected.
AZURE_DRIFT = {
    "DataDriftId": "01d29aa4-e6a4-470a-9ef3-66660d21f8ef",
    "DataDriftName": "myDriftMonitor",
    "RunId": "01d29aa4-e6a4-470a-9ef3-66660d21f8ef_1571590300380",
    "BaseDatasetId": "3c56d136-0f64-4657-a0e8-5162089a88a3",
    "TargetDatasetId": "d7e74d2e-c972-4266-b5fb-6c9c182d2a74",
    "DriftCoefficient": 0.8350349068479208,
    "StartTime": "2019-07-04T00:00:00+00:00",
    "EndTime": "2019-07-05T00:00:00+00:00",
}
RUN, TRY = "airflow.dag_run.failed", "airflow.task_instance.failed"
DRIFT, APPROVAL = "ml.dataset.drift_detected", "ml.model_version.approval_changed"


def problems(event_type: str, data: dict[str, Any]) -> list[str]:
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    return validate_data(Event(id="1", source="/s", type=event_type, time=moment, data=data))


def models(model: type[EventData]) -> set[type[EventData]]:
    found = {model}
    for field in model.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            annotation = waiting.pop()
            waiting += get_args(annotation)
            if get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, EventData):
                found |= models(annotation)
    return found


def test_the_types_are_these() -> None:
    assert Counter(entry.family for entry in EVENT_TYPES.values()) == {
        "airflow.dag_run": 3,
        "airflow.task_instance": 7,
        "airflow.asset": 2,
        "airflow.dag": 1,
        "airflow.deadline": 1,
        "ml.model_version": 1,
        "ml.data_validation": 2,
        "ml.dataset": 1,
        "ml.run": 1,
        "ml.event": 1,
        "ml.target": 2,
        "ml.notification": 1,
    }


@pytest.mark.parametrize("entry", EVENT_TYPES.values(), ids=lambda entry: entry.name)
def test_each_type_is_wholly_described(entry: EventType) -> None:
    assert EVENT_TYPES[entry.name] is entry
    assert entry.meaning.endswith(".")
    assert entry.severity in SEVERITIES
    for model in models(entry.model):
        undescribed = [name for name, field in model.model_fields.items() if not field.description]
        assert undescribed == []
        assert model.model_config["extra"] == "allow"


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_each_schema_is_json_and_names_its_type(name: str) -> None:
    schema = json.loads(json.dumps(json_schema(name)))
    assert schema["title"] == name
    assert schema["description"] == EVENT_TYPES[name].meaning
    assert schema["additionalProperties"] is True
    assert set(schema.get("required", [])) <= set(schema["properties"])


def test_an_unknown_type_has_no_schema() -> None:
    with pytest.raises(NotFound, match=r"no event type is named 'x\.y'.*airflow\.dag_run\.running"):
        json_schema("x.y")


@pytest.mark.parametrize(
    ("event_type", "family", "severity"),
    [
        (RUN, "airflow.dag_run", "error"),
        ("airflow.task_instance.up_for_retry", "airflow.task_instance", "warning"),
        ("com.acme.thing.done", "com.acme.thing", "info"),
        ("single", "", "info"),
    ],
)
def test_family_and_severity_of_any_type(event_type: str, family: str, severity: str) -> None:
    assert (family_of(event_type), severity_of(event_type)) == (family, severity)


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        (RUN, DAG_RUN),
        (RUN, {**DAG_RUN, "duration": 3, "end_date": "2026-11-01T12:00:00.123456+00:00", "tags": ["a"]}),
        (RUN, {**DAG_RUN, "previous_state": None, "note": {"further": ["fields"]}}),
        (TRY, TASK),
        (TRY, {**TASK, "exception": {"type": "ValueError", "message": "no", "traceback": "…", "notes": []}}),
        (
            "airflow.asset.updated",
            {"name": "a", "uri": "s3://b/a", "extra": {"rows": 3}, "source_map_index": -1},
        ),
        ("airflow.dag.import_error", {"filename": "a.py"}),
        ("airflow.deadline.missed", {"dag_id": "d", "run_id": "r", "deadline_time": "2026-11-01T12:00:00Z"}),
        (APPROVAL, {**VERSION, "previous_status": "pending", "tags": {"a": "b"}, "aliases": ["champion"]}),
        (
            "ml.data_validation.failed",
            {"checkpoint": "c", "success": False, "failed_expectations": [{"observed_value": [1, "x"]}]},
        ),
        (DRIFT, AZURE_DRIFT),
        (DRIFT, {**AZURE_DRIFT, "columns": [{"column": "age", "value": 0.3, "drifted": True}]}),
        ("ml.notification.requested", {}),
        ("com.acme.thing", {"anything": 5}),
    ],
)
def test_data_of_its_type_has_no_problems(event_type: str, data: dict[str, Any]) -> None:
    assert problems(event_type, data) == []


@pytest.mark.parametrize(
    ("event_type", "data", "expected"),
    [
        (RUN, {"dag_id": "d", "state": "failed"}, ["data.run_id: Field required"]),
        (RUN, {**DAG_RUN, "dag_id": None}, ["data.dag_id: Input should be a valid string"]),
        (RUN, {**DAG_RUN, "clear_number": "3"}, ["data.clear_number: Input should be a valid integer"]),
        (RUN, {**DAG_RUN, "duration": "3"}, ["data.duration: Input should be a valid number"]),
        (RUN, {**DAG_RUN, "tags": ["a", 5]}, ["data.tags.1: Input should be a valid string"]),
        (
            RUN,
            {**DAG_RUN, "end_date": "2026-11-01T12:00:00"},
            ["data.end_date: Input should have timezone info"],
        ),
        (TRY, {**TASK, "try_id": "1"}, ["data.try_id: Input should be a valid UUID"]),
        (TRY, {**TASK, "manual": 1}, ["data.manual: Input should be a valid boolean"]),
        (TRY, {**TASK, "exception": {"type": 5}}, ["data.exception.type: Input should be a valid string"]),
        (APPROVAL, {**VERSION, "status": "Approved"}, ["data.status: Input should be 'pending'"]),
        (DRIFT, {**AZURE_DRIFT, "DriftCoefficient": float("nan")}, ["data cannot be JSON: "]),
        (RUN, {}, ["data.dag_id: ", "data.run_id: ", "data.state: "]),
    ],
)
def test_each_problem_is_named_by_its_field(event_type: str, data: dict[str, Any], expected: list[str]) -> None:
    found = problems(event_type, data)
    assert len(found) == len(expected)
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)


def test_problems_do_not_repeat_the_value() -> None:
    assert "hunter2" not in str(problems(RUN, {**DAG_RUN, "duration": "hunter2"}))


def test_the_reference_page_is_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference_markdown(), (
        "run python -m ml_event_provider.events.catalogue > docs/reference/events.md"
    )


def test_the_reference_page_names_every_type_and_nested_field() -> None:
    page = reference_markdown()
    assert [name for name in EVENT_TYPES if f"| `{name}` |" not in page] == []
    assert "| **`try_id`** | UUID |" in page
    assert "| `exception.traceback` | text |" in page
    assert "| `columns[].drifted` | boolean |" in page
    assert "| **`status`** | `pending`, `approved`, `rejected` |" in page
