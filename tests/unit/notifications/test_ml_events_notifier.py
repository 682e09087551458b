"""The notifier publishes what its context tells of, however often it is used."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from ml_event_provider import config
from ml_event_provider.exceptions import HandOverError
from ml_event_provider.hooks import ingest
from ml_event_provider.notifications.ml_events import MlEventNotifier
from tests.conftest import JWT_SECRET
from tests.peers.receiver import closed_port
from tests.unit.hooks.ingest_peer import IngestPeer, answer
from tests.unit.test_callbacks import DEADLINE, task_context, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


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


def context_of(task_try: int, state: str = "failed", **more: Any) -> dict[str, Any]:
    context = task_context(**more)
    context["ti"].id = UUID(int=task_try)
    context["ti"].state = state
    return context


def test_one_notifier_used_twice_tells_of_two_changes(peer: IngestPeer) -> None:
    notifier = MlEventNotifier(targets=["{{ run_id }}"])
    notifier(context_of(1, exception=ValueError("first")))
    notifier(context_of(2, "up_for_retry", run_id="run-2", exception=ValueError("second")))
    first, second = (asked.body for asked in peer.asked)
    assert first["event"]["id"] != second["event"]["id"]
    assert [one["event"]["type"] for one in (first, second)] == [
        "airflow.task_instance.failed",
        "airflow.task_instance.up_for_retry",
    ]
    assert [one["event"]["data"]["exception"]["message"] for one in (first, second)] == ["first", "second"]
    assert first["targets"] == second["targets"] == [{"conn_id": "{{ run_id }}"}]


@pytest.mark.parametrize(
    ("context", "kind"),
    [
        (context_of(1, "success"), "airflow.task_instance.success"),
        (context_of(1, reason="task_failure"), "airflow.dag_run.failed"),
        (context_of(1, reason="success"), "airflow.dag_run.success"),
        (DEADLINE, "airflow.deadline.missed"),
    ],
    ids=["task", "dag failed", "dag success", "deadline"],
)
def test_it_knows_from_the_context_what_it_is_about(peer: IngestPeer, context: dict[str, Any], kind: str) -> None:
    MlEventNotifier().notify(context)
    (asked,) = peer.asked
    assert (asked.path, asked.body[0]["type"]) == ("/ml-events/v1/events", kind)


def test_it_works_as_a_tasks_callback_in_airflows_own_hands(peer: IngestPeer) -> None:
    import structlog
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.task_runner import _run_task_state_change_callbacks

    notifier = MlEventNotifier()
    with DAG("training", schedule=None):
        task = EmptyOperator(task_id="fit", on_failure_callback=[notifier, notifier])
    _run_task_state_change_callbacks(task, "on_failure_callback", context_of(1), structlog.get_logger())  # type: ignore[arg-type]
    first, again = peer.ids
    assert first == again


def test_a_dag_with_the_notifier_can_be_stored() -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("training", schedule=None, on_failure_callback=MlEventNotifier()) as dag:
        EmptyOperator(task_id="fit", on_failure_callback=MlEventNotifier(targets=["mail"]))
    document = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    assert document["dag"]["has_on_failure_callback"] is True
    DagSerialization.from_dict(document)


def test_what_is_not_captured_is_not_published(peer: IngestPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__EXCLUDE_DAGS", "training")
    config.forget()
    for context in (context_of(1), context_of(1, reason="x"), DEADLINE):
        MlEventNotifier(targets=["mail"]).notify(context)
    assert peer.asked == []


def test_what_cannot_be_handed_over_is_spooled_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://127.0.0.1:{closed_port()}/execution")
    with pytest.raises(HandOverError):
        MlEventNotifier().notify(context_of(1))
    assert waiting() == ["airflow.task_instance.failed"]


async def test_the_event_loop_goes_on_while_it_publishes(peer: IngestPeer) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def slowly(request: BaseHTTPRequestHandler) -> None:
        arrived.set()
        go_on.wait(20)
        answer(202, {"ids": ["x"]})(request)

    peer.script.append(slowly)
    work = asyncio.create_task(MlEventNotifier().async_notify(DEADLINE))
    beats = 0
    while not arrived.is_set():
        await asyncio.sleep(0)
        beats += 1
    assert beats > 1
    assert not work.done()
    go_on.set()
    await work


async def test_airflow_awaits_it_where_it_is_a_deadlines_callback(peer: IngestPeer) -> None:
    notifier = MlEventNotifier()
    notifier.context = DEADLINE  # type: ignore[assignment]
    await notifier
    assert peer.asked[0].body[0]["type"] == "airflow.deadline.missed"
