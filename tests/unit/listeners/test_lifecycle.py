"""Each scheduler has a dispatcher of its own, for as long as it runs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider import config
from ml_event_provider.listeners import lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREVER = "import time\nprint('up', flush=True)\ntime.sleep(600)"
DIES = "raise SystemExit(7)"


class Job:
    """An ORM job as its listeners see it: Airflow sets ``job_type`` only after it told them."""

    def __init__(self, job_type: str | None = "SchedulerJob") -> None:
        self._sa_instance_state = object()
        if job_type is not None:
            self.job_type = job_type


class HastyEvent(threading.Event):
    """Waits less long than asked: pauses are counted, not spent."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0.0)
        return super().wait((timeout or 0.0) / 100 if (timeout or 0.0) < 0.6 else 0.0)


class Children:
    """Starts real processes of the tests' own in place of ``airflow ml-events dispatcher``."""

    def __init__(self, popen: Any) -> None:
        self._popen = popen
        self.script: list[str | OSError] = []
        self.started: list[subprocess.Popen[bytes]] = []
        self.asked: list[tuple[list[str], dict[str, Any]]] = []
        self.running = threading.Semaphore(0)

    def __call__(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        self.asked.append((command, options))
        source = self.script.pop(0) if self.script else FOREVER
        if isinstance(source, OSError):
            raise source
        child: subprocess.Popen[bytes] = self._popen([sys.executable, "-S", "-c", source], stdout=subprocess.PIPE)
        self.started.append(child)
        if source == FOREVER:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            self.running.release()
        return child


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> HastyEvent:
    stopping = HastyEvent()
    monkeypatch.setattr(lifecycle, "_stopping", stopping)
    monkeypatch.setattr(lifecycle, "_supervisor", None)
    return stopping


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch, stopping: HastyEvent) -> Iterator[Children]:
    children = Children(subprocess.Popen)
    monkeypatch.setattr(subprocess, "Popen", children)
    yield children
    stopping.set()
    if lifecycle._supervisor is not None:
        lifecycle._supervisor.join(5)
    for child in children.started:
        if child.poll() is None:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()
    if lifecycle._supervisor is not None:
        lifecycle._supervisor.join(5)
        assert not lifecycle._supervisor.is_alive()


def supervisor() -> threading.Thread:
    assert lifecycle._supervisor is not None
    return lifecycle._supervisor


def test_a_scheduler_gets_a_dispatcher_that_ends_with_it(children: Children) -> None:
    job = Job()
    lifecycle.on_starting(component=job)
    assert children.running.acquire(timeout=20)
    ((command, options),) = children.asked
    assert command[0] == sys.executable
    assert command[1:] == ["-m", "airflow", "ml-events", "dispatcher", "--parent", str(os.getpid())]
    assert options["env"]["_AIRFLOW_PROCESS_CONTEXT"] == "server"
    lifecycle.before_stopping(component=job)
    supervisor().join(20)
    (child,) = children.started
    assert child.poll() == -15


def test_the_job_type_may_come_after_the_listener_was_told(children: Children) -> None:
    job = Job(None)
    lifecycle.on_starting(component=job)
    assert children.asked == []
    job.job_type = "SchedulerJob"
    assert children.running.acquire(timeout=20)


@pytest.mark.parametrize("job_type", ["TriggererJob", "DagProcessorJob", "LocalTaskJob"])
def test_other_jobs_get_none(children: Children, job_type: str) -> None:
    lifecycle.on_starting(component=Job(job_type))
    supervisor().join(20)
    assert not supervisor().is_alive()
    assert children.asked == []


def test_a_job_whose_type_never_comes_gets_none(children: Children) -> None:
    lifecycle.on_starting(component=Job(None))
    supervisor().join(20)
    assert not supervisor().is_alive()
    assert children.asked == []


def test_a_task_process_gets_none(children: Children) -> None:
    class TaskRunnerMarker:
        """What the task SDK passes."""

    lifecycle.on_starting(component=TaskRunnerMarker())
    assert lifecycle._supervisor is None
    assert children.asked == []


def test_where_it_is_switched_off_nothing_starts(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__EMBEDDED_DISPATCHER", "False")
    config.forget()
    lifecycle.on_starting(component=Job())
    assert lifecycle._supervisor is None
    assert children.asked == []


def test_a_scheduler_that_starts_twice_gets_one(children: Children) -> None:
    lifecycle.on_starting(component=Job())
    assert children.running.acquire(timeout=20)
    first = supervisor()
    lifecycle.on_starting(component=Job())
    assert supervisor() is first
    assert len(children.started) == 1


def test_a_scheduler_that_starts_again_gets_a_new_one(children: Children) -> None:
    for _ in range(2):
        lifecycle.on_starting(component=Job())
        assert children.running.acquire(timeout=20)
        lifecycle.before_stopping(component=Job())
        supervisor().join(20)
    assert [child.poll() for child in children.started] == [-15, -15]


def test_a_dispatcher_that_dies_is_started_again_each_time_later(
    children: Children, stopping: HastyEvent, caplog: pytest.LogCaptureFixture
) -> None:
    children.script = [DIES, DIES, DIES]
    with caplog.at_level(logging.ERROR, "ml_event_provider"):
        lifecycle.on_starting(component=Job())
        assert children.running.acquire(timeout=20)
    assert [child.poll() for child in children.started] == [7, 7, 7, None]
    assert [wait for wait in stopping.asked if wait > 0.5] == [2.0, 4.0, 8.0]
    assert caplog.messages[0] == "The embedded dispatcher ended with code 7; started again in 2 s"


def test_a_dispatcher_that_is_killed_is_started_again(children: Children) -> None:
    lifecycle.on_starting(component=Job())
    assert children.running.acquire(timeout=20)
    children.started[0].kill()
    assert children.running.acquire(timeout=20)
    assert [child.poll() for child in children.started] == [-9, None]


def test_the_waits_between_starts_have_an_end(children: Children, stopping: HastyEvent) -> None:
    children.script = [DIES] * 8
    lifecycle.on_starting(component=Job())
    assert children.running.acquire(timeout=20)
    assert [wait for wait in stopping.asked if wait > 0.5] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_a_dispatcher_that_cannot_be_started_is_tried_again(
    children: Children, stopping: HastyEvent, caplog: pytest.LogCaptureFixture
) -> None:
    children.script = [OSError(12, "Cannot allocate memory")]
    lifecycle.on_starting(component=Job())
    assert children.running.acquire(timeout=20)
    assert "The embedded dispatcher cannot be started: [Errno 12] Cannot allocate memory" in caplog.text
    assert 2.0 in stopping.asked


def test_nothing_is_started_again_while_the_scheduler_stops(children: Children, stopping: HastyEvent) -> None:
    lifecycle.on_starting(component=Job())
    assert children.running.acquire(timeout=20)
    stopping.set()
    children.started[0].kill()
    supervisor().join(20)
    assert len(children.started) == 1


def test_a_broken_component_is_logged_and_does_not_reach_the_job(
    children: Children, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__ML_EVENTS__EMBEDDED_DISPATCHER", "vielleicht")
    config.forget()
    lifecycle.on_starting(component=Job())
    assert "embedded_dispatcher = 'vielleicht' is not True or False" in caplog.text
    assert children.asked == []
