"""Callbacks publish what the listener would record, under the same id, and send it on where asked."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from ml_event_provider import callbacks, config
from ml_event_provider.exceptions import EventRejected, HandOverError
from ml_event_provider.hooks import ingest
from ml_event_provider.hooks.ml_events import MlEventHook
from ml_event_provider.hooks.reporting import task_event
from tests.conftest import JWT_SECRET
from tests.peers.receiver import closed_port
from tests.unit.hooks.ingest_peer import IngestPeer, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

TRY = UUID("0197a000-0000-7000-8000-000000000001")
START = datetime(2026, 11, 22, 12, tzinfo=UTC)
DEADLINE = {
    "dag_run": {"dag_id": "training", "dag_run_id": "run-1", "state": "running"},
    "deadline": {"id": str(TRY), "deadline_time": "2026-11-22T12:00:00+00:00"},
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SPOOL_DIRECTORY", str(tmp_path / "spool"))
    config.forget()
    ingest._client.cache_clear()
    yield
    ingest._client.cache_clear()


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[IngestPeer]:
    with IngestPeer(secret=JWT_SECRET) as peer:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{peer.url}/execution/")
        yield peer


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that cannot be reached."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://127.0.0.1:{closed_port()}/execution/")


def runtime_ti(*, tags: set[str] | None = None, **params: Any) -> Any:
    """The task SDK's own task instance in its callbacks' context, of a real operator in a real DAG."""
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    with DAG("training", schedule=None, start_date=START, tags=tags or {"nightly"}):
        task = EmptyOperator(task_id="fit", owner="ada", params=params)
    ti = RuntimeTaskInstance.model_construct(
        id=TRY,
        task_id="fit",
        dag_id="training",
        run_id="run-1",
        try_number=1,
        map_index=-1,
        max_tries=1,
        hostname="worker-7",
        task=task,
        start_date=START,
        end_date=START + timedelta(seconds=5),
        state="running",
    )
    run = DagRun.model_construct(
        dag_id="training", run_id="run-1", logical_date=START, run_type="manual", team_name=None, clear_number=0
    )
    object.__setattr__(ti, "__pydantic_private__", {"_ti_context_from_server": None})
    ti._ti_context_from_server = TIRunContext.model_construct(dag_run=run, max_tries=1)
    return ti


def task_context(**more: Any) -> dict[str, Any]:
    ti = runtime_ti()
    return {"ti": ti, "task_instance": ti, "dag": ti.task.dag, "run_id": "run-1", **more}


def waiting() -> list[str]:
    return [one["type"] for path in MlEventHook().spool.waiting() for one in json.loads(path.read_text())]


TASK = {
    "failed": callbacks.on_failure_callback,
    "success": callbacks.on_success_callback,
    "up_for_retry": callbacks.on_retry_callback,
    "skipped": callbacks.on_skipped_callback,
}
DAG = {"failed": callbacks.dag_failure_callback, "success": callbacks.dag_success_callback}


@pytest.mark.parametrize("state", TASK)
def test_a_tasks_callback_publishes_the_listeners_event(peer: IngestPeer, state: str) -> None:
    context = task_context(exception=ValueError("größer 大"))
    TASK[state]()(context)
    (asked,) = peer.asked
    assert asked.path == "/ml-events/v1/events"
    (published,) = asked.body
    seen = task_event(runtime_ti(), state, previous_state="running", origin="worker")
    assert seen is not None
    assert published["type"] == f"airflow.task_instance.{state}" == seen.type
    assert (published["id"], published["source"], published["subject"]) == (seen.id, seen.source, seen.subject)
    assert (published["owner"], published["origin"], published["data"]["state"]) == ("ada", "callback", state)
    assert published["data"]["exception"] == {"type": "ValueError", "message": "größer 大"}


@pytest.mark.parametrize("state", DAG)
@pytest.mark.parametrize("with_run", [False, True], ids=["names only", "dag run"])
def test_a_dags_callback_publishes_the_runs_event(peer: IngestPeer, state: str, with_run: bool) -> None:
    context: dict[str, Any] = {"dag": runtime_ti().task.dag, "run_id": "run-1", "reason": "task_failure"}
    if with_run:
        context["dag_run"] = SimpleNamespace(dag_id="training", run_id="run-1", start_date=START, end_date=START)
    DAG[state]()(context)
    (published,) = peer.asked[0].body
    assert (published["type"], published["subject"]) == (f"airflow.dag_run.{state}", "dags/training/runs/run-1")
    assert (published["data"]["message"], published["data"]["tags"]) == ("task_failure", ["nightly"])


def test_a_dags_callback_is_about_the_dag_even_where_the_context_has_a_task(peer: IngestPeer) -> None:
    callbacks.dag_failure_callback()(task_context(reason="task_failure"))
    callbacks.on_failure_callback()(task_context(reason="task_failure"))
    assert [asked.body[0]["type"] for asked in peer.asked] == ["airflow.dag_run.failed", "airflow.task_instance.failed"]


def test_the_same_callback_tells_two_tasks_apart(peer: IngestPeer) -> None:
    callback = callbacks.on_failure_callback()
    callback(task_context())
    other = task_context()
    other["ti"].id = UUID(int=7)
    callback(other)
    callback(task_context())
    first, second, again = peer.ids
    assert first == again != second


@pytest.mark.parametrize(
    ("callback", "context", "kind"),
    [
        (callbacks.on_failure_callback(targets=["mail", "chat"]), "task", "airflow.task_instance.failed"),
        (callbacks.dag_success_callback(targets=("mail", "chat")), "dag", "airflow.dag_run.success"),
    ],
)
def test_targets_get_it_at_once_without_a_rule(
    peer: IngestPeer, callback: Callable[[Any], None], context: str, kind: str
) -> None:
    callback(task_context(reason="success") if context == "dag" else task_context())
    (asked,) = peer.asked
    assert asked.path == "/ml-events/v1/notifications"
    assert asked.body["event"]["type"] == kind
    assert asked.body["targets"] == [{"conn_id": "mail"}, {"conn_id": "chat"}]
    assert (asked.body["name"], asked.body["severity"], asked.body["template"]) == ("direct", "info", None)


def test_another_connection_is_used_where_one_is_named(peer: IngestPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.valid.add("api-token")
    document = {"conn_type": "mlevents", "host": peer.url, "password": "api-token"}
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps(document))
    callbacks.on_failure_callback(conn_id="elsewhere")(task_context())
    assert peer.asked[0].authorization == "Bearer api-token"


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("targets", [(), ("mail",)])
def test_what_cannot_be_handed_over_is_spooled_and_raised(targets: tuple[str, ...]) -> None:
    with pytest.raises(HandOverError, match="ConnectError"):
        callbacks.on_failure_callback(targets=targets)(task_context())
    assert waiting() == ["airflow.task_instance.failed"]


def test_what_was_refused_is_raised_and_not_spooled(peer: IngestPeer) -> None:
    peer.script.append(answer(400, {"detail": "the type is größer"}))
    with pytest.raises(EventRejected, match="the type is größer"):
        callbacks.on_failure_callback()(task_context())
    assert waiting() == []


@pytest.mark.parametrize(
    ("options", "tags", "params"),
    [
        ({}, {"ml-events:off"}, {}),
        ({"EXCLUDE_DAGS": "train*"}, set(), {}),
        ({"EXCLUDE_TASKS": "*.fit"}, set(), {}),
        ({}, set(), {"ml_events": False}),
    ],
    ids=["tag", "dag", "task", "param"],
)
def test_what_is_not_captured_is_not_published(
    peer: IngestPeer,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    tags: set[str],
    params: dict[str, Any],
) -> None:
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__ML_EVENTS__{name}", value)
    config.forget()
    ti = runtime_ti(tags=tags, **params)
    callbacks.on_failure_callback(targets=["mail"])({"ti": ti})
    assert callbacks.publish_context({"ti": ti}) is None
    assert peer.asked == []


@pytest.mark.parametrize("tags", [{"ml-events:off"}])
def test_an_opted_out_dags_callback_publishes_nothing(peer: IngestPeer, tags: set[str]) -> None:
    callbacks.dag_failure_callback()({"dag": runtime_ti(tags=tags).task.dag, "run_id": "r", "reason": "x"})
    assert peer.asked == []


def test_publish_context_gives_the_events_id(peer: IngestPeer) -> None:
    assert [callbacks.publish_context(task_context(), state="failed")] == peer.ids


def test_a_context_of_nothing_is_refused(peer: IngestPeer) -> None:
    with pytest.raises(ValueError, match="names no task instance"):
        callbacks.on_failure_callback()({"run_id": "x"})
    assert peer.asked == []


# Deadlines


def json_of(context: dict[str, Any]) -> dict[str, Any]:
    """A deadline's context as it comes: over JSON."""
    return dict(json.loads(json.dumps(context)))


def test_a_missed_deadline_is_published(peer: IngestPeer) -> None:
    callbacks.publish_deadline_missed(json_of(DEADLINE), something_new=1)
    (published,) = peer.asked[0].body
    assert (published["type"], published["subject"]) == ("airflow.deadline.missed", "dags/training/runs/run-1")
    assert published["data"]["deadline_time"] == "2026-11-22T12:00:00+00:00"


async def test_a_missed_deadline_in_the_triggerer_is_the_same_event(peer: IngestPeer) -> None:
    callbacks.publish_deadline_missed(json_of(DEADLINE))
    await callbacks.publish_deadline_missed_async(json_of(DEADLINE), targets=["mail"], something_new=1)
    sync, direct = peer.asked
    assert sync.body[0]["id"] == direct.body["event"]["id"]
    assert direct.body["targets"] == [{"conn_id": "mail"}]


async def test_the_triggerers_loop_goes_on_while_a_deadline_is_published(peer: IngestPeer) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def slowly(request: BaseHTTPRequestHandler) -> None:
        arrived.set()
        go_on.wait(20)
        answer(202, {"ids": ["x"]})(request)

    peer.script.append(slowly)
    work = asyncio.create_task(callbacks.publish_deadline_missed_async(json_of(DEADLINE)))
    # Only a loop that goes on comes here while the answer is held back.
    while not arrived.is_set():
        await asyncio.sleep(0)
    assert not work.done()
    go_on.set()
    await work


@pytest.mark.usefixtures("nobody")
async def test_a_deadline_that_cannot_be_published_is_spooled_and_raised() -> None:
    with pytest.raises(HandOverError):
        await callbacks.publish_deadline_missed_async(json_of(DEADLINE))
    assert waiting() == ["airflow.deadline.missed"]


@pytest.mark.parametrize(
    ("asynchronous", "name", "function"),
    [
        (True, "AsyncCallback", callbacks.publish_deadline_missed_async),
        (False, "SyncCallback", callbacks.publish_deadline_missed),
    ],
)
def test_a_dag_with_a_deadline_callback_can_be_stored(asynchronous: bool, name: str, function: object) -> None:
    from airflow.sdk import DAG, DeadlineAlert, DeadlineReference
    from airflow.sdk._shared.module_loading import import_string
    from airflow.serialization.serialized_objects import DagSerialization

    alert = callbacks.deadline_alert_callback(asynchronous=asynchronous, targets=["mail"], conn_id="elsewhere")
    assert type(alert).__name__ == name
    assert import_string(alert.path) is function
    dag = DAG(
        "training",
        schedule=None,
        deadline=DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(minutes=5), alert),
    )
    stored = json.dumps(DagSerialization.to_dict(dag))
    assert alert.path in stored
    assert "elsewhere" in stored
    DagSerialization.from_dict(json.loads(stored))
