"""A task process tells of its task's start and end: in order, in bounded time, and never at the task's cost."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from ml_event_provider import config
from ml_event_provider.hooks import ingest
from ml_event_provider.hooks.ml_events import MlEventHook
from ml_event_provider.listeners import task_instances
from tests.conftest import JWT_SECRET
from tests.peers.receiver import closed_port
from tests.unit.hooks.ingest_peer import IngestPeer, answer
from tests.unit.test_callbacks import runtime_ti

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

LISTENERS: dict[str, Callable[..., None]] = {
    "running": task_instances.on_task_instance_running,
    "success": task_instances.on_task_instance_success,
    "failed": task_instances.on_task_instance_failed,
    "up_for_retry": task_instances.on_task_instance_failed,
    "skipped": task_instances.on_task_instance_skipped,
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__SPOOL_DIRECTORY", str(tmp_path / "spool"))
    config.forget()
    ingest._client.cache_clear()
    yield
    if task_instances._start is not None:
        task_instances._start.join(20)
        task_instances._start = None
    ingest._client.cache_clear()


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[IngestPeer]:
    with IngestPeer(secret=JWT_SECRET) as peer:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{peer.url}/execution/")
        yield peer


def tell(state: str, ti: Any = None, **more: Any) -> None:
    ti = runtime_ti() if ti is None else ti
    ti.state = state
    if state in {"failed", "up_for_retry"}:
        more.setdefault("error", ValueError("größer 大"))
    LISTENERS[state](previous_state="running", task_instance=ti, **more)


def types(peer: IngestPeer) -> list[str]:
    return [one["type"].rsplit(".", 1)[-1] for asked in peer.asked for one in asked.body]


def waiting() -> set[str]:
    found = [one for path in MlEventHook().spool.waiting() for one in json.loads(path.read_text())]
    return {one["type"].rsplit(".", 1)[-1] for one in found}


@pytest.mark.parametrize("state", [state for state in LISTENERS if state != "running"])
def test_an_end_is_handed_over_when_the_listener_returns(peer: IngestPeer, state: str) -> None:
    tell(state)
    (asked,) = peer.asked
    (event,) = asked.body
    assert (event["type"], event["origin"]) == (f"airflow.task_instance.{state}", "worker")
    assert event["data"]["previous_state"] == "running"
    assert ("exception" in event["data"]) == (state in {"failed", "up_for_retry"})


def test_the_start_does_not_wait_for_the_endpoint_and_the_end_comes_after_it(peer: IngestPeer) -> None:
    arrived, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def slowly(request: BaseHTTPRequestHandler) -> None:
        arrived.set()
        go_on.wait(20)
        order.append("running")
        answer(202, {"ids": ["x"]})(request)

    peer.script.append(slowly)
    tell("running")
    assert arrived.wait(20)
    assert order == []
    end = threading.Thread(target=tell, args=("success",))
    end.start()
    assert types(peer) == []
    go_on.set()
    end.join(20)
    assert order == ["running"]
    assert types(peer) == ["success"]


@pytest.mark.parametrize("last", ["success", "failed", "skipped"])
def test_start_and_end_come_in_order(peer: IngestPeer, last: str) -> None:
    for _ in range(5):
        tell("running")
        tell(last)
    assert types(peer) == ["running", last] * 5


def test_the_start_is_told_only_where_it_is_wanted(peer: IngestPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__CAPTURE_RUNNING", "False")
    config.forget()
    tell("running")
    tell("success")
    assert types(peer) == ["success"]


def test_an_endpoint_that_hangs_costs_no_more_than_the_time_allowed(
    peer: IngestPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 2.5
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__HAND_OVER_SECONDS", str(seconds))
    config.forget()

    def hang(_: BaseHTTPRequestHandler) -> None:
        peer.released.wait(20)

    peer.script.extend([hang] * 4)
    started = time.monotonic()
    tell("running")
    tell("success")
    # An end that did not count its wait for the start would take half as long again.
    assert time.monotonic() - started < 1.35 * seconds
    # The start is put away by its own thread, which a busy machine may let run a moment later.
    while waiting() != {"running", "success"} and time.monotonic() - started < 15:
        time.sleep(0.05)
    assert waiting() == {"running", "success"}
    peer.released.set()


def test_an_endpoint_that_cannot_be_reached_leaves_both_in_the_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://127.0.0.1:{closed_port()}/execution/")
    tell("running")
    tell("failed")
    assert waiting() == {"running", "failed"}


def test_the_end_takes_along_what_the_start_could_not_hand_over(peer: IngestPeer) -> None:
    peer.script.append(answer(503, {"detail": "starting"}))
    tell("running")
    tell("success")
    assert sorted(types(peer)) == ["running", "success"]
    assert waiting() == set()


@pytest.mark.parametrize("state", LISTENERS)
@pytest.mark.parametrize("error", [RuntimeError("bug"), AirflowTaskTimeout("time is up")], ids=repr)
def test_nothing_of_ours_reaches_the_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, state: str, error: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("ml_event_provider.hooks.reporting.task_event", fail)
    with caplog.at_level(logging.ERROR, "ml_event_provider"):
        tell(state)
        if task_instances._start is not None:
            task_instances._start.join(20)
    assert "the state change itself is not affected" in caplog.text


def test_a_refused_event_is_a_warning(peer: IngestPeer, caplog: pytest.LogCaptureFixture) -> None:
    peer.script.append(answer(400, {"detail": "größer"}))
    tell("success")
    assert "answered HTTP 400: größer" in caplog.text
    assert waiting() == set()


def test_an_opted_out_task_is_not_told_of(peer: IngestPeer) -> None:
    ti = runtime_ti(ml_events=False)
    tell("running", ti)
    tell("success", ti)
    assert peer.asked == []
