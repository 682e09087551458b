"""The catalogue: every event type of this package, what it means, how grave it is, and its data's model.

The pydantic models are imported when first asked for; names, meanings and severities cost nothing.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.exceptions import NotFound

if TYPE_CHECKING:
    from ml_event_provider.events.airflow_types import EventData
    from ml_event_provider.events.model import Event

#: The severities, mildest first (PagerDuty's words).
SEVERITIES: Final = ("info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type. ``model_name`` is the class of its data in ``airflow_types`` or ``ml_types``."""

    name: str
    meaning: str
    model_name: str
    severity: str = "info"

    @property
    def family(self) -> str:
        """The name without its last part: ``airflow.dag_run`` for ``airflow.dag_run.failed``."""
        return family_of(self.name)

    @property
    def model(self) -> type[EventData]:
        """The pydantic model of the type's data."""
        module = import_module(f"ml_event_provider.events.{self.name.partition('.')[0]}_types")
        model: type[EventData] = getattr(module, self.model_name)
        return model


#: All event types by name, in the order of the reference page.
EVENT_TYPES: Final[dict[str, EventType]] = {
    entry.name: entry
    for entry in (
        EventType("airflow.dag_run.running", "A dag run started.", "DagRunData"),
        EventType("airflow.dag_run.success", "A dag run succeeded.", "DagRunData"),
        EventType("airflow.dag_run.failed", "A dag run failed.", "DagRunData", "error"),
        EventType("airflow.task_instance.running", "A task's try started.", "TaskInstanceData"),
        EventType("airflow.task_instance.success", "A task succeeded.", "TaskInstanceData"),
        EventType("airflow.task_instance.failed", "A task failed for good.", "TaskInstanceData", "error"),
        EventType(
            "airflow.task_instance.up_for_retry",
            "A task's try failed; another will follow.",
            "TaskInstanceData",
            "warning",
        ),
        EventType("airflow.task_instance.skipped", "A task was skipped.", "TaskInstanceData"),
        EventType(
            "airflow.task_instance.upstream_failed",
            "A task cannot run because one before it failed.",
            "TaskInstanceData",
            "warning",
        ),
        EventType(
            "airflow.task_instance.removed",
            "A task of the run is no longer in the DAG.",
            "TaskInstanceData",
        ),
        EventType("airflow.asset.created", "An asset was registered.", "AssetCreatedData"),
        EventType("airflow.asset.updated", "An asset was updated.", "AssetUpdatedData"),
        EventType("airflow.dag.import_error", "A DAG file cannot be imported.", "DagImportErrorData", "error"),
        EventType("airflow.deadline.missed", "A dag run missed its deadline.", "DeadlineMissedData", "error"),
        EventType(
            "ml.model_version.approval_changed",
            "A model version's approval status changed.",
            "ModelVersionApprovalData",
        ),
        EventType("ml.data_validation.success", "Data met all expectations.", "DataValidationData"),
        EventType("ml.data_validation.failed", "Data did not meet expectations.", "DataValidationData", "error"),
        EventType("ml.dataset.drift_detected", "A dataset drifted from its baseline.", "DatasetDriftData", "warning"),
        EventType("ml.run.metric_logged", "A training run logged a value of a metric.", "RunMetricData"),
        EventType("ml.event.absent", "Events that a rule waits for did not come.", "AbsenceData", "warning"),
        EventType("ml.target.unreachable", "A target does not answer any more.", "TargetData", "error"),
        EventType("ml.target.recovered", "A target answers again.", "TargetData"),
        EventType("ml.notification.requested", "A DAG asked for a notification.", "NotificationData"),
    )
}


def family_of(event_type: str) -> str:
    """The family of any type: its name without the last part; empty where there is but one part."""
    return event_type.rpartition(".")[0]


def severity_of(event_type: str) -> str:
    """The default severity of a type; ``info`` for types that the catalogue does not have."""
    entry = EVENT_TYPES.get(event_type)
    return entry.severity if entry else "info"


def json_schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the type's data.

    :raises NotFound: if the catalogue does not have the type.
    """
    entry = EVENT_TYPES.get(event_type)
    if entry is None:
        raise NotFound(f"no event type is named {event_type!r}; these are known: {', '.join(EVENT_TYPES)}")
    schema = entry.model.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": event_type,
        "description": entry.meaning,
    }


def validate_data(event: Event) -> list[str]:
    """What in the event's data breaks its type's model, one line each; nothing for a type of somebody else.

    Types are strict, as in JSON Schema: ``"3"`` is no number. Further fields are allowed.
    """
    entry = EVENT_TYPES.get(event.type)
    if entry is None:
        return []
    from pydantic import ValidationError

    try:
        text = json.dumps(dict(event.data), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return [f"data cannot be JSON: {error}"]
    try:
        entry.model.model_validate_json(text, strict=True)
    except ValidationError as error:
        return [
            f"data.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    return []


def reference_markdown() -> str:
    """The reference page ``docs/reference/events.md``."""
    lines = [
        "# Event types",
        "",
        "Generated from `ml_event_provider/events/catalogue.py` by `python -m ml_event_provider.events.catalogue`.",
        "",
        "Every event is a CloudEvents 1.0 record. Its `data` has its type's fields below: those in **bold**"
        " always, all others may be absent or null, and further fields are allowed. Times are RFC 3339 texts"
        " with a zone.",
        "",
    ]
    models = dict.fromkeys((entry.family, entry.model_name) for entry in EVENT_TYPES.values())
    for family, model_name in models:
        entries = [entry for entry in EVENT_TYPES.values() if (entry.family, entry.model_name) == (family, model_name)]
        lines += [f"## `{entries[0].name}`" if len(entries) == 1 else f"## `{family}.*`", ""]
        lines += ["| type | meaning | severity |", "|---|---|---|"]
        lines += [f"| `{entry.name}` | {entry.meaning} | {entry.severity} |" for entry in entries]
        lines += ["", "| field | kind | meaning |", "|---|---|---|", *_rows(entries[0].model, ""), ""]
    return "\n".join(lines)


def _rows(model: type[EventData], prefix: str) -> list[str]:
    schema = model.model_json_schema()
    return _schema_rows(schema, schema.get("$defs", {}), prefix)


def _schema_rows(schema: dict[str, Any], definitions: dict[str, Any], prefix: str) -> list[str]:
    rows = []
    required = set(schema.get("required", ()))
    for name, field in schema["properties"].items():
        kind, nested = _kind(field, definitions)
        mark = "**" if name in required else ""
        rows.append(f"| {mark}`{prefix}{name}`{mark} | {kind} | {field['description']} |")
        if nested is not None:
            inner = f"{prefix}{name}[]." if kind.startswith("list") else f"{prefix}{name}."
            rows += _schema_rows(nested, definitions, inner)
    return rows


def _kind(field: dict[str, Any], definitions: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """How the page names a field's type, and the schema of the objects in it."""
    choices = [choice for choice in field.get("anyOf", [field]) if choice.get("type") != "null"]
    (choice,) = choices
    if "$ref" in choice:
        return "object", definitions[choice["$ref"].rpartition("/")[2]]
    if "enum" in choice:
        return ", ".join(f"`{value}`" for value in choice["enum"]), None
    if choice.get("type") == "array":
        kind, nested = _kind(choice["items"], definitions)
        return f"list of {kind}s", nested
    names = {"date-time": "time", "uuid": "UUID", "string": "text", "integer": "whole number"}
    kind = choice.get("format") or choice.get("type") or "any"
    return names.get(kind, kind), None


if __name__ == "__main__":
    sys.stdout.write(reference_markdown())
