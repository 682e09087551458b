"""Connections and messages for tests of targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ml_event_provider.events import Event
from ml_event_provider.targets import Message


@dataclass(kw_only=True)
class SampleConnection:
    """An Airflow connection without Airflow."""

    conn_type: str
    conn_id: str = "target"
    host: str | None = None
    schema: str | None = None
    login: str | None = None
    password: str | None = None
    port: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def extra_dejson(self) -> dict[str, Any]:
        return self.extra


def sample_event(**changes: Any) -> Event:
    """A failed task."""
    fields: dict[str, Any] = {
        "id": "0f9c1c9e-6e0e-5d0c-9a0e-0a1b2c3d4e5f",
        "source": "/airflow/dags/train",
        "type": "airflow.task_instance.failed",
        "time": datetime(2026, 11, 20, 12, 0, 1, 500000, tzinfo=UTC),
        "subject": "train/fit",
        "data": {"dag_id": "train", "task_id": "fit", "note": "größer 大"},
    }
    return Event(**{**fields, **changes})


def sample_message(**changes: Any) -> Message:
    """A message about a failed task."""
    fields: dict[str, Any] = {
        "delivery_id": "delivery-1",
        "event": sample_event(),
        "title": "Task fit of train failed",
        "body": "The task **fit** failed: ValueError größer 大",
        "rule": "failures",
        "severity": "error",
        "run_url": "https://airflow.example/runs/1",
        "log_url": "https://airflow.example/logs/1",
    }
    return Message(**{**fields, **changes})
