from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ml_event_provider.events.identity import model_version_id
from ml_event_provider.events.model import Event
from ml_event_provider.registries import Approval, ModelVersion
from ml_event_provider.sources.model_registry import approval_changed, registry_source

NOW = datetime(2026, 11, 22, 9, 36, tzinfo=UTC)
VERSION = ModelVersion(
    model="churn",
    version="3",
    tags={"validation_status": "approved"},
    aliases=("champion",),
    run_id="971c",
    link="http://mlflow.internal/#/models/churn/versions/3",
)


def event(**changes: Any) -> Any:
    return approval_changed(
        **{
            "workspace": "fraud",
            "registry": "mlflow",
            "instance": "mlflow_default",
            "model_version": VERSION,
            "previous": Approval.PENDING,
            "previous_time": NOW - timedelta(minutes=6),
            "status": Approval.APPROVED,
            "key": "validation_status",
            "old": None,
            "new": "approved",
            "time": NOW,
            "origin": "worker",
            "owner": "ana",
            "dag_id": "train",
            "dag_run_id": "manual__1",
            "task_id": "wait",
            **changes,
        }
    )


def test_the_event_tells_version_change_and_who_waited() -> None:
    assert event().to_dict() == {
        "specversion": "1.0",
        "id": model_version_id("fraud", "mlflow", "churn", "3", "validation_status", None, "approved"),
        "source": "/registries/mlflow/mlflow_default",
        "type": "ml.model_version.approval_changed",
        "subject": "models/churn/versions/3",
        "time": "2026-11-22T09:36:00Z",
        "datacontenttype": "application/json",
        "workspace": "fraud",
        "owner": "ana",
        "origin": "worker",
        "data": {
            "registry": "mlflow",
            "model": "churn",
            "version": "3",
            "previous_status": "pending",
            "previous_seen": "2026-11-22T09:30:00Z",
            "status": "approved",
            "tags": {"validation_status": "approved"},
            "aliases": ["champion"],
            "link": "http://mlflow.internal/#/models/churn/versions/3",
            "run_id": "971c",
            "dag_id": "train",
            "dag_run_id": "manual__1",
            "task_id": "wait",
        },
    }


def test_what_nobody_knows_is_null() -> None:
    bare = ModelVersion(model="churn", version="3")
    data = event(model_version=bare, previous=None, previous_time=None, dag_id="", dag_run_id="", task_id="").data
    unknown = ("previous_status", "previous_seen", "link", "run_id", "dag_id", "dag_run_id", "task_id")
    assert [data[name] for name in unknown] == [None] * len(unknown)


@pytest.mark.parametrize(
    "same",
    [{"time": datetime(2027, 1, 1, tzinfo=UTC)}, {"origin": "ingest"}, {"dag_id": "other"}, {"owner": ""}],
)
def test_the_id_names_the_change_whoever_saw_it(same: dict[str, Any]) -> None:
    assert event(**same).id == event().id


@pytest.mark.parametrize("other", [{"old": "in review"}, {"new": "ok"}, {"key": "alias:x"}, {"workspace": "ads"}])
def test_another_change_has_another_id(other: dict[str, Any]) -> None:
    assert event(**other).id != event().id


@pytest.mark.parametrize("odd", ["\t", "\n", "\0", "\ud800", "\x85", "\ufffe", "n" * 5000])
def test_names_that_a_registry_accepts_do_not_stop_the_event(odd: str) -> None:
    version = ModelVersion(model=f"a{odd}b", version=f"1{odd}", tags={odd: odd}, aliases=(odd,), link=odd, run_id=odd)
    made = event(model_version=version, owner=odd, instance=odd, dag_id=odd, key=odd, old=odd, new=odd)
    assert Event.from_json(made.to_json()).subject == made.subject
    assert event(model_version=version).id != event(model_version=replace(version, model="a\ufffdb")).id


@pytest.mark.parametrize(
    ("instance", "source"),
    [
        ("", "/registries/mlflow"),
        ("prod", "/registries/mlflow/prod"),
        ("a/b c", "/registries/mlflow/a%2Fb%20c"),
    ],
)
def test_the_source_tells_two_registries_of_a_kind_apart(instance: str, source: str) -> None:
    assert registry_source("mlflow", instance) == source
