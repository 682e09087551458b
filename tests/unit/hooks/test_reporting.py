"""What a task process or a callback was told becomes the same event as the scheduler would record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from ml_event_provider import config
from ml_event_provider.events.catalogue import validate_data
from ml_event_provider.hooks.reporting import context_event, task_event
from ml_event_provider.listeners import task_instances
from ml_event_provider.sources.airflow import task_instance_event

if TYPE_CHECKING:
    from ml_event_provider.events.model import Event

TRY = UUID("0197a000-0000-7000-8000-000000000001")
START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def task() -> Any:
    """A real operator in a real DAG."""
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    with DAG("train", schedule=None, start_date=START, tags={"nightly"}):
        return EmptyOperator(task_id="fit", owner="ada", pool="gpus", retries=2)


@pytest.fixture
def runtime_ti(task: Any) -> Any:
    """The task SDK's own task instance, as the task process makes it."""
    from airflow.sdk import TaskInstanceState
    from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    run = DagRun.model_construct(
        dag_id="train", run_id="run-1", logical_date=START, run_type="manual", team_name=None, clear_number=0
    )
    made = RuntimeTaskInstance.model_construct(
        id=TRY,
        task_id="fit",
        dag_id="train",
        run_id="run-1",
        try_number=1,
        map_index=-1,
        max_tries=2,
        hostname="worker-7",
        task=task,
        start_date=START,
        end_date=START + timedelta(seconds=5),
        state=TaskInstanceState.FAILED,
    )
    object.__setattr__(made, "__pydantic_private__", {"_ti_context_from_server": None})
    made._ti_context_from_server = TIRunContext.model_construct(dag_run=run, max_tries=2)
    return made


def test_runtime_task_instance_in_full(runtime_ti: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://a.example.com")
    event = task_event(runtime_ti, "failed", previous_state="running", error=ValueError("boom"), origin="worker")
    assert event is not None
    assert validate_data(event) == []
    assert (event.owner, event.workspace, event.origin) == ("ada", "default", "worker")
    assert event.data == {
        "dag_id": "train",
        "run_id": "run-1",
        "task_id": "fit",
        "map_index": -1,
        "try_number": 1,
        "max_tries": 2,
        "state": "failed",
        "previous_state": "running",
        "operator": "EmptyOperator",
        "tags": ["nightly"],
        **({"queue": "default"} if "queue" in type(runtime_ti).model_fields else {}),
        "pool": "gpus",
        "hostname": "worker-7",
        "start_date": "2026-11-22T12:00:00Z",
        "end_date": "2026-11-22T12:00:05Z",
        "duration": 5.0,
        "logical_date": "2026-11-22T12:00:00Z",
        "run_type": "manual",
        "exception": {"type": "ValueError", "message": "boom"},
        "log_url": "https://a.example.com/dags/train/runs/run-1/tasks/fit?try_number=1",
        "url": "https://a.example.com/dags/train/runs/run-1",
        "try_id": str(TRY),
    }


def test_task_process_and_table_agree_on_the_id(runtime_ti: Any) -> None:
    row = SimpleNamespace(
        id=TRY,
        dag_id="train",
        run_id="run-1",
        task_id="fit",
        map_index=-1,
        try_number=1,
        start_date=None,
        end_date=START,
    )
    told = task_event(runtime_ti, "failed", origin="worker")
    found = task_instance_event(row, state="failed", workspace="default", origin="reconciler")
    assert told is not None
    assert (told.id, told.source, told.subject) == (found.id, found.source, found.subject)


def test_workspace_is_the_runs_team(runtime_ti: Any) -> None:
    if "team_name" not in type(runtime_ti._ti_context_from_server.dag_run).model_fields:
        pytest.skip("this Airflow tells its tasks of no team")
    runtime_ti._ti_context_from_server.dag_run.team_name = "fraud"
    told = task_event(runtime_ti, "failed", origin="worker")
    assert told is not None
    assert told.workspace == "fraud"


def test_known_secrets_are_masked(runtime_ti: Any) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret("hunter2-secret")
    told = task_event(runtime_ti, "failed", error=ValueError("login with hunter2-secret"), origin="worker")
    assert told is not None
    assert told.data["exception"]["message"] == "login with ***"


class TakenOver:
    """Stands where the hook would hand over."""

    events: list[Event]

    def __init__(self, *, seconds: float | None = None) -> None:
        TakenOver.events = []

    def hand_over(self, events: list[Event]) -> bool:
        TakenOver.events = events
        return True


@pytest.mark.parametrize(
    ("state", "recorded"), [("failed", "failed"), ("up_for_retry", "up_for_retry"), (None, "failed")]
)
def test_task_process_hands_over_a_failure_with_or_without_a_retry(
    runtime_ti: Any, monkeypatch: pytest.MonkeyPatch, state: str | None, recorded: str
) -> None:
    monkeypatch.setattr("ml_event_provider.hooks.ml_events.MlEventHook", TakenOver)
    runtime_ti.state = state
    task_instances.on_task_instance_failed(previous_state="running", task_instance=runtime_ti, error="boom")
    (event,) = TakenOver.events
    assert event.type == f"airflow.task_instance.{recorded}"


def test_opted_out_task_is_not_handed_over(runtime_ti: Any, monkeypatch: pytest.MonkeyPatch, task: Any) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__EXCLUDE_DAGS", "train")
    config.forget()
    assert task_event(runtime_ti, "failed", origin="worker") is None


def test_task_callbacks_context(runtime_ti: Any) -> None:
    event = context_event({"ti": runtime_ti, "dag": runtime_ti.task.dag, "exception": ValueError("boom")})
    assert event is not None
    assert (event.type, event.origin) == ("airflow.task_instance.failed", "callback")
    assert event.data["exception"]["message"] == "boom"
    retried = context_event({"task_instance": runtime_ti}, state="up_for_retry")
    assert retried is not None
    assert retried.type == "airflow.task_instance.up_for_retry"


@pytest.mark.parametrize(
    ("context", "state"),
    [
        ({"run_id": "run-1", "reason": "success"}, "success"),
        ({"run_id": "run-1", "reason": "task_failure"}, "failed"),
        (
            {
                "dag_run": SimpleNamespace(dag_id="train", run_id="run-1", start_date=START, end_date=START),
                "reason": "x",
            },
            "failed",
        ),
    ],
)
def test_dag_callbacks_context_even_where_it_has_only_names(task: Any, context: dict[str, Any], state: str) -> None:
    event = context_event({"dag": task.dag, **context})
    assert event is not None
    assert validate_data(event) == []
    assert (event.type, event.subject, event.owner) == (
        f"airflow.dag_run.{state}",
        "dags/train/runs/run-1",
        "ada",
    )
    assert (event.data["message"], event.data["tags"]) == (context["reason"], ["nightly"])


def test_deadline_callbacks_context() -> None:
    context = {
        "dag_run": {"dag_id": "train", "dag_run_id": "run-1"},
        "deadline": {"id": str(TRY), "deadline_time": "2026-11-22T12:00:00+00:00"},
    }
    event = context_event(context)
    assert event is not None
    assert (event.type, event.origin) == ("airflow.deadline.missed", "callback")


def test_excluded_dag_is_no_event(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__EXCLUDE_DAGS", "train")
    config.forget()
    assert context_event({"dag": task.dag, "run_id": "r", "reason": "x"}) is None
    assert context_event({"dag_run": {"dag_id": "train"}, "deadline": {}}) is None


@pytest.mark.parametrize("context", [{}, {"dag": None, "run_id": "r", "reason": "x"}, {"x": 1}])
def test_context_of_nothing_is_refused(context: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="names no"):
        context_event(context)
